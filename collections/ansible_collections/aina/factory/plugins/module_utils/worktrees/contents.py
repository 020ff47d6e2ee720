"""One walk over the files of a worktree: size, last activity, what does not belong to it."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Collection, Mapping
from pathlib import Path

from .model import Contents

_BLOCK_BYTES = 512
# What version control systems call the directory (git: or file) with all that they know.
VERSION_CONTROL = frozenset({".git", ".hg", ".svn", ".bzr", ".jj", ".pijul", "_darcs", ".fslckout"})


def walk(root: str, closed: Callable[[str], bool] = lambda name: False) -> Contents:
    """Look at every entry below ``root`` without following links or entering mounts.

    Bytes are allocated blocks; a file with several hard links counts only when all of its
    links lie inside, since deleting the others frees nothing. A directory below ``root`` for
    whose name ``closed`` holds is not entered.
    """
    try:
        top = Path(root).lstat()
    except OSError:
        return Contents(unreadable=(root,))
    total, newest = top.st_blocks, top.st_mtime
    repositories: list[str] = []
    mounts: list[str] = []
    unreadable: list[str] = []
    not_entered: list[str] = []
    links: dict[int, list[int]] = {}
    marks = {"": top.st_mtime_ns}
    newest_change = 0.0
    count = 0
    pending = [root]
    while pending:
        directory = pending.pop()
        inner = directory[len(root) + 1 :]
        try:
            with os.scandir(directory) as iterator:
                entries = list(iterator)
        except OSError:
            unreadable.append(directory)
            continue
        names = {entry.name for entry in entries}
        if directory != root and is_repository(names):
            repositories.append(directory)
        for entry in entries:
            try:
                status = entry.stat(follow_symlinks=False)
            except OSError:
                unreadable.append(entry.path)
                continue
            if status.st_dev != top.st_dev:
                mounts.append(entry.path)
                continue
            newest = max(newest, status.st_mtime)
            newest_change = max(newest_change, status.st_ctime)
            marks[inner] = marks.get(inner, 0) + _mark(entry.name, status)
            if stat.S_ISDIR(status.st_mode):
                total += status.st_blocks
                if closed(entry.name):
                    not_entered.append(entry.path)
                else:
                    pending.append(entry.path)
                continue
            count += 1
            if status.st_nlink == 1:
                total += status.st_blocks
            else:
                seen = links.setdefault(status.st_ino, [0, status.st_nlink, status.st_blocks])
                seen[0] += 1
    total += sum(blocks for found, expected, blocks in links.values() if found == expected)
    return Contents(
        bytes=total * _BLOCK_BYTES,
        count=count,
        newest_mtime=newest,
        newest_ctime=newest_change,
        marks=marks,
        repositories=tuple(sorted(repositories)),
        mounts=tuple(sorted(mounts)),
        unreadable=tuple(sorted(unreadable)),
        not_entered=tuple(not_entered),
    )


def _mark(name: str, status: os.stat_result) -> int:
    """Return a number that changes with the entry.

    The change time cannot be set, so it tells of every change. Of a file with several links
    it also tells that another link came or went, as a package store's do: there it is left out.
    """
    shared = status.st_nlink > 1 and not stat.S_ISDIR(status.st_mode)
    changed = 0 if shared else status.st_ctime_ns
    return hash((name, status.st_ino, status.st_mode, status.st_size, status.st_mtime_ns, changed))


def marks_outside(marks: Mapping[str, int], skipped: Collection[str]) -> dict[str, int]:
    """Return the marks that a walk would have made had it not entered ``skipped``."""
    inside = tuple(f"{path}/" for path in skipped)
    return {path: mark for path, mark in marks.items() if not f"{path}/".startswith(inside)}


def is_repository(names: set[str]) -> bool:
    """Whether a directory with these entries is a checkout or a git directory."""
    return not VERSION_CONTROL.isdisjoint(names) or {"HEAD", "objects", "refs"} <= names
