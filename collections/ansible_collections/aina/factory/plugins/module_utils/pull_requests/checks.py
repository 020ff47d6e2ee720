"""Which checks count, and what they say. Fails closed on anything unknown."""

from __future__ import annotations

from collections.abc import Iterable

from ansible_collections.aina.factory.plugins.module_utils.pull_requests.policy import Policy
from ansible_collections.aina.factory.plugins.module_utils.pull_requests.reasons import (
    Owner,
    Verdict,
    wait,
)
from ansible_collections.aina.factory.plugins.module_utils.pull_requests.snapshot import (
    Branch,
    Check,
    Checks,
    CheckState,
)


def required_names(policy: Policy, branch: Branch) -> tuple[str, ...]:
    """Return the union of the branch's own rules and the configured names, sorted."""
    return tuple(sorted({*policy.required_checks, *branch.required_checks}))


def latest(checks: Iterable[Check]) -> tuple[Check, ...]:
    """Keep the newest run of each (source, name): a re-run supersedes what it re-ran.

    A run that has not started yet (no time) is newer than any that has.
    """
    newest: dict[tuple[str, str], Check] = {}
    for check in checks:
        key = (check.source, check.name)
        held = newest.get(key)
        if held is None or _age_key(check) >= _age_key(held):
            newest[key] = check
    return tuple(newest[key] for key in sorted(newest))


def _age_key(check: Check) -> tuple[bool, float, bool]:
    pending = check.state is CheckState.PENDING
    return (pending and not check.started_at, check.started_at, check.state is CheckState.FAILURE)


def passes(policy: Policy, check: Check) -> bool:
    """Whether a finished check counts as green."""
    return (
        check.state is CheckState.SUCCESS
        or (check.state is CheckState.NEUTRAL and policy.neutral_passes)
        or (check.state is CheckState.SKIPPED and policy.skipped_passes)
    )


def judge(
    policy: Policy, required: tuple[str, ...], checks: Checks, since: float, now: float
) -> Verdict | None:
    """Return why ``checks`` do not allow landing, or None when every required one is green.

    ``since`` is when the commit could first have been checked (seconds since the epoch).
    """
    if not checks.complete:
        return wait("data_incomplete", "not all checks could be read", Owner.MARSHAL)
    if not required:
        return _without_requirements(policy, latest(checks.items))
    by_name: dict[str, list[Check]] = {name: [] for name in required}
    for check in latest(checks.items):
        if check.name in by_name:
            by_name[check.name].append(check)
    return _first_problem(policy, by_name, since, now)


def _without_requirements(policy: Policy, checks: tuple[Check, ...]) -> Verdict | None:
    if not policy.allow_no_checks:
        return wait(
            "no_required_checks",
            "neither the branch rules nor required_checks name a check",
            Owner.ADMIN,
        )
    failing = [check.name for check in checks if _failed(policy, check)]
    if failing:
        return wait("check_failed", ", ".join(failing), Owner.AUTHOR)
    pending = [check.name for check in checks if check.state is CheckState.PENDING]
    return wait("check_pending", ", ".join(pending), Owner.CI) if pending else None


def _failed(policy: Policy, check: Check) -> bool:
    return check.state is not CheckState.PENDING and not passes(policy, check)


def _first_problem(
    policy: Policy, by_name: dict[str, list[Check]], since: float, now: float
) -> Verdict | None:
    everything = [check for found in by_name.values() for check in found]
    failing = [check for check in everything if _failed(policy, check)]
    acting = [check.name for check in failing if check.state is CheckState.ACTION_REQUIRED]
    unknown = [check.name for check in failing if check.state is CheckState.UNKNOWN]
    if len(acting) + len(unknown) < len(failing):
        named = sorted({check.name for check in failing})
        return wait("check_failed", ", ".join(named), Owner.AUTHOR)
    if unknown:
        return wait("check_unreadable", ", ".join(unknown), Owner.ADMIN)
    if acting:
        return wait("check_needs_action", ", ".join(acting), Owner.ADMIN)
    missing = [name for name, found in by_name.items() if not found]
    if missing:
        return _missing(policy, missing, since, now)
    pending = [check for check in everything if check.state is CheckState.PENDING]
    if not pending:
        return None
    started = min(check.started_at or since for check in pending)
    named = sorted({check.name for check in pending})
    if now - started > policy.check_finish_deadline_seconds:
        return wait("check_overdue", ", ".join(named), Owner.ADMIN)
    return wait("check_pending", ", ".join(named), Owner.CI)


def _missing(policy: Policy, missing: list[str], since: float, now: float) -> Verdict:
    if now - since > policy.check_report_deadline_seconds:
        return wait("check_never_reported", ", ".join(missing), Owner.ADMIN)
    return wait("check_missing", ", ".join(missing), Owner.CI)
