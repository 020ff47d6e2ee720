"""The fields of pull requests."""

from __future__ import annotations

from typing import Any

from graphql import GraphQLResolveInfo

from simulator import auth, checks
from simulator import pulls as domain
from simulator.clock import optional_iso
from simulator.graphql.fields import Connection, connection, context, resolver
from simulator.graphql.queries import commit_of, ref_of
from simulator.model import Account, Issue, Pull, Repository

Info = GraphQLResolveInfo[Any]
CHANGE_TYPES = {"A": "ADDED", "D": "DELETED", "M": "MODIFIED", "T": "CHANGED"}

PULL_FIELDS = {
    "isDraft": lambda p: p.draft,
    "merged": lambda p: p.state == "MERGED",
    "mergedAt": lambda p: optional_iso(p.merged_at),
    "headRefOid": lambda p: p.head_oid,
    "headRefName": lambda p: p.head,
    "baseRefOid": domain.live_base,
    "baseRefName": lambda p: p.base,
    "isCrossRepository": lambda p: p.cross_repository,
    "reviewDecision": domain.review_decision,
    "maintainerCanModify": lambda p: False,
    "fullDatabaseId": lambda p: str(p.id),
    "autoMergeRequest": lambda p: p.auto_merge,
    "totalCommentsCount": lambda p: len(p.comments),
}
for _name, _read in PULL_FIELDS.items():
    resolver(f"PullRequest.{_name}")(lambda source, info, _read=_read, **_: _read(source))


@resolver("PullRequest.mergeable")
def mergeable(source: Pull, info: Info) -> str:
    """Return mergeability; the first read starts its computation."""
    return domain.mergeable(context(info).world, source)


@resolver("PullRequest.mergeStateStatus")
def merge_state(source: Pull, info: Info) -> str:
    """Return the state as this caller sees it."""
    return domain.merge_state(context(info).world, source, context(info).token)


@resolver("PullRequest.mergeCommit")
def merge_commit(source: Pull, _info: Info) -> Any:
    """Return what the merge made."""
    return commit_of(source.repository, source.merge_commit) if source.merge_commit else None


@resolver("PullRequest.potentialMergeCommit")
def potential_merge_commit(source: Pull, info: Info) -> Any:
    """Return the test merge; null while it is being computed or in conflict."""
    if domain.mergeable(context(info).world, source) != "MERGEABLE":
        return None
    git, base = source.repository.git, domain.live_base(source)
    tree = git.merged_tree(base, source.head_oid)
    text = f"Merge {source.head_oid} into {base}"
    author = domain.identity(source.author)
    oid = git.commit_tree(tree, [base, source.head_oid], text, author, source.created_at)
    return commit_of(source.repository, oid)


def _source_repository(source: Pull, info: Info) -> Repository | None:
    return context(info).world.repository(source.head_repository)


@resolver("PullRequest.headRepository")
def head_repository(source: Pull, info: Info) -> Repository | None:
    """Return where the head lies."""
    return _source_repository(source, info)


@resolver("PullRequest.headRepositoryOwner")
def head_repository_owner(source: Pull, info: Info) -> Account | None:
    """Return whose repository that is."""
    found = _source_repository(source, info)
    return found.owner if found else None


@resolver("PullRequest.baseRepository")
def base_repository(source: Pull, _info: Info) -> Repository:
    """Return where it would be merged."""
    return source.repository


@resolver("PullRequest.headRef")
def head_ref(source: Pull, info: Info) -> Any:
    """Return the head branch, null when it was deleted."""
    found = _source_repository(source, info)
    return ref_of(found, f"refs/heads/{source.head}") if found else None


@resolver("PullRequest.baseRef")
def base_ref(source: Pull, _info: Info) -> Any:
    return ref_of(source.repository, f"refs/heads/{source.base}")


def _changes(source: Pull) -> list[Any]:
    git = source.repository.git
    return git.pull_changes(domain.live_base(source), source.head_oid)


@resolver("PullRequest.additions", "PullRequest.deletions")
def size(source: Pull, info: Info) -> int:
    """Return lines added or removed."""
    return sum(getattr(change, info.field_name) for change in _changes(source))


