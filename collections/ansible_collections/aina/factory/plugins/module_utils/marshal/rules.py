"""Rules about one pull request by itself, in the order in which people ask about them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

from ..base.guarded import matches
from . import authority, checks
from .reasons import Code, Owner, RuleVerdict, skip, wait
from .settings import MergePolicy
from .snapshot import Mergeable, PullRequest, Snapshot

_WIP = re.compile(r"\s*(\[wip\]|wip\b|draft:)", re.IGNORECASE)
_MERGE_STATES = frozenset(
    {"CLEAN", "HAS_HOOKS", "UNSTABLE", "BLOCKED", "BEHIND", "UNKNOWN", "DIRTY", "DRAFT"}
)
_REVIEW_DECISIONS = frozenset({"", "APPROVED", "CHANGES_REQUESTED", "REVIEW_REQUIRED"})

Rule = Callable[[MergePolicy, Snapshot, PullRequest, float], "RuleVerdict | None"]


def readable(
    _policy: MergePolicy, _snapshot: Snapshot, pull: PullRequest, _now: float
) -> RuleVerdict | None:
    """Refuse what was read in part, or says something this code does not know."""
    if pull.unreadable:
        return wait(Code.DATA_INCOMPLETE, pull.unreadable, Owner.MARSHAL)
    if pull.mergeable is Mergeable.UNREADABLE:
        return wait(Code.DATA_UNKNOWN, "mergeable has a value that is not known", Owner.ADMIN)
    if pull.merge_state not in _MERGE_STATES:
        return wait(Code.DATA_UNKNOWN, f"mergeStateStatus is {pull.merge_state!r}", Owner.ADMIN)
    if pull.review_decision not in _REVIEW_DECISIONS:
        return wait(Code.DATA_UNKNOWN, f"reviewDecision is {pull.review_decision!r}", Owner.ADMIN)
    if not pull.labels_complete:
        return wait(Code.DATA_INCOMPLETE, "not all labels could be read", Owner.MARSHAL)
    return None


def base(
    _policy: MergePolicy, snapshot: Snapshot, pull: PullRequest, _now: float
) -> RuleVerdict | None:
    """Only pull requests against the default branch land; dependants wait for their parent."""
    if pull.base_ref == snapshot.branch.name:
        return None
    parents = [
        other.number
        for other in snapshot.pulls
        if other.head_ref == pull.base_ref and not other.is_fork and other.number != pull.number
    ]
    if parents:
        return wait(Code.WAITS_FOR_PARENT, f"lands after #{min(parents)}", Owner.MARSHAL)
    return skip(Code.OTHER_BASE, f"targets {pull.base_ref}", Owner.AUTHOR)


def declared(
    policy: MergePolicy, _snapshot: Snapshot, pull: PullRequest, _now: float
) -> RuleVerdict | None:
    """Drafts, work in progress, hold labels, fork and author rules."""
    if pull.is_draft or pull.merge_state == "DRAFT":
        return skip(Code.DRAFT, "marked as a draft", Owner.AUTHOR)
    if _WIP.match(pull.title):
        return skip(Code.WORK_IN_PROGRESS, "the title says so", Owner.AUTHOR)
    held = authority.hold(policy, pull)
    if held:
        lifted = "" if held in pull.labels else ", which a person put on and no person took off"
        return skip(Code.HOLD_LABEL, f"label {held}{lifted}", Owner.ADMIN)
    if pull.is_fork and not policy.forks_allowed:
        return skip(Code.FORK, "comes from a fork; forks_allowed is false", Owner.ADMIN)
    if authority.lists(policy.authors_denied, pull.author, is_bot=pull.author_is_bot):
        return skip(Code.AUTHOR, f"{pull.author} is in authors_denied", Owner.ADMIN)
    allowed = policy.authors_allowed
    if allowed and not authority.lists(allowed, pull.author, is_bot=pull.author_is_bot):
        return skip(Code.AUTHOR, f"{pull.author} is not in authors_allowed", Owner.ADMIN)
    return None


def queued(
    policy: MergePolicy, _snapshot: Snapshot, pull: PullRequest, _now: float
) -> RuleVerdict | None:
    """GitHub's own queue already has it."""
    if pull.in_merge_queue:
        return wait(Code.IN_MERGE_QUEUE, "GitHub's merge queue has it", Owner.CI)
    return None


