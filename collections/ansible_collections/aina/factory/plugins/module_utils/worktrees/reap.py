"""Plan a reap of one repository and carry exactly that plan out."""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Callable, Collection, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ..base import mounts, presence
from ..base.git import Git, GitError, lines
from ..base.locks import DIRECTORY
from ..base.ports import Now, Run
from . import landed, survey, trash
from .contents import marks_outside, walk
from .decide import decide
from .model import Contents, Listed, ReapReport, Trace, Verdict, WorktreeFacts
from .settings import Reap

# What the lock of a repository is for: one reap or undo at a time.
PURPOSE = "reap"
# Commits that a reap keeps are named after its day.
DAY_SECONDS = 86400

Progress = Callable[[str, int, int], None]


def silent(_stage: str, _done: int, _total: int) -> None:
    """Tell nobody of the progress; see ``ReapTools``."""


_WORKERS = max(4, 2 * (os.cpu_count() or 1))
# Several that walk or read files at once would wait for the interpreter's lock more than for the
# disk, and take three times as long. The others wait for git meanwhile.
_ONE_AT_A_TIME = threading.Lock()
# A file system tells two changes apart only when a tick of its clock lies between them.
_TICK_SECONDS = 0.02


@dataclass(frozen=True)
class ReapTask:
    """One repository and what is known of it beforehand.

    ``default_branch`` is asked of the remote when not given; ``worktree_roots`` are where
    directories unknown to git are looked for; ``only`` is the one worktree that is judged.
    """

    repository: str
    remote: str = "origin"
    default_branch: str | None = None
    worktree_roots: tuple[str, ...] = ()
    only: str | None = None


@dataclass(frozen=True)
class ReapTools:
    """The effects: programs, clock, GitHub (``None``: not asked), who is told, who looks at processes."""

    run: Run
    now: Now
    merged_pull_requests: landed.MergedPullRequests | None = None
    progress: Progress = silent
    occupants: trash.Look = trash.look_around


def lock_path(common_dir: str, purpose: str) -> Path:
    """Return where the caller's lock of a repository lies: root's beside root's others.

    Raises:
        OSError: the git directory cannot be looked at.

    """
    if os.geteuid() != 0:
        return Path(common_dir, f"aina-factory-{purpose}-by-owner.lock")
    status = Path(common_dir).stat()
    return DIRECTORY / f"repository-{status.st_dev:x}-{status.st_ino:x}-{purpose}.lock"


def address(task: ReapTask, tools: ReapTools) -> str:
    """Return the remote's address; nothing where it has none.

    Raises:
        GitError: git did not start or did not end.

    """
    done = Git(tools.run, task.repository).call("remote", "get-url", task.remote)
    return done.stdout.decode(errors="replace").strip()


def run(task: ReapTask, policy: Reap, tools: ReapTools) -> ReapReport:
    """Finish what a killed reap left, plan, and carry the plan out; the caller holds the lock.

    Raises:
        GitError: the repository as a whole cannot be read.

    """
    recover(task, tools)
    report = plan(task, policy, tools)
    carry_out(report, task, policy, tools)
    return report


