"""Who can change what lies at a path: root acts only on what is root's alone."""

from __future__ import annotations

import errno
import os
import stat

# What git reads settings, programs and places from; ``*`` stands for every entry.
REPOSITORY_PARTS = (
    *("config", "config.worktree", "commondir", "gitdir", "hooks/*", "info/*"),
    *("worktrees/*/*", "aina-factory-trash/*/*", "modules/*/*"),
)
_LINKS = 40
_FILE_BYTES = 1 << 20


def read_file(path: str | os.PathLike[str], most_bytes: int = _FILE_BYTES) -> bytes:
    """Return what a plain file holds, into whose place anybody may have put anything.

    Raises:
        OSError: it is a link, no plain file, too large, or cannot be read.

    """
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    descriptor = os.open(path, flags)
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError(errno.EINVAL, "it is no plain file", os.fspath(path))
        with os.fdopen(descriptor, "rb", closefd=False) as file:
            content = file.read(most_bytes + 1)
    finally:
        os.close(descriptor)
    if len(content) > most_bytes:
        raise OSError(errno.EFBIG, f"it holds more than {most_bytes} bytes", os.fspath(path))
    return content


def changeable_by_others(path: str, clean: set[str] | None = None) -> str | None:
    """Return the first part of an absolute path that somebody but root can change or replace.

    Links are followed, and each of them is a part. In a sticky directory that all may write
    nobody can replace what is root's. ``clean`` remembers between calls what was found good.
    """
    place, links, shared = "", 0, False
    steps = [step for step in path.split("/") if step]
    while steps:
        step = steps.pop(0)
        if step in {".", ".."}:
            place = place if step == "." else place.rpartition("/")[0]
            continue
        here = f"{place}/{step}"
        if clean is not None and here in clean:
            place, shared = here, False
            continue
        try:
            status = os.lstat(here)
        except FileNotFoundError:
            return here if shared else None  # who could make it
        except OSError:
            return here
        if status.st_uid != 0:
            return here
        if stat.S_ISLNK(status.st_mode):
            links += 1
            if links > _LINKS:
                return here
            target = os.readlink(here)  # noqa: PTH115 - may be not UTF-8
            place = "" if target.startswith("/") else place
            steps = [*filter(None, target.split("/")), *steps]
            continue
        # With an access list the group's bits tell of every user and group in it.
        shared = bool(status.st_mode & (stat.S_IWOTH | stat.S_IWGRP))
        if shared and not (steps and status.st_mode & stat.S_ISVTX):
            return here
        if clean is not None and not shared:
            clean.add(here)
        place = here
    return None
