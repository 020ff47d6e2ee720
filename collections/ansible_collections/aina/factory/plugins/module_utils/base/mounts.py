"""Where something is mounted: a device number alone does not tell, a bind mount has none of its own."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from pathlib import Path


def points(table: str = "/proc/self/mountinfo") -> list[str]:
    """Return where something is mounted in this process's view, also from the same file system.

    Raises:
        OSError: the kernel's table cannot be read.

    """
    return [unescaped(line.split(b" ", 5)[4]) for line in Path(table).read_bytes().splitlines()]


def unescaped(word: bytes) -> str:
    """Return a path as it is: the kernel writes white space and backslashes as octal numbers."""
    if b"\\" in word:
        word = re.sub(rb"\\([0-7]{3})", lambda code: bytes([int(code[1], 8)]), word)
    return os.fsdecode(word)


def inside(directory: str, mounted: Iterable[str]) -> str | None:
    """Return a mount point below ``directory``, an absolute path without symbolic links."""
    prefix = directory.rstrip("/") + "/"
    return next((point for point in mounted if point.startswith(prefix)), None)