def plan(task: ReapTask, policy: Reap, tools: ReapTools) -> ReapReport:
    """Return a verdict for every worktree; change nothing.

    Raises:
        GitError: the repository as a whole cannot be read.

    """
    common_dir = survey.common_directory(tools.run, task.repository)
    git = Git(tools.run, task.repository)
    git.defuse()
    report = ReapReport(task.repository)
    known = survey.listed(git, common_dir)
    items = [item for item in known if task.only in {None, item.path}]
    mounted = frozenset(mounts.points())
    obstacles = {
        item.path: _fenced(_obstacles_at_first_sight, item, known, policy, mounted)
        for item in items
    }
    private = _private_commits(git, [item for item in items if not obstacles[item.path]], obstacles)
    proofs = _prove(git, common_dir, task, policy, tools, items, private, report)
    stashes = survey.stash_subjects(git)
    occupants = _occupants(tools, (item for item in items if not obstacles[item.path]))
    for item in items:
        if not obstacles[item.path]:
            obstacles[item.path] = [
                *_occupant_obstacles(item, occupants),
                *survey.stash_obstacle(item, stashes),
                *_proof_obstacles(item, private[item.path], proofs, report),
            ]
    looks = _look_at_files(git, items, obstacles, proofs, policy, tools)
    for item in items:
        look = looks.get(item.path, _Look())
        facts = WorktreeFacts(
            listed=item,
            evidence=proofs.evidence.get(item.head or ""),
            obstacles=(*obstacles[item.path], *look.obstacles),
            contents=look.contents,
            trace=look.trace,
        )
        report.verdicts.append(decide(facts, policy, tools.now()))
    report.unknown_directories = _unknown_directories(task, known) if task.only is None else []
    return report


def _fenced(look: Callable[..., list[survey.Obstacle]], *what: Any) -> list[survey.Obstacle]:
    """Return what a look at one worktree found; a look that fails keeps that worktree alone."""
    try:
        return look(*what)
    except Exception as error:
        return [_unjudged(error)]


def _unjudged(error: Exception) -> survey.Obstacle:
    return ("unknown", f"it cannot be judged: {type(error).__name__}: {error}")


def _obstacles_at_first_sight(
    item: Listed, items: Sequence[Listed], policy: Reap, mounted: Collection[str]
) -> list[survey.Obstacle]:
    return survey.obstacles_of_form(item, items, policy, mounted) or survey.obstacles_of_git(item)


def _private_commits(
    git: Git, items: Sequence[Listed], obstacles: dict[str, list[survey.Obstacle]]
) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for item in items:
        try:
            found[item.path] = survey.private_commits(git, item)
        except (GitError, OSError, ValueError) as error:
            obstacles[item.path].append(("unknown", f"its own refs cannot be read: {error}"))
    return found


def _prove(
    git: Git,
    common_dir: str,
    task: ReapTask,
    policy: Reap,
    tools: ReapTools,
    items: Sequence[Listed],
    private_commits: dict[str, list[str]],
    report: ReapReport,
) -> landed.Proofs:
    heads = {item.head for item in items if item.head and not item.is_main}
    private = {oid for commits in private_commits.values() for oid in commits}
    tools.progress("asking the remote", 0, 1)
    try:
        remotes = [landed.ask_remote(git, task.remote, task.default_branch, policy)]
    except GitError as error:
        report.warnings.append(f"the remote {task.remote} does not answer: {error}")
        return landed.Proofs(unknown=dict.fromkeys(heads | private, "the remote does not answer"))
    report.default_branch = remotes[0].default_branch
    for name in _others(git, task, policy):
        try:
            remotes.append(landed.ask_remote(git, name, None, policy))
        except GitError as error:
            report.warnings.append(f"the remote {name} does not answer: {error}")
    tools.progress("looking for landed work", 0, 1)
    proofs = landed.prove(
        git,
        common_dir,
        remotes,
        heads | private,
        {item.branch for item in items if item.branch},
        count_pushed=policy.reap_pushed,
        merged_pull_requests=tools.merged_pull_requests,
    )
    report.warnings += proofs.warnings
    return proofs


def _others(git: Git, task: ReapTask, policy: Reap) -> list[str]:
    """Return the other remotes that the checkout has."""
    return [
        name
        for name in policy.other_remotes
        if name != task.remote and git.call("config", "--get", f"remote.{name}.url").ok
    ]


def _occupants(tools: ReapTools, items: Iterable[Listed]) -> presence.Occupants:
    return tools.occupants(os.path.realpath(item.path) for item in items)


