"""What a backup is to save: how much there is of it, and files to prove the backup with."""

from __future__ import annotations

import fnmatch
import os
import random
import re
import stat
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

_SAMPLES = 3
_LARGEST_SAMPLE_BYTES = 1 << 20
# In a pattern of restic these stand for themselves.
_PLAIN = re.compile(r"[\w./@+,=: -]+\Z")
# A source that shrinks by less is nothing to speak of.
_FEWEST_FILES = 10
_FEWEST_BYTES = 1 << 20
_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


@dataclass(frozen=True)
class FileSample:
    """A file as it was when it was looked at."""

    path: str
    size_bytes: int
    modified_ns: int
    inode: int


@dataclass(frozen=True)
class BackupSource:
    """One path that is to be saved: what it holds, and some of its files."""

    path: str
    files: int
    bytes: int
    samples: tuple[FileSample, ...]


def survey(path: str, excludes: Iterable[str], seed: float) -> BackupSource:
    """Count what lies under a path, without what the patterns leave out.

    No link is followed, as restic follows none: a path that is itself one holds nothing.
    """
    dice = random.Random(seed)  # noqa: S311 - which files are read back is no secret
    files = count = eligible = 0
    samples: list[FileSample] = []
    for place, status in _files(path, _excluded(excludes)):
        files += 1
        count += status.st_size
        fits = stat.S_ISREG(status.st_mode) and status.st_size <= _LARGEST_SAMPLE_BYTES
        if not fits or not _PLAIN.match(place):
            continue
        eligible += 1
        sample = FileSample(place, status.st_size, status.st_mtime_ns, status.st_ino)
        if len(samples) < _SAMPLES:
            samples.append(sample)
        elif (number := dice.randrange(eligible)) < _SAMPLES:
            samples[number] = sample
    return BackupSource(path, files, count, tuple(samples))


def _excluded(patterns: Iterable[str]) -> re.Pattern[str]:
    words = [pattern.rstrip("/") for pattern in patterns]
    words = [word if word.startswith("/") else f"*/{word}" for word in words]
    return re.compile("|".join(map(fnmatch.translate, words)) or r"(?!)")


def _files(path: str, excluded: re.Pattern[str]) -> Iterator[tuple[str, os.stat_result]]:
    waiting = [path]
    while waiting:
        place = waiting.pop()
        if excluded.match(place):
            continue
        try:
            status = os.lstat(place)
            if stat.S_ISDIR(status.st_mode):
                waiting += [entry.path for entry in os.scandir(place)]
            elif stat.S_ISREG(status.st_mode) or (stat.S_ISLNK(status.st_mode) and place != path):
                yield place, status
        except OSError:
            # It vanished, or may not be read: restic says so itself.
            continue


def lost(source: BackupSource, before: Mapping[str, int]) -> str:
    """Return what a source seems to have lost since the last time; "" for nothing."""
    files, count = before.get("files", 0), before.get("bytes", 0)
    if not source.files:
        held = f"; the last time it held {files}" if files else ""
        return f"{source.path} holds no file that could be saved{held}"
    fewer = files - source.files >= _FEWEST_FILES and source.files * 2 < files
    less = count - source.bytes >= _FEWEST_BYTES and source.bytes * 2 < count
    if fewer or less or (count and not source.bytes):
        return (
            f"{source.path} shrank from {files} files and {count} bytes "
            f"to {source.files} files and {source.bytes} bytes"
        )
    return ""


def is_unchanged(sample: FileSample) -> bool:
    """Whether the file is still what it was when it was looked at."""
    try:
        return _is_same(os.lstat(sample.path), sample)
    except OSError:
        return False


def _is_same(status: os.stat_result, sample: FileSample) -> bool:
    seen = (status.st_size, status.st_mtime_ns, status.st_ino)
    return seen == (sample.size_bytes, sample.modified_ns, sample.inode)


def is_file(path: Path, size_bytes: int | None = None) -> bool:
    """Whether there is a regular file, of the given size if one is given."""
    try:
        status = path.lstat()
    except OSError:
        return False
    return stat.S_ISREG(status.st_mode) and size_bytes in (None, status.st_size)


def are_equal(sample: FileSample, restored: Path) -> bool:
    """Whether the restored file holds what the source holds; one that changed is not compared."""
    try:
        with os.fdopen(os.open(sample.path, _FLAGS), "rb") as file:
            content = file.read(_LARGEST_SAMPLE_BYTES + 1)
            if not _is_same(os.fstat(file.fileno()), sample):
                return True
        with os.fdopen(os.open(restored, _FLAGS), "rb") as file:
            return file.read(_LARGEST_SAMPLE_BYTES + 1) == content
    except OSError:
        return not is_unchanged(sample)
