"""Collect the facts of every worktree: what could be lost, who is using it, since when."""

from __future__ import annotations

import fnmatch
import os
import re
import stat
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, suppress
from pathlib import Path

from ..base import mounts
from ..base.git import LOCAL_SECONDS, REMOTE_SECONDS, Git, GitError, fields, lines
from ..base.ports import Run
from ..base.trust import changeable_by_others, read_file
from . import checkout
from .checkout import Ignored
from .contents import VERSION_CONTROL, is_repository
from .model import Contents, Listed
from .settings import Reap
from .trash import TREE_TRASH

# Reason and detail of something that speaks against reaping.
Obstacle = tuple[str, str]

_OPERATIONS = {
    "MERGE_HEAD": "a merge",
    "MERGE_AUTOSTASH": "a merge with an autostash",
    "CHERRY_PICK_HEAD": "a cherry-pick",
    "REVERT_HEAD": "a revert",
    "BISECT_LOG": "a bisection",
    "BISECT_START": "a bisection",
    "rebase-merge": "a rebase",
    "rebase-apply": "a rebase or an am",
    "sequencer": "a sequence of picks",
}
# What git calls the refs that every worktree has for itself.
_PRIVATE_REFS = ("refs/worktree", "refs/bisect", "refs/rewritten")
_ACTIVITY_FILES = (
    "HEAD",
    "index",
    "logs/HEAD",
    "reftable",
    "ORIG_HEAD",
    "FETCH_HEAD",
    "COMMIT_EDITMSG",
    "gitdir",
    "commondir",
    ".",
)
_SHORT_FILES = {"HEAD", "commondir", "config", "config.worktree", "gitdir", "locked"}
# Of its own directory git reads these as a whole too, and each file below refs.
_READ_WHOLE = {*_SHORT_FILES, "alternates", "attributes", "exclude", "grafts", "shallow"}
_SHORT_BYTES = 1 << 20
# About a million refs.
_PACKED_REFS_BYTES = 64 << 20
_REFLOG_BYTES = 64 << 20
# What git can say at once, unless a file that it reads is none.
_AT_ONCE_SECONDS = 60.0
# npm's packages have files of 1985, and other archives of 1980 or before.
_PACKED_SECONDS = 500_000_000.0
_LOCK_PID = re.compile(r"\bpid[\s=:]+(\d+)", re.IGNORECASE)


def common_directory(run: Run, repository: str) -> str:
    """Return the git directory that all worktrees of ``repository`` share.

    Raises:
        GitError: it is no git repository, or git cannot read it.

    """
    for directory in (repository, f"{repository}/.git"):
        for name in ("", *sorted(_SHORT_FILES)):
            with suppress(OSError):
                _refuse_what_has_no_end(os.path.join(directory, name))  # noqa: PTH118
    git = Git(run, repository)
    words = ("rev-parse", "--path-format=absolute", "--git-common-dir")
    output = git.output(*words, timeout_seconds=_AT_ONCE_SECONDS)
    return os.path.realpath(os.fsdecode(output.removesuffix(b"\n")))


def included_settings(run: Run, common_dir: str) -> list[str]:
    """Return the files from which the repository's settings include others.

    Raises:
        GitError: git cannot read its settings.

    """
    pattern = r"^include(if\..*)?\.path$"
    words = ("config", "--local", "--no-includes", "-z", "--get-regexp", pattern)
    done = Git(run, common_dir).call(*words, timeout_seconds=_AT_ONCE_SECONDS)
    if done.returncode > 1:  # 1: there are none
        raise GitError(f"the settings of {common_dir} cannot be read: {done.stderr!r:.200}")
    paths = [setting.partition("\n")[2] for setting in fields(done.stdout)]
    return [os.path.join(common_dir, os.path.expanduser(path)) for path in paths]  # noqa: PTH111, PTH118


