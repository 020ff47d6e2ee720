"""The outermost fields, and repositories."""

from __future__ import annotations

from typing import Any

from graphql import GraphQLResolveInfo

from simulator import auth
from simulator.clock import iso
from simulator.graphql.fields import ApiError, Connection, connection, context, resolver
from simulator.http import HttpError
from simulator.model import Account, Issue, Pull, Repository, Rule
from simulator.pulls import role_of

Info = GraphQLResolveInfo[Any]
ORDER_FIELDS = {"CREATED_AT": "created_at", "UPDATED_AT": "updated_at", "COMMENTS": "number"}


@resolver("Query.viewer")
def viewer(_source: Any, info: Info) -> Account:
    return context(info).token.account


@resolver("Query.rateLimit")
def rate_limit(_source: Any, info: Info, **_arguments: Any) -> dict[str, Any]:
    """Return the caller's bucket as it is after this query."""
    return context(info).limits


def visible_repository(info: Info, full_name: str) -> Repository:
    """Return a repository that the caller sees."""
    found = context(info).world.repository(full_name)
    if found is None or role_of(found, context(info).token) is None:
        message = f"Could not resolve to a Repository with the name '{full_name}'."
        raise ApiError("NOT_FOUND", message)
    return found


@resolver("Query.repository")
def repository(_source: Any, info: Info, owner: str, name: str, **_rest: Any) -> Repository:
    return visible_repository(info, f"{owner}/{name}")


@resolver("Query.node")
def node(_source: Any, info: Info, id: str) -> Any:  # noqa: A002 - the schema's name
    """Find anything by its global id."""
    found = context(info).world.nodes.get(id)
    if found is None:
        raise ApiError("NOT_FOUND", f"Could not resolve to a node with the global id of '{id}'")
    return found


@resolver("Query.nodes")
def nodes(_source: Any, info: Info, ids: list[str]) -> list[Any]:
    """Find many things by their global ids."""
    return [context(info).world.nodes.get(entry) for entry in ids]


@resolver("Query.organization", "Query.user", "Query.repositoryOwner")
def account(_source: Any, info: Info, login: str, **_rest: Any) -> Account:
    found = context(info).world.accounts.get(login.lower())
    wanted = {"organization": "Organization", "user": "User"}.get(info.field_name)
    if found is None or (wanted and found.kind != wanted):
        kind = wanted or "RepositoryOwner"
        raise ApiError("NOT_FOUND", f"Could not resolve to a {kind} with the login of '{login}'.")
    return found


def require(info: Info, found: Repository, permission: str, level: str) -> None:
    """Refuse what the caller may not do."""
    try:
        auth.require(found, context(info).token, permission, level)
    except HttpError as error:
        kind = "NOT_FOUND" if error.status == 404 else "FORBIDDEN"
        raise ApiError(kind, error.message) from error


# --- Repository -------------------------------------------------------------

PLAIN = {
    "databaseId": lambda r: r.id,
    "nameWithOwner": lambda r: r.full_name,
    "isPrivate": lambda r: r.private,
    "visibility": lambda r: "PRIVATE" if r.private else "PUBLIC",
    "isFork": lambda r: r.fork_of is not None,
    "isArchived": lambda r: r.archived,
    "isDisabled": lambda r: False,
    "isLocked": lambda r: False,
    "isMirror": lambda r: False,
    "isTemplate": lambda r: False,
    "isEmpty": lambda r: not r.git.refs,
    "isInOrganization": lambda r: r.owner.kind == "Organization",
    "hasIssuesEnabled": lambda r: True,
    "hasProjectsEnabled": lambda r: False,
    "hasWikiEnabled": lambda r: False,
    "hasDiscussionsEnabled": lambda r: False,
    "mergeCommitAllowed": lambda r: r.allow_merge_commit,
    "squashMergeAllowed": lambda r: r.allow_squash_merge,
    "rebaseMergeAllowed": lambda r: r.allow_rebase_merge,
    "autoMergeAllowed": lambda r: r.allow_auto_merge,
    "allowUpdateBranch": lambda r: r.allow_update_branch,
    "createdAt": lambda r: iso(r.created_at),
    "updatedAt": lambda r: iso(r.created_at),
    "pushedAt": lambda r: iso(r.created_at),
}
for _name, _read in PLAIN.items():
    resolver(f"Repository.{_name}")(lambda source, info, _read=_read, **_: _read(source))


@resolver("Repository.url", "Repository.resourcePath")
def repository_url(source: Repository, info: Info) -> str:
    path = f"/{source.full_name}"
    return path if info.field_name == "resourcePath" else f"{context(info).world.web_url}{path}"


