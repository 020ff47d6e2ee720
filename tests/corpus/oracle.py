"""Tell what was lost, without asking the reaper or ``git status``.

Before and after, everything is inventoried: each commit and blob that any reference,
HEAD, stash, unfinished operation or index of any repository below a directory reaches,
and the bytes of each file. What is missing afterwards and neither the origin nor a
landing holds is a loss.
"""

from __future__ import annotations

import hashlib
import os
import re
import stat
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

# Kept apart from the reaper's own list on purpose: these names the owner declared.
DISPOSABLE = re.compile(
    r"(^|/)(node_modules|dist|build|coverage|\.next|\.turbo|__pycache__)(/|$)"
    r"|\.(tsbuildinfo|pyc)$"
)
# Nor is this, wherever it lies.
PRECIOUS = re.compile(r"(^|/)(\.env[^/]*|[^/]*\.(sqlite|db)|id_[a-z0-9]+|\.(hg|jj|svn)/.*)$")
OBJECT = re.compile(rb"\b[0-9a-f]{40}\b")
# Files of a git directory, outside of refs/, that name objects which nothing else may hold.
HOLDERS = (
    "HEAD", "packed-refs", "MERGE_HEAD", "CHERRY_PICK_HEAD", "REVERT_HEAD", "MERGE_AUTOSTASH",
    "logs/refs/stash", "rebase-merge/autostash", "rebase-merge/orig-head",
    "rebase-merge/stopped-sha", "rebase-apply/autostash", "rebase-apply/orig-head",
)  # fmt: skip


@dataclass(frozen=True)
class Inventory:
    """All that a directory holds.

    ``files`` maps a path to the id that git would give the content. Commits that only a
    reflog names do not count: the owner's policy lets them go.
    """

    commits: frozenset[str]
    blobs: frozenset[str]
    files: dict[str, str]
    own: dict[str, frozenset[str]]
    """What a worktree's HEAD and private references point to, by its path."""
    repositories: frozenset[str]


@dataclass
class Losses:
    """What is gone for good."""

    commits: set[str] = field(default_factory=set)
    blobs: set[str] = field(default_factory=set)
    files: dict[str, str] = field(default_factory=dict)
    unproven: dict[str, set[str]] = field(default_factory=dict)
    """Worktrees that are gone, with commits that only this machine has."""

    def __bool__(self) -> bool:
        return bool(self.commits or self.blobs or self.files or self.unproven)

    def __str__(self) -> str:
        """List it for a failing test."""
        parts = [f"commit {oid}" for oid in sorted(self.commits)]
        parts += [f"staged blob {oid}" for oid in sorted(self.blobs)]
        parts += [f"file {name!a} ({oid[:12]})" for name, oid in sorted(self.files.items())]
        parts += [f"unproven {path!a}: {sorted(oids)}" for path, oids in self.unproven.items()]
        return "\n".join(parts) or "nothing"


def _git(directory: Path, *arguments: str, stdin: bytes = b"", index: Path | None = None) -> bytes:
    environment = {key: value for key, value in os.environ.items() if not key.startswith("GIT_")}
    environment |= {"GIT_CONFIG_GLOBAL": "/dev/null", "GIT_CONFIG_NOSYSTEM": "1"}
    environment |= {"GIT_DIR": str(directory), "GIT_NO_REPLACE_OBJECTS": "1"}
    if index:
        environment["GIT_INDEX_FILE"] = str(index)
    # Settings of the repository under judgement must neither run code nor hide anything.
    safe = [
        "-c",
        "core.fsmonitor=false",
        "-c",
        "core.hooksPath=/dev/null",
        "-c",
        "safe.directory=*",
    ]
    return subprocess.run(
        ["git", *safe, *arguments], input=stdin, env=environment, capture_output=True, check=False
    ).stdout


def reachable(git_directory: Path, tips: Iterable[str]) -> tuple[set[str], set[str]]:
    """Return the commits, and all other objects, that existing ``tips`` reach."""
    wanted = "\n".join(tips).encode()
    checked = _git(
        git_directory, "cat-file", "--batch-check=%(objectname) %(objecttype)", stdin=wanted
    )
    there = [line.split()[0] for line in checked.splitlines() if not line.endswith(b"missing")]
    listed = _git(git_directory, "rev-list", "--objects", "--stdin", stdin=b"\n".join(there))
    objects = {line.split(b" ", 1)[0].decode() for line in listed.splitlines()}
    commits = _git(git_directory, "rev-list", "--stdin", stdin=b"\n".join(there))
    found = {line.decode() for line in commits.splitlines()}
    return found, objects - found


def _tips(git_directory: Path) -> set[str]:
    """Return every object id that a file of one git directory (not its logs) names."""
    tips: set[str] = set()
    references = [path for path in (git_directory / "refs").rglob("*") if path.is_file()]
    # A replacement reference is named by what it replaces; its value is what counts here.
    for path in [*(git_directory / name for name in HOLDERS), *references]:
        if path.is_file():
            tips |= {oid.decode() for oid in OBJECT.findall(path.read_bytes())}
    return tips - {"0" * 40}