def _occupant_obstacles(item: Listed, occupants: presence.Occupants) -> list[survey.Obstacle]:
    inside = occupants.inside.get(os.path.realpath(item.path))
    if inside:
        return [("process_inside", ", ".join(sorted(set(inside))))]
    if occupants.unknown:
        names = ", ".join(occupants.unknown[:3])
        return [("processes_unknown", f"{names} cannot be inspected; run as root")]
    return []


def _proof_obstacles(
    item: Listed, private: Sequence[str], proofs: landed.Proofs, report: ReapReport
) -> list[survey.Obstacle]:
    for oid in private:
        if oid not in proofs.evidence or proofs.evidence[oid].kind not in {
            "ancestor",
            "remote_ref",
        }:
            return [("private_refs", f"a ref of this worktree alone holds {oid}")]
    if item.head in proofs.unknown:
        reason = "remote_unreachable" if report.default_branch is None else "unknown"
        return [(reason, proofs.unknown[item.head])]
    return []


@dataclass(frozen=True)
class _Look:
    """What the files of one worktree told."""

    contents: Contents | None = None
    obstacles: tuple[survey.Obstacle, ...] = ()
    trace: Trace | None = None


def _look_at_files(
    git: Git,
    items: Sequence[Listed],
    obstacles: dict[str, list[survey.Obstacle]],
    proofs: landed.Proofs,
    policy: Reap,
    tools: ReapTools,
) -> dict[str, _Look]:
    candidates = [
        item
        for item in items
        if not item.is_main
        and not obstacles[item.path]
        and (item.head or "") in proofs.evidence
        and Path(item.path).is_dir()
    ]

    looks: dict[str, _Look] = {}
    closed = survey.closed_names(policy)
    with ThreadPoolExecutor(_WORKERS) as workers:
        pending: dict[str, Future[_Look]] = {}
        for number, item in enumerate(candidates):
            now = tools.now()  # before the look
            try:
                seen = _first_look(item, closed)
            except Exception as error:
                looks[item.path] = _Look(obstacles=(_unjudged(error),))
                continue
            pending[item.path] = workers.submit(_look_closely, git, item, policy, tools, now, *seen)
            tools.progress("looking at files", number + 1, len(candidates))
        for number, (path, future) in enumerate(pending.items()):
            try:
                looks[path] = future.result()
            except Exception as error:
                looks[path] = _Look(obstacles=(_unjudged(error),))
            tools.progress("judging files", number + 1, len(pending))
    return looks


def _first_look(
    item: Listed, closed: Callable[[str], bool] = lambda name: False
) -> tuple[Contents, Contents, float]:
    """Return git's own files, the tree and the last activity.

    Marks before judgement: what changes in between then shows as a change since.
    """
    with _ONE_AT_A_TIME:
        return walk(item.admin_dir or ""), walk(item.path, closed), survey.last_activity(item)


def _look_closely(
    git: Git,
    item: Listed,
    policy: Reap,
    tools: ReapTools,
    now: float,
    admin: Contents,
    seen: Contents,
    activity: float,
) -> _Look:
    against, ignored = survey.obstacles_of_files(git, item, policy)
    if not against and not {f"{item.path}/{path}" for path in ignored.directories}.issuperset(
        seen.not_entered
    ):
        # One that only bears the name of a disposable directory: look at everything, and again.
        now = tools.now()
        admin, seen, activity = _first_look(item)
        against, ignored = survey.obstacles_of_files(git, item, policy)
    against = against or survey.obstacles_of_bytes(git, item, ignored, seen.count, _ONE_AT_A_TIME)
    if not against:
        submodules = survey.submodule_paths(git, item) if seen.repositories else []
        against = survey.obstacles_of_contents(item, seen, submodules)
    if not against:
        inner = sorted(ignored.directories | ignored.within)
        against, inside = survey.look_inside(
            tools.run, item, inner, now - policy.grace_seconds, policy
        )
        activity = max(activity, inside)
    disposable = frozenset(ignored.directories)
    trace = Trace(marks_outside(seen.marks, disposable), admin.marks, disposable)
    if max(seen.newest_ctime, admin.newest_ctime) > now - _TICK_SECONDS:
        trace = Trace({}, {}, disposable)  # a further change would not show
    contents = replace(seen, newest_mtime=max(seen.newest_mtime, activity), marks={})
    return _Look(contents, tuple(against), trace)


