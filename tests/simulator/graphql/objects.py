"""Refs, commits, checks, issues and the other smaller types."""

from __future__ import annotations

from typing import Any

from graphql import GraphQLResolveInfo

from simulator import checks
from simulator import pulls as domain
from simulator.clock import iso, optional_iso
from simulator.graphql.cost import fields_of
from simulator.graphql.fields import Connection, connection, context, resolver, snake
from simulator.graphql.queries import commit_of, require, strictest
from simulator.model import Account, CheckRun, Issue, Label, Pull, Repository, Review, Rule, Status
from simulator.rest.branches import rule_entries
from simulator.rest.shapes import association

Info = GraphQLResolveInfo[Any]
IDENTIFIED = """PullRequest Issue Repository Label IssueComment PullRequestReview CheckRun
StatusContext Release ReleaseAsset BranchProtectionRule WorkflowRun Workflow App User Bot
Organization"""


def node_id(source: Any, info: Info) -> str:
    """Return the global id of a record."""
    return context(info).world.node_id(source)


for _kind in IDENTIFIED.split():
    resolver(f"{_kind}.id")(node_id)


# --- Accounts ---------------------------------------------------------------

ACCOUNT_FIELDS = {
    "databaseId": lambda a, w: a.id,
    "url": lambda a, w: f"{w.web_url}/{a.login}",
    "resourcePath": lambda a, w: f"/{a.login}",
    "avatarUrl": lambda a, w: f"{w.web_url}/avatars/u/{a.id}",
    "name": lambda a, w: a.name,
    "email": lambda a, w: a.email,
    "isViewer": lambda a, w: False,
    "createdAt": lambda a, w: iso(1_600_000_000),
}
for _kind in ("User", "Bot", "Organization"):
    for _name, _read in ACCOUNT_FIELDS.items():
        resolver(f"{_kind}.{_name}")(
            lambda source, info, _read=_read, **_: _read(source, context(info).world)
        )


@resolver("User.organizations", "User.projectsV2", "Organization.projectsV2", "Organization.teams")
def none_of_them(_source: Account, _info: Info, **page: Any) -> Connection:
    """Say that there are none."""
    return connection([], **page)


@resolver("User.repositories", "Organization.repositories")
def repositories(source: Account, info: Info, **page: Any) -> Connection:
    found = [r for r in context(info).world.repositories.values() if r.owner is source]
    names = ("first", "after", "last", "before")
    return connection(found, **{k: v for k, v in page.items() if k in names})


# --- Refs -------------------------------------------------------------------


@resolver("Ref.id")
def ref_id(source: dict[str, Any], info: Info) -> str:
    """Return a ref's global id; it names the repository and the ref."""
    found = f"REF_{source['repository'].id}:{source['qualified']}"
    context(info).world.nodes[found] = source
    return found


@resolver("Ref.target")
def ref_target(source: dict[str, Any], _info: Info) -> dict[str, Any]:
    """Return the commit that a ref names."""
    return commit_of(source["repository"], source["oid"])


@resolver("Ref.compare")
def ref_compare(source: dict[str, Any], _info: Info, headRef: str) -> Any:  # noqa: N803
    """Compare this ref, as the base, with another."""
    found: Repository = source["repository"]
    head = found.git.resolve(headRef.rpartition(":")[2])
    if head is None:
        return None
    ahead, behind = found.git.compare(source["oid"], head)
    status = {(False, False): "IDENTICAL", (True, False): "AHEAD", (False, True): "BEHIND"}
    return {
        "aheadBy": ahead,
        "behindBy": behind,
        "status": status.get((ahead > 0, behind > 0), "DIVERGED"),
        "baseTarget": commit_of(found, source["oid"]),
        "headTarget": commit_of(found, head),
        "listed": found.git.commits_between(source["oid"], head),
        "repository": found,
    }


@resolver("Comparison.commits")
def comparison_commits(source: dict[str, Any], _info: Info, **page: Any) -> Connection:
    """List the commits that the head has more."""
    return connection([commit_of(source["repository"], o) for o in source["listed"]], **page)


@resolver("Ref.refUpdateRule")
def ref_update_rule(source: dict[str, Any], _info: Info) -> Any:
    """Return what everyone may read of the classic protection."""
    found = checks.rules_for(source["repository"], source["name"])
    return strictest([rule for rule in found if rule.kind == "protection"])


