"""Is every file of a worktree, byte for byte, what its commit has?

``git status`` answers by what the index remembers of each file, by its flags, and by what a
repository's settings call equal. Here each file is read, and nothing of that is believed. A file
that is not the commit's own bytes is what a checkout would write under the lane's attributes
(ends of lines, encoding, ``$Id$``), or a large file whose content the repository holds (LFS).
"""

from __future__ import annotations

import hashlib
import itertools
import os
import re
import secrets
import stat
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from ..base.git import Git, lines

_LINK, _EXECUTABLE, SUBMODULE = "120000", "100755", "160000"
_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_READ_BYTES = 1 << 20
# A file that is larger is first compared by size: the largest may be a hole.
_LARGE_BYTES = 64 << 20
# Of one worktree at most so much is read of large files, and so much written by git at once.
_MOST_BYTES = 8 << 30
_PORTION_BYTES = 16 << 20
_POINTER = re.compile(
    rb"version https://git-lfs\.github\.com/spec/v1\n(?:ext-.*\n)*oid sha256:([0-9a-f]{64})\nsize (\d{1,18})\n"
)
_POINTER_BYTES = 1024


@dataclass
class Ignored:
    """What git ignores and a build makes again: paths relative to the worktree.

    ``directories`` are those that git ignores as a whole; ``within`` are directories that it
    ignores with the disposable one that they lie in; ``doubted`` are tracked files that git calls
    changed, of which only the bytes tell whether they are.
    """

    directories: set[str] = field(default_factory=set)
    within: set[str] = field(default_factory=set)
    files: set[str] = field(default_factory=set)
    doubted: set[str] = field(default_factory=set)


@dataclass(frozen=True)
class File:
    """A path of a commit, with git's mode and object id."""

    path: str
    mode: str
    oid: str


def listed(git: Git, commit: str) -> list[File]:
    """Return the files, links and submodules of a commit.

    Raises:
        GitError: git cannot read it.

    """
    output = os.fsdecode(git.output("ls-tree", "-r", "-z", "--full-tree", commit))
    found = []
    for entry in output.split("\0"):
        told, _tab, path = entry.partition("\t")
        if path:
            found.append(File(path, told[:6], told.rpartition(" ")[2]))
    return found


def difference(
    git: Git, root: str, files: Sequence[File], ignored: Ignored, count: int | None = None
) -> tuple[str, str] | None:
    """Return (reason, path or more) of the first file below ``root`` that is not the commit's.

    ``files`` are those of its commit, and ``count`` is how many entries that are no directories a
    walk has seen outside of ``ignored.directories``. A file that is not there loses nothing.

    Raises:
        GitError: git cannot read its objects.
        OSError: a file cannot be read.

    """
    link = next((path for path in _folders(files) if Path(root, path).is_symlink()), None)
    if link is not None:
        return "hidden_changes", f"{link} is a link, and a directory in its commit"
    found = 0
    other: list[File] = []
    unequal: list[File] = []
    large: list[File] = []
    for file in files:
        if file.mode == SUBMODULE:
            continue
        actual = _object_id(f"{root}/{file.path}", file)
        if actual is not None:
            found += 1
            if actual != file.oid:
                {_OTHER: other, _TOO_LARGE: large}.get(actual, unequal).append(file)
    for file in itertools.chain(other, _unexplained(git, root, unequal, large)):
        if file.path in ignored.doubted:
            return "uncommitted_changes", file.path
        return "hidden_changes", f"{file.path} is not what its commit has, though git shows nothing"
    # The file .git is no part of the commit.
    if count is None or count != found + 1 + len(ignored.files):
        foreign = next(_foreign(root, files, ignored), None)
        if foreign is not None:
            return "hidden_changes", f"{foreign} is not in its commit, though git shows nothing"
    return None


def _folders(files: Iterable[File]) -> Iterator[str]:
    seen = {""}
    for file in files:
        folder = file.path.rpartition("/")[0]
        while folder not in seen:
            seen.add(folder)
            yield folder
            folder = folder.rpartition("/")[0]


_OTHER, _TOO_LARGE = "other", "too large"


def _object_id(path: str, file: File) -> str | None:
    """Return what git would call the bytes at ``path``; None where nothing is there."""
    new = _hash(file)
    try:
        if file.mode == _LINK:
            target = os.fsencode(os.readlink(path))  # noqa: PTH115 - may be not UTF-8
            return new(b"blob %d\0" % len(target) + target).hexdigest()
        descriptor = os.open(path, _FLAGS)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError:
        if stat.S_ISREG(os.lstat(path).st_mode) and file.mode != _LINK:
            raise  # it cannot be read
        return _OTHER  # a link in the place of a file, or a file in that of a link
    try:
        status = os.fstat(descriptor)
        executable = bool(status.st_mode & stat.S_IXUSR)
        if not stat.S_ISREG(status.st_mode) or executable != (file.mode == _EXECUTABLE):
            return _OTHER
        if status.st_size > _LARGE_BYTES:
            return _TOO_LARGE
        content = os.read(descriptor, status.st_size + 1)
        state = new(b"blob %d\0" % status.st_size)
        state.update(content)
        if len(content) < status.st_size:
            for chunk in _chunks(descriptor):
                state.update(chunk)
        return state.hexdigest()
    finally:
        os.close(descriptor)


def _hash(file: File) -> Callable[[bytes], hashlib._Hash]:
    return hashlib.sha1 if len(file.oid) == 40 else hashlib.sha256