def listed(git: Git, common_dir: str) -> list[Listed]:
    """Return what git knows of, the main worktree first.

    Raises:
        GitError: git cannot list its worktrees.

    """
    _refuse_what_never_ends(common_dir)
    admin_dirs = _admin_dirs(common_dir)
    result: list[Listed] = []
    entry: dict[str, str] = {}
    output = git.output("worktree", "list", "--porcelain", "-z", timeout_seconds=_AT_ONCE_SECONDS)
    for attribute in output.split(b"\0"):
        if attribute:
            name, _space, value = os.fsdecode(attribute).partition(" ")
            entry[name] = value
        elif entry:
            path = entry["worktree"]
            head = entry.get("HEAD")
            result.append(
                Listed(
                    path=path,
                    head=head if head and set(head) != {"0"} else None,
                    branch=entry.get("branch", "").removeprefix("refs/heads/") or None,
                    is_main=not result,
                    lock_reason=entry.get("locked"),
                    admin_dir=None if not result else admin_dirs.get(path),
                )
            )
            entry = {}
    return result


def _refuse_what_never_ends(common_dir: str) -> None:
    """Git would wait for what a pipe or a device says, and read the largest file as a whole."""
    directories = [(f"{common_dir}{name}", False) for name in ("", "/info", "/objects/info")]
    directories.append((f"{common_dir}/refs", True))
    for directory, is_of_refs in directories:
        with suppress(FileNotFoundError, NotADirectoryError), os.scandir(directory) as entries:
            for entry in entries:
                most_bytes = _SHORT_BYTES if is_of_refs or entry.name in _READ_WHOLE else None
                if directory == common_dir and entry.name == "packed-refs":
                    most_bytes = _PACKED_REFS_BYTES
                if entry.is_dir(follow_symlinks=False):
                    if directory == common_dir and entry.name == "worktrees":
                        directories += [(path, False) for path in _directories(entry.path)]
                    elif is_of_refs or (entry.name == "refs" and directory != common_dir):
                        directories.append((entry.path, True))
                elif most_bytes or not entry.is_file(follow_symlinks=False):
                    with suppress(OSError):
                        _refuse_what_has_no_end(entry.path, most_bytes)


def _refuse_what_has_no_end(path: str, most_bytes: int | None = None) -> None:
    status = Path(path).stat()
    if any(is_kind(status.st_mode) for is_kind in (stat.S_ISFIFO, stat.S_ISCHR, stat.S_ISBLK)):
        raise GitError(f"{path} is no plain file; look at it and remove it")
    if most_bytes is None and Path(path).name in {*_SHORT_FILES, ".git"}:
        most_bytes = _SHORT_BYTES
    if most_bytes is not None and stat.S_ISREG(status.st_mode) and status.st_size > most_bytes:
        raise GitError(f"{path} is no plain file of git's: it has {status.st_size} bytes")


def _admin_dirs(common_dir: str) -> dict[str, str]:
    """Return worktree path -> git's own directory for it."""
    found: dict[str, str] = {}
    parent = f"{common_dir}/worktrees"
    try:
        directories = _directories(parent)
    except FileNotFoundError:
        return {}
    for directory in directories:
        try:
            gitdir = os.fsdecode(read_file(f"{directory}/gitdir")).removesuffix("\n")
        except OSError:
            continue
        if not gitdir.startswith("/"):  # worktree.useRelativePaths
            gitdir = os.path.normpath(f"{directory}/{gitdir}")
        found[gitdir.removesuffix("/.git")] = directory
    return found


def _directories(parent: str) -> list[str]:
    return [entry.path for entry in os.scandir(parent) if entry.is_dir(follow_symlinks=False)]


def obstacles_of_form(
    item: Listed, others: Sequence[Listed], policy: Reap, mounted: Collection[str]
) -> list[Obstacle]:
    """Return what the directory entries alone tell, without asking git or reading files.

    ``mounted`` are the mount points of this host.
    """
    if item.is_main:
        return [("main_worktree", "it is the repository's main worktree")]
    try:
        status = Path(item.path).lstat()
    except OSError as error:
        detail = f"{error.strerror}; it was deleted, moved, or its disk is not mounted"
        return [("missing_directory", detail)]
    if not stat.S_ISDIR(status.st_mode):
        return [("not_a_directory", "a link or a file stands in its place")]
    if found := _obstacle_to_root(item.path):
        return found
    found = _gitfile_obstacles(item)
    found += _place_obstacles(item, others, policy, mounted)
    if item.lock_reason is not None:
        found.append(_lock_obstacle(item.lock_reason, policy))
    return [obstacle for obstacle in found if obstacle[0]]