def _branch(common: Path, admin: Path) -> set[str]:
    """Return what the branch points to that a worktree has checked out."""
    head = admin / "HEAD"
    name = os.fsdecode(head.read_bytes()).strip() if head.is_file() else ""
    if not name.startswith("ref: "):
        return set()
    return {_git(common, "rev-parse", "--verify", "-q", name[5:]).decode().strip()} - {""}


def _staged(common: Path, git_directory: Path) -> set[str]:
    index = git_directory / "index"
    if not index.is_file():
        return set()
    listed = _git(common, "ls-files", "--stage", "-z", index=index)
    entries = [entry.split(b" ") for entry in listed.split(b"\0") if entry]
    return {entry[1].decode() for entry in entries if entry[0] != b"160000"}


def blob_id(path: str | Path) -> str:
    """Return the id that git gives to this file's (or symbolic link's) content."""
    mode = os.lstat(path).st_mode
    if stat.S_ISLNK(mode):
        content = os.fsencode(Path(path).readlink())
    elif stat.S_ISREG(mode):
        content = Path(path).read_bytes()
    else:
        return "special"
    return hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()


def _walk(root: Path, ignore: frozenset[str]) -> tuple[dict[str, str], list[Path]]:
    files: dict[str, str] = {}
    repositories: list[Path] = []
    for folder, folders, names in os.walk(root):
        if {"HEAD", "objects", "refs"} <= {*folders, *names}:
            repositories.append(Path(folder))
            folders.clear()
            continue
        folders[:] = [name for name in folders if str(Path(folder, name)) not in ignore]
        links = [name for name in folders if Path(folder, name).is_symlink()]
        for path in (Path(folder, name) for name in [*names, *links]):
            if path.name != ".git":
                files[str(path)] = blob_id(path)
    return files, repositories


def take(root: Path, *, ignore: Iterable[Path] = ()) -> Inventory:
    """Inventory everything below ``root`` but the ``ignore`` directories (the origins).

    Files inside of git directories are not counted as files: what they hold counts as
    commits and blobs.
    """
    files, repositories = _walk(root, frozenset(str(path) for path in ignore))
    commits: set[str] = set()
    blobs: set[str] = set()
    own: dict[str, frozenset[str]] = {}
    for common in repositories:
        administered = [path for path in (common / "worktrees").glob("*") if path.is_dir()]
        modules = [path for path in common.rglob("modules/**/HEAD") if path.is_file()]
        tips = _tips(common).union(*(_tips(admin) for admin in administered))
        found, others = reachable(common, tips)
        commits |= found
        blobs |= others | _staged(common, common)
        for admin in administered:
            blobs |= _staged(common, admin)
            name = _worktree_path(admin)
            if name:
                own[name] = frozenset(_tips(admin) | _branch(common, admin))
        for module in {path.parent for path in modules if (path.parent / "objects").is_dir()}:
            found, others = reachable(module, _tips(module))
            commits |= found
            blobs |= others | _staged(module, module)
    names = frozenset(str(path) for path in repositories)
    return Inventory(frozenset(commits), frozenset(blobs), files, own, names)


def _worktree_path(admin: Path) -> str | None:
    try:
        written = (admin / "gitdir").read_bytes()
    except OSError:
        return None
    return os.fsdecode(written.removesuffix(b"\n").removesuffix(b"/.git"))


def _held(
    origins: Iterable[Path], before: Path, landed: Iterable[str]
) -> tuple[set[str], set[str]]:
    """Return the commits and the other objects that need no rescue."""
    commits: set[str] = set(landed)
    objects: set[str] = set()
    for origin in origins:
        found, others = reachable(origin, _tips(origin))
        commits |= found
        objects |= others
    # What a landed commit holds is in main in one form or another.
    for oid in landed:
        listed = _git(before, "ls-tree", "-r", "--full-tree", oid)
        objects |= {line.split()[2].decode() for line in listed.splitlines()}
    return commits, objects


def losses(
    before: Inventory,
    after: Inventory,
    *,
    origins: Iterable[Path],
    repository: Path,
    landed: Iterable[str] = (),
) -> Losses:
    """Return what ``before`` had, ``after`` has not, and nothing else holds.

    ``repository`` is the main git directory; ``landed`` are commits whose work is in the
    default branch in another form.
    """
    commits, objects = _held(origins, repository, landed)
    result = Losses()
    result.commits = set(before.commits - after.commits) - commits
    result.blobs = set(before.blobs - after.blobs) - objects
    for name, oid in before.files.items():
        if after.files.get(name) == oid or oid in objects:
            continue
        if not _disposable(name, before):
            result.files[name] = oid
    for path, held in before.own.items():
        # The origin alone counts: a branch that is left behind here is no second copy.
        gone = os.path.lexists(path) is False and path not in after.own
        if gone and (here := reachable(repository, held)[0] - commits):
            result.unproven[path] = here
    return result


def _disposable(name: str, inventory: Inventory) -> bool:
    if PRECIOUS.search(name) or not DISPOSABLE.search(name):
        return False
    # Files of a repository nested in a disposable folder are somebody's work.
    folder = Path(name).parent
    nested = any(str(parent / ".git") in inventory.repositories for parent in [folder, *folder.parents]
                 if DISPOSABLE.search(str(parent)))  # fmt: skip
    return not nested
