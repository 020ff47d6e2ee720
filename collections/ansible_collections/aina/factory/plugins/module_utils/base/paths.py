"""Files under declared roots: list, measure and remove without ever leaving the root.

Every directory is opened by descriptor without following symbolic links, what is mounted is
not entered, and an entry is compared with what was listed before it goes.
"""

from __future__ import annotations

import fnmatch
import glob
import os
import stat
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from . import mounts
from .errors import FactoryError

BLOCK_BYTES = 512
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
# A pipe that was put in its place would keep the opener for ever.
_PLAIN_FILE = os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC


class PathError(FactoryError):
    """A path is not what it was declared to be, or something keeps it."""


@dataclass(frozen=True)
class PathEntry:
    """An entry as it was listed: where it is, and what proves that it is still the same.

    ``mounted_inside`` is where something is mounted in it; such an entry is in use.
    """

    root: str
    parts: tuple[str, ...]
    device: int
    inode: int
    changed_ns: int
    is_directory: bool
    bytes: int
    last_used: float
    inodes: frozenset[tuple[int, int]]
    mounted_inside: str | None = None

    @property
    def path(self) -> str:
        """The absolute path, for people."""
        return "/".join((self.root, *self.parts))


def expand_roots(patterns: Iterable[str]) -> list[str]:
    """Return the existing paths among ``patterns``, which may hold wildcards."""
    roots: list[str] = []
    for pattern in patterns:
        matches = [pattern]
        if glob.has_magic(pattern):
            anchored = Path("/").glob(pattern.lstrip("/"))
            matches = sorted(str(path) for path in anchored)
        roots += [path for path in matches if os.path.lexists(path) and path not in roots]
    return roots


@contextmanager
def opened(root: str, parts: Sequence[str] = ()) -> Iterator[int]:
    """Open the directory ``parts`` below ``root`` as a descriptor.

    Raises:
        PathError: a component is a symbolic link, missing, or no directory.

    """
    descriptor = os.open("/", _DIRECTORY)
    try:
        for name in [*filter(None, root.split("/")), *parts]:
            try:
                below = os.open(name, _DIRECTORY, dir_fd=descriptor)
            except OSError as error:
                path = "/".join((root, *parts))
                raise PathError(
                    f"{path}: {name!r} cannot be opened as a directory ({error.strerror}); "
                    "declare the real path, symbolic links are not followed"
                ) from error
            os.close(descriptor)
            descriptor = below
        yield descriptor
    finally:
        os.close(descriptor)


def files(root: str, globs: Sequence[str], *, recursive: bool) -> list[PathEntry]:
    """Return the regular files below ``root`` whose name matches one of ``globs``."""
    found: list[PathEntry] = []
    tree = _Tree(root)
    with opened(root) as descriptor:
        for parts, status in tree.walk(descriptor, (), recursive=recursive):
            if stat.S_ISREG(status.st_mode) and name_matches(parts[-1], globs):
                found.append(_found(root, parts, status, [status]))
    return found


def entries(root: str, globs: Sequence[str] = ("*",)) -> list[PathEntry]:
    """Return the direct entries of ``root``, directories with all that is in them."""
    found: list[PathEntry] = []
    tree = _Tree(root)
    with opened(root) as descriptor:
        for parts, status in tree.walk(descriptor, (), recursive=False):
            if not name_matches(parts[-1], globs):
                continue
            inside = [status]
            if stat.S_ISDIR(status.st_mode):
                with opened(root, parts) as below:
                    inside += [item for _depth, item in tree.walk(below, parts, recursive=True)]
            entry = _found(root, parts, status, inside)
            found.append(replace(entry, mounted_inside=mounts.inside(entry.path, tree.mounted)))
    return found


def name_matches(name: str, globs: Sequence[str]) -> bool:
    """Whether the name matches one of the patterns."""
    return any(fnmatch.fnmatchcase(name, pattern) for pattern in globs)


class _Tree:
    """What lies below a root without what is mounted there.

    A mount point belongs to somebody else, and so does everything under it. The table tells
    of them all: what is mounted from the same file system has the same device number.
    """

    def __init__(self, root: str) -> None:
        self._root = root
        self.mounted = frozenset(mounts.points())

    def walk(
        self, descriptor: int, parts: tuple[str, ...], *, recursive: bool
    ) -> Iterator[tuple[tuple[str, ...], os.stat_result]]:
        with os.scandir(descriptor) as listing:
            names = sorted(entry.name for entry in listing)
        for name in names:
            if "/".join((self._root, *parts, name)) in self.mounted:
                continue
            try:
                status = os.stat(name, dir_fd=descriptor, follow_symlinks=False)
            except FileNotFoundError:
                continue
            yield (*parts, name), status
            if recursive and stat.S_ISDIR(status.st_mode):
                try:
                    below = os.open(name, _DIRECTORY, dir_fd=descriptor)
                except (FileNotFoundError, NotADirectoryError):
                    continue
                try:
                    yield from self.walk(below, (*parts, name), recursive=True)
                finally:
                    os.close(below)