def _obstacle_to_root(path: str) -> list[Obstacle]:
    """Root obeys no settings and renames nothing that others can put there."""
    part = changeable_by_others(path) if os.geteuid() == 0 else None
    return [] if part is None else [("others_can_change", f"others than root can change {part}")]


def _gitfile_obstacles(item: Listed) -> list[Obstacle]:
    if item.admin_dir is None:
        return [("broken_gitfile", "git has no directory that points to it")]
    try:
        gitfile = Path(item.path, ".git")
        if not stat.S_ISREG(gitfile.lstat().st_mode):
            return [("broken_gitfile", ".git is not a regular file")]
        target = os.fsdecode(read_file(gitfile)).removesuffix("\n").removeprefix("gitdir: ")
    except OSError as error:
        return [("broken_gitfile", f".git: {error.strerror}")]
    if os.path.realpath(os.path.join(item.path, target)) != os.path.realpath(item.admin_dir):  # noqa: PTH118
        return [("broken_gitfile", f".git points to {target}, git expects {item.admin_dir}")]
    if item.head is None:
        return [("no_commit", "its HEAD names no commit")]
    return []


def _place_obstacles(
    item: Listed, others: Sequence[Listed], policy: Reap, mounted: Collection[str]
) -> list[Obstacle]:
    found: list[Obstacle] = []
    real = os.path.realpath(item.path)
    if real in mounted:
        found.append(("mount_point", "a file system is mounted on it"))
    inner = mounts.inside(real, mounted)
    if inner is not None:
        # What is mounted from the same file system has its device number: only the table tells.
        found.append(("mount_inside", inner))
    roots = policy.paperclip_roots
    if "/.paperclip/" in real or any(real.startswith(f"{root}/") for root in roots):
        found.append(("paperclip_workspace", "Paperclip owns it; archive it there"))
    nested = next((other.path for other in others if other.path.startswith(item.path + "/")), None)
    if nested is not None:
        found.append(("contains_worktree", f"{nested} lies inside it"))
    return found


def _lock_obstacle(reason: str, policy: Reap) -> Obstacle:
    words = _LOCK_PID.search(reason)
    if words is None or Path(f"/proc/{words[1]}").exists():
        return ("locked", reason or "without a reason")
    if policy.reap_dead_locks:
        return ("", "")
    return ("locked_by_dead_process", f"{reason}: there is no process {words[1]}")


def obstacles_of_git(item: Listed) -> list[Obstacle]:
    """Return unfinished operations and locks in git's own directory of the worktree."""
    admin = Path(item.admin_dir or "")
    found: list[Obstacle] = []
    for name, operation in _OPERATIONS.items():
        if (admin / name).exists():
            found.append(("operation_in_progress", f"{operation} is not finished"))
    modules = list(admin.glob("modules/**/HEAD"))
    initialised = [path for path in modules if _is_attached(path.parent)]
    if len(initialised) < len(modules):
        found.append(("submodule", f"{admin}/modules holds a repository that no submodule uses"))
    locks = sorted(path.name for path in admin.glob("*.lock"))
    if locks:
        found.append(("git_lock_file", f"{', '.join(locks)} in {admin}"))
    return found


def _is_attached(module_dir: Path) -> bool:
    """Whether a submodule's git directory has the work tree that it names."""
    if not (module_dir / "objects").is_dir():
        return True  # some other file called HEAD, such as a log
    try:
        config = os.fsdecode(read_file(module_dir / "config"))
    except OSError:
        return False
    found = re.search(r"^\s*worktree = (.+)$", config, re.MULTILINE)
    return found is not None and Path(module_dir, found[1], ".git").exists()


