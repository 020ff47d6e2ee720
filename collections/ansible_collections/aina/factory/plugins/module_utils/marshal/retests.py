"""Which heads get their CI again: red for want of CI, silent or expired. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from . import authority, blockers, checks, rules
from .reasons import Code, Owner, Reason, RuleVerdict, Verb, wait
from .settings import MergePolicy
from .snapshot import Checks, CheckState, PullRequest, Retest, SavedState, Snapshot

_DAY_SECONDS = 86400.0
# Actions runs nothing again that is older.
_RERUN_SECONDS = 29 * _DAY_SECONDS
# Until CI that was asked for must show; then the asking was in vain.
_REPORT_SECONDS = 600.0
# While no runner takes a job one head at a time is tried, and so much later each time.
_PAUSE_SECONDS = 600.0
_LONGEST_PAUSE_SECONDS = 1800.0
_LOOK_SECONDS = 60.0
_KEPT_COUNT = 1000
_TRIES_COUNT = 2
# Reasons against a head that CI itself can lift.
_LIFTED = frozenset(
    {Code.CHECK_FAILED, Code.CHECK_NEVER_REPORTED, Code.CHECK_OVERDUE, Code.CHECK_EXPIRED}
)
_IN_TEST = frozenset({Code.CHECK_PENDING, Code.CHECK_MISSING})


@dataclass(frozen=True)
class Ledger:
    """What was asked for already, against the policy's budget."""

    policy: MergePolicy
    entries: tuple[Retest, ...]
    now: float

    @property
    def exhausted(self) -> str:
        """Return which part of the budget is used up, "" while there is some left."""
        budget = self.policy.retest
        day = [entry for entry in self.entries if self.now - entry.at < _DAY_SECONDS]
        spent = sum(entry.minutes for entry in day)
        took = [entry.minutes for entry in day if entry.minutes]
        usual = sum(took) / len(took) if took else 0.0
        if len(day) >= budget.runs_per_day:
            return f"{len(day)} of {budget.runs_per_day} runs of CI a day"
        if spent + usual > budget.minutes_per_day:
            return f"{spent:.0f} of {budget.minutes_per_day:g} minutes of CI a day"
        return ""

    def due_at(self, working_since: float) -> float:
        """Return when CI may be asked for anything, 0 while it is known to work."""
        silent: list[float] = []
        for entry in sorted(self.entries, key=lambda entry: entry.at, reverse=True):
            if entry.outcome in ("passed", "failed") or entry.at < working_since:
                break
            # What was asked for at one look tells one thing.
            together = bool(silent) and silent[-1] - entry.at < _LOOK_SECONDS
            if entry.outcome == "never_ran" and not together:
                silent.append(entry.at)
        if not silent:
            return 0.0
        pause = min(_PAUSE_SECONDS * (1 << (len(silent) - 1)), _LONGEST_PAUSE_SECONDS)
        return silent[0] + pause

    def of(self, number: int, heads: Iterable[str]) -> tuple[Retest, ...]:
        """Return what was asked for these heads, the oldest first."""
        known = frozenset(heads)
        return tuple(e for e in self.entries if e.number == number and e.head_oid in known)


