"""GitHub's merge queue: every entry is tested as it would land, on top of those before it.

An entry's group is a commit on a branch ``gh-readonly-queue/<base>/pr-<number>-<parent>``.
The first one lands when its required checks are green on exactly that commit; an entry that
conflicts, fails, is not answered in time, or whose head moves leaves the queue, and those
behind it are built anew.
"""

from __future__ import annotations

from simulator import checks, pulls
from simulator.gitstore import ConflictError, GitError
from simulator.model import Account, Pull, QueueEntry, Repository, Rule, Token
from simulator.pulls import RefusedError
from simulator.world import World

PREFIX = "gh-readonly-queue"
BUILT_AT_ONCE = 5


def rule_for(repository: Repository, branch: str) -> Rule | None:
    """Return the rule that gives a branch its queue."""
    return next((r for r in checks.rules_for(repository, branch) if r.merge_queue), None)


def entries(repository: Repository, branch: str) -> list[QueueEntry]:
    """Return the queue of one branch, the next to land first."""
    return [entry for entry in repository.queue if entry.pull.base == branch]


def entry_of(pull: Pull) -> QueueEntry | None:
    """Return a pull request's place in the queue."""
    return next((entry for entry in pull.repository.queue if entry.pull is pull), None)


def enqueue(world: World, pull: Pull, token: Token, *, jump: bool = False) -> QueueEntry:
    """Put a pull request into its base's merge queue.

    Raises:
        RefusedError: there is no queue, it is in it already, or may not enter it.

    """
    rules = checks.rules_for(pull.repository, pull.base)
    if rule_for(pull.repository, pull.base) is None:
        raise RefusedError(422, "The base branch does not have a merge queue")
    if entry_of(pull) is not None:
        raise RefusedError(422, "The pull request is already in the queue")
    if pull.state != "OPEN":
        raise RefusedError(422, "The pull request is not open")
    found = pulls.blockers(pull, [rule for rule in rules if not rule.merge_queue])
    if pull.draft or found:
        raise RefusedError(422, "; ".join(found) or "Pull request is a draft")
    if pulls.mergeable(world, pull) == "CONFLICTING":
        raise RefusedError(422, "Pull request is not mergeable")
    entry = QueueEntry(world.new_id(), pull, token.account, world.now(), pull.head_oid, jump=jump)
    queue = pull.repository.queue
    queue.insert(0 if jump else len(queue), entry)
    settle(world, pull.repository)
    return entry


def leave(repository: Repository, entry: QueueEntry, why: str) -> None:
    """Take an entry out and forget its group."""
    repository.queue.remove(entry)
    repository.left_queue.append((entry.pull.number, why))
    _forget_group(repository, entry)


def settle(world: World, repository: Repository) -> None:
    """Build, land and eject until nothing more can happen now."""
    for branch in list(dict.fromkeys(entry.pull.base for entry in repository.queue)):
        while _advance(world, repository, branch):
            pass


def _advance(world: World, repository: Repository, branch: str) -> bool:
    queue = entries(repository, branch)
    for entry in queue:
        if entry.pull.state != "OPEN":
            leave(repository, entry, "closed")
            return True
        if entry.pull.head_oid != entry.head_oid:
            leave(repository, entry, "head moved")
            return True
    parent = repository.git.branch(branch)
    if not queue or parent is None:
        return False
    for entry in queue[:BUILT_AT_ONCE]:
        if entry.parent_oid != parent and not _build(world, repository, entry, parent):
            leave(repository, entry, "merge conflict")
            return True
        parent = entry.group_oid
    return _judge(world, repository, queue[0])


def _build(world: World, repository: Repository, entry: QueueEntry, parent: str) -> bool:
    _forget_group(repository, entry)
    pull = entry.pull
    try:
        new = pulls.merge_commit(world, pull, pull.author, "squash", parent, None, None)
    except ConflictError:
        return False
    entry.parent_oid, entry.group_oid, entry.built_at = parent, new, world.now()
    entry.branch = f"{PREFIX}/{pull.base}/pr-{pull.number}-{parent}"
    repository.git.update_ref(f"refs/heads/{entry.branch}", new)
    checks.start_ci(world, repository, entry.branch, new, event="merge_group")
    return True


def _forget_group(repository: Repository, entry: QueueEntry) -> None:
    if entry.branch and repository.git.branch(entry.branch):
        repository.git.delete_ref(f"refs/heads/{entry.branch}")
    entry.parent_oid = entry.group_oid = entry.branch = ""


def _judge(world: World, repository: Repository, entry: QueueEntry) -> bool:
    """Land or eject the first entry; False while its checks are awaited."""
    rule = rule_for(repository, entry.pull.base)
    if rule is None:
        leave(repository, entry, "the queue was removed")
        return True
    rules = checks.rules_for(repository, entry.pull.base)
    unmet = checks.unmet(repository, entry.group_oid, rules)
    if any(state in ("FAILURE", "ERROR") for _name, state in unmet):
        leave(repository, entry, "failed checks")
        return True
    if unmet:
        due = entry.built_at + rule.merge_queue_timeout_minutes * 60
        if world.now() < due:
            return False
        leave(repository, entry, "checks timed out")
        return True
    _land(world, repository, entry, entry.enqueuer)
    return True


def _land(world: World, repository: Repository, entry: QueueEntry, actor: Account) -> None:
    base, new = entry.parent_oid, entry.group_oid
    repository.queue.remove(entry)
    try:
        repository.git.update_ref(f"refs/heads/{entry.pull.base}", new, base)
    except GitError:
        # Somebody else moved the base: built anew, at its old place.
        repository.queue.insert(0, entry)
        _forget_group(repository, entry)
        return
    pulls.landed(world, entry.pull, actor, new, base)
    _forget_group(repository, entry)