def _found(
    root: str, parts: tuple[str, ...], status: os.stat_result, inside: Sequence[os.stat_result]
) -> PathEntry:
    return PathEntry(
        root=root,
        parts=parts,
        device=status.st_dev,
        inode=status.st_ino,
        changed_ns=status.st_ctime_ns,
        is_directory=stat.S_ISDIR(status.st_mode),
        bytes=freed_bytes(inside),
        # An unpacked archive brings old modification times; the change time is the kernel's.
        last_used=max(max(item.st_mtime, item.st_ctime) for item in inside),
        inodes=frozenset((item.st_dev, item.st_ino) for item in inside),
    )


def freed_bytes(inside: Iterable[os.stat_result]) -> int:
    """Return the allocated bytes that go with these entries.

    A file with several names frees its blocks only with its last name, and then once.
    """
    names: Counter[tuple[int, int]] = Counter()
    total = 0
    for item in inside:
        key = (item.st_dev, item.st_ino)
        names[key] += 1
        links = 1 if stat.S_ISDIR(item.st_mode) else item.st_nlink
        if names[key] == links:
            total += item.st_blocks * BLOCK_BYTES
    return total


def opened_files(found: PathEntry) -> Iterator[int | None]:
    """Yield every regular file of the entry, open for reading; ``None`` for one that cannot be."""
    with opened(found.root, found.parts[:-1]) as parent:
        status = os.stat(found.parts[-1], dir_fd=parent, follow_symlinks=False)
        inside = [(found.parts, status)]
    if found.is_directory:
        with opened(found.root, found.parts) as below:
            inside += list(_Tree(found.root).walk(below, found.parts, recursive=True))
    for parts, status in inside:
        if stat.S_ISREG(status.st_mode):
            yield from _opened_file(found.root, parts)


def _opened_file(root: str, parts: tuple[str, ...]) -> Iterator[int | None]:
    with opened(root, parts[:-1]) as parent:
        try:
            descriptor = os.open(parts[-1], _PLAIN_FILE, dir_fd=parent)
        except OSError:
            yield None
            return
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def unchanged(found: PathEntry, descriptor: int) -> bool:
    """Whether the entry in its opened parent is still what was listed."""
    try:
        status = os.stat(found.parts[-1], dir_fd=descriptor, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return (status.st_dev, status.st_ino, status.st_ctime_ns) == (
        found.device,
        found.inode,
        found.changed_ns,
    )


def remove(found: PathEntry) -> bool:
    """Remove the entry if it is still what was listed; return whether it went.

    Raises:
        PathError: something is mounted in it; nothing of it is removed.

    """
    with opened(found.root, found.parts[:-1]) as parent:
        if not unchanged(found, parent):
            return False
        mounted = mounts.inside(found.path, mounts.points())
        if mounted is not None:
            raise PathError(f"something is mounted at {mounted}; unmount it first")
        if found.is_directory:
            _remove_directory(found.parts[-1], parent, _mount_of(parent))
        else:
            os.unlink(found.parts[-1], dir_fd=parent)
    return True


def remove_empty_parents(found: PathEntry) -> None:
    """Remove the directories between the root and a removed entry that are now empty."""
    for depth in range(len(found.parts) - 1, 0, -1):
        with opened(found.root, found.parts[: depth - 1]) as parent:
            try:
                os.rmdir(found.parts[depth - 1], dir_fd=parent)
            except OSError:
                return


def _mount_of(descriptor: int) -> str:
    """Return the number of the mount that an opened directory was reached through."""
    for line in Path(f"/proc/self/fdinfo/{descriptor}").read_text(encoding="ascii").splitlines():
        name, _colon, value = line.partition(":")
        if name == "mnt_id":
            return value.strip()
    raise PathError("the kernel does not tell what is mounted where (mnt_id); nothing is removed")


def _remove_directory(name: str, parent: int, mount: str) -> None:
    descriptor = os.open(name, _DIRECTORY, dir_fd=parent)
    try:
        if _mount_of(descriptor) != mount:
            raise PathError(f"{name!r} is a mount point; unmount it first")
        with os.scandir(descriptor) as listing:
            inside = [(entry.name, entry.is_dir(follow_symlinks=False)) for entry in listing]
        for entry_name, is_directory in inside:
            if is_directory:
                _remove_directory(entry_name, descriptor, mount)
            else:
                os.unlink(entry_name, dir_fd=descriptor)
    finally:
        os.close(descriptor)
    os.rmdir(name, dir_fd=parent)