def measure(report: ReapReport, progress: Progress = silent) -> None:
    """Add the sizes that are not known yet: no verdict waits for them."""
    unmeasured = [
        index
        for index, verdict in enumerate(report.verdicts)
        if verdict.bytes is None and not verdict.listed.is_main
    ]
    for number, index in enumerate(unmeasured):
        verdict = report.verdicts[index]
        if Path(verdict.listed.path).is_dir():
            report.verdicts[index] = replace(verdict, bytes=walk(verdict.listed.path).bytes)
        progress("measuring", number + 1, len(unmeasured))


def _unknown_directories(task: ReapTask, items: Sequence[Listed]) -> list[str]:
    known = {os.path.realpath(item.path) for item in items}
    parents = {str(parent) for path in known for parent in Path(path).parents}
    found = []
    for root in task.worktree_roots:
        try:
            entries = sorted(os.scandir(root), key=lambda entry: entry.name)
        except OSError:
            continue
        for entry in entries:
            real = os.path.realpath(entry.path)
            if (
                entry.is_dir(follow_symlinks=False)
                and not entry.name.startswith(trash.TREE_TRASH)
                and real not in known
                and real not in parents
            ):
                found.append(entry.path)
    return found


def recover(task: ReapTask, tools: ReapTools) -> list[str]:
    """Put back what a killed reap left half moved; return the paths.

    Raises:
        GitError: the repository as a whole cannot be read.

    """
    common_dir = survey.common_directory(tools.run, task.repository)
    items = survey.listed(Git(tools.run, task.repository), common_dir)
    missing = [
        (item.path, item.admin_dir)
        for item in items
        if item.admin_dir is not None and not os.path.lexists(item.path)
    ]
    return trash.restore_interrupted(missing)


def carry_out(report: ReapReport, task: ReapTask, policy: Reap, tools: ReapTools) -> None:
    """Reap what the plan says and what is still as the plan saw it.

    The report's verdicts are replaced by what became of them.

    Raises:
        GitError: the repository as a whole cannot be read.

    """
    common_dir = survey.common_directory(tools.run, task.repository)
    git = Git(tools.run, task.repository)
    doomed = [index for index, verdict in enumerate(report.verdicts) if verdict.reap]
    places = {report.verdicts[index].listed.path for index in doomed}
    trash.make_ready(
        {*map(_parent, places), *filter(os.path.isdir, task.worktree_roots)}, common_dir
    )
    items = survey.listed(git, common_dir)
    occupants = _occupants(tools, (report.verdicts[index].listed for index in doomed))
    for number, index in enumerate(doomed):
        verdict = report.verdicts[index]
        changed = _changes_since_plan(verdict.listed, items, policy)
        for reason, detail in _occupant_obstacles(verdict.listed, occupants):
            changed = changed or f"{reason}: {detail}"
        if changed is None:
            report.verdicts[index] = _reap_one(verdict, git, common_dir, tools, report)
        else:
            report.verdicts[index] = _spared(verdict, changed)
        tools.progress("reaping", number + 1, len(doomed))
    _give_back_the_occupied(report, common_dir, tools)
    try:
        _expire(git, policy, tools)
    except GitError as error:
        report.warnings.append(str(error))