@resolver("Repository.sshUrl")
def ssh_url(source: Repository, info: Info) -> str:
    """Return the address for git over SSH."""
    host = context(info).world.web_url.removeprefix("https://")
    return f"git@{host}:{source.full_name}.git"


@resolver("Repository.parent")
def parent(source: Repository, info: Info) -> Repository | None:
    """Return what a fork was forked from."""
    return context(info).world.repository(source.fork_of) if source.fork_of else None


@resolver("Repository.viewerPermission")
def viewer_permission(source: Repository, info: Info) -> str | None:
    role = role_of(source, context(info).token)
    return role.upper() if role else None


@resolver("Repository.viewerCanAdminister", "Repository.viewerCanUpdateTopics")
def viewer_can_administer(source: Repository, info: Info) -> bool:
    """Say whether the caller is an administrator."""
    return auth.allowed(source, context(info).token, "administration", "write")


@resolver("Repository.viewerDefaultMergeMethod")
def default_method(source: Repository, _info: Info) -> str:
    """Return the method that the page would offer first."""
    if source.allow_merge_commit:
        return "MERGE"
    return "SQUASH" if source.allow_squash_merge else "REBASE"


@resolver("Repository.defaultBranchRef")
def default_branch_ref(source: Repository, _info: Info) -> dict[str, Any] | None:
    return ref_of(source, f"refs/heads/{source.default_branch}")


def ref_of(found: Repository, name: str) -> dict[str, Any] | None:
    """Return a ref; short names are branches."""
    for ref in (name, f"refs/heads/{name}", f"refs/tags/{name}"):
        if ref in found.git.refs:
            kind, _, short = ref.removeprefix("refs/").partition("/")
            return {
                "__typename": "Ref",
                "repository": found,
                "qualified": ref,
                "name": short,
                "prefix": f"refs/{kind}/",
                "oid": found.git.refs[ref],
            }
    return None


@resolver("Repository.ref")
def repository_ref(source: Repository, _info: Info, qualifiedName: str) -> Any:  # noqa: N803
    return ref_of(source, qualifiedName)


@resolver("Repository.refs")
def refs(
    source: Repository,
    _info: Info,
    refPrefix: str,  # noqa: N803
    query: str | None = None,
    **page: Any,
) -> Connection:
    prefix = refPrefix if refPrefix.endswith("/") else f"{refPrefix}/"
    names = sorted(ref for ref in source.git.refs if ref.startswith(prefix))
    found = [name for name in names if not query or query in name]
    return connection([ref_of(source, name) for name in found], **page)


@resolver("Repository.object")
def git_object(
    source: Repository, _info: Info, oid: str | None = None, expression: str | None = None
) -> dict[str, Any] | None:
    """Find a commit by oid or expression, or a blob by ``revision:path``."""
    text = oid or expression or ""
    revision, _, path = text.partition(":")
    found = source.git.resolve(revision)
    if found is None:
        return None
    if path:
        blob = source.git.files(found).get(path)
        if blob is None:
            return None
        content = source.git.blob(blob)
        shown = {"text": content.decode(errors="replace"), "byteSize": len(content)}
        return {"__typename": "Blob", "oid": blob, "repository": source, **shown}
    return commit_of(source, found)


def commit_of(found: Repository, oid: str) -> dict[str, Any]:
    """Return a commit as the resolvers of ``Commit`` want it."""
    return {"__typename": "Commit", "repository": found, "oid": oid}


def _seen(info: Info, found: Issue | None) -> bool:
    return found is not None and found.visible_from <= context(info).world.now()


@resolver("Repository.pullRequest", "Repository.issue", "Repository.issueOrPullRequest")
def by_number(source: Repository, info: Info, number: int) -> Issue | None:
    """Find an issue or pull request."""
    found = source.issues.get(number)
    wanted = {"pullRequest": (Pull,), "issue": (Issue,)}.get(info.field_name)
    right = _seen(info, found) and (wanted is None or type(found) in wanted)
    if not right:
        kind = {"pullRequest": "PullRequest", "issue": "Issue"}.get(
            info.field_name, "issue or pull request"
        )
        raise ApiError("NOT_FOUND", f"Could not resolve to a {kind} with the number of {number}.")
    return found


@resolver("Repository.pullRequests")
def pull_requests(
    source: Repository,
    info: Info,
    states: list[str] | None = None,
    labels: list[str] | None = None,
    headRefName: str | None = None,  # noqa: N803
    baseRefName: str | None = None,  # noqa: N803
    orderBy: dict[str, str] | None = None,  # noqa: N803
    **page: Any,
) -> Connection:
    """List pull requests, oldest first unless told otherwise."""
    found = [pull for pull in source.pulls if _seen(info, pull)]
    if states:
        found = [pull for pull in found if pull.state in states]
    if headRefName:
        found = [pull for pull in found if pull.head == headRefName]
    if baseRefName:
        found = [pull for pull in found if pull.base == baseRefName]
    return connection(_ordered(found, labels, orderBy), **page)


