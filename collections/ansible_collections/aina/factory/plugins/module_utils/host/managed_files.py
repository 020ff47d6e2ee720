"""Bring many files and directories to a declared state in one go.

``plan`` compares, ``apply`` carries exactly that plan out. A file is replaced as a
whole: written beside its target, validated, flushed and renamed, so that at no moment
a half-written file is in force.
"""

from __future__ import annotations

import fnmatch
import grp
import os
import pwd
import shutil
import stat
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path

from ..base import files
from ..base.errors import FactoryError
from ..base.ports import Run

VALIDATION_SECONDS = 120.0
# Of directories that come to be on the way to a declared path, whatever the umask is.
_PARENT_MODE = 0o755
# Where everybody may read what is not itself private.
_SYSTEM_DIRS = ("/etc", "/usr/local", "/var/cache", "/var/lib")
_OWN_DIR = "/etc/aina-factory"
_NEW_FILE_LINES = 40
_LEFTOVER_SUFFIX = ".managed-tmp"


class ManagedFilesError(FactoryError):
    """The declared state cannot be reached; the message names the path and the remedy."""


@dataclass(frozen=True)
class Attributes:
    """Owner and group by name (``None``: leave as it is), mode as a number."""

    owner: str | None
    group: str | None
    mode: int


@dataclass(frozen=True)
class FileSpec:
    """A regular file with exactly this content.

    ``validate`` is an argument list in which ``%s`` stands for the path of the candidate;
    ``sensitive`` keeps the content out of every diff.
    """

    path: str
    content: bytes
    attributes: Attributes
    validate: tuple[str, ...] = ()
    sensitive: bool = False


@dataclass(frozen=True)
class DirectorySpec:
    """A directory; when ``exclusive``, nothing undeclared stays in it.

    ``exclude`` are glob patterns for names that an exclusive directory tolerates.
    """

    path: str
    attributes: Attributes
    exclusive: bool = False
    exclude: tuple[str, ...] = ()


@dataclass(frozen=True)
class LinkSpec:
    """A symbolic link; whatever file or link stands in its place is replaced by it."""

    path: str
    target: str


class ChangeKind(StrEnum):
    """What happens to one path."""

    CREATE_DIRECTORY = "create directory"
    WRITE = "write"
    LINK = "link"
    ATTRIBUTES = "set attributes"
    REMOVE = "remove"


@dataclass(frozen=True)
class Change:
    """One step of a plan; ``before`` and ``after`` are what a diff shows.

    ``prunes``: a directory of drop-ins goes with the last of them, where no package owns it.
    """

    kind: ChangeKind
    path: str
    before: str
    after: str
    file: FileSpec | None = None
    attributes: Attributes | None = None
    link: LinkSpec | None = None
    prunes: bool = False


def plan(
    directories: Sequence[DirectorySpec],
    files: Sequence[FileSpec],
    absent: Sequence[str],
    links: Sequence[LinkSpec] = (),
) -> list[Change]:
    """Return the changes that lead from the disk's state to the declared one, in order.

    Raises:
        ManagedFilesError: a path is declared twice, is relative, or is of another type on disk.

    """
    paths = [
        *(item.path for item in directories),
        *(item.path for item in files),
        *(item.path for item in links),
    ]
    _check_declaration(paths, absent)
    changes = [change for item in directories for change in _plan_directory(item)]
    changes += _plan_parents(directories, files, set(paths))
    changes += [change for item in files for change in _plan_file(item)]
    changes += [change for item in links for change in _plan_link(item)]
    declared = set(paths)
    for item in directories:
        if item.exclusive:
            changes += [_removal(path) for path in _undeclared(item, declared)]
    kept = {item.path for item in directories}
    return changes + [
        replace(_removal(path), prunes=str(Path(path).parent) not in kept)
        for path in absent
        if os.path.lexists(path)
    ]


def _check_declaration(present: Sequence[str], absent: Sequence[str]) -> None:
    seen: set[str] = set()
    for path in [*present, *absent]:
        if not path.startswith("/") or os.path.normpath(path) != path:
            raise ManagedFilesError(
                f"{path!r} must be an absolute path without '..' or a trailing slash"
            )
        if path in seen:
            raise ManagedFilesError(f"{path} is declared twice")
        seen.add(path)
    for path in absent:
        if path == "/" or any(other.startswith(path + "/") for other in present):
            raise ManagedFilesError(
                f"{path} is declared absent, but something in it is declared present"
            )


