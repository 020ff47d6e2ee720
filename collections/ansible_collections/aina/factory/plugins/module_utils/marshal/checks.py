"""Which checks count, and what they say. Fails closed on anything unknown."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from .reasons import Code, Owner, RuleVerdict, wait
from .settings import MergePolicy
from .snapshot import Branch, CheckRun, Checks, CheckState

# Who reports what this server's own runner ran. Whatever nobody bound to an app counts from
# this one only: any token that may push, an agent's too, may write a status of any name.
ACTIONS = "github-actions"
ANY = "*"


@dataclass(frozen=True, order=True)
class Required:
    """A check that must be green, and the app from which it counts: by slug, or by number."""

    name: str
    app: str = ""
    app_id: int = 0

    def counts(self, check: CheckRun) -> bool:
        """Whether ``check`` is this one, from the right app."""
        if check.name != self.name:
            return False
        if self.app_id:
            return check.app_id == self.app_id
        return self.app in (ANY, check.app)

    @property
    def whose(self) -> str:
        return f"app {self.app_id}" if self.app_id else self.app


def required(policy: MergePolicy, branch: Branch) -> tuple[Required, ...]:
    """Return what the branch's own rules and the policy require, sorted.

    An app that the policy names counts before that of the rules, which GitHub itself
    enforces; what neither binds comes from Actions.
    """
    found: set[Required] = set()
    for name in {*policy.check_names, *branch.required_checks}:
        slugs = {app for bound, app in policy.check_apps if bound == name}
        numbers = {number for bound, number in branch.check_apps if bound == name}
        if slugs and not (numbers and slugs == {ANY}):
            found |= {Required(name, app) for app in slugs}
        else:
            found |= {Required(name, app_id=number) for number in numbers}
        if not slugs and not numbers:
            found.add(Required(name, ACTIONS))
    return tuple(sorted(found))


def unbound(policy: MergePolicy, branch: Branch) -> frozenset[str]:
    """Return the names of those required checks that nobody has bound to an app."""
    bound = {name for name, _app in (*policy.check_apps, *branch.check_apps)}
    return frozenset({*policy.check_names, *branch.required_checks} - bound)


def latest(checks: Iterable[CheckRun]) -> tuple[CheckRun, ...]:
    """Keep the newest run of each (source, name): a re-run supersedes what it re-ran.

    A run that has not started yet (no time) is newer than any that has.
    """
    newest: dict[tuple[str, str], CheckRun] = {}
    for check in checks:
        key = (check.source, check.name)
        held = newest.get(key)
        if held is None or _age_key(check) >= _age_key(held):
            newest[key] = check
    return tuple(newest[key] for key in sorted(newest))


def _age_key(check: CheckRun) -> tuple[bool, float, bool]:
    pending = check.state is CheckState.PENDING
    return (pending and not check.started_at, check.started_at, check.state is CheckState.FAILURE)


def passes(policy: MergePolicy, check: CheckRun) -> bool:
    """Whether a finished check counts as green."""
    return (
        check.state is CheckState.SUCCESS
        or (check.state is CheckState.NEUTRAL and policy.neutral_passes)
        or (check.state is CheckState.SKIPPED and policy.skipped_passes)
    )


def judge(
    policy: MergePolicy, required: tuple[Required, ...], checks: Checks, since: float, now: float
) -> RuleVerdict | None:
    """Return why ``checks`` do not allow landing, or None when every required one is green.

    ``since`` is when the commit could first have been checked (seconds since the epoch).
    """
    if not checks.complete:
        return wait(Code.DATA_INCOMPLETE, "not all checks could be read", Owner.MARSHAL)
    if not required:
        return _without_requirements(policy, latest(checks.items))
    newest = latest(checks.items)
    found = {one: [check for check in newest if one.counts(check)] for one in required}
    missing = [_absent(one, newest) for one, counting in found.items() if not counting]
    counted = [check for counting in found.values() for check in counting]
    return _first_problem(policy, counted, missing, since, now)


def oldest(required: tuple[Required, ...], checks: Checks) -> float:
    """Return when the oldest of the newest required checks began, 0 where nobody knows."""
    found = counted(required, checks).items
    return min((check.started_at for check in found if check.started_at), default=0.0)


def counted(required: tuple[Required, ...], checks: Checks) -> Checks:
    """Return the newest of those checks that are required."""
    found = (c for c in latest(checks.items) if any(one.counts(c) for one in required))
    return Checks(tuple(found), checks.complete)


def _absent(required: Required, checks: Iterable[CheckRun]) -> str:
    """Name what has not reported, and who else did under its name."""
    others = {check.app or "a commit status" for check in checks if check.name == required.name}
    if not others:
        return required.name
    named = ", ".join(sorted(others))
    return (
        f"{required.name} (from {named}; it counts from {required.whose} unless required_checks "
        "binds it to another app)"
    )


def _without_requirements(policy: MergePolicy, checks: tuple[CheckRun, ...]) -> RuleVerdict | None:
    if not policy.allow_no_checks:
        return wait(
            Code.NO_REQUIRED_CHECKS,
            "neither the branch rules nor required_checks name a check",
            Owner.ADMIN,
        )
    failing = [check.name for check in checks if _failed(policy, check)]
    if failing:
        return wait(Code.CHECK_FAILED, ", ".join(failing), Owner.AUTHOR)
    pending = [check.name for check in checks if check.state is CheckState.PENDING]
    return wait(Code.CHECK_PENDING, ", ".join(pending), Owner.CI) if pending else None


def _failed(policy: MergePolicy, check: CheckRun) -> bool:
    return check.state is not CheckState.PENDING and not passes(policy, check)


def _first_problem(
    policy: MergePolicy, everything: list[CheckRun], missing: list[str], since: float, now: float
) -> RuleVerdict | None:
    failing = [check for check in everything if _failed(policy, check)]
    acting = [check.name for check in failing if check.state is CheckState.ACTION_REQUIRED]
    unknown = [check.name for check in failing if check.state is CheckState.UNKNOWN]
    if len(acting) + len(unknown) < len(failing):
        named = sorted({check.name for check in failing})
        return wait(Code.CHECK_FAILED, ", ".join(named), Owner.AUTHOR)
    if unknown:
        return wait(Code.CHECK_UNREADABLE, ", ".join(unknown), Owner.ADMIN)
    if acting:
        return wait(Code.CHECK_NEEDS_ACTION, ", ".join(acting), Owner.ADMIN)
    if missing:
        return _missing(policy, missing, since, now)
    pending = [check for check in everything if check.state is CheckState.PENDING]
    if not pending:
        return None
    started = min(check.started_at or since for check in pending)
    named = sorted({check.name for check in pending})
    if now - started > policy.check_finish_deadline_seconds:
        return wait(Code.CHECK_OVERDUE, ", ".join(named), Owner.ADMIN)
    return wait(Code.CHECK_PENDING, ", ".join(named), Owner.CI)


def _missing(policy: MergePolicy, missing: list[str], since: float, now: float) -> RuleVerdict:
    if now - since > policy.check_report_deadline_seconds:
        return wait(Code.CHECK_NEVER_REPORTED, ", ".join(missing), Owner.ADMIN)
    return wait(Code.CHECK_MISSING, ", ".join(missing), Owner.CI)
