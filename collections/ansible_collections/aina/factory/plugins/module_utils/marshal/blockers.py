"""What stops a whole repository: incomplete reading, halt, hold, freeze, red main, budget."""

from __future__ import annotations

from . import authority, checks
from .reasons import Code, Owner, RuleVerdict, wait
from .settings import MergePolicy
from .snapshot import CheckState, PullRequest, Snapshot


def main_state(policy: MergePolicy, snapshot: Snapshot) -> str:
    """Return "red", "green", "pending" or "unknown" for the head of the base branch.

    Where not every check could be read, one of the missing may be the red one: "unknown".

    A branch on which no required check ever reports is "pending": nobody said that it
    is green, and nobody that it is red. Where none is required all that reported count.
    """
    latest = checks.latest(snapshot.branch.checks.items)
    required = checks.required(policy, snapshot.branch) or tuple(
        checks.Required(check.name, checks.ANY) for check in latest
    )
    found = {one: [check for check in latest if one.counts(check)] for one in required}
    finished = {
        one: [check for check in counting if check.state is not CheckState.PENDING]
        for one, counting in found.items()
    }
    if any(not checks.passes(policy, check) for told in finished.values() for check in told):
        return "red"
    if not snapshot.branch.checks.complete:
        return "unknown"
    return "green" if required and all(finished.values()) else "pending"


def main_red_since(policy: MergePolicy, snapshot: Snapshot, now: float) -> float:
    """Return since when main is red, 0 when it is not; red sticks until green is proven."""
    state = main_state(policy, snapshot)
    if state == "red":
        return snapshot.saved.main_red_since or now
    return 0.0 if state == "green" else snapshot.saved.main_red_since


def closed(policy: MergePolicy, snapshot: Snapshot, now: float) -> RuleVerdict | None:
    """Return what stops every pull request of the repository, or None."""
    if snapshot.archived:
        return wait(Code.ARCHIVED, "the repository is archived", Owner.ADMIN)
    if snapshot.saved.halted_since:
        return wait(Code.HALTED, snapshot.saved.halted_reason, Owner.ADMIN)
    if snapshot.hold_issues:
        return wait(Code.REPOSITORY_HOLD, ", ".join(snapshot.hold_issues), Owner.ADMIN)
    for freeze in policy.freezes:
        if freeze.concerns(snapshot.branch.name) and freeze.covers(now):
            return wait(Code.FREEZE, freeze.reason, Owner.ADMIN)
    if snapshot.points_remaining < policy.points_floor:
        left = f"{snapshot.points_remaining} points left, the floor is {policy.points_floor}"
        return wait(Code.BUDGET, left, Owner.MARSHAL)
    return None


def main_blocks(
    policy: MergePolicy, snapshot: Snapshot, pull: PullRequest, now: float
) -> RuleVerdict | None:
    """Red main stops everything but repairs; pending main where the policy says so."""
    if authority.exempted(policy, pull, *policy.repair_labels):
        return None
    since = main_red_since(policy, snapshot, now)
    if policy.red_main_blocks and since:
        given = sorted(pull.labels & set(policy.repair_labels))
        doubts = "".join(f"; {authority.doubt(policy, pull, label)}" for label in given)
        return wait(Code.MAIN_RED, f"{snapshot.branch.name} is red{doubts}", Owner.ADMIN)
    state = main_state(policy, snapshot)
    if (policy.red_main_blocks or policy.pending_main_blocks) and state == "unknown":
        detail = f"not all checks of {snapshot.branch.name} could be read"
        return wait(Code.DATA_INCOMPLETE, detail, Owner.MARSHAL)
    if policy.pending_main_blocks and state == "pending":
        return wait(Code.MAIN_PENDING, f"{snapshot.branch.name} is not green yet", Owner.CI)
    return None