def _expire(git: Git, policy: Reap, tools: ReapTools) -> None:
    """Let go of what earlier reaps kept, when its time is over."""
    today = tools.now() // DAY_SECONDS
    listed = git.output("for-each-ref", "--format=%(refname)", "refs/reaped")
    names = listed.decode(errors="surrogateescape").splitlines()
    over = [
        name
        for name in names
        if re.fullmatch("[0-9]{1,9}", day := name.split("/")[2])
        and name.count("/") == 3
        and today - int(day) > policy.reaped_commits_retention_days
    ]
    if over:
        git.output("update-ref", "--stdin", stdin=lines([f"delete {name}" for name in over]))


def _parent(path: str) -> str:
    return path.rpartition("/")[0]


def _spared(verdict: Verdict, why: str) -> Verdict:
    return replace(verdict, reap=False, reaped=False, reason="changed_since_plan", detail=why)


def _changes_since_plan(item: Listed, items: Sequence[Listed], policy: Reap) -> str | None:
    """Return what git and the directory entries say against the plan now."""
    found = next((other for other in items if other.path == item.path), None)
    if found is None:
        return "git does not list it any more"
    if found.lock_reason is not None and item.lock_reason is None:
        return "locked: it was locked meanwhile"
    if found != item:
        return f"head_moved: it is on {found.head} of {found.branch or 'no branch'} now"
    against = _fenced(_obstacles_at_first_sight, item, items, policy, frozenset(mounts.points()))
    return f"{against[0][0]}: {against[0][1]}" if against else None


