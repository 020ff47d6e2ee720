"""Files that must be written even when the disk is full."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from factory.core.base import files

PART_BYTES = 4 << 20
_MIB = 1 << 20
# Where memory serves as disk: what cannot be written elsewhere is still found there.
FALLBACK_DIR = Path("/run/aina-factory")


class Reserve:
    """Space and inodes that are given up, a part at a time, when a full disk leaves none."""

    def __init__(self, directory: Path, size_mib: int) -> None:
        """Keep the place; nothing is made yet."""
        self.directory = directory
        self.count = -(-size_mib * _MIB // PART_BYTES)

    def release(self) -> bool:
        """Give up one part; False when none is left."""
        for part in self._parts():
            with suppress(OSError):
                part.unlink()
                return True
        return False

    def refill(self) -> bool:
        """Make the missing parts where that leaves twice as much to others; True when whole."""
        missing = self.count - len(self._parts())
        if missing <= 0:
            return True
        try:
            self.directory.mkdir(parents=True, exist_ok=True)
            answer = os.statvfs(self.directory)
            if answer.f_bavail * answer.f_frsize < 3 * missing * PART_BYTES:
                return False
            for number in range(self.count):
                part = self.directory / f"part-{number:03}"
                if not part.exists():
                    _allocate(part)
        except OSError:
            return False
        return True

    def _parts(self) -> list[Path]:
        return sorted(self.directory.glob("part-*"))


def _allocate(part: Path) -> None:
    with files.replacing(part, part.with_name(f".{part.name}")) as stream:
        os.posix_fallocate(stream.fileno(), 0, PART_BYTES)


@dataclass
class Store:
    """Atomic files with a reserve behind them; ``problems`` says what did not go as meant."""

    reserve: Reserve
    fallback_dir: Path = field(default_factory=lambda: FALLBACK_DIR)
    problems: list[str] = field(default_factory=list)

    def replace(self, path: Path, content: bytes, mode: int = 0o644) -> Path:
        """Write the file and return where it is now.

        Where the disk has no space, the reserve is given up part by part; where even that
        does not help, the file goes to memory under the same name.
        """
        try:
            self._with_space(lambda: files.write(path, content, mode))
        except OSError as error:
            self.problems.append(f"{path} cannot be written: {error.strerror}")
            path = self.fallback_dir / path.name
            files.write(path, content, mode)
            return path
        # What an earlier run had to leave in memory is now out of date.
        with suppress(OSError):
            (self.fallback_dir / path.name).unlink(missing_ok=True)
        return path

    def append(self, path: Path, line: str) -> None:
        """Add a line; a disk that is full costs the line, not the run."""
        try:
            self._with_space(lambda: _append(path, line))
        except OSError as error:
            self.problems.append(f"{path} cannot be continued: {error.strerror}")

    def _with_space(self, write: Any) -> None:
        while True:
            try:
                write()
            except OSError as error:
                if error.errno not in (errno.ENOSPC, errno.EDQUOT) or not self.reserve.release():
                    raise
            else:
                return

    def newest(self, path: Path) -> Path:
        """Return where the file was last written: at its place or in memory."""
        other = self.fallback_dir / path.name
        try:
            here, there = path.stat().st_mtime, other.stat().st_mtime
        except OSError:
            return other if other.exists() and not path.exists() else path
        return other if there > here else path


def _append(path: Path, line: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    before = path.stat().st_size if path.exists() else 0
    try:
        with path.open("ab") as file:
            file.write(line.encode("utf-8", "surrogateescape") + b"\n")
    except OSError:
        # Half a line would spoil the next one.
        with suppress(OSError):
            os.truncate(path, before)
        raise


def lines(path: Path) -> list[Any]:
    """Return the JSON values of a file of lines; what is no JSON (cut off) is left out."""
    found = []
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return []
    for line in content.splitlines():
        with suppress(ValueError):
            found.append(json.loads(line))
    return found


def to_lines(values: Iterable[Any]) -> bytes:
    """Return JSON values as a file of lines."""
    return b"".join(json.dumps(value).encode() + b"\n" for value in values)
