"""The batch branch: what to test next, pure. Only green, exactly tested trees land."""

from __future__ import annotations

from dataclasses import dataclass, replace

from . import checks
from .policy import Policy
from .reasons import Code
from .snapshot import Branch, Checks, TrainMemory

Member = tuple[int, str]


@dataclass(frozen=True)
class Step:
    """What the train does now: start a test, wait for one, land one, or rest.

    ``memory`` is what the train knows after this step.
    """

    verb: str
    members: tuple[Member, ...]
    memory: TrainMemory
    detail: str = ""


def next_step(
    policy: Policy,
    branch: Branch,
    ready: tuple[Member, ...],
    memory: TrainMemory,
    tip_checks: Checks,
    now: float,
) -> Step:
    """Return the next step; ``ready`` is oldest first and judged by every other rule."""
    run = memory.run
    if run is None:
        return _start(policy, ready, memory, now)
    if run.landing:
        return Step("land", run.members, memory, "the batch is green")
    if run.base_oid != branch.oid or not set(run.members) <= set(ready):
        # What is under test is no longer what would land.
        return _start(policy, ready, replace(memory, run=None), now)
    required = checks.required(policy, branch)
    problem = checks.judge(policy, required, tip_checks, run.started_at, now)
    if problem is None:
        return Step("land", run.members, replace(memory, run=replace(run, landing=True)))
    code = problem.reason.code
    if code is Code.CHECK_FAILED:
        return _start(policy, ready, after_red(memory, now), now)
    if now - run.started_at > policy.train.ci_timeout_seconds:
        detail = f"{problem.reason.detail}: {code} after {policy.train.ci_timeout_seconds:g} s"
        return Step("stuck", run.members, memory, detail)
    return Step("wait", run.members, memory, problem.reason.detail)


def after_red(memory: TrainMemory, now: float) -> TrainMemory:
    """Narrow the suspects to the batch that was red; a batch of one is found bad."""
    if memory.run is None:
        return memory
    return _narrow(replace(memory, run=None), memory.run.members, now)


def after_refused_push(memory: TrainMemory) -> TrainMemory:
    """Narrow a batch of several that the remote does not take; nothing was tested."""
    members = memory.run.members if memory.run is not None else ()
    several = len(members) > 1
    return replace(memory, run=None, suspects=members if several else (), untested=several)


def after_landing(memory: TrainMemory, landed: frozenset[int], now: float) -> TrainMemory:
    """Clear the run; what is left of a red group after its green part landed is narrower."""
    rest = tuple(member for member in memory.suspects if member[0] not in landed)
    if memory.untested:
        return replace(memory, run=None, suspects=rest)
    return _narrow(replace(memory, run=None, suspects=()), rest, now)


def _narrow(memory: TrainMemory, suspects: tuple[Member, ...], now: float) -> TrainMemory:
    memory = replace(memory, untested=False)
    if len(suspects) != 1:
        return replace(memory, suspects=suspects)
    number, head = suspects[0]
    return replace(
        memory,
        suspects=(),
        bad={**memory.bad, number: (head, now)},
        bads_in_search=memory.bads_in_search + 1,
    )


def is_bad(policy: Policy, memory: TrainMemory, member: Member, now: float) -> bool:
    """Whether this very head was found red and its retry time has not come."""
    head, since = memory.bad.get(member[0], ("", 0.0))
    return head == member[1] and now - since < policy.train.retry_seconds


def _start(policy: Policy, ready: tuple[Member, ...], memory: TrainMemory, now: float) -> Step:
    waiting = tuple(member for member in ready if not is_bad(policy, memory, member, now))
    if not waiting:
        return Step("rest", (), replace(memory, suspects=(), bads_in_search=0))
    if now < memory.alone_until:
        return Step("start", waiting[:1], replace(memory, suspects=(), untested=False))
    suspects = memory.suspects
    if suspects and set(suspects) <= set(waiting):
        return Step("start", suspects[: max(1, len(suspects) // 2)], memory)
    memory = replace(memory, suspects=(), untested=False)
    candidates = waiting[: policy.train.max_members]
    size = batch_size(len(candidates), memory.bads_in_search)
    return Step("start", candidates[:size], memory)


def batch_size(candidates_count: int, bads_in_search: int) -> int:
    """Return how many to test together when nothing is known of them.

    All of them; but right after one bad was found, half: this keeps the worst case of
    two bad among thirty at twelve runs of CI.
    """
    if bads_in_search == 1:
        return (candidates_count + 1) // 2
    return candidates_count