def _plan_directory(item: DirectorySpec) -> Iterator[Change]:
    status = _status(item.path)
    if status is None:
        described = _describe(item.attributes)
        yield Change(
            ChangeKind.CREATE_DIRECTORY,
            item.path,
            "",
            f"directory, {described}\n",
            None,
            item.attributes,
        )
        return
    if stat.S_ISLNK(status.st_mode) and item.exclusive:
        raise ManagedFilesError(
            f"{item.path} is a link, and a directory that is emptied of everything undeclared must "
            "not be one; replace it by a directory"
        )
    if stat.S_ISLNK(status.st_mode) and Path(item.path).is_dir():
        status = Path(item.path).stat()  # an operator's link to another disk is honoured
    if not stat.S_ISDIR(status.st_mode):
        raise ManagedFilesError(f"{item.path} must be a directory but is none; move it away")
    yield from _plan_attributes(item.path, status, item.attributes)


def _plan_parents(
    directories: Sequence[DirectorySpec], files: Sequence[FileSpec], declared: set[str]
) -> Iterator[Change]:
    """Yield the undeclared directories of ours that keep others from what is declared readable.

    Ours are those in an exclusive directory, and those of the system's that hold nothing but what
    is declared: an earlier run has made them on its way, under whatever umask.
    """
    modes = [(item.path, item.attributes.mode) for item in directories]
    modes += [(item.path, item.attributes.mode) for item in files]
    leaves = {path for path, mode in modes if mode & 0o004}
    exclusive = {item.path for item in directories if item.exclusive}
    ways = {str(parent) for path in declared for parent in Path(path).parents}
    for path in sorted({str(parent) for leaf in leaves for parent in Path(leaf).parents}):
        status = _status(path) if path != "/" and path not in declared else None
        if status is None or not stat.S_ISDIR(status.st_mode) or status.st_uid != os.geteuid():
            continue
        if status.st_mode & stat.S_ISVTX or status.st_mode & 0o007 == _PARENT_MODE & 0o007:
            continue
        above = set(map(str, Path(path).parents))
        if above & exclusive or (
            above.intersection(_SYSTEM_DIRS)
            and {entry.path for entry in os.scandir(path)} <= declared | ways
        ):
            yield from _plan_attributes(path, status, Attributes(None, None, _PARENT_MODE))


def _plan_file(item: FileSpec) -> Iterator[Change]:
    if os.path.lexists(_leftover(item.path)):
        yield _removal(_leftover(item.path))
    status = _status(item.path)
    if status is not None and stat.S_ISDIR(status.st_mode):
        raise ManagedFilesError(f"{item.path} must be a file but is a directory; move it away")
    if status is None:
        yield Change(ChangeKind.WRITE, item.path, "", _show_new(item), item, item.attributes)
    elif not stat.S_ISREG(status.st_mode):
        before = f"not a regular file: {_describe_type(item.path, status)}\n"
        yield Change(
            ChangeKind.WRITE, item.path, before, _show(item, item.content), item, item.attributes
        )
    else:
        current = Path(item.path).read_bytes()
        if current == item.content:
            yield from _plan_attributes(item.path, status, item.attributes)
        else:
            yield Change(
                ChangeKind.WRITE,
                item.path,
                _show(item, current),
                _show(item, item.content),
                item,
                item.attributes,
            )


def _plan_link(item: LinkSpec) -> Iterator[Change]:
    if os.path.lexists(_leftover(item.path)):
        yield _removal(_leftover(item.path))
    status = _status(item.path)
    if status is not None and stat.S_ISDIR(status.st_mode):
        raise ManagedFilesError(f"{item.path} must be a link but is a directory; move it away")
    before = _describe_type(item.path, status) if status is not None else ""
    after = f"link to {item.target}"
    if before != after:
        yield Change(
            ChangeKind.LINK, item.path, f"{before}\n" if before else "", f"{after}\n", link=item
        )


def _plan_attributes(path: str, status: os.stat_result, wanted: Attributes) -> Iterator[Change]:
    owner = _user_name(status.st_uid) if wanted.owner is not None else None
    group = _group_name(status.st_gid) if wanted.group is not None else None
    current = Attributes(owner, group, stat.S_IMODE(status.st_mode))
    if current != wanted:
        before, after = _describe(current) + "\n", _describe(wanted) + "\n"
        yield Change(ChangeKind.ATTRIBUTES, path, before, after, None, wanted)