def conflict(
    _policy: MergePolicy, _snapshot: Snapshot, pull: PullRequest, _now: float
) -> RuleVerdict | None:
    """A conflict with the base branch, as GitHub or git see it."""
    evidence = pull.evidence
    if evidence is not None and not evidence.clean:
        return wait(Code.CONFLICT, ", ".join(evidence.conflict_paths[:10]), Owner.AUTHOR)
    if pull.mergeable is Mergeable.CONFLICTING or pull.merge_state == "DIRTY":
        return wait(Code.CONFLICT, "with the base branch", Owner.AUTHOR)
    return None


def review(
    policy: MergePolicy, snapshot: Snapshot, pull: PullRequest, _now: float
) -> RuleVerdict | None:
    """Reviews that the branch rules or the policy ask for."""
    # GitHub gives no decision where no rule asks for reviews; an objection stands all the same.
    if pull.review_decision == "CHANGES_REQUESTED" or authority.objector(pull):
        asking = authority.objector(pull) or "a reviewer"
        return wait(Code.CHANGES_REQUESTED, f"{asking} asked for changes", Owner.AUTHOR)
    if pull.review_decision == "REVIEW_REQUIRED":
        return wait(Code.REVIEW_REQUIRED, "the branch rules ask for a review", Owner.REVIEWER)
    needed = max(policy.required_approvals, snapshot.branch.required_approvals)
    detail = pull.detail
    if detail is None:
        return None
    if not detail.reviews_complete:
        return wait(Code.DATA_INCOMPLETE, "not all reviews could be read", Owner.MARSHAL)
    approvals = authority.approvals(policy, pull)
    if approvals < needed:
        words = f"{approvals} of {needed} other persons approved this very head"
        return wait(Code.REVIEW_REQUIRED, words, Owner.REVIEWER)
    if snapshot.branch.conversation_resolution and not detail.threads_complete:
        return wait(Code.DATA_INCOMPLETE, "not all conversations could be read", Owner.MARSHAL)
    if snapshot.branch.conversation_resolution and detail.unresolved_threads:
        count = detail.unresolved_threads
        return wait(Code.UNRESOLVED_CONVERSATIONS, f"{count} open", Owner.AUTHOR)
    return None


def examined(
    _policy: MergePolicy, snapshot: Snapshot, pull: PullRequest, _now: float
) -> RuleVerdict | None:
    """Nobody lands without a full read; an earlier one of the same state still tells why."""
    if pull.detail is not None:
        return None
    before = snapshot.saved.remembered.get(pull.number)
    # What an earlier full look found out stays true as long as the pull request stays the same.
    same = before is not None and before.fingerprint == pull.fingerprint
    code = Code.known(before.code) if before is not None and same else None
    if before is not None and code is not None and code.meaning.lasts:
        return wait(code, before.detail, Owner(before.owner))
    if pull.rollup in ("FAILURE", "ERROR"):
        return wait(Code.CHECK_FAILED, "a check fails (not looked at in detail)", Owner.AUTHOR)
    if pull.rollup in ("PENDING", "EXPECTED"):
        return wait(Code.CHECK_PENDING, "a check has not finished", Owner.CI)
    if pull.rollup == "":
        return wait(Code.NO_CHECKS, "no check has reported on the head", Owner.CI)
    return wait(Code.NOT_EXAMINED, "older pull requests are looked at first", Owner.MARSHAL)


def guarded(
    policy: MergePolicy, _snapshot: Snapshot, pull: PullRequest, _now: float
) -> RuleVerdict | None:
    """Changes of guarded paths need a label that a person put on, not the author and no agent."""
    label = policy.guarded_label
    if not touches_guarded(policy, pull) or authority.exempted(policy, pull, label):
        return None
    if pull.detail is None:
        return None
    touched = [path for path in pull.detail.paths if matches(policy.guarded_paths, path)]
    if not touched:
        return wait(Code.DATA_INCOMPLETE, "not all changed paths could be read", Owner.MARSHAL)
    named = ", ".join(touched[:5])
    detail = f"{named}: {authority.doubt(policy, pull, label)}"
    return wait(Code.GUARDED_PATH, detail, Owner.REVIEWER)


def touches_guarded(policy: MergePolicy, pull: PullRequest) -> bool:
    """Whether guarded paths are changed, or may be: a list that was cut counts."""
    detail = pull.detail
    if detail is None or not policy.guarded_paths:
        return False
    return not detail.paths_complete or any(
        matches(policy.guarded_paths, path) for path in detail.paths
    )