def _chunks(descriptor: int) -> Iterator[bytes]:
    while chunk := os.read(descriptor, _READ_BYTES):
        yield chunk


def _digest(path: str, start: bytes, new: Callable[[bytes], hashlib._Hash]) -> str:
    descriptor = os.open(path, _FLAGS)
    try:
        state = new(start)
        for chunk in _chunks(descriptor):
            state.update(chunk)
        return state.hexdigest()
    finally:
        os.close(descriptor)


def _unexplained(
    git: Git, root: str, unequal: Sequence[File], large: Sequence[File]
) -> Iterator[File]:
    """Yield the files that are neither the commit's bytes nor what a checkout makes of them."""
    if not unequal and not large:
        return
    sizes = _sizes(git, [*unequal, *large])
    on_disk = {file: os.lstat(f"{root}/{file.path}").st_size for file in [*unequal, *large]}
    read_bytes = 0
    rest: list[File] = []
    for file in large:
        if on_disk[file] == sizes.get(file.oid):
            read_bytes += on_disk[file]
            start = b"blob %d\0" % on_disk[file]
            path = f"{root}/{file.path}"
            if read_bytes > _MOST_BYTES or _digest(path, start, _hash(file)) != file.oid:
                yield file
        else:
            rest.append(file)
    portion: list[File] = []
    amount = 0
    for file in [*unequal, *rest]:
        size = sizes.get(file.oid)
        is_pointer = size is not None and size < _POINTER_BYTES
        # A checkout doubles the bytes of a text at most.
        twice = size is not None and size <= 2 * on_disk[file] + _POINTER_BYTES
        too_large = on_disk[file] > _LARGE_BYTES and not is_pointer
        if file.mode == _LINK or "\n" in file.path or not twice or too_large:
            yield file
            continue
        portion.append(file)
        amount += size or 0
        if amount > _PORTION_BYTES:
            yield from _not_as_checked_out(git, root, portion, on_disk)
            portion, amount = [], 0
    yield from _not_as_checked_out(git, root, portion, on_disk)


def _sizes(git: Git, files: Iterable[File]) -> dict[str, int]:
    oids = sorted({file.oid for file in files})
    said = git.output("cat-file", "--batch-check", stdin=lines(oids)).decode()
    answers = (line.split() for line in said.splitlines())
    return {words[0]: int(words[2]) for words in answers if words[1:2] == ["blob"]}


def _not_as_checked_out(
    git: Git, root: str, files: Sequence[File], on_disk: Mapping[File, int]
) -> Iterator[File]:
    if not files:
        return
    # Git tells the size that the object has, not that of what it writes.
    token = secrets.token_hex(16)
    stdin = os.fsencode("".join(f"{file.oid} {file.path}\n" for file in files))
    output = git.output("cat-file", "--filters", f"--batch={token}", stdin=stdin)
    written = output.split(token.encode() + b"\n")[1:]
    if len(written) != len(files):
        yield from files
        return
    store = ""
    for file, content in zip(files, written, strict=True):
        expected = content[:-1]
        pointer = _POINTER.fullmatch(expected)
        if pointer is not None:
            store = store or _large_file_store(git)
            if not _is_held(pointer, f"{root}/{file.path}", on_disk[file], store):
                yield file
        elif len(expected) != on_disk[file] or (
            _digest(f"{root}/{file.path}", b"", hashlib.sha256)
            != hashlib.sha256(expected).hexdigest()
        ):
            yield file


def _large_file_store(git: Git) -> str:
    """Return where the repository keeps the content of large files (LFS)."""
    common = git.output("rev-parse", "--path-format=absolute", "--git-common-dir")
    where = git.call("config", "--get", "lfs.storage").stdout
    directory = os.fsdecode(common.removesuffix(b"\n"))
    return os.path.join(directory, os.fsdecode(where.removesuffix(b"\n")) or "lfs")  # noqa: PTH118


def _is_held(pointer: re.Match[bytes], path: str, size: int, store: str) -> bool:
    """Whether the file is what the pointer names, and the repository has it too."""
    oid, wanted = pointer[1].decode(), int(pointer[2])
    held = f"{store}/objects/{oid[:2]}/{oid[2:4]}/{oid}"
    with suppress(OSError):
        return (
            size == wanted == os.lstat(held).st_size
            and size <= _MOST_BYTES
            and _digest(path, b"", hashlib.sha256) == oid
        )
    return False


def _foreign(root: str, files: Iterable[File], ignored: Ignored) -> Iterator[str]:
    """Yield what holds bytes and is neither the commit's nor ignored and disposable."""
    known = {file.path for file in files if file.mode != SUBMODULE} | ignored.files | {".git"}
    closed = {file.path for file in files if file.mode == SUBMODULE} | {".git"}
    closed |= ignored.directories | ignored.within
    pending = [""]
    while pending:
        folder = pending.pop()
        with os.scandir(f"{root}/{folder}") as entries:
            for entry in entries:
                path = f"{folder}{entry.name}"
                if entry.is_dir(follow_symlinks=False):
                    if path not in closed:
                        pending.append(f"{path}/")
                elif path not in known and _holds_bytes(entry):
                    yield path


def _holds_bytes(entry: os.DirEntry[str]) -> bool:
    return entry.is_symlink() or entry.is_file(follow_symlinks=False)


def large_files(directory: str) -> Collection[str]:
    """Return the directories below a git directory in which content of large files lies."""
    return [
        str(path) for path in Path(directory).rglob("lfs/objects") if next(path.iterdir(), None)
    ]