def _undeclared(item: DirectorySpec, declared: set[str]) -> Iterator[str]:
    """Yield the topmost entries below an exclusive directory that nobody declared."""
    if not Path(item.path).is_dir():
        return
    needed = {str(parent) for path in declared for parent in Path(path).parents}
    pending = [item.path]
    while pending:
        with os.scandir(pending.pop()) as entries:
            for entry in sorted(entries, key=lambda entry: entry.name):
                if any(fnmatch.fnmatchcase(entry.name, pattern) for pattern in item.exclude):
                    continue
                is_directory = entry.is_dir(follow_symlinks=False)
                if is_directory and (entry.path in declared or entry.path in needed):
                    pending.append(entry.path)
                elif entry.path not in declared and not entry.name.endswith(_LEFTOVER_SUFFIX):
                    yield entry.path
                elif entry.path not in declared and _target(entry.path) not in declared:
                    yield entry.path  # what a killed run left of a file that is no longer declared


def _removal(path: str) -> Change:
    status = _status(path)
    described = _describe_type(path, status) if status is not None else "absent"
    return Change(ChangeKind.REMOVE, path, described + "\n", "")


def apply(changes: Iterable[Change], run: Run, done: list[str] | None = None) -> None:
    """Carry the plan out, in its order; ``done`` collects the paths, also where it ends early.

    Raises:
        ManagedFilesError: a validator refused a file (its words are quoted), an owner or
            group does not exist, or the kernel refused (an immutable file, a full disk).
            What was refused is not in force.

    """
    for change in changes:
        try:
            _apply(change, run)
            if change.prunes:
                _prune(Path(change.path).parent, run)
            if done is not None:
                done.append(change.path)
        except OSError as error:
            hint = "; is it immutable (lsattr)?" if isinstance(error, PermissionError) else ""
            raise ManagedFilesError(
                f"{change.path}: could not {change.kind}: {error.strerror}{hint}"
            ) from error


def keep_former(changes: Iterable[Change], former: Path) -> None:
    """Keep what stands where something is about to come, and remember where nothing does.

    What an earlier run has kept of a path is what was there before all of them.
    """
    for change in changes:
        copy = former / change.path.lstrip("/")
        # Where nothing stood, a directory says so.
        if (change.file is None and change.link is None) or os.path.lexists(copy):
            continue
        if os.path.lexists(change.path):
            save(Path(change.path), copy)
        else:
            make_directory(copy)


def give_back(paths: Sequence[str], former: Path) -> list[Change]:
    """Return what puts back what was kept of these paths; of others nothing is known."""
    changes: list[Change] = []
    for path in paths:
        copy = former / path.lstrip("/")
        if copy.is_symlink():
            changes += _plan_link(LinkSpec(path, str(copy.readlink())))
        elif copy.is_file():
            status = copy.stat()
            owner, group = _user_name(status.st_uid), _group_name(status.st_gid)
            attributes = Attributes(owner, group, stat.S_IMODE(status.st_mode))
            changes += _plan_file(FileSpec(path, copy.read_bytes(), attributes))
        elif copy.is_dir() and os.path.lexists(path):
            changes.append(_removal(path))
    return changes


def forget_former(paths: Sequence[str], former: Path) -> None:
    """Forget what was kept of these paths: it is there again."""
    for path in paths:
        copy = former / path.lstrip("/")
        if os.path.lexists(copy):
            _remove(str(copy))


def save(path: Path, copy: Path) -> None:
    """Copy a file with owner and mode, or a link as a link."""
    make_directory(copy.parent)
    if path.is_symlink():
        copy.symlink_to(path.readlink())
        return
    status = path.stat()
    with files.replacing(copy) as stream:
        stream.write(path.read_bytes())
        stream.flush()
        os.fchown(stream.fileno(), status.st_uid, status.st_gid)
        os.fchmod(stream.fileno(), stat.S_IMODE(status.st_mode))


def _apply(change: Change, run: Run) -> None:
    if change.kind is ChangeKind.REMOVE:
        _remove(change.path)
    elif change.kind is ChangeKind.CREATE_DIRECTORY and change.attributes is not None:
        make_directory(Path(change.path))
        _set_attributes(change.path, change.attributes)
    elif change.kind is ChangeKind.ATTRIBUTES and change.attributes is not None:
        _set_attributes(change.path, change.attributes)
    elif change.file is not None:
        _write(change.file, run)
    elif change.link is not None:
        _link(change.link)


def make_directory(path: Path) -> None:
    """Make a directory and its parents; those that are new may be passed by everybody."""
    for missing in reversed([item for item in (path, *path.parents) if not item.exists()]):
        missing.mkdir(exist_ok=True)
        missing.chmod(_PARENT_MODE)


