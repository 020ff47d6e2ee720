"""Corpora in memory where that is possible: they are tens of thousands of small files."""

from __future__ import annotations

import os
import shutil
import signal
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

MEMORY = Path("/dev/shm")


def end_processes_of(area: Path) -> None:
    """End the background processes that reaps of this area have left waiting."""
    for directory in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if os.fsencode(area) in (directory / "cmdline").read_bytes():
                os.kill(int(directory.name), signal.SIGKILL)


@contextmanager
def in_memory() -> Iterator[Path]:
    """Lend an empty directory, in memory when the machine has room there."""
    room = MEMORY.is_dir() and os.access(MEMORY, os.W_OK)
    free = shutil.disk_usage(MEMORY).free if room else 0
    path = Path(tempfile.mkdtemp(prefix="reap-", dir=MEMORY if free > 2 << 30 else None))
    try:
        yield path
    finally:
        end_processes_of(path)
        shutil.rmtree(path, ignore_errors=True)


@pytest.fixture
def area() -> Iterator[Path]:
    """Return an empty directory for one test."""
    with in_memory() as path:
        yield path


@pytest.fixture(scope="module")
def shared_area() -> Iterator[Path]:
    """Return an empty directory for all tests of a file."""
    with in_memory() as path:
        yield path
