"""GitHub's answers as snapshot values. What is missing or unknown is kept as such, never guessed."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from ansible_collections.aina.factory.plugins.module_utils.pull_requests.snapshot import (
    Branch,
    Check,
    Checks,
    CheckState,
    Detail,
    Labelling,
    Mergeable,
    PullRequest,
)

_CONCLUSIONS = {
    "SUCCESS": CheckState.SUCCESS,
    "NEUTRAL": CheckState.NEUTRAL,
    "SKIPPED": CheckState.SKIPPED,
    "ACTION_REQUIRED": CheckState.ACTION_REQUIRED,
    "FAILURE": CheckState.FAILURE,
    "TIMED_OUT": CheckState.FAILURE,
    "CANCELLED": CheckState.FAILURE,
    "STARTUP_FAILURE": CheckState.FAILURE,
    "STALE": CheckState.FAILURE,
}
_RUNNING = frozenset({"REQUESTED", "QUEUED", "IN_PROGRESS", "WAITING", "PENDING"})
_STATUSES = {
    "SUCCESS": CheckState.SUCCESS,
    "FAILURE": CheckState.FAILURE,
    "ERROR": CheckState.FAILURE,
    "PENDING": CheckState.PENDING,
    "EXPECTED": CheckState.PENDING,
}


def moment(text: Any) -> float:
    """Return seconds since the epoch, 0 for none."""
    return datetime.fromisoformat(text).timestamp() if isinstance(text, str) and text else 0.0


def check(node: Mapping[str, Any]) -> Check:
    """Read one check run or commit status."""
    if node["__typename"] == "StatusContext":
        state = _STATUSES.get(node["state"], CheckState.UNKNOWN)
        return Check(node["context"], state, "status", moment(node["createdAt"]))
    if node["__typename"] != "CheckRun":
        return Check(str(node["__typename"]), CheckState.UNKNOWN)
    if node["status"] in _RUNNING:
        state = CheckState.PENDING
    elif node["status"] == "COMPLETED":
        state = _CONCLUSIONS.get(node["conclusion"] or "", CheckState.UNKNOWN)
    else:
        state = CheckState.UNKNOWN
    suite = node["checkSuite"]
    app = (suite.get("app") or {}).get("slug", "")
    workflow = ((suite.get("workflowRun") or {}).get("workflow") or {}).get("name", "")
    return Check(node["name"], state, f"{app}/{workflow}", moment(node["startedAt"]))


def checks(rollup: Mapping[str, Any] | None) -> Checks:
    """Read a page of contexts; None is a commit without any check."""
    if rollup is None:
        return Checks()
    page = rollup["contexts"]
    items = tuple(check(node) for node in page["nodes"] if node is not None)
    return Checks(items, complete=len(items) == page["totalCount"])


def thin(node: Mapping[str, Any]) -> PullRequest:
    """Read what the list tells of a pull request."""
    labels = node["labels"] or {"nodes": [], "totalCount": 0}
    names = frozenset(label["name"] for label in labels["nodes"] if label)
    author = node["author"] or {"login": "ghost", "__typename": "User"}
    known = {item.value for item in Mergeable}
    value = node["mergeable"]
    return PullRequest(
        number=node["number"],
        id=node["id"],
        title=node["title"],
        author=author["login"],
        author_is_bot=author["__typename"] == "Bot",
        created_at=moment(node["createdAt"]),
        is_draft=node["isDraft"],
        is_fork=node["isCrossRepository"],
        head_oid=node["headRefOid"],
        head_ref=node["headRefName"],
        base_ref=node["baseRefName"],
        mergeable=Mergeable(value) if value in known else Mergeable.UNREADABLE,
        merge_state=node["mergeStateStatus"],
        review_decision=node["reviewDecision"] or "",
        labels=names,
        labels_complete=len(labels["nodes"]) == labels["totalCount"],
        rollup=(node["rollup"] or {}).get("state", ""),
        changed_files_count=node["changedFiles"],
        additions_count=node["additions"],
        deletions_count=node["deletions"],
        in_merge_queue=node["isInMergeQueue"],
        can_bypass=bool(node["viewerCanMergeAsAdmin"]),
    )


def detail(node: Mapping[str, Any]) -> Detail:
    """Read what the full query tells; a list that was not asked for is complete and empty."""
    rollup = node["checked"]
    files = node["files"] or {"nodes": [], "totalCount": -1}
    threads = node.get("reviewThreads") or {"nodes": [], "totalCount": 0}
    reviews = node.get("latestOpinionatedReviews") or {"nodes": [], "totalCount": 0}
    issues = node.get("closingIssuesReferences") or {"nodes": [], "totalCount": 0}
    commit = (rollup or {}).get("commit") or {}
    found = checks(rollup)
    if commit and commit["oid"] != node["headRefOid"]:
        found = Checks(found.items, complete=False)
    return Detail(
        checks=found,
        paths=tuple(item["path"] for item in files["nodes"]),
        paths_complete=len(files["nodes"]) == files["totalCount"],
        closing_issues=tuple(
            f"{item['repository']['nameWithOwner']}#{item['number']}" for item in issues["nodes"]
        ),
        unresolved_threads=sum(not item["isResolved"] for item in threads["nodes"]),
        threads_complete=len(threads["nodes"]) == threads["totalCount"],
        approvals=sum(item["state"] == "APPROVED" for item in reviews["nodes"]),
        approvals_complete=len(reviews["nodes"]) == reviews["totalCount"],
        head_committed_at=moment(commit.get("committedDate")),
    )


def labelling(node: Mapping[str, Any], label: str) -> Labelling:
    """Read who put ``label`` on last; nobody when the timeline does not tell."""
    actors = [
        item["actor"]
        for item in node["timelineItems"]["nodes"]
        if item and item["__typename"] == "LabeledEvent" and item["label"]["name"] == label
    ]
    actor = actors[-1] if actors else None
    if actor is None:
        return Labelling()
    return Labelling(actor["login"], by_person=actor["__typename"] == "User")


def branch(node: Mapping[str, Any]) -> Branch:
    """Read the base branch: its head, that head's checks and its rules."""
    classic = node["refUpdateRule"] or {}
    required = set(classic.get("requiredStatusCheckContexts") or [])
    approvals = int(classic.get("requiredApprovingReviewCount") or 0)
    resolution = bool(classic.get("requiresConversationResolution"))
    strict = False
    rules = node["rules"] or {"nodes": [], "totalCount": 0}
    for rule in rules["nodes"]:
        parameters = rule["parameters"] or {}
        if rule["type"] == "REQUIRED_STATUS_CHECKS":
            required |= {item["context"] for item in parameters["requiredStatusChecks"]}
            strict = strict or parameters["strictRequiredStatusChecksPolicy"]
        elif rule["type"] == "PULL_REQUEST":
            approvals = max(approvals, parameters["requiredApprovingReviewCount"])
            resolution = resolution or parameters["requiredReviewThreadResolution"]
    return Branch(
        name=node["name"],
        oid=node["target"]["oid"],
        checks=checks(node["target"].get("statusCheckRollup")),
        required_checks=tuple(sorted(required)),
        required_approvals=approvals,
        conversation_resolution=resolution,
        strict=strict,
        rules_known=len(rules["nodes"]) == rules["totalCount"],
    )