def private_commits(git: Git, item: Listed) -> list[str]:
    """Return commits that only refs of this very worktree may hold.

    Raises:
        GitError: git cannot list the refs of a worktree that keeps them in tables.
        OSError: a ref cannot be read.

    """
    if Path(item.admin_dir or "", "reftable").is_dir():
        output = git.at(item.path).output("for-each-ref", "--format=%(objectname)", *_PRIVATE_REFS)
        return output.decode().split()
    found = []
    for path in Path(item.admin_dir or "", "refs").rglob("*"):
        if not path.is_dir():
            found.append(read_file(path).decode("ascii", errors="replace").strip())
    return [oid for oid in found if re.fullmatch(r"[0-9a-f]{40,64}", oid)]


def only_of_reflog(git: Git, admin_dir: str) -> list[str]:
    """Return the newest commits that nothing but the worktree's own reflog holds.

    Where refs are kept as reftable there is no such file, and none is known.

    Raises:
        GitError: git cannot read its history.
        OSError: the reflog is there and cannot be read.

    """
    try:
        told = read_file(f"{admin_dir}/logs/HEAD", _REFLOG_BYTES).decode("ascii", errors="replace")
    except FileNotFoundError:
        return []
    words = {word for line in told.splitlines() for word in line.split(" ", 2)[:2]}
    oids = (w for w in words if re.fullmatch(r"[0-9a-f]{40,64}", w) and set(w) != {"0"})
    here = sorted(git.commits_among(oids))
    words_of_git = ("rev-list", "--parents", "--stdin", "--not", "--all")
    found = git.output(*words_of_git, stdin=lines(here)).decode().splitlines() if here else []
    inner = {parent for line in found for parent in line.split()[1:]}
    return [commit for line in found if (commit := line.split()[0]) not in inner]


def stash_subjects(git: Git) -> list[str]:
    """Return what the stash entries say of themselves, for instance ``WIP on topic: ...``.

    Raises:
        GitError: git cannot read the stash.

    """
    if not git.call("rev-parse", "--verify", "--quiet", "refs/stash").ok:
        return []
    return fields(git.output("log", "-g", "-z", "--format=%gs", "refs/stash"))


def stash_obstacle(item: Listed, subjects: Sequence[str]) -> list[Obstacle]:
    """Return the stash entry that was made on the worktree's branch."""
    if item.branch is None:
        return []
    prefixes = (f"WIP on {item.branch}: ", f"On {item.branch}: ")
    entry = next((subject for subject in subjects if subject.startswith(prefixes)), None)
    return [] if entry is None else [("stash", f"a stash was made on its branch: {entry}")]


def obstacles_of_files(git: Git, item: Listed, policy: Reap) -> tuple[list[Obstacle], Ignored]:
    """Return changes, untracked files and ignored files that are not disposable.

    With them comes what is ignored and disposable.
    """
    ignored = Ignored()
    try:
        here = _in_tree(git, item)
        found = _submodules_of_others(here, item)
        if not found:
            found = list(_status_obstacles(here, item, policy, ignored))
    except (GitError, OSError) as error:
        found = [("status_failed", str(error))]
    return found, ignored


def _in_tree(git: Git, item: Listed) -> Git:
    here = git.in_tree(item.path)
    if git.includes or Path(item.admin_dir or "", "config.worktree").exists():
        here.defuse()  # it can have settings that the repository does not show
    return here


def obstacles_of_bytes(
    git: Git, item: Listed, ignored: Ignored, count: int, reading: AbstractContextManager[object]
) -> list[Obstacle]:
    """Return what on disk is not as the worktree's commit has it, whatever git says of it.

    ``count`` is how many entries that are no directories lie outside of ignored directories.
    ``reading`` is held while files are read.
    """
    try:
        here = _in_tree(git, item)
        files = checkout.listed(here, item.head or "")
        with reading:
            found = checkout.difference(here, item.path, files, ignored, count)
        if found is not None:
            return [found]
        return list(_obstacles_of_submodules(here, item.path, files))
    except (GitError, OSError) as error:
        return [("status_failed", f"its files cannot be compared with its commit: {error}")]


