"""Mounts for a test: one with the device number of what is around it, and a small disk."""

from __future__ import annotations

import itertools
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


@contextmanager
def small_disk(where: Path) -> Iterator[None]:
    """Mount a disk of a few MiB on a directory; skip where that is not permitted."""
    argv: list[str | Path] = [
        "mount",
        "-t",
        "tmpfs",
        "-o",
        "size=8m,nr_inodes=2000",
        "tmpfs",
        where,
    ]
    if subprocess.run(argv, check=False).returncode:
        pytest.skip("mounting is not permitted here")
    try:
        yield
    finally:
        subprocess.run(["umount", where], check=True)


def fill(disk: Path) -> None:
    """Leave no block and no inode."""
    for number in itertools.count():
        try:
            with (disk / f"filler{number}").open("xb") as file:
                while number == 0:
                    file.write(bytes(4096))
                    file.flush()
        except OSError:
            if number:
                return
