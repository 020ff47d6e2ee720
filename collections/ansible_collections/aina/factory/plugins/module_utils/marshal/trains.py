"""The batch branch: what to test next, pure. Only green, exactly tested trees land."""

from __future__ import annotations

from dataclasses import dataclass, replace

from . import checks
from .reasons import Code
from .settings import MergePolicy
from .snapshot import Branch, Checks, TrainState

Member = tuple[int, str]


@dataclass(frozen=True)
class TrainStep:
    """What the train does now: start a test, wait for one, land one, or rest.

    ``saved`` is what the train knows after this step.
    """

    verb: str
    members: tuple[Member, ...]
    saved: TrainState
    detail: str = ""


def next_step(
    policy: MergePolicy,
    branch: Branch,
    ready: tuple[Member, ...],
    saved: TrainState,
    tip_checks: Checks,
    now: float,
) -> TrainStep:
    """Return the next step; ``ready`` is oldest first and judged by every other rule."""
    run = saved.run
    if run is None:
        return _start(policy, ready, saved, now)
    if run.landing:
        return TrainStep("land", run.members, saved, "the batch is green")
    if run.base_oid != branch.oid or not set(run.members) <= set(ready):
        # What is under test is no longer what would land.
        return _start(policy, ready, replace(saved, run=None), now)
    required = checks.required(policy, branch)
    problem = checks.judge(policy, required, tip_checks, run.started_at, now)
    if problem is None:
        return TrainStep("land", run.members, replace(saved, run=replace(run, landing=True)))
    code = problem.reason.code
    if code is Code.CHECK_FAILED:
        return _start(policy, ready, after_red(saved, now), now)
    if now - run.started_at > policy.train.ci_timeout_seconds:
        detail = f"{problem.reason.detail}: {code} after {policy.train.ci_timeout_seconds:g} s"
        return TrainStep("stuck", run.members, saved, detail)
    return TrainStep("wait", run.members, saved, problem.reason.detail)


def after_red(saved: TrainState, now: float) -> TrainState:
    """Narrow the suspects to the batch that was red; a batch of one is found bad."""
    if saved.run is None:
        return saved
    return _narrow(replace(saved, run=None), saved.run.members, now)


def after_refused_push(saved: TrainState) -> TrainState:
    """Narrow a batch of several that the remote does not take; nothing was tested."""
    members = saved.run.members if saved.run is not None else ()
    several = len(members) > 1
    return replace(saved, run=None, suspects=members if several else (), untested=several)


def after_landing(saved: TrainState, landed: frozenset[int], now: float) -> TrainState:
    """Clear the run; what is left of a red group after its green part landed is narrower."""
    rest = tuple(member for member in saved.suspects if member[0] not in landed)
    if saved.untested:
        return replace(saved, run=None, suspects=rest)
    return _narrow(replace(saved, run=None, suspects=()), rest, now)


def _narrow(saved: TrainState, suspects: tuple[Member, ...], now: float) -> TrainState:
    saved = replace(saved, untested=False)
    if len(suspects) != 1:
        return replace(saved, suspects=suspects)
    number, head = suspects[0]
    if saved.retried.get(number) != head:
        # A red that does not come again is nobody's fault: it has one more test, alone.
        return replace(saved, suspects=suspects, retried={**saved.retried, number: head})
    return replace(
        saved,
        suspects=(),
        retried={other: tried for other, tried in saved.retried.items() if other != number},
        bad={**saved.bad, number: (head, now)},
        bads_in_search=saved.bads_in_search + 1,
    )


def is_bad(policy: MergePolicy, saved: TrainState, member: Member, now: float) -> bool:
    """Whether this very head was found red and its retry time has not come."""
    head, since = saved.bad.get(member[0], ("", 0.0))
    return head == member[1] and now - since < policy.train.retry_seconds


def _start(
    policy: MergePolicy, ready: tuple[Member, ...], saved: TrainState, now: float
) -> TrainStep:
    waiting = tuple(member for member in ready if not is_bad(policy, saved, member, now))
    if not waiting:
        return TrainStep("rest", (), replace(saved, suspects=(), bads_in_search=0))
    if now < saved.alone_until:
        return TrainStep("start", waiting[:1], replace(saved, suspects=(), untested=False))
    suspects = saved.suspects
    if suspects and set(suspects) <= set(waiting):
        return TrainStep("start", suspects[: max(1, len(suspects) // 2)], saved)
    saved = replace(saved, suspects=(), untested=False)
    candidates = waiting[: policy.train.max_members]
    size = batch_size(len(candidates), saved.bads_in_search)
    return TrainStep("start", candidates[:size], saved)


def batch_size(candidates_count: int, bads_in_search: int) -> int:
    """Return how many to test together when nothing is known of them.

    All of them; but right after one bad was found, half: this keeps the worst case of
    two bad among thirty at twelve runs of CI.
    """
    if bads_in_search == 1:
        return (candidates_count + 1) // 2
    return candidates_count