def _submodules_of_others(git: Git, item: Listed) -> list[Obstacle]:
    """Git would take their settings without a look at their owner."""
    if os.geteuid() != 0:
        return []
    paths = submodule_paths(git, item)
    return [obstacle for path in paths for obstacle in _obstacle_to_root(f"{item.path}/{path}")]


def _status_obstacles(git: Git, item: Listed, policy: Reap, ignored: Ignored) -> Iterator[Obstacle]:
    entries = iter(
        fields(
            git.output(
                "status",
                "--porcelain=v2",
                "--branch",
                "-z",
                "--untracked-files=all",
                "--ignored=matching",
                "--ignore-submodules=none",
                "--no-renames",
            )
        )
    )
    reported: set[str] = set()
    in_doubt: list[str] = []
    closed = closed_names(policy)
    expected = {"branch.oid": item.head, "branch.head": item.branch or "(detached)"}
    for entry in entries:
        kind, _space, rest = entry.partition(" ")
        if kind == "#":
            name, _space, value = rest.partition(" ")
            if expected.get(name, value) != value:
                yield ("head_moved", f"{name} is {value} and was {expected[name]}")
            continue
        reason = {"?": "untracked_files", "!": "ignored_files"}.get(kind, "uncommitted_changes")
        path = rest if kind in "?!" else rest.split(" ", 9 if kind == "u" else 7)[-1]
        if kind == "1" and rest.startswith(".M N"):
            ignored.doubted.add(path)
            continue
        if kind == "!" and _disposable(git.directory, path, policy):
            known = ignored.directories if path.endswith("/") else ignored.files
            known.add(path.rstrip("/"))
            continue
        if kind == "!" and _empty_trash(f"{git.directory}/{path}"):
            _within(ignored, [path])
            continue
        is_doubtful = kind == "!" and not _bears_a_precious_name(path, policy)
        if is_doubtful and "ignored_files" not in reported and _below_disposable(path, closed):
            in_doubt.append(path)
            continue
        if reason not in reported:
            reported.add(reason)
            yield (reason, path)
    if in_doubt and "ignored_files" not in reported:
        for path in _ignored_for_themselves(git, in_doubt, closed):
            yield ("ignored_files", path)
            return
        _within(ignored, in_doubt)


def _within(ignored: Ignored, paths: Iterable[str]) -> None:
    for path in paths:
        known = ignored.within if path.endswith("/") else ignored.files
        known.add(path.rstrip("/"))


def _disposable(root: str, path: str, policy: Reap) -> bool:
    """Whether the name of what is ignored says that a build makes it again.

    A directory's name says nothing of what git ignores *in* it: a directory ``build`` that
    holds sources may well hold somebody's ``.env`` too.
    """
    if _bears_a_precious_name(path, policy):
        return False
    last = path.rstrip("/").rpartition("/")[2]
    is_folder = path.endswith("/") or Path(root, path).is_symlink()
    return any(
        fnmatch.fnmatchcase(f"{last}/", pattern)
        if pattern.endswith("/")
        else fnmatch.fnmatchcase(last, pattern)
        for pattern in policy.disposable
        if is_folder or not pattern.endswith("/")
    )


def _bears_a_precious_name(path: str, policy: Reap) -> bool:
    last = path.rstrip("/").rpartition("/")[2]
    return any(fnmatch.fnmatchcase(last, pattern) for pattern in policy.precious)


def _below_disposable(path: str, closed: Callable[[str], bool]) -> bool:
    return any(closed(folder) for folder in path.rstrip("/").split("/")[:-1])