def _ordered(found: list[Any], labels: list[str] | None, order: dict[str, str] | None) -> list[Any]:
    if labels:
        found = [i for i in found if any(label.name in labels for label in i.labels)]
    name = ORDER_FIELDS[(order or {}).get("field", "CREATED_AT")]
    descending = (order or {}).get("direction") == "DESC"
    return sorted(found, key=lambda i: (getattr(i, name), i.number), reverse=descending)


@resolver("Repository.issues")
def issues(
    source: Repository,
    info: Info,
    states: list[str] | None = None,
    labels: list[str] | None = None,
    orderBy: dict[str, str] | None = None,  # noqa: N803
    filterBy: dict[str, Any] | None = None,  # noqa: N803
    **page: Any,
) -> Connection:
    """List issues, without pull requests."""
    found = [i for i in source.issues.values() if not isinstance(i, Pull) and _seen(info, i)]
    wanted = (filterBy or {}).get("labels")
    if states or (filterBy or {}).get("states"):
        found = [i for i in found if i.state in (states or (filterBy or {})["states"])]
    return connection(_ordered(found, labels or wanted, orderBy), **page)


@resolver("Repository.labels")
def labels(source: Repository, _info: Info, query: str | None = None, **page: Any) -> Connection:
    found = [label for label in source.labels.values() if not query or query in label.name]
    return connection(found, **page)


@resolver("Repository.label")
def label(source: Repository, _info: Info, name: str) -> Any:
    return source.labels.get(name.lower())


@resolver("Repository.branchProtectionRules")
def protection_rules(source: Repository, _info: Info, **page: Any) -> Connection:
    return connection([rule for rule in source.rules if rule.kind == "protection"], **page)


@resolver("Repository.assignableUsers", "Repository.mentionableUsers")
def assignable(source: Repository, info: Info, **page: Any) -> Connection:
    """List who may be assigned."""
    world = context(info).world
    names = [source.owner.login, *source.collaborators]
    return connection([world.account(name) for name in names], **page)


@resolver("Repository.milestones", "Repository.projectsV2")
def nothing(_source: Repository, _info: Info, **page: Any) -> Connection:
    """Say that there are none."""
    return connection([], **page)


@resolver("Repository.releases")
def releases(source: Repository, _info: Info, **page: Any) -> Connection:
    page.pop("orderBy", None)
    return connection(source.releases, **page)


# --- Rules ------------------------------------------------------------------

RULE_FIELDS = {
    "pattern": lambda r: r.branch,
    "databaseId": lambda r: r.id,
    "isAdminEnforced": lambda r: r.enforce_admins,
    "requiresStatusChecks": lambda r: bool(r.required_checks),
    "requiredStatusCheckContexts": lambda r: r.required_checks,
    "requiresStrictStatusChecks": lambda r: r.strict,
    "requiresApprovingReviews": lambda r: bool(r.required_approvals),
    "requiredApprovingReviewCount": lambda r: r.required_approvals,
    "requiresConversationResolution": lambda r: r.require_conversation_resolution,
    "requiresCodeOwnerReviews": lambda r: False,
    "requiresLinearHistory": lambda r: False,
    "requiresCommitSignatures": lambda r: False,
    "restrictsPushes": lambda r: False,
    "allowsForcePushes": lambda r: False,
    "allowsDeletions": lambda r: False,
}
for _name, _read in RULE_FIELDS.items():
    resolver(f"BranchProtectionRule.{_name}")(lambda source, info, _read=_read, **_: _read(source))


def strictest(rules: list[Rule]) -> dict[str, Any] | None:
    """Return ``RefUpdateRule``: what non-administrators may read of the rules."""
    if not rules:
        return None
    names = [name for rule in rules for name in rule.required_checks]
    approvals = max(rule.required_approvals for rule in rules)
    return {
        "pattern": rules[0].branch,
        "requiredStatusCheckContexts": list(dict.fromkeys(names)),
        "requiredApprovingReviewCount": approvals or None,
        "requiresConversationResolution": any(r.require_conversation_resolution for r in rules),
        "requiresCodeOwnerReviews": False,
        "requiresLinearHistory": False,
        "requiresSignatures": False,
        "allowsDeletions": False,
        "allowsForcePushes": False,
        "blocksCreations": False,
        "viewerAllowedToDismissReviews": False,
        "viewerCanPush": False,
    }