def verdicts(
    policy: MergePolicy,
    snapshot: Snapshot,
    pulls: Sequence[PullRequest],
    own: Mapping[int, RuleVerdict | None],
    now: float,
) -> dict[int, RuleVerdict]:
    """Return what is said of those that CI could lift; ``pulls`` in landing order."""
    if not policy.retest.enabled:
        return {}
    ledger = Ledger(policy, snapshot.saved.retests, now)
    found: dict[int, RuleVerdict] = {}
    free = _slots(policy, snapshot) - sum(
        bool(ledger.of(pull.number, authority.seen_alike(pull))) and _is_in_test(own[pull.number])
        for pull in pulls
    )
    due_at = ledger.due_at(_working_since(policy, snapshot))
    if due_at:
        # The oldest tries whether CI is there; the others follow at once when it is.
        idle = not any(entry.at >= due_at and not entry.outcome for entry in ledger.entries)
        free = min(free, 1) if now >= due_at and idle else 0
    asked = 0
    for pull in pulls:
        if not liftable(policy, snapshot, pull, own[pull.number], now):
            continue
        mine = ledger.of(pull.number, authority.seen_alike(pull))
        if _is_awaited(mine, counted_of(policy, snapshot, pull), now):
            found[pull.number] = wait(Code.CHECK_PENDING, "CI was asked for again", Owner.CI)
            free -= 1
        elif how(policy, snapshot, pull, now) and not _is_blamed(mine):
            left = ledger.exhausted
            if left:
                words = f"{_why(own[pull.number])}; {left} are used up"
                found[pull.number] = wait(Code.RETEST_BUDGET, words, Owner.ADMIN)
            elif asked >= free:
                what = "until CI works" if due_at else "for a slot of CI"
                words = f"{_why(own[pull.number])}; waits {what}"
                found[pull.number] = wait(Code.RETEST_NEXT, words, Owner.MARSHAL)
            else:
                asked += 1
                found[pull.number] = RuleVerdict(
                    Verb.RETEST, Reason(Code.RETEST, _why(own[pull.number]), Owner.MARSHAL)
                )
                ledger = replace(
                    ledger, entries=(*ledger.entries, Retest(pull.number, pull.head_oid, now))
                )
    return found


def liftable(
    policy: MergePolicy,
    snapshot: Snapshot,
    pull: PullRequest,
    own: RuleVerdict | None,
    now: float,
) -> bool:
    """Whether nothing but its CI keeps a pull request from landing."""
    if own is None or own.reason.code not in _LIFTED or pull.detail is None:
        return False
    codes = {verdict.reason.code for verdict in rules.blockers(policy, snapshot, pull, now)}
    return codes <= _LIFTED and blockers.main_blocks(policy, snapshot, pull, now) is None


def how(policy: MergePolicy, snapshot: Snapshot, pull: PullRequest, now: float) -> str:
    """Return how CI of a head comes about again: rerun, update, or "" for not at all.

    What is run again has the workflows that it had; only an update brings those of the
    base branch.
    """
    evidence = pull.evidence
    behind = evidence is not None and bool(evidence.behind_count)
    strict = policy.mode == "strict" or snapshot.branch.strict
    if behind and evidence is not None and (strict or evidence.workflows_differ):
        return "update"
    found = counted_of(policy, snapshot, pull)
    if runs_of(policy, found, now):
        return "rerun"
    # A red check that cannot be run again is somebody else's: only its author knows better.
    red = any(check.state is CheckState.FAILURE for check in found.items)
    old = all(now - check.started_at > _RERUN_SECONDS for check in found.items if check.started_at)
    return "update" if behind and (not red or old) else ""


def runs_of(policy: MergePolicy, found: Checks, now: float) -> tuple[int, ...]:
    """Return the runs of Actions that have what is not green, where all of it can be run again."""
    bad = [check for check in found.items if not checks.passes(policy, check)]
    # Of an expired one nothing failed, and Actions runs only again what did.
    again = all(
        check.run_id and check.ended_at and now - check.started_at < _RERUN_SECONDS for check in bad
    )
    return tuple(sorted({check.run_id for check in bad})) if bad and again else ()


def main_is_due(policy: MergePolicy, snapshot: Snapshot, now: float) -> bool:
    """Whether the red base branch is to be run again: for want of CI it would block for ever."""
    branch = snapshot.branch
    ledger = Ledger(policy, snapshot.saved.retests, now)
    mine = ledger.of(0, {branch.oid})
    found = counted(policy, snapshot, branch.checks)
    return (
        policy.retest.enabled
        and blockers.main_state(policy, snapshot) == "red"
        and bool(runs_of(policy, found, now))
        and not _is_awaited(mine, found, now)
        and not _is_blamed(mine)
        and now >= ledger.due_at(_working_since(policy, snapshot))
        and not ledger.exhausted
    )