def _ignored_for_themselves(
    git: Git, paths: Sequence[str], closed: Callable[[str], bool]
) -> Iterator[str]:
    """Yield what is ignored by a rule of its own, not with all that a disposable directory holds.

    ``dist/*`` ignores the content of ``dist`` as ``dist/`` does, and lets a file in it be
    tracked; ``.env`` and ``*.sqlite`` name files that happen to lie there.
    """
    stdin = b"".join(os.fsencode(path) + b"\0" for path in paths)
    output = git.output("check-ignore", "--verbose", "-z", "--stdin", stdin=stdin).split(b"\0")
    rules = {
        os.fsdecode(path).rstrip("/"): os.fsdecode(rule)
        for rule, path in zip(output[2::4], output[3::4], strict=True)
    }
    for path in paths:
        *folders, last = rules.get(path.rstrip("/"), "").strip("/").split("/")
        while folders and folders[-1] in {"*", "**"}:
            folders.pop()
        if last not in {"*", "**"} or not folders or not closed(folders[-1]):
            yield path


def _empty_trash(path: str) -> bool:
    """Whether nothing is there but the empty trash of worktrees that lay inside this one."""
    marker = f"{TREE_TRASH}/.gitignore"
    if not path.endswith("/"):
        return path.endswith(f"/{marker}")
    for directory, folders, files in os.walk(path, onerror=_refuse):
        links = [name for name in folders if Path(directory, name).is_symlink()]
        if links or any(not f"/{directory}/{name}".endswith(f"/{marker}") for name in files):
            return False
    return True


def _refuse(error: OSError) -> None:
    raise error


def _obstacles_of_submodules(
    git: Git, root: str, files: Iterable[checkout.File]
) -> Iterator[Obstacle]:
    for file in files:
        if file.mode == checkout.SUBMODULE:
            yield from _submodule_obstacles(git, root, file.path, file.oid)


def _submodule_obstacles(git: Git, root: str, path: str, commit: str) -> Iterator[Obstacle]:
    directory = f"{root}/{path}"
    if not os.path.lexists(f"{directory}/.git"):
        if Path(directory).is_dir() and any(Path(directory).iterdir()):
            yield ("submodule", f"{path} is not initialised but holds files")
        return
    inner = git.in_tree(directory)
    try:
        inner.defuse()
        words = ("--untracked-files=all", "--ignore-submodules=none", "--ignored=matching")
        if inner.output("status", "--porcelain", "-z", *words):
            yield ("submodule", f"{path} has changes or files of its own")
            return
        if inner.output("rev-parse", "HEAD").decode().strip() != commit:
            yield ("submodule", f"{path} is on another commit than the worktree's commit says")
            return
        if inner.call("rev-parse", "--verify", "--quiet", "refs/stash").ok:
            yield ("submodule", f"{path} has a stash")
            return
        files = checkout.listed(inner, commit)
        different = checkout.difference(inner, directory, files, Ignored())
        if different is not None:
            yield ("submodule", f"{path}: {different[1]}")
            return
        own = inner.output("rev-parse", "--path-format=absolute", "--git-dir").removesuffix(b"\n")
        if checkout.large_files(os.fsdecode(own)):
            yield ("submodule", f"{path} keeps large files (LFS) that may be nowhere else")
            return
        answer = inner.output("ls-remote", "origin", timeout_seconds=REMOTE_SECONDS).decode()
        held = {line.split("\t")[0] for line in answer.splitlines()}
        stdin = lines([f"^{oid}" for oid in sorted(inner.commits_among(held))])
        words_of_git = ("rev-list", "--all", "--reflog", "HEAD", "--stdin", "--max-count=1")
        if inner.output(*words_of_git, stdin=stdin):
            yield ("submodule", f"{path} has commits that its remote does not hold")
            return
        yield from _obstacles_of_submodules(inner, directory, files)
    except (GitError, OSError) as error:
        yield ("submodule", f"{path} cannot be judged: {error}")


def obstacles_of_contents(
    item: Listed, contents: Contents, submodules: Sequence[str]
) -> list[Obstacle]:
    """Return nested repositories, mounts and what could not be read."""
    found: list[Obstacle] = []
    known = {f"{item.path}/{path}{own}" for path in submodules for own in ("", "/.git")}
    foreign = [path for path in contents.repositories if path not in known]
    if foreign:
        found.append(("nested_repository", foreign[0]))
    if contents.mounts:
        found.append(("mount_inside", contents.mounts[0]))
    if contents.unreadable:
        found.append(("unreadable", contents.unreadable[0]))
    return found