@resolver("Ref.branchProtectionRule")
def branch_protection_rule(source: dict[str, Any], info: Info) -> Rule | None:
    """Return the classic protection; administrators only."""
    require(info, source["repository"], "administration", "read")
    found = checks.rules_for(source["repository"], source["name"])
    return next((rule for rule in found if rule.kind == "protection"), None)


@resolver("Ref.rules")
def ref_rules(source: dict[str, Any], _info: Info, **page: Any) -> Connection:
    page.pop("orderBy", None)
    found = checks.rules_for(source["repository"], source["name"])
    rows = [
        {"__typename": "RepositoryRule", "rule": rule, **entry}
        for rule in found
        if rule.kind == "ruleset"
        for entry in rule_entries(rule)
    ]
    return connection(rows, **page)


@resolver("RepositoryRule.type")
def rule_type(source: dict[str, Any], _info: Info) -> str:
    return str(source["type"]).upper()


@resolver("RepositoryRule.id")
def rule_id(source: dict[str, Any], _info: Info) -> str:
    return f"RR_{source['rule'].id}:{source['type']}"


@resolver("RepositoryRule.parameters")
def rule_parameters(source: dict[str, Any], _info: Info) -> Any:
    rule: Rule = source["rule"]
    if source["type"] == "required_status_checks":
        names = [
            {"context": name, "integrationId": checks.app_id(app) if app else None}
            for name in rule.required_checks
            for app in [rule.check_apps.get(name)]
        ]
        return {
            "__typename": "RequiredStatusChecksParameters",
            "requiredStatusChecks": names,
            "strictRequiredStatusChecksPolicy": rule.strict,
            "doNotEnforceOnCreate": False,
        }
    if source["type"] == "pull_request":
        return {
            "__typename": "PullRequestParameters",
            "requiredApprovingReviewCount": rule.required_approvals,
            "requiredReviewThreadResolution": rule.require_conversation_resolution,
            "dismissStaleReviewsOnPush": False,
            "requireCodeOwnerReview": False,
            "requireLastPushApproval": False,
            "allowedMergeMethods": None,
        }
    return {"__typename": "MergeQueueParameters", "mergeMethod": "SQUASH"}


@resolver("Ref.associatedPullRequests")
def associated(
    source: dict[str, Any], _info: Info, states: list[str] | None = None, **page: Any
) -> Connection:
    """List the pull requests whose head this branch is."""
    found = [p for p in source["repository"].pulls if p.head == source["name"]]
    page.pop("orderBy", None)
    return connection([p for p in found if not states or p.state in states], **page)


# --- Commits ----------------------------------------------------------------


@resolver("Commit.id")
def commit_id(source: dict[str, Any], info: Info) -> str:
    """Return a commit's global id."""
    found = f"C_{source['repository'].id}:{source['oid']}"
    context(info).world.nodes[found] = source
    return found


def _parts(source: dict[str, Any]) -> dict[str, str]:
    repository: Repository = source["repository"]
    return repository.git.commit(source["oid"])


@resolver("Commit.message", "Commit.messageHeadline", "Commit.messageBody")
def commit_message(source: dict[str, Any], info: Info) -> str:
    """Return the message, its first line, or the rest."""
    message = _parts(source)["message"]
    head, _, body = message.partition("\n")
    found = {"message": message, "messageHeadline": head, "messageBody": body.strip()}
    return found[info.field_name]


@resolver("Commit.abbreviatedOid")
def abbreviated_oid(source: dict[str, Any], _info: Info) -> str:
    return str(source["oid"])[:7]


@resolver("Commit.committedDate", "Commit.authoredDate")
def commit_date(source: dict[str, Any], info: Info) -> str:
    """Return when it was committed or written."""
    key = "committer_time" if info.field_name == "committedDate" else "author_time"
    return iso(float(_parts(source)[key]))


@resolver("Commit.author", "Commit.committer")
def commit_person(source: dict[str, Any], info: Info) -> dict[str, Any]:
    """Return who wrote or applied it."""
    parts, role = _parts(source), info.field_name
    email = parts[f"{role}_email"]
    accounts = context(info).world.accounts.values()
    user = next((a for a in accounts if a.email == email and a.kind == "User"), None)
    date = iso(float(parts[f"{role}_time"]))
    return {"name": parts[f"{role}_name"], "email": email, "date": date, "user": user}


@resolver("Commit.authors")
def commit_authors(source: dict[str, Any], info: Info, **page: Any) -> Connection:
    """Return the authors; trailers are not read."""
    parts = _parts(source)
    accounts = context(info).world.accounts.values()
    user = next((a for a in accounts if a.email == parts["author_email"]), None)
    person = {"name": parts["author_name"], "email": parts["author_email"], "user": user}
    return connection([person], **page)