def counted(policy: MergePolicy, snapshot: Snapshot, found: Checks) -> Checks:
    """Return the newest of those checks that are required of the branch."""
    return checks.counted(checks.required(policy, snapshot.branch), found)


def settled(
    policy: MergePolicy,
    snapshot: Snapshot,
    saved: SavedState,
    ran: Callable[[int], bool],
    now: float,
) -> tuple[Retest, ...]:
    """Return the ledger with what became of each, without what nobody needs any more.

    ``ran`` is asked of a job that failed: whether a runner had it at all.
    """
    pulls = {pull.number: pull for pull in snapshot.pulls}
    kept = []
    for entry in saved.retests:
        pull = pulls.get(entry.number)
        found = None
        if entry.number == 0 and entry.head_oid == snapshot.branch.oid:
            found = snapshot.branch.checks
        elif pull is not None and entry.head_oid in authority.seen_alike(pull):
            found = pull.detail.checks if pull.detail is not None else Checks()
        if found is not None:
            entry = _judged(entry, counted(policy, snapshot, found), policy, ran, now)
        if found is not None or now - entry.at < _DAY_SECONDS:
            kept.append(entry)
    return tuple(kept[-_KEPT_COUNT:])


def _judged(
    entry: Retest, found: Checks, policy: MergePolicy, ran: Callable[[int], bool], now: float
) -> Retest:
    """Return an entry with what CI has said since, and how long that took."""
    since = [check for check in found.items if check.started_at >= entry.at - 1]
    spans = ((check.ended_at or now) - check.started_at for check in since)
    minutes = max(entry.minutes, sum(max(span, 0.0) for span in spans) / 60)
    outcome = entry.outcome
    if not outcome and since and all(c.state is not CheckState.PENDING for c in found.items):
        bad = [check for check in since if not checks.passes(policy, check)]
        jobs = [check.job_id for check in bad if check.job_id]
        outcome = "failed" if not jobs or any(map(ran, jobs)) else "never_ran"
        outcome = outcome if bad else "passed"
    return replace(entry, minutes=minutes, outcome=outcome)


def counted_of(policy: MergePolicy, snapshot: Snapshot, pull: PullRequest) -> Checks:
    """Return the newest required checks of a pull request; none where nobody has read them."""
    found = pull.detail.checks if pull.detail is not None else Checks()
    return counted(policy, snapshot, found)


def _slots(policy: MergePolicy, snapshot: Snapshot) -> int:
    if policy.mode == "strict" or snapshot.branch.strict:
        return policy.max_updates_per_cycle
    return policy.retest.slots


def _is_in_test(own: RuleVerdict | None) -> bool:
    return own is not None and own.reason.code in _IN_TEST


def _is_awaited(mine: tuple[Retest, ...], found: Checks, now: float) -> bool:
    """Whether CI was asked for, and has not said a word since."""
    if not mine or mine[-1].how not in ("rerun", "update") or now - mine[-1].at > _REPORT_SECONDS:
        return False
    return all(check.started_at < mine[-1].at - 1 for check in found.items)


def _is_blamed(mine: tuple[Retest, ...]) -> bool:
    """Whether CI that was asked for again did run, and failed, or cannot be asked for."""
    if any(entry.outcome == "failed" for entry in mine):
        return True
    # Asked twice for nothing while CI works elsewhere: something else is wrong with this one.
    return sum(entry.outcome != "never_ran" for entry in mine) >= _TRIES_COUNT


def _working_since(policy: MergePolicy, snapshot: Snapshot) -> float:
    """Return when CI began last that was green in all that is required, 0 for never."""
    details = (pull.detail.checks for pull in snapshot.pulls if pull.detail is not None)
    found = (counted(policy, snapshot, each) for each in (snapshot.branch.checks, *details))
    return max(
        (
            min(check.started_at for check in each.items)
            for each in found
            if each.items and all(c.run_id and checks.passes(policy, c) for c in each.items)
        ),
        default=0.0,
    )


def _why(own: RuleVerdict | None) -> str:
    return f"{own.reason.code}: {own.reason.detail}" if own is not None else ""