def closed_names(policy: Reap) -> Callable[[str], bool]:
    """Return whether a directory of this name is disposable where git ignores it."""
    names = [pattern.rstrip("/") for pattern in policy.disposable if pattern.endswith("/")]
    pattern = re.compile("|".join(map(fnmatch.translate, names)) or r"(?!)")
    return lambda name: pattern.match(name) is not None


def look_inside(
    run: Run, item: Listed, directories: Sequence[str], since: float, policy: Reap
) -> tuple[list[Obstacle], float]:
    """Return what speaks against deleting disposable directories, and their last change.

    They hold most of a worktree's files: ``find`` goes through them in a process of its own
    and names only what matters. ``directories`` are relative to the worktree. Both times are in
    seconds since the epoch; a change before ``since`` is told as 0.
    """
    if not directories:
        return [], 0.0
    repository = _named(sorted(VERSION_CONTROL), ["(", "-name", "refs", "-type", "d", ")"])
    precious = [*_named(policy.precious), "!", "-type", "l"]
    argv = ["find", "-files0-from", "-", "-xdev", *repository, "-printf", r"repository\0%h\0"]
    argv += [",", *precious, "-printf", r"precious\0%n %T@ %p\0"]
    argv += [",", "-newermt", f"@{since:.6f}", "-printf", r"touched\0%T@\0"]
    names = b"".join(os.fsencode(f"{item.path}/{path}") + b"\0" for path in directories)
    newest = 0.0
    try:
        done = run(argv, stdin=names, environment={"LC_ALL": "C"}, timeout_seconds=LOCAL_SECONDS)
        if not done.ok:
            return [("unreadable", done.said)], newest
        told = fields(done.stdout)
        for kind, value in zip(told[::2], told[1::2], strict=True):
            if kind == "touched":
                newest = max(newest, float(value))
            elif kind == "precious":
                links, written, path = value.split(" ", 2)
                inner = path[len(item.path) + 1 :]
                if _is_precious(inner, int(links), float(written), policy):
                    return [("precious_files", inner)], newest
            elif is_repository({path.name for path in Path(value).iterdir()}):
                return [("nested_repository", value)], newest
    except (OSError, TimeoutError) as error:
        return [("unreadable", str(error))], newest
    return [], newest


def _named(patterns: Sequence[str], also: Sequence[str] = ()) -> list[str]:
    """Return the words by which ``find`` knows what has one of these names."""
    words = list(also) or ["-false"]
    for pattern in patterns:
        words += ["-o", "-name", pattern]
    return ["(", *words, ")"]


def _is_precious(path: str, links: int, written: float, policy: Reap) -> bool:
    """Whether nothing says that a package has brought what bears a precious name.

    Package managers link files to their store, or give them a time of their own choice.
    """
    *folders, name = path.split("/")
    depths = [
        depth
        for depth, folder in enumerate(folders, 1)
        if any(fnmatch.fnmatchcase(f"{folder}/", pattern) for pattern in policy.package_directories)
    ]
    if not depths or depths[0] == len(folders):
        return True
    among = any(fnmatch.fnmatchcase(name, pattern) for pattern in policy.precious_among_packages)
    return among and links == 1 and written > _PACKED_SECONDS


def submodule_paths(git: Git, item: Listed) -> list[str]:
    """Return the paths of the submodules in the worktree's index.

    Raises:
        GitError: the index cannot be read.

    """
    output = git.in_tree(item.path).output("ls-files", "-z", "--stage")
    entries = fields(output) if b"160000 " in output else []
    return [entry.partition("\t")[2] for entry in entries if entry.startswith("160000 ")]


def last_activity(item: Listed) -> float:
    """Return when git last wrote its own files for the worktree, in seconds since the epoch."""
    newest = 0.0
    for name in _ACTIVITY_FILES:
        try:
            newest = max(newest, Path(item.admin_dir or "", name).stat().st_mtime)
        except OSError:
            continue
    return newest
