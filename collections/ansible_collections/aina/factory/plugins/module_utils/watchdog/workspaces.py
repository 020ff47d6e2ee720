"""Why git cannot work in an agent's workspace, told by its exact reason; reads only.

One reason alone may be healed: a plain folder outside of every repository. Whatever else
looks wrong has a history that a fresh ``git init`` would bury.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from ..base.trust import read_file
from .places import resolve

HEALABLE = "missing_git_metadata"
_FINE = ""
_LINE_BYTES = 8192
_PACKED_BYTES = 64 << 20


@dataclass(frozen=True)
class Workspace:
    """One agent workspace and the exact reason why git cannot work in it."""

    path: str
    reason: str
    uid: int = -1
    gid: int = -1


@dataclass(frozen=True)
class Workspaces:
    """All workspaces of the declared roots; ``broken`` are those with a reason.

    ``missing`` are the declared roots that are not there, and wildcards that fit none.
    """

    count: int
    broken: tuple[Workspace, ...]
    missing: tuple[str, ...] = ()


@dataclass(frozen=True)
class RegisteredWorktrees:
    """Registered worktrees of all projects; ``dangling`` have lost their directory.

    ``missing`` are the declared projects in whose place there is no repository.
    """

    count: int
    dangling: tuple[str, ...]
    missing: tuple[str, ...] = ()


def survey(patterns: Iterable[str]) -> Workspaces:
    """Look at every direct entry of every root; roots that are not there are told as missing."""
    count = 0
    broken: list[Workspace] = []
    declared = resolve(patterns)
    missing = [pattern for pattern, roots in declared.items() if not roots]
    for root in sorted({root for roots in declared.values() for root in roots}):
        try:
            status = os.lstat(root)
            entries = sorted(os.scandir(root), key=lambda entry: entry.name)
        except FileNotFoundError:
            missing.append(root)
            continue
        except OSError as error:
            broken.append(Workspace(root, f"unreadable_{_word(error)}"))
            continue
        outer = inside_repository(root)
        for entry in entries:
            if entry.name.startswith("."):
                continue
            count += 1
            reason, found = judge(entry.path, status, outer)
            if reason != _FINE:
                broken.append(Workspace(entry.path, reason, found.st_uid, found.st_gid))
    return Workspaces(count, tuple(broken), tuple(sorted(missing)))


def _word(error: OSError) -> str:
    return (error.strerror or "error").lower().replace(" ", "_")


def inside_repository(directory: str) -> bool:
    """Whether the directory or one above it has git metadata, or is itself a repository."""
    path = Path(os.path.realpath(directory))
    return any(
        os.path.lexists(place / ".git") or _is_bare(str(place)) for place in (path, *path.parents)
    )


def _is_bare(directory: str) -> bool:
    return Path(directory, "HEAD").is_file() and Path(directory, "objects").is_dir()


def judge(path: str, root: os.stat_result, outer: bool) -> tuple[str, os.stat_result]:
    """Return the reason code ("" when all is well) and the entry's own status."""
    status = os.lstat(path)
    if stat.S_ISLNK(status.st_mode):
        return "symlink", status
    if not stat.S_ISDIR(status.st_mode):
        return "not_a_directory", status
    if status.st_dev != root.st_dev:
        return "mount_point", status
    if status.st_uid != root.st_uid:
        return "wrong_owner", status
    try:
        metadata = os.lstat(f"{path}/.git")
    except FileNotFoundError:
        return _without_metadata(path, outer), status
    except OSError as error:
        return f"unreadable_{_word(error)}", status
    return _with_metadata(path, metadata), status


def _without_metadata(path: str, outer: bool) -> str:
    if outer:
        return "inside_repository"
    return "bare_repository" if _is_bare(path) else HEALABLE


def _with_metadata(path: str, metadata: os.stat_result) -> str:
    git = f"{path}/.git"
    if stat.S_ISLNK(metadata.st_mode):
        return "git_symlink"
    try:
        if stat.S_ISREG(metadata.st_mode):
            return _gitfile(path, git)
        if not stat.S_ISDIR(metadata.st_mode):
            return "git_not_a_directory"
        return _head(Path(git), Path(git))
    except OSError as error:
        return f"unreadable_{_word(error)}"


def _gitfile(path: str, git: str) -> str:
    word, _colon, target = _text(Path(git)).partition(":")
    if word != "gitdir" or not target.strip():
        return "damaged_gitfile"
    # An absolute target takes the place of the path before it.
    directory = Path(path, target.strip())
    if not directory.is_dir():
        return "dangling_gitfile"
    common = directory
    if (directory / "commondir").is_file():
        common = directory / _text(directory / "commondir")
    return _head(directory, common)


def _head(git: Path, common: Path) -> str:
    try:
        head = _text(git / "HEAD")
    except FileNotFoundError:
        return "damaged_repository"
    if not head.startswith("ref:"):
        return _FINE if head else "damaged_repository"
    reference = head.removeprefix("ref:").strip()
    # Other formats of references keep theirs elsewhere; there git itself must be asked.
    if (common / "reftable").is_dir():
        return _FINE
    if (git / reference).is_file() or (common / reference).is_file():
        return _FINE
    return _FINE if reference in _packed(common) else "unborn_head"


def _packed(common: Path) -> set[str]:
    try:
        lines = read_file(common / "packed-refs", _PACKED_BYTES).splitlines()
    except FileNotFoundError:
        return set()
    return {line.decode(errors="replace").partition(" ")[2] for line in lines}


def _text(path: Path) -> str:
    """Return a line of git's; whoever owns the repository may have put anything in its place."""
    return read_file(path, _LINE_BYTES).decode(errors="surrogateescape").strip()


def survey_worktrees(repositories: Iterable[str]) -> RegisteredWorktrees:
    """Compare what each repository has registered with what is there; reads files alone."""
    count = 0
    dangling: list[str] = []
    missing: list[str] = []
    for repository in repositories:
        git = Path(repository, ".git")
        if not git.exists() and not _is_bare(repository):
            missing.append(repository)
            continue
        administration = (git if git.is_dir() else Path(repository)) / "worktrees"
        for place in sorted(administration.iterdir()) if administration.is_dir() else ():
            try:
                gitfile = _text(place / "gitdir")
            except (FileNotFoundError, NotADirectoryError):
                continue
            except OSError:
                # A link, a pipe or what never ends: git has no use for it, and nobody follows it.
                count += 1
                dangling.append(str(place / "gitdir"))
                continue
            count += 1
            if not os.path.lexists(place / gitfile) and not (place / "locked").exists():
                dangling.append(gitfile.removesuffix("/.git"))
    return RegisteredWorktrees(count, tuple(dangling), tuple(missing))