@resolver("Commit.tree")
def commit_tree(source: dict[str, Any], _info: Info) -> dict[str, Any]:
    return {"oid": _parts(source)["tree"], "repository": source["repository"]}


@resolver("Commit.parents")
def commit_parents(source: dict[str, Any], _info: Info, **page: Any) -> Connection:
    oids = _parts(source)["parents"].split()
    return connection([commit_of(source["repository"], oid) for oid in oids], **page)


@resolver("Commit.additions", "Commit.deletions", "Commit.changedFilesIfAvailable")
def commit_size(source: dict[str, Any], info: Info) -> int:
    """Return how much a commit changes against its first parent."""
    repository: Repository = source["repository"]
    parents = repository.git.parents(source["oid"])
    found = repository.git.changes(parents[0], source["oid"]) if parents else []
    if info.field_name == "changedFilesIfAvailable":
        return len(found)
    return sum(getattr(change, info.field_name) for change in found)


@resolver("Commit.statusCheckRollup", "PullRequest.statusCheckRollup")
def status_check_rollup(source: Any, info: Info) -> checks.Rollup | None:
    """Return the rollup; its ``state`` is wrong when ``contexts`` is selected beside it."""
    if isinstance(source, Pull):
        found = checks.rollup(source.repository, source.head_oid)
    else:
        found = checks.rollup(source["repository"], source["oid"])
    if found is None:
        return None
    names = {
        child.name.value
        for node in info.field_nodes
        for child in fields_of(node.selection_set, dict(info.fragments))
    }
    return checks.Rollup(found.repository, found.oid, pessimistic="contexts" in names)


@resolver("Commit.checkSuites")
def check_suites(source: dict[str, Any], _info: Info, **page: Any) -> Connection:
    """List one suite per run of an App."""
    found = source["repository"].checks.get(source["oid"], [])
    rows = [{"__typename": "CheckSuite", "run": run} for run in found]
    names = ("first", "after", "last", "before")
    return connection(rows, **{k: v for k, v in page.items() if k in names})


@resolver("Commit.associatedPullRequests")
def commit_pulls(source: dict[str, Any], _info: Info, **page: Any) -> Connection:
    """List the pull requests that brought a commit."""
    page.pop("orderBy", None)
    oid = source["oid"]
    found = [p for p in source["repository"].pulls if oid in {p.head_oid, p.merge_commit}]
    return connection(found, **page)


# --- Checks -----------------------------------------------------------------


@resolver("StatusCheckRollup.id")
def rollup_id(source: checks.Rollup, _info: Info) -> str:
    return f"SCR_{source.repository.id}:{source.oid}"


@resolver("StatusCheckRollup.commit")
def rollup_commit(source: checks.Rollup, _info: Info) -> dict[str, Any]:
    return commit_of(source.repository, source.oid)


@resolver("StatusCheckRollup.contexts")
def rollup_contexts(source: checks.Rollup, _info: Info, **page: Any) -> Connection:
    """List all that reported, superseded runs included."""
    found = connection(source.contexts, **page)
    return _ContextConnection(**vars(found), contexts=source.contexts)


class _ContextConnection(Connection):
    """A page of contexts with its counts."""

    def __init__(self, contexts: list[CheckRun | Status], **page: Any) -> None:
        super().__init__(**page)
        self._runs = [c for c in contexts if isinstance(c, CheckRun)]
        self._statuses = [c for c in contexts if isinstance(c, Status)]

    @property
    def check_run_count(self) -> int:
        return len(self._runs)

    @property
    def status_context_count(self) -> int:
        return len(self._statuses)

    @property
    def check_run_counts_by_state(self) -> list[dict[str, Any]]:
        return _count((run.conclusion or run.status).upper() for run in self._runs)

    @property
    def status_context_counts_by_state(self) -> list[dict[str, Any]]:
        return _count(status.state.upper() for status in self._statuses)


def _count(states: Any) -> list[dict[str, Any]]:
    found: dict[str, int] = {}
    for state in states:
        found[state] = found.get(state, 0) + 1
    return [{"state": state, "count": count} for state, count in found.items()]