def _write(item: FileSpec, run: Run) -> None:
    target, candidate = Path(item.path), Path(_leftover(item.path))
    make_directory(target.parent)
    # Nobody but root reads it before it has its own mode.
    with files.replacing(target, candidate) as stream:
        stream.write(item.content)
        stream.flush()
        # By descriptor: in a user's directory the name may be another file by now.
        _set_attributes(stream.fileno(), item.attributes, item.path)
        if item.validate:
            _validate(item, str(candidate), run)


def _link(item: LinkSpec) -> None:
    candidate = Path(_leftover(item.path))
    make_directory(candidate.parent)
    candidate.unlink(missing_ok=True)
    candidate.symlink_to(item.target)
    candidate.replace(item.path)
    files.flush(candidate.parent)


def _validate(item: FileSpec, candidate: str, run: Run) -> None:
    argv = [word.replace("%s", candidate) for word in item.validate]
    try:
        done = run(argv, timeout_seconds=VALIDATION_SECONDS)
    except (OSError, TimeoutError) as error:
        raise ManagedFilesError(
            f"{item.path} was not replaced: its validator {argv[0]} did not run: {error}"
        ) from error
    if not done.ok:
        words = (
            (done.stderr + done.stdout)
            .decode(errors="replace")
            .strip()
            .replace(candidate, item.path)
        )
        raise ManagedFilesError(f"{item.path} was not replaced: {argv[0]} refuses it: {words}")


def _set_attributes(target: str | int, wanted: Attributes, path: str = "") -> None:
    try:
        user = pwd.getpwnam(wanted.owner).pw_uid if wanted.owner is not None else -1
        group = grp.getgrnam(wanted.group).gr_gid if wanted.group is not None else -1
    except KeyError as error:
        raise ManagedFilesError(
            f"{path or target}: {error.args[0]}; create the account first; the role host_baseline "
            "makes that of the site"
        ) from None
    os.chown(target, user, group)
    os.chmod(target, wanted.mode)  # noqa: PTH101 - a Path cannot hold a descriptor


def _remove(path: str) -> None:
    if Path(path).is_dir() and not Path(path).is_symlink():
        shutil.rmtree(path)
    else:
        Path(path).unlink(missing_ok=True)


def _prune(directory: Path, run: Run) -> None:
    """Remove an empty directory of drop-ins that an earlier run has made on its way."""
    parents = {*map(str, directory.parents)}
    # Those of the product's own are declared by one role and used by many.
    is_drop_in = directory.suffix == ".d" and parents & {*_SYSTEM_DIRS} and _OWN_DIR not in parents
    if not is_drop_in or directory.is_symlink() or any(directory.iterdir()):
        return
    if not run(
        ["dpkg-query", "--search", "--", str(directory)], timeout_seconds=VALIDATION_SECONDS
    ).ok:
        directory.rmdir()


def _status(path: str) -> os.stat_result | None:
    try:
        return os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return None


def _leftover(path: str) -> str:
    parent, name = os.path.split(path)
    return f"{parent}/.{name}{_LEFTOVER_SUFFIX}"


def _target(leftover: str) -> str:
    parent, name = os.path.split(leftover)
    return f"{parent}/{name.removeprefix('.').removesuffix(_LEFTOVER_SUFFIX)}"


def _show(item: FileSpec, content: bytes) -> str:
    if item.sensitive:
        return "(sensitive)\n"
    return content.decode(errors="replace")


def _show_new(item: FileSpec) -> str:
    """A long file that was not there is named, not printed: a diff is read for what differs."""
    count = item.content.count(b"\n")
    if count > _NEW_FILE_LINES and not item.sensitive:
        return f"(new file of {count} lines)\n"
    return _show(item, item.content)


def _describe(attributes: Attributes) -> str:
    owner, group = attributes.owner or "(any)", attributes.group or "(any)"
    return f"{owner}:{group} {attributes.mode:04o}"


def _describe_type(path: str, status: os.stat_result) -> str:
    if stat.S_ISLNK(status.st_mode):
        return f"link to {Path(path).readlink()}"
    if stat.S_ISDIR(status.st_mode):
        return "directory"
    return "file" if stat.S_ISREG(status.st_mode) else "special file"


def _user_name(identifier: int) -> str:
    try:
        return pwd.getpwuid(identifier).pw_name
    except KeyError:
        return str(identifier)


def _group_name(identifier: int) -> str:
    try:
        return grp.getgrgid(identifier).gr_name
    except KeyError:
        return str(identifier)
