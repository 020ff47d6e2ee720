"""The fields of merge queues and their entries."""

from __future__ import annotations

from typing import Any

from graphql import GraphQLResolveInfo

from simulator import checks
from simulator import merge_queue as domain
from simulator.clock import iso
from simulator.graphql.fields import Connection, connection, context, resolver
from simulator.graphql.queries import commit_of
from simulator.model import Pull, QueueEntry, Repository

Info = GraphQLResolveInfo[Any]


@resolver("PullRequest.isInMergeQueue")
def is_in_merge_queue(source: Pull, _info: Info) -> bool:
    """Say whether a queue has it."""
    return domain.entry_of(source) is not None


@resolver("PullRequest.isMergeQueueEnabled")
def is_merge_queue_enabled(source: Pull, _info: Info) -> bool:
    """Say whether the base has a queue."""
    return domain.rule_for(source.repository, source.base) is not None


@resolver("PullRequest.mergeQueueEntry")
def entry(source: Pull, _info: Info) -> QueueEntry | None:
    """Return its place in the queue."""
    return domain.entry_of(source)


@resolver("PullRequest.mergeQueue")
def of_pull(source: Pull, _info: Info) -> dict[str, Any] | None:
    return _queue(source.repository, source.base)


@resolver("Repository.mergeQueue")
def of_repository(source: Repository, _info: Info, branch: str | None = None) -> Any:
    """Return the queue of a branch that has one."""
    return _queue(source, branch or source.default_branch)


def _queue(repository: Repository, branch: str) -> dict[str, Any] | None:
    rule = domain.rule_for(repository, branch)
    if rule is None:
        return None
    return {
        "id": f"MQ_{rule.id}",
        "repository": repository,
        "branch": branch,
        "nextEntryEstimatedTimeToMerge": None,
        "configuration": {
            "checkResponseTimeout": round(rule.merge_queue_timeout_minutes),
            "maximumEntriesToBuild": domain.BUILT_AT_ONCE,
            "maximumEntriesToMerge": domain.BUILT_AT_ONCE,
            "mergeMethod": "SQUASH",
            "mergingStrategy": "ALLGREEN",
            "minimumEntriesToMerge": 1,
            "minimumEntriesToMergeWaitTime": 0,
        },
    }


@resolver("MergeQueue.entries")
def entries(source: dict[str, Any], _info: Info, **page: Any) -> Connection:
    """List the entries, the next to land first."""
    return connection(domain.entries(source["repository"], source["branch"]), **page)


@resolver("MergeQueueEntry.id")
def entry_id(source: QueueEntry, info: Info) -> str:
    return context(info).world.node_id(source)


@resolver("MergeQueueEntry.pullRequest")
def entry_pull(source: QueueEntry, _info: Info) -> Pull:
    return source.pull


@resolver("MergeQueueEntry.position")
def entry_position(source: QueueEntry, _info: Info) -> int:
    """Return the place, 0 for one that has left."""
    queue = domain.entries(source.pull.repository, source.pull.base)
    return queue.index(source) + 1 if source in queue else 0


@resolver("MergeQueueEntry.state")
def entry_state(source: QueueEntry, _info: Info) -> str:
    """Say how far its group is."""
    repository = source.pull.repository
    if not source.group_oid:
        return "QUEUED"
    rules = checks.rules_for(repository, source.pull.base)
    unmet = checks.unmet(repository, source.group_oid, rules)
    if any(state in ("FAILURE", "ERROR") for _name, state in unmet):
        return "UNMERGEABLE"
    return "AWAITING_CHECKS" if unmet else "MERGEABLE"


@resolver("MergeQueueEntry.enqueuedAt")
def entry_enqueued_at(source: QueueEntry, _info: Info) -> str:
    return iso(source.enqueued_at)


@resolver("MergeQueueEntry.headCommit", "MergeQueueEntry.baseCommit")
def entry_commit(source: QueueEntry, info: Info) -> dict[str, Any] | None:
    """Return the group's commit, or the one that it is built on."""
    oid = source.group_oid if info.field_name == "headCommit" else source.parent_oid
    return commit_of(source.pull.repository, oid) if oid else None


@resolver("MergeQueueEntry.solo", "MergeQueueEntry.estimatedTimeToMerge")
def entry_rest(_source: QueueEntry, info: Info) -> bool | None:
    """Say that nothing is deployed, and that nobody knows how long it takes."""
    return False if info.field_name == "solo" else None
