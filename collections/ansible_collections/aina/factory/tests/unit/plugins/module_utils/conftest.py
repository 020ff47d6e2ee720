"""A user without rights, and a place that this user may enter."""

from __future__ import annotations

import os
import pickle
import shutil
import tempfile
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

_NOBODY = 65534


@pytest.fixture
def open_path() -> Iterator[Path]:
    """Return an empty directory that every user may enter and write to."""
    path = Path(tempfile.mkdtemp(prefix="worktrees-"))
    path.chmod(0o777)
    yield path
    for directory, _names, _files in os.walk(path):
        Path(directory).chmod(0o700)
    shutil.rmtree(path)


@pytest.fixture
def as_nobody() -> Callable[[Callable[[], Any]], Any]:
    """Return a function that calls another one in a process without root's rights."""

    def call(function: Callable[[], Any]) -> Any:
        if os.geteuid() != 0:
            return function()
        reading, writing = os.pipe()
        child = os.fork()
        if child == 0:
            try:
                os.setgroups([])
                os.setgid(_NOBODY)
                os.setuid(_NOBODY)
                answer = pickle.dumps(function())
            except BaseException:
                answer = pickle.dumps(AssertionError(traceback.format_exc()))
            with os.fdopen(writing, "wb") as file:
                file.write(answer)
            os._exit(0)
        os.close(writing)
        with os.fdopen(reading, "rb") as file:
            answer = file.read()
        os.waitpid(child, 0)
        result = pickle.loads(answer)  # noqa: S301 - our own child wrote it
        if isinstance(result, AssertionError):
            raise result
        return result

    return call