CHECK_FIELDS = {
    "databaseId": lambda c, w: c.id,
    "status": lambda c, w: c.status.upper(),
    "conclusion": lambda c, w: c.conclusion.upper() if c.conclusion else None,
    "startedAt": lambda c, w: optional_iso(c.started_at),
    "completedAt": lambda c, w: optional_iso(c.completed_at),
    "detailsUrl": lambda c, w: f"{w.web_url}/runs/{c.id}",
    "url": lambda c, w: f"{w.web_url}/runs/{c.id}",
    "permalink": lambda c, w: f"{w.web_url}/runs/{c.id}",
    "checkSuite": lambda c, w: {"__typename": "CheckSuite", "run": c},
    "title": lambda c, w: None,
    "summary": lambda c, w: None,
    "text": lambda c, w: None,
}
for _name, _read in CHECK_FIELDS.items():
    resolver(f"CheckRun.{_name}")(
        lambda source, info, _read=_read, **_: _read(source, context(info).world)
    )

SUITE_FIELDS = {
    "id": lambda c: f"CS_{c.suite_id}",
    "databaseId": lambda c: c.suite_id,
    "status": lambda c: c.status.upper(),
    "conclusion": lambda c: c.conclusion.upper() if c.conclusion else None,
    "createdAt": lambda c: iso(c.started_at or 0),
    "app": lambda c: {
        "name": c.app.replace("-", " ").title(),
        "slug": c.app,
        "databaseId": checks.app_id(c.app),
    },
    "workflowRun": lambda c: (
        None
        if c.workflow is None
        else {
            "__typename": "WorkflowRun",
            "databaseId": c.run_id or c.suite_id,
            "id": f"WFR_{c.suite_id}",
            "event": "pull_request",
            "runNumber": 1,
            "workflow": {"name": c.workflow, "databaseId": 1, "id": f"W_{c.workflow}"},
        }
    ),
}
for _name, _suite in SUITE_FIELDS.items():
    resolver(f"CheckSuite.{_name}")(lambda source, info, _suite=_suite, **_: _suite(source["run"]))


for _kind in ("WorkflowRun", "Workflow", "App"):
    # Within a check suite these are plain dictionaries with an id of their own.
    resolver(f"{_kind}.id")(
        lambda source, info: (
            source["id"] if isinstance(source, dict) and "id" in source else node_id(source, info)
        )
    )


@resolver("CheckSuite.checkRuns")
def suite_runs(source: dict[str, Any], _info: Info, **page: Any) -> Connection:
    """Return the suite's one run."""
    page.pop("filterBy", None)
    return connection([source["run"]], **page)


@resolver("CheckRun.isRequired", "StatusContext.isRequired")
def is_required(
    source: CheckRun | Status,
    info: Info,
    pullRequestId: str | None = None,  # noqa: N803
    pullRequestNumber: int | None = None,  # noqa: N803
) -> bool:
    """Say whether the base of a pull request requires this."""
    world = context(info).world
    if pullRequestId:
        pull = world.nodes.get(pullRequestId)
        return isinstance(pull, Pull) and checks.is_required(pull, source)
    for repository in world.repositories.values():
        reported: list[Any] = [*repository.checks.values(), *repository.statuses.values()]
        if any(source in entries for entries in reported):
            found = repository.issues.get(pullRequestNumber or 0)
            return isinstance(found, Pull) and checks.is_required(found, source)
    return False


STATUS_FIELDS = {
    "state": lambda s: s.state.upper(),
    "createdAt": lambda s: iso(s.created_at),
    "targetUrl": lambda s: s.target_url,
}
for _name, _state in STATUS_FIELDS.items():
    resolver(f"StatusContext.{_name}")(lambda source, info, _state=_state, **_: _state(source))


# --- Issues, comments, labels, reviews --------------------------------------

ISSUE_FIELDS = {
    "databaseId": lambda i: i.id,
    "createdAt": lambda i: iso(i.created_at),
    "updatedAt": lambda i: iso(i.updated_at),
    "closedAt": lambda i: optional_iso(i.closed_at),
    "closed": lambda i: i.state != "OPEN",
    "bodyText": lambda i: i.body,
    "stateReason": lambda i: i.state_reason.upper() if i.state_reason else None,
    "authorAssociation": lambda i: association(i.repository, i.author),
    "milestone": lambda i: None,
    "reactionGroups": lambda i: [],
    "isReadByViewer": lambda i: True,
    "isPinned": lambda i: False,
}
for _kind in ("Issue", "PullRequest"):
    for _name, _field in ISSUE_FIELDS.items():
        resolver(f"{_kind}.{_name}")(lambda source, info, _field=_field, **_: _field(source))


