"""One walk over the files of a worktree: size, last activity, what does not belong to it."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from ansible_collections.aina.factory.plugins.module_utils.worktrees.model import Contents

_BLOCK_BYTES = 512


def walk(root: str) -> Contents:
    """Look at every entry below ``root`` without following links or entering mounts.

    Bytes are allocated blocks; a file with several hard links counts only when all of its
    links lie inside, since deleting the others frees nothing.
    """
    try:
        top = Path(root).lstat()
    except OSError:
        return Contents(unreadable=(root,))
    total, newest = top.st_blocks, top.st_mtime
    repositories: list[str] = []
    mounts: list[str] = []
    unreadable: list[str] = []
    links: dict[int, list[int]] = {}
    pending = [root]
    while pending:
        directory = pending.pop()
        try:
            with os.scandir(directory) as iterator:
                entries = list(iterator)
        except OSError:
            unreadable.append(directory)
            continue
        names = {entry.name for entry in entries}
        if directory != root and _is_repository(names):
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
            if stat.S_ISDIR(status.st_mode):
                pending.append(entry.path)
                total += status.st_blocks
            elif status.st_nlink == 1:
                total += status.st_blocks
            else:
                seen = links.setdefault(status.st_ino, [0, status.st_nlink, status.st_blocks])
                seen[0] += 1
    total += sum(blocks for found, expected, blocks in links.values() if found == expected)
    return Contents(
        bytes=total * _BLOCK_BYTES,
        newest_mtime=newest,
        repositories=tuple(sorted(repositories)),
        mounts=tuple(sorted(mounts)),
        unreadable=tuple(sorted(unreadable)),
    )


def _is_repository(names: set[str]) -> bool:
    """Whether a directory with these entries is a git work tree or a git directory."""
    return ".git" in names or {"HEAD", "objects", "refs"} <= names