def _reap_one(
    verdict: Verdict, git: Git, common_dir: str, tools: ReapTools, report: ReapReport
) -> Verdict:
    item, trace = verdict.listed, verdict.trace
    admin_dir = item.admin_dir or ""
    freed_bytes = 0

    def difference(tree: str) -> str | None:
        nonlocal freed_bytes
        # Nobody looks for it here any more: no change can follow unseen.
        seen = walk(tree)
        freed_bytes = seen.bytes
        return _difference(trace, seen, walk(admin_dir), admin_dir)

    try:
        kept = survey.only_of_reflog(git, admin_dir)
        if item.branch is None and verdict.reason != "ancestor":
            # No branch here keeps these commits; the remote's may be gone tomorrow.
            kept = [*kept, item.head or ""]
        if kept := list(dict.fromkeys(kept)):
            day = int(tools.now() // DAY_SECONDS)
            stdin = lines([f"update refs/reaped/{day}/{oid} {oid}" for oid in kept])
            git.output("update-ref", "--stdin", stdin=stdin)
        token = trash.move(item.path, admin_dir, common_dir, tools.now(), difference)
        trash.note(common_dir, token, verdict.reason, item.branch, item.head)
    except trash.ChangedError as error:
        return _spared(verdict, str(error))
    except (trash.TrashError, GitError, OSError, ValueError) as error:
        report.failures.append(f"{item.path}: {error}")
        return replace(verdict, reap=False, reason="failed", detail=str(error))
    return replace(verdict, reaped=True, bytes=freed_bytes)


def _difference(trace: Trace | None, tree: Contents, admin: Contents, admin_dir: str) -> str | None:
    """Return what is not as it was when the worktree was judged."""
    if trace is None:
        return "it was not looked at closely"
    for before, now, place in (
        (trace.tree, marks_outside(tree.marks, trace.disposable), "it"),
        (trace.admin, admin.marks, admin_dir),
    ):
        differing = [path for path in sorted({*before, *now}) if before.get(path) != now.get(path)]
        if differing:
            return f"something in {'/'.join(filter(None, [place, differing[-1]]))} changed"
    return None


def _give_back_the_occupied(report: ReapReport, common_dir: str, tools: ReapTools) -> None:
    """Undo for a process that went in between the last look and the rename."""
    reaped = {verdict.listed.path for verdict in report.verdicts if verdict.reaped}
    moved = [entry for entry in trash.entries(common_dir) if entry.path in reaped]
    inside, problems = trash.give_back_the_occupied(moved, common_dir, tools.occupants)
    report.failures += problems
    occupied = {entry.path: inside[entry.token] for entry in moved if entry.token in inside}
    for index, verdict in enumerate(report.verdicts):
        names = occupied.get(verdict.listed.path)
        if names:
            report.verdicts[index] = _spared(verdict, f"process_inside: {', '.join(names)}")


def excess_bytes(task: ReapTask, policy: Reap) -> float:
    """Return how much of a file system with worktrees is used beyond what may be.

    More than zero: reaped ones cannot wait their time.
    """
    excess = float("-inf")
    for place in (task.repository, *task.worktree_roots):
        try:
            disk = os.statvfs(place)
        except OSError:
            continue
        used = disk.f_blocks - disk.f_bfree
        allowed = policy.trash_disk_used_percent / 100 * max(1, used + disk.f_bavail)
        excess = max(excess, (used - allowed) * max(1, disk.f_frsize))
    return excess


def due(task: ReapTask, policy: Reap, tools: ReapTools) -> list[dict[str, Any]]:
    """Return what :func:`held` has of which the time is over, oldest first, with ``why``.

    Where a file system is too full the oldest are due before their time, as many as it takes.

    Raises:
        GitError: the repository as a whole cannot be read.

    """
    pressed_bytes = excess_bytes(task, policy)
    found = []
    for entry in held(task, policy, tools):
        over = entry["until"] is None or entry["until"] <= tools.now()
        if over or pressed_bytes > 0:
            found.append({**entry, "why": "retention_over" if over else "disk_full"})
            pressed_bytes -= entry["bytes"]
    return found


def held(task: ReapTask, policy: Reap, tools: ReapTools) -> list[dict[str, Any]]:
    """Return what was reaped and can come back, or could not be deleted, oldest first.

    ``until`` is the time (seconds since the epoch) up to which it surely can; nothing where its
    deletion has begun.

    Raises:
        GitError: the repository as a whole cannot be read.

    """
    common_dir = survey.common_directory(tools.run, task.repository)
    return [
        {
            "token": entry.token,
            "path": entry.path,
            "branch": entry.branch,
            "head": entry.head,
            "reason": entry.reason,
            "since": entry.since,
            "until": None if entry.deleting else entry.since + policy.trash_retention_seconds,
            "bytes": walk(entry.tree + (trash.DELETING if entry.deleting else "")).bytes,
        }
        for entry in sorted(trash.entries(common_dir), key=lambda item: item.since)
    ]


def tokens(task: ReapTask, tools: ReapTools) -> list[str]:
    """Return what names each entry of the trash.

    Raises:
        GitError: the repository as a whole cannot be read.

    """
    common_dir = survey.common_directory(tools.run, task.repository)
    return [entry.token for entry in trash.entries(common_dir)]


def undo(task: ReapTask, tools: ReapTools, wanted: str) -> tuple[list[str], list[str]]:
    """Give reaped worktrees back, and first the branch of each that lost it meanwhile.

    Return the paths, and what could not be given back: one stops no other. ``wanted`` is what
    :func:`trash.chosen` takes.

    Raises:
        GitError: the repository as a whole cannot be read.
        TrashError: it is not there, or its name stands for several.

    """
    common_dir = survey.common_directory(tools.run, task.repository)
    git = Git(tools.run, task.repository)
    restored, problems = [], []
    for entry in trash.chosen(wanted, trash.entries(common_dir)):
        try:
            _branch_back(git, entry)
            trash.put_back(entry, common_dir)
        except (trash.TrashError, GitError) as error:
            problems.append(str(error))
        else:
            restored.append(entry.path)
    return restored, problems


def _branch_back(git: Git, entry: trash.TrashEntry) -> None:
    if entry.branch and entry.head:
        name = f"refs/heads/{entry.branch}"
        if not git.call("rev-parse", "--verify", "--quiet", name).ok:
            git.output("update-ref", name, entry.head, "0" * len(entry.head))
