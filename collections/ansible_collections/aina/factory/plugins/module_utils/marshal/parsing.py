"""GitHub's answers as snapshot values. What is missing or unknown is kept as such, never guessed."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from ..base import times
from .checks import ACTIONS
from .snapshot import (
    Branch,
    CheckRun,
    Checks,
    CheckState,
    Command,
    Detail,
    Labelling,
    Mergeable,
    PullRequest,
    Review,
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
# Who belongs to the project, as GitHub sees it.
_MEMBERS = frozenset({"OWNER", "MEMBER", "COLLABORATOR"})
# Rules under which a branch takes no push of several tested together; an admin's token would pass them by.
_NO_PUSH = {
    "PULL_REQUEST": "it requires a pull request",
    "MERGE_QUEUE": "it requires GitHub's merge queue",
    "REQUIRED_LINEAR_HISTORY": "it requires a linear history",
    "REQUIRED_SIGNATURES": "it requires signed commits",
}
_NO_PUSH_CLASSIC = {
    "requiredApprovingReviewCount": _NO_PUSH["PULL_REQUEST"],
    "requiresLinearHistory": _NO_PUSH["REQUIRED_LINEAR_HISTORY"],
    "requiresSignatures": _NO_PUSH["REQUIRED_SIGNATURES"],
}
_NO_PUSH_REST = {
    "required_pull_request_reviews": _NO_PUSH["PULL_REQUEST"],
    "required_linear_history": _NO_PUSH["REQUIRED_LINEAR_HISTORY"],
    "required_signatures": _NO_PUSH["REQUIRED_SIGNATURES"],
    "restrictions": "it restricts who pushes",
    "lock_branch": "it is locked",
}
# The whole commit: a part of its name would fit others that somebody makes.
_COMMAND = re.compile(r"/land ([0-9a-f]{40})(?: (\S.{0,48}\S))?")
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
    return times.seconds(text) if isinstance(text, str) and text else 0.0


def check(node: Mapping[str, Any]) -> CheckRun:
    """Read one check run or commit status."""
    if node["__typename"] == "StatusContext":
        state = _STATUSES.get(node["state"], CheckState.UNKNOWN)
        creator = node["creator"] or {"login": "", "__typename": ""}
        app = creator["login"].casefold() if creator["__typename"] == "Bot" else ""
        # Actions reports runs; a status in its name is written with any job's own token.
        app = "" if app.removesuffix("[bot]") == ACTIONS else app.removesuffix("[bot]")
        return CheckRun(node["context"], state, "status", moment(node["createdAt"]), app)
    if node["__typename"] != "CheckRun":
        return CheckRun(str(node["__typename"]), CheckState.UNKNOWN)
    if node["status"] in _RUNNING:
        state = CheckState.PENDING
    elif node["status"] == "COMPLETED":
        state = _CONCLUSIONS.get(node["conclusion"] or "", CheckState.UNKNOWN)
    else:
        state = CheckState.UNKNOWN
    suite = node["checkSuite"]
    app = suite.get("app") or {"slug": "", "databaseId": None}
    run = suite.get("workflowRun") or {}
    workflow = (run.get("workflow") or {}).get("name", "")
    return CheckRun(
        node["name"],
        state,
        f"{app['slug']}/{workflow}",
        moment(node["startedAt"]),
        app["slug"],
        app["databaseId"] or 0,
        ended_at=moment(node.get("completedAt")),
        job_id=(node.get("databaseId") or 0) if run else 0,
        run_id=run.get("databaseId") or 0,
    )


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
    names = frozenset(label["name"].casefold() for label in labels["nodes"] if label)
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
    reviews = node["latestOpinionatedReviews"] or {"nodes": [], "totalCount": -1}
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
        reviews=tuple(_review(item) for item in reviews["nodes"]),
        reviews_complete=len(reviews["nodes"]) == reviews["totalCount"],
        head_committed_at=moment(commit.get("committedDate")),
        labellings=labellings(node["timelineItems"]["nodes"]),
        head_repository=(node["headRepository"] or {}).get("nameWithOwner", ""),
        commands=commands((node.get("comments") or {"nodes": ()})["nodes"]),
    )


def _actor(node: Mapping[str, Any] | None) -> tuple[str, bool]:
    found = node or {"login": "", "__typename": ""}
    return found["login"], found["__typename"] == "User"


def _review(node: Mapping[str, Any]) -> Review:
    author, by_person = _actor(node["author"])
    return Review(
        author,
        by_person,
        state=node["state"],
        head_oid=(node["commit"] or {}).get("oid", ""),
        may_push=bool(node["authorCanPushToRepository"]),
        is_member=node["authorAssociation"] in _MEMBERS,
    )


def commands(nodes: Sequence[Mapping[str, Any] | None]) -> tuple[Command, ...]:
    """Read the comments that are a command and nothing else.

    One that was edited says no more what its author wrote, and one that was hidden is taken back.
    """
    found = []
    for node in nodes:
        if node and not node["lastEditedAt"] and not node["isMinimized"]:
            command = _COMMAND.fullmatch(node["body"].strip())
            if command is not None:
                author, by_person = _actor(node["author"])
                label = (command[2] or "").casefold()
                found.append(Command(author, by_person, command[1], label))
    return tuple(found)


def labellings(nodes: Sequence[Mapping[str, Any] | None]) -> dict[str, Labelling]:
    """Read what was done last with each label; the timeline is oldest first."""
    found: dict[str, Labelling] = {}
    for node in nodes:
        if node:
            actor, by_person = _actor(node["actor"])
            removed = node["__typename"] != "LabeledEvent"
            name, at = node["label"]["name"].casefold(), moment(node["createdAt"])
            before = replace(found[name], before=None) if removed and name in found else None
            found[name] = Labelling(actor, by_person, at, removed, before=before)
    return found


def head_at(activities: Sequence[Mapping[str, Any]], head_oid: str, at: float) -> str:
    """Return on which commit a branch stood ``at`` a time, "" when that cannot be told.

    ``activities`` are the branch's newest, the newest first, by the server's clock in whole
    seconds: a commit's own date is whatever its author wrote. They must lead to the present
    head; and of what happened in the same second nobody knows the order.
    """
    if not activities or activities[0]["after"] != head_oid:
        return ""
    moments = [int(moment(item["timestamp"])) for item in activities]
    if int(at) in moments:
        return ""
    before = (item for item, when in zip(activities, moments, strict=True) if when < int(at))
    return str(next(before, {"after": ""})["after"])


def branch(node: Mapping[str, Any]) -> Branch:
    """Read the base branch: its head, that head's checks and its rules."""
    classic = node["refUpdateRule"] or {}
    required = set(classic.get("requiredStatusCheckContexts") or [])
    approvals = int(classic.get("requiredApprovingReviewCount") or 0)
    resolution = bool(classic.get("requiresConversationResolution"))
    strict, bound = False, set()
    forbidden = {words for key, words in _NO_PUSH_CLASSIC.items() if classic.get(key)}
    rules = node["rules"] or {"nodes": [], "totalCount": 0}
    for rule in rules["nodes"]:
        parameters = rule["parameters"] or {}
        if rule["type"] == "REQUIRED_STATUS_CHECKS":
            listed = parameters["requiredStatusChecks"]
            required |= {item["context"] for item in listed}
            bound |= {
                (item["context"], item["integrationId"]) for item in listed if item["integrationId"]
            }
            strict = strict or parameters["strictRequiredStatusChecksPolicy"]
        if rule["type"] in _NO_PUSH:
            forbidden.add(_NO_PUSH[rule["type"]])
        if rule["type"] == "PULL_REQUEST":
            approvals = max(approvals, parameters["requiredApprovingReviewCount"])
            resolution = resolution or parameters["requiredReviewThreadResolution"]
    return Branch(
        name=node["name"],
        oid=node["target"]["oid"],
        checks=checks(node["target"].get("statusCheckRollup")),
        required_checks=tuple(sorted(required)),
        check_apps=tuple(sorted(bound)),
        required_approvals=approvals,
        conversation_resolution=resolution,
        strict=strict,
        rules_known=len(rules["nodes"]) == rules["totalCount"],
        push_forbidden=", ".join(sorted(forbidden)),
    )


def protection(answer: Mapping[str, Any]) -> tuple[bool, str]:
    """Read what classic protection asks: whether a head is up to date, and why none may push."""
    wanted = answer.get("required_status_checks") or {}
    forbidden = {words for key, words in _NO_PUSH_REST.items() if _is_on(answer.get(key))}
    return bool(wanted.get("strict")), ", ".join(sorted(forbidden))


def _is_on(rule: Any) -> bool:
    # A rule that is on without a switch of its own is there, another has one.
    return bool(rule) and (not isinstance(rule, Mapping) or rule.get("enabled", True) is True)


def classic_apps(answer: Mapping[str, Any]) -> tuple[tuple[str, int], ...]:
    """Read the apps to which classic protection binds its checks; none and -1 are any app."""
    wanted = answer["protection"]["required_status_checks"] or {}
    rows = [(item["context"], item["app_id"] or 0) for item in wanted.get("checks") or ()]
    return tuple(sorted((context, app_id) for context, app_id in rows if app_id > 0))