@resolver("PullRequest.changedFiles")
def changed_files(source: Pull, _info: Info) -> int:
    """Return how many files change."""
    return len(_changes(source))


@resolver("PullRequest.files")
def files(source: Pull, _info: Info, **page: Any) -> Connection:
    rows = [
        {
            "path": change.path,
            "additions": change.additions,
            "deletions": change.deletions,
            "changeType": CHANGE_TYPES[change.status],
            "viewerViewedState": "UNVIEWED",
        }
        for change in _changes(source)
    ]
    return connection(rows, **page)


@resolver("PullRequest.commits")
def commits(source: Pull, _info: Info, **page: Any) -> Connection:
    git = source.repository.git
    oids = git.commits_between(domain.live_base(source), source.head_oid)
    rows = [{"commit": commit_of(source.repository, oid), "id": f"PURC_{oid}"} for oid in oids]
    return connection(rows, **page)


@resolver("PullRequest.closingIssuesReferences")
def closing_issues(source: Pull, _info: Info, **page: Any) -> Connection:
    """List the issues that it would close."""
    page.pop("orderBy", None)
    page.pop("userLinkedOnly", None)
    found: list[Issue] = domain.closing_issues(source)
    return connection(found, **page)


@resolver("PullRequest.reviews")
def reviews(
    source: Pull, _info: Info, states: list[str] | None = None, author: Any = None, **page: Any
) -> Connection:
    found = [r for r in source.reviews if not states or r.state in states]
    return connection([r for r in found if not author or r.author.login == author], **page)


@resolver("PullRequest.latestReviews")
def latest_reviews(source: Pull, _info: Info, **page: Any) -> Connection:
    """List each reviewer's newest review."""
    page.pop("writersOnly", None)
    return connection(list({r.author.login: r for r in source.reviews}.values()), **page)


@resolver("PullRequest.latestOpinionatedReviews")
def latest_opinions(
    source: Pull,
    _info: Info,
    writersOnly: bool = False,  # noqa: N803
    **page: Any,
) -> Connection:
    """List each reviewer's newest yes or no."""
    return connection(domain.opinions(source, writers_only=writersOnly), **page)


@resolver("PullRequest.reviewRequests")
def review_requests(_source: Pull, _info: Info, **page: Any) -> Connection:
    """Say that none is asked for."""
    return connection([], **page)


@resolver("PullRequest.reviewThreads")
def review_threads(source: Pull, _info: Info, **page: Any) -> Connection:
    """List the threads that are not resolved."""
    rows = [
        {"id": f"PRRT_{source.id}_{index}", "isResolved": False, "isOutdated": False}
        for index in range(source.unresolved_threads)
    ]
    return connection(rows, **page)


@resolver("PullRequest.viewerCanMergeAsAdmin")
def viewer_can_merge_as_admin(source: Pull, info: Info) -> bool:
    """Say whether the caller could pass by a rule that binds others."""
    rules = checks.rules_for(source.repository, source.base)
    binding = domain.binding_rules(source.repository, source.base, context(info).token)
    return len(binding) < len(rules)


@resolver(
    "PullRequest.viewerCanUpdateBranch",
    "PullRequest.viewerCanDeleteHeadRef",
    "PullRequest.viewerCanEnableAutoMerge",
    "PullRequest.viewerCanDisableAutoMerge",
    "PullRequest.viewerCanUpdate",
)
def viewer_can(source: Pull, info: Info) -> bool:
    """Say what the caller may do to the branch."""
    may = auth.allowed(source.repository, context(info).token, "contents", "write")
    if info.field_name == "viewerCanUpdateBranch":
        return may and source.state == "OPEN" and domain.behind_by(source) > 0
    if info.field_name == "viewerCanDeleteHeadRef":
        return may and source.state != "OPEN" and not source.cross_repository
    return may


@resolver("PullRequest.viewerMergeHeadlineText", "PullRequest.viewerMergeBodyText")
def viewer_merge_text(source: Pull, info: Info, **_arguments: Any) -> str:
    """Return the words that the page would propose."""
    if info.field_name == "viewerMergeHeadlineText":
        return f"{source.title} (#{source.number})"
    return source.body