def git_evidence(
    policy: MergePolicy, snapshot: Snapshot, pull: PullRequest, _now: float
) -> RuleVerdict | None:
    """Git must have confirmed this very head on this very base; stale trees are blocked."""
    if snapshot.evidence_error:
        return wait(Code.EVIDENCE_MISSING, snapshot.evidence_error, Owner.ADMIN)
    evidence = pull.evidence
    if evidence is None:
        return wait(Code.EVIDENCE_MISSING, "git has not confirmed the head yet", Owner.MARSHAL)
    if evidence.head_oid != pull.head_oid or evidence.base_oid != snapshot.branch.oid:
        return wait(Code.EVIDENCE_MISSING, "head or base moved while reading", Owner.MARSHAL)
    reverted = evidence.reverted_paths
    label = policy.revert_label
    if policy.stale_revert_guard and reverted and not authority.exempted(policy, pull, label):
        more = f" and {len(reverted) - 10} more" if len(reverted) > 10 else ""
        given = f": {authority.doubt(policy, pull, label)}" if label in pull.labels else ""
        named = ", ".join(reverted[:10]) + more + given
        return wait(Code.REVERTS_LANDED_WORK, named, Owner.AUTHOR)
    if evidence.empty:
        return wait(Code.EMPTY, "landing it would change nothing", Owner.AUTHOR)
    return None


def green(
    policy: MergePolicy, snapshot: Snapshot, pull: PullRequest, now: float
) -> RuleVerdict | None:
    """Every required check is green on the head, and the head is old enough."""
    detail = pull.detail
    if detail is None:
        return wait(Code.NOT_EXAMINED, "older pull requests are looked at first", Owner.MARSHAL)
    if not snapshot.branch.rules_known:
        return wait(Code.DATA_INCOMPLETE, "the branch rules could not be read", Owner.ADMIN)
    since = max(pull.created_at, detail.head_committed_at)
    required = checks.required(policy, snapshot.branch)
    problem = checks.judge(policy, required, detail.checks, since, now)
    if problem is not None:
        return problem
    evidence = pull.evidence
    oldest = checks.oldest(required, detail.checks)
    age_days = (now - oldest) / 86400 if oldest else 0.0
    # As long as the base branch has not moved, nothing can have come to be wrong.
    moved = evidence is not None and bool(evidence.behind_count)
    if moved and 0 < policy.check_max_age_days < age_days:
        words = f"green since {age_days:.0f} days, and the base branch has moved"
        return wait(Code.CHECK_EXPIRED, words, Owner.AUTHOR)
    if now - since < policy.settle_seconds:
        return wait(
            Code.SETTLING, f"the head is younger than {policy.settle_seconds:g} s", Owner.MARSHAL
        )
    return None


def refused(
    _policy: MergePolicy, snapshot: Snapshot, pull: PullRequest, now: float
) -> RuleVerdict | None:
    """GitHub refused to land this very head a while ago; its words say why."""
    found = snapshot.saved.refused.get(pull.number)
    if found is None or found.head_oid != pull.head_oid or now >= found.until:
        return None
    if found.code is Code.MERGEABILITY_UNKNOWN:
        still = pull.mergeable is Mergeable.UNKNOWN
        return wait(found.code, found.text, Owner.MARSHAL) if still else None
    # Its own queue has tested the change; anything else is a rule that an admin made.
    owner = Owner.AUTHOR if found.code is Code.LEFT_MERGE_QUEUE else Owner.ADMIN
    return wait(found.code, found.text, owner)


OWN_RULES: tuple[Rule, ...] = (
    readable,
    base,
    declared,
    queued,
    conflict,
    review,
    examined,
    guarded,
    green,
    git_evidence,
    refused,
)


def own_verdict(
    policy: MergePolicy, snapshot: Snapshot, pull: PullRequest, now: float
) -> RuleVerdict | None:
    """Return the first rule's blocker, or None when the pull request is ready by itself."""
    return next(blockers(policy, snapshot, pull, now), None)


def blockers(
    policy: MergePolicy, snapshot: Snapshot, pull: PullRequest, now: float
) -> Iterator[RuleVerdict]:
    """Return what each rule has against this one, in their order."""
    found = (rule(policy, snapshot, pull, now) for rule in OWN_RULES)
    return (verdict for verdict in found if verdict is not None)
