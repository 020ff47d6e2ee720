"""Take a worktree away in constant time, give it back, or delete it for good.

Two renames take a worktree away: its tree into ``.aina-factory-trash`` beside it, then
git's directory for it into ``aina-factory-trash`` of the repository, both under one token.
No journal is needed, and so a full disk does not matter: git's directory itself names the
place that the tree came from. After a kill between the renames git still lists the
worktree, and :func:`restore_interrupted` puts its tree back.

An entry is renamed to ``<token>.deleting`` before its first file is unlinked, so that half
a tree is never given back.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import shutil
import stat
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from ..base import mounts, presence
from ..base.errors import FactoryError
from ..base.ports import Run
from ..base.trust import changeable_by_others, read_file

TREE_TRASH = ".aina-factory-trash"
ADMIN_TRASH = "aina-factory-trash"
DELETING = ".deleting"
# Beside git's own files for a reaped worktree: what it was, and why it went.
_RECORD = "aina-factory-reaped"
_RECORD_BYTES = 1 << 16
_UNLINKERS = 2
# The next run goes on with a tree that takes longer.
_UNLINK_SECONDS = 3600.0

# Who sits in which of these directories.
Look = Callable[[Iterable[str]], presence.Occupants]


def look_around(directories: Iterable[str]) -> presence.Occupants:
    """Look at the processes that the caller can see."""
    return presence.find(directories)


class TrashError(FactoryError):
    """A worktree could not be moved; it is where it was. The message says why."""


class NotThereError(TrashError):
    """Nothing of the trash is meant; the message says what was asked for."""


class ChangedError(TrashError):
    """A worktree changed before it was moved; it is where it was. The message says what."""


@dataclass(frozen=True)
class TrashEntry:
    """One reaped worktree; ``since`` is when it was reaped, in seconds since the epoch.

    ``reason``, ``branch`` and ``head`` are as its verdict had them, and empty where a full disk
    kept them from being written.
    """

    token: str
    path: str
    tree: str
    admin: str
    since: float
    deleting: bool
    reason: str = ""
    branch: str = ""
    head: str = ""


def note(common_dir: str, token: str, reason: str, branch: str | None, head: str | None) -> None:
    """Write down why the entry ``token`` went."""
    document = {"reason": reason, "branch": branch or "", "head": head or ""}
    with contextlib.suppress(OSError):  # it goes and comes back without
        file = Path(common_dir, ADMIN_TRASH, token, _RECORD)
        file.write_text(json.dumps(document), encoding="ascii")


def _noted(admin: Path) -> dict[str, str]:
    try:
        known = json.loads(read_file(admin / _RECORD, _RECORD_BYTES))
        return {name: str(known[name]) for name in ("reason", "branch", "head")}
    except (OSError, ValueError, LookupError, TypeError, RecursionError):
        return {}


def make_ready(parents: Iterable[str], common_dir: str) -> None:
    """Make the trash directories in ``parents``, so that a full disk cannot prevent a reap."""
    wanted = sorted(map(_tree_trash, parents))
    for directory in [*wanted, f"{common_dir}/{ADMIN_TRASH}"]:
        with contextlib.suppress(OSError):  # the rename will tell
            _refuse_what_others_change(directory)
            _make_directory(directory)


def _tree_trashes(parent: str) -> list[str]:
    """Return where a tree of the caller may lie: a second place where another came first."""
    return [f"{parent}/{TREE_TRASH}", f"{parent}/{TREE_TRASH}-{os.geteuid()}"]


def _tree_trash(parent: str) -> str:
    first, second = _tree_trashes(parent)
    try:
        return first if os.lstat(first).st_uid == os.geteuid() else second
    except FileNotFoundError:
        return first


def _make_directory(directory: str) -> None:
    path = Path(directory)
    with contextlib.suppress(FileExistsError):
        path.mkdir(mode=0o700)
        with contextlib.suppress(OSError):  # a courtesy where the lanes lie inside a checkout
            (path / ".gitignore").write_text("*\n", encoding="ascii")
    status = path.lstat()
    if not stat.S_ISDIR(status.st_mode):
        raise OSError(errno.ENOTDIR, "it is no directory", directory)
    if status.st_uid != os.geteuid() or status.st_mode & 0o022:
        raise OSError(errno.EPERM, "others can change it", directory)


def move(
    path: str,
    admin_dir: str,
    common_dir: str,
    now: float,
    difference: Callable[[str], str | None] = lambda tree: None,
) -> str:
    """Take the worktree at ``path`` away and return its token.

    ``difference`` is called with the place of the moved tree, before git forgets it, and
    returns what speaks against its going; then it is put back.

    Raises:
        ChangedError: something speaks against it; it is where it was.
        TrashError: it could not be moved and is where it was.

    """
    token = f"{Path(admin_dir).name}.{int(now * 1000)}"
    admin_trash = f"{common_dir}/{ADMIN_TRASH}"
    tree_trash = f"{os.path.dirname(path)}/{TREE_TRASH}"  # noqa: PTH120 - may be not UTF-8
    try:
        tree_trash = _tree_trash(os.path.dirname(path))  # noqa: PTH120
        _refuse_what_others_change(path)
        for directory in (tree_trash, admin_trash):
            _make_directory(directory)
        with _writable(path):
            os.rename(path, f"{tree_trash}/{token}")  # noqa: PTH104
    except OSError as error:
        raise TrashError(f"{path} cannot be moved to {tree_trash}: {error.strerror}") from error
    tree = f"{tree_trash}/{token}"
    changed = difference(tree)
    if changed is not None:
        os.rename(tree, path)  # noqa: PTH104
        raise ChangedError(changed)
    try:
        os.rename(admin_dir, f"{admin_trash}/{token}")  # noqa: PTH104
    except OSError as error:
        os.rename(tree, path)  # noqa: PTH104
        raise TrashError(
            f"{admin_dir} cannot be moved to {admin_trash}: {error.strerror}"
        ) from error
    return token


def _refuse_what_others_change(place: str) -> None:
    """Root renames only what nobody else can replace meanwhile."""
    part = changeable_by_others(place) if os.geteuid() == 0 else None
    if part is not None:
        raise OSError(errno.EPERM, f"others than root can change {part}", place)


@contextlib.contextmanager
def _writable(path: str) -> Iterator[None]:
    """Moving a directory to another parent needs the right to write into it."""
    mode = Path(path).stat().st_mode
    if mode & 0o200 == 0 and os.geteuid() != 0:
        Path(path).chmod(mode | 0o200)
        try:
            yield
        except OSError:
            Path(path).chmod(mode)
            raise
    else:
        yield


def entries(common_dir: str) -> list[TrashEntry]:
    """Return what is in the trash of a repository."""
    found = []
    try:
        admins = sorted(Path(common_dir, ADMIN_TRASH).iterdir())
    except OSError:
        return []
    for admin in admins:
        token = admin.name.removesuffix(DELETING)
        try:
            gitdir = os.fsdecode(read_file(admin / "gitdir")).removesuffix("\n")
            since = int(token.rpartition(".")[2]) / 1000
        except (OSError, ValueError):
            continue
        if not gitdir.startswith("/"):  # relative to where git's directory was
            gitdir = os.path.normpath(f"{common_dir}/worktrees/{token.rpartition('.')[0]}/{gitdir}")
        path = gitdir.removesuffix("/.git")
        places = [f"{place}/{token}" for place in _tree_trashes(os.path.dirname(path))]  # noqa: PTH120
        there = [p for p in places if os.path.lexists(p) or os.path.lexists(p + DELETING)]
        tree = (there or places)[0]
        deleting = admin.name != token or os.path.lexists(tree + DELETING)
        found.append(TrashEntry(token, path, tree, str(admin), since, deleting, **_noted(admin)))
    return found


def restore_interrupted(missing: Sequence[tuple[str, str]]) -> list[str]:
    """Put back trees whose worktree git still lists; return their paths.

    ``missing`` are (path, git's directory) of worktrees whose directory is not there.
    """
    restored = []
    for path, admin_dir in missing:
        places = map(Path, _tree_trashes(os.path.dirname(path)))  # noqa: PTH120
        name = Path(admin_dir).name
        candidates = [
            entry
            for place in places
            if place.is_dir() and os.access(place, os.R_OK | os.X_OK)  # another owner's is not
            for entry in place.iterdir()
            if entry.name.rpartition(".")[0] == name
            and entry.name.rpartition(".")[2].isdigit()
            and _belongs(entry, admin_dir)
        ]
        if len(candidates) == 1 and not os.path.lexists(path):
            _refuse_what_others_change(str(candidates[0]))
            os.rename(candidates[0], path)  # noqa: PTH104
            restored.append(path)
    return restored


def _belongs(tree: Path, admin_dir: str) -> bool:
    try:
        target = os.fsdecode(read_file(tree / ".git")).removesuffix("\n")
    except OSError:
        return False
    return os.path.realpath(target.removeprefix("gitdir: ")) == os.path.realpath(admin_dir)


def chosen(wanted: str, some: Sequence[TrashEntry]) -> list[TrashEntry]:
    """Return the entries that ``wanted`` names: a path, the name of a lane, a branch, or a time.

    Of entries with the same path it is the newest. A time (ISO 8601, of this host where it has
    no zone) stands for all that was reaped since.

    Raises:
        NotThereError: there is none.
        TrashError: a name stands for several.

    """
    newest: dict[str, TrashEntry] = {}
    for entry in sorted(some, key=lambda item: item.since):
        if not entry.deleting:
            newest[entry.path] = entry
    path = os.path.abspath(wanted)  # noqa: PTH100 - the directory is not there
    if path in newest:
        return [newest[path]]
    named = [
        entry
        for entry in newest.values()
        if wanted in {entry.path.rpartition("/")[2], entry.branch}
    ]
    if len(named) > 1:
        paths = ", ".join(entry.path for entry in named)
        raise TrashError(f"{wanted} stands for several: {paths}; name one by its path")
    if not named:
        try:
            since = datetime.fromisoformat(wanted).timestamp()
        except (ValueError, OverflowError):
            since = float("inf")
        named = [entry for entry in newest.values() if entry.since >= since]
    if not named:
        raise NotThereError(f"{wanted} is not in the trash; it was never reaped or is deleted")
    return named


def put_back(entry: TrashEntry, common_dir: str) -> None:
    """Rename an entry to where it came from.

    Raises:
        TrashError: something stands in its place.

    """
    admin_dir = f"{common_dir}/worktrees/{entry.token.rpartition('.')[0]}"
    try:
        if os.path.lexists(entry.tree):
            _refuse_what_others_change(entry.tree)
        branch = os.fsdecode(read_file(f"{entry.admin}/HEAD")).strip()
        taken = _heads(common_dir)
    except OSError as error:
        raise TrashError(f"{entry.path} could not be restored: {error.strerror}") from error
    # Where refs are kept in tables, HEAD says this and git alone knows the branch.
    tables = branch == "ref: refs/heads/.invalid"
    if branch.startswith("ref: ") and not tables and branch in taken:
        raise TrashError(f"{entry.path} was on {branch[5:]}, which is checked out elsewhere now")
    for place in (entry.path, admin_dir):
        if os.path.lexists(place):
            raise TrashError(f"{place} exists again; move it away and undo again")
    try:
        Path(common_dir, "worktrees").mkdir(exist_ok=True)
        os.rename(entry.admin, admin_dir)  # noqa: PTH104
        # A kill here leaves what a kill in move() leaves; the next run finishes it.
        os.rename(entry.tree, entry.path)  # noqa: PTH104
        Path(admin_dir, _RECORD).unlink(missing_ok=True)
    except OSError as error:
        raise TrashError(f"{entry.path} could not be restored: {error.strerror}") from error


def _heads(common_dir: str) -> set[str]:
    """Return what the HEAD files of all worktrees say."""
    files = [Path(common_dir, "HEAD"), *Path(common_dir, "worktrees").glob("*/HEAD")]
    heads = set()
    for file in files:
        with contextlib.suppress(FileNotFoundError):
            heads.add(os.fsdecode(read_file(file)).strip())
    return heads


def oldest(common_dir: str) -> float | None:
    """Return when the oldest entry was reaped, in seconds since the epoch."""
    return min((entry.since for entry in entries(common_dir)), default=None)


def empty(
    common_dir: str,
    before: float,
    run: Run,
    look: Look = look_around,
    early: Collection[str] = (),
) -> list[str]:
    """Delete what was reaped before ``before`` (seconds since the epoch); return problems.

    The entries whose tokens are in ``early`` go, too. What a process sits in is given back. Two
    unlinkers at idle priority: more of them only fight for the disk's journal.
    """
    due = [
        entry
        for entry in entries(common_dir)
        if entry.deleting or entry.since <= before or entry.token in early
    ]
    occupied, problems = give_back_the_occupied(due, common_dir, look)
    free = [entry for entry in due if entry.token not in occupied]
    with ThreadPoolExecutor(_UNLINKERS) as unlinkers:
        problems += filter(None, unlinkers.map(lambda entry: _delete(entry, run), free))
    return problems


def half_deleted(common_dir: str) -> list[str]:
    """Return the trees whose deletion has begun and not ended."""
    doomed = [entry.tree + DELETING for entry in entries(common_dir)]
    return [path for path in doomed if os.path.lexists(path)]


def give_back_the_occupied(
    some: Iterable[TrashEntry], common_dir: str, look: Look = look_around
) -> tuple[dict[str, list[str]], list[str]]:
    """Undo for every process that sits in one of ``some``.

    Returns the processes by the entry's token, and what could not be given back. Processes
    that cannot be inspected were ruled out when the worktree was judged; one that came later
    had no name to find it by.
    """
    trees = {os.path.realpath(entry.tree): entry for entry in some if not entry.deleting}
    inside = look(trees).inside
    problems = []
    for tree in inside:
        try:
            put_back(trees[tree], common_dir)
        except TrashError as error:
            problems.append(str(error))
    return {trees[tree].token: names for tree, names in inside.items()}, problems


def _delete(entry: TrashEntry, run: Run) -> str | None:
    doomed = entry.tree + DELETING
    try:
        if os.path.lexists(entry.tree):
            _refuse_what_others_change(entry.tree)
            os.rename(entry.tree, doomed)  # noqa: PTH104
        if os.path.lexists(doomed):
            _refuse_what_others_change(doomed)
    except OSError as error:
        return f"{entry.tree}: {error.strerror}"
    if os.path.lexists(doomed):
        mounted = mounts.inside(os.path.realpath(doomed), mounts.points())
        if mounted is not None:  # --one-file-system does not see one of the same file system
            return f"{doomed}: something is mounted at {mounted}; unmount it first"
        idle = ["nice", "-n", "19", "ionice", "-c", "3"]
        remove = [*idle, "rm", "-rf", "--one-file-system", "--", doomed]
        done = run(remove, timeout_seconds=_UNLINK_SECONDS)
        if not done.ok:  # directories without write permission
            run(["chmod", "-R", "u+rwX", "--", doomed], timeout_seconds=_UNLINK_SECONDS)
            done = run(remove, timeout_seconds=_UNLINK_SECONDS)
        if not done.ok:
            return f"{doomed}: {done.said}"
    # Git's directory goes last: it is what names the tree.
    shutil.rmtree(entry.admin, ignore_errors=True)
    return None
