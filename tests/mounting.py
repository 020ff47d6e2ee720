"""A bind mount for a test, which has the same device number as what is around it."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from factory.core.base import mounts


@contextmanager
def mounted(what: Path, where: Path) -> Iterator[None]:
    """Mount a directory on another one below the same parent; skip where that is not permitted."""
    if subprocess.run(["mount", "--bind", what, where], check=False).returncode:
        pytest.skip("mounting is not permitted here")
    try:
        yield
    finally:
        # A parent that was renamed has taken the mount along.
        for point in mounts.points():
            if point.startswith(f"{what.parent}/"):
                subprocess.run(["umount", point], check=True)