@resolver("Issue.url", "Issue.resourcePath", "PullRequest.url", "PullRequest.resourcePath")
def issue_url(source: Issue, info: Info) -> str:
    kind = "pull" if isinstance(source, Pull) else "issues"
    path = f"/{source.repository.full_name}/{kind}/{source.number}"
    return path if info.field_name == "resourcePath" else f"{context(info).world.web_url}{path}"


@resolver("Issue.labels", "PullRequest.labels")
def issue_labels(source: Issue, _info: Info, **page: Any) -> Connection:
    page.pop("orderBy", None)
    return connection(source.labels, **page)


@resolver("Issue.assignees", "PullRequest.assignees", "Issue.assignedActors")
def issue_assignees(source: Issue, _info: Info, **page: Any) -> Connection:
    return connection(source.assignees, **page)


@resolver("PullRequest.assignedActors")
def pull_assignees(source: Issue, _info: Info, **page: Any) -> Connection:
    return connection(source.assignees, **page)


@resolver("Issue.comments", "PullRequest.comments")
def issue_comments(source: Issue, _info: Info, **page: Any) -> Connection:
    page.pop("orderBy", None)
    return connection(source.comments, **page)


@resolver(
    "Issue.projectItems",
    "PullRequest.projectItems",
    "Issue.projectCards",
    "PullRequest.projectCards",
)
def no_items(_source: Issue, _info: Info, **page: Any) -> Connection:
    """Say that there are none."""
    return connection([], first=page.get("first"))


@resolver("Issue.timelineItems", "PullRequest.timelineItems")
def timeline(
    source: Issue,
    _info: Info,
    itemTypes: list[str] | None = None,  # noqa: N803
    **page: Any,
) -> Connection:
    """List when labels came and went; of other events the simulator keeps none."""
    rows = [
        {
            "__typename": event.kind,
            "id": f"LE_{event.id}",
            "actor": event.actor,
            "createdAt": iso(event.created_at),
            "label": event.label,
        }
        for event in source.label_events
        if not itemTypes or snake(event.kind).upper() in itemTypes
    ]
    return connection(rows, page.get("first"), last=page.get("last"))


COMMENT_FIELDS = {
    "databaseId": lambda c, w: c.id,
    "createdAt": lambda c, w: iso(c.created_at),
    "updatedAt": lambda c, w: iso(c.updated_at),
    "url": lambda c, w: (
        f"{w.web_url}/{c.issue.repository.full_name}/issues/{c.issue.number}#issuecomment-{c.id}"
    ),
    "authorAssociation": lambda c, w: association(c.issue.repository, c.author),
    "lastEditedAt": lambda c, w: iso(c.updated_at) if c.updated_at > c.created_at else None,
    "includesCreatedEdit": lambda c, w: False,
    "isMinimized": lambda c, w: False,
    "minimizedReason": lambda c, w: None,
    "reactionGroups": lambda c, w: [],
    "viewerDidAuthor": lambda c, w: False,
}
for _name, _read in COMMENT_FIELDS.items():
    resolver(f"IssueComment.{_name}")(
        lambda source, info, _read=_read, **_: _read(source, context(info).world)
    )


@resolver("Label.url")
def label_url(source: Label, info: Info) -> str:
    return f"{context(info).world.web_url}/labels/{source.name}"


@resolver("PullRequestReview.submittedAt", "PullRequestReview.createdAt")
def review_time(source: Review, _info: Info) -> str:
    """Return when the review was given."""
    return iso(source.submitted_at)


@resolver("PullRequestReview.authorAssociation")
def review_association(source: Review, _info: Info) -> str:
    """Return the reviewer's relation; nobody else sees a private repository."""
    repository = source.pull.repository
    found = association(repository, source.author)
    return "COLLABORATOR" if found == "NONE" and repository.private else found


@resolver("PullRequestReview.authorCanPushToRepository")
def reviewer_may_push(source: Review, _info: Info) -> bool:
    """Say whether the reviewer may write here."""
    return domain.may_push(source.pull.repository, source.author)


@resolver("PullRequestReview.commit")
def review_commit(source: Review, _info: Info) -> dict[str, Any]:
    """Return what the reviewer saw."""
    return commit_of(source.pull.repository, source.commit_oid)


@resolver("PullRequestReview.includesCreatedEdit")
def review_edited(_source: Review, _info: Info) -> bool:
    """Say that it was not edited."""
    return False


@resolver("PullRequestReview.reactionGroups")
def review_reactions(_source: Review, _info: Info) -> list[Any]:
    """Say that there are none."""
    return []
