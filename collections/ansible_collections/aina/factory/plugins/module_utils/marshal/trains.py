"""The batch branches: what to test next, pure. Only green, exactly tested trees land.

A red batch is searched by rounds: as many batches as CI has slots, chosen so that one more round
tells most. What they were learns the search only; what lands was tested as it lands.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice, product

from . import checks
from .reasons import Code
from .settings import MergePolicy
from .snapshot import Branch, Checks, TrainRun, TrainState

Member = tuple[int, str]
Group = frozenset[Member]
# How long the runs of a round wait for each other: so many times the one that is green took.
_PATIENCE = 1.5
_PATIENCE_SECONDS = 60.0
# So many combinations of who may be to blame are looked at.
_GUESSES_COUNT = 4096


@dataclass(frozen=True)
class TrainStep:
    """What the train does now: start tests, wait for them, land one, or rest.

    ``batches`` are under test, or are to be. ``saved`` is what the train knows after this step.
    """

    verb: str
    batches: tuple[tuple[Member, ...], ...]
    saved: TrainState
    detail: str = ""

    @property
    def members(self) -> tuple[Member, ...]:
        """Everybody in one of the batches."""
        return tuple(dict.fromkeys(member for batch in self.batches for member in batch))


def next_step(
    policy: MergePolicy,
    branch: Branch,
    ready: tuple[Member, ...],
    saved: TrainState,
    tip_checks: Mapping[str, Checks],
    now: float,
) -> TrainStep:
    """Return the next step; ``ready`` is oldest first and judged by every other rule.

    ``tip_checks`` are those of each commit under test.
    """
    landing = next((run for run in saved.runs if run.landing), None)
    if landing is not None:
        return TrainStep("land", (landing.members,), saved, "the batch is green")
    required = checks.required(policy, branch)
    greens, reds, rest, detail = [], [], [], ""
    for run in saved.runs:
        if run.base_oid != branch.oid or not set(run.members) <= set(ready):
            continue  # What is under test is no longer what would land.
        found = tip_checks.get(run.tip_oid, Checks())
        problem = checks.judge(policy, required, found, run.started_at, now)
        if problem is None:
            greens.append(run)
        elif problem.reason.code is Code.CHECK_FAILED:
            reds.append(run)
        else:
            rest.append(run)
            detail = f"{problem.reason.detail}: {problem.reason.code}"
    saved = _learned(saved, greens, reds, now)
    saved = replace(saved, runs=(*greens, *rest))
    limit = policy.train.ci_timeout_seconds
    pending = [run for run in rest if now - run.started_at <= limit]
    best = max(greens, key=lambda run: len(run.members), default=None)
    if best is not None and not any(
        _tells_more(run, best, tip_checks[best.tip_oid], now) for run in pending
    ):
        saved = replace(saved, runs=(replace(best, landing=True),))
        return TrainStep("land", (best.members,), saved)
    batches = tuple(run.members for run in rest)
    if pending:
        return TrainStep("wait", batches, saved, detail)
    if rest:
        return TrainStep("stuck", batches, saved, f"{detail} after {limit:g} s")
    return _start(policy, ready, saved, now)


def _tells_more(run: TrainRun, best: TrainRun, told: Checks, now: float) -> bool:
    """Whether to wait for a run though ``best`` could land: not for long after that one ended."""
    ended = max((check.ended_at for check in told.items), default=0.0) or now
    patience = _PATIENCE * (ended - best.started_at) + _PATIENCE_SECONDS
    return not set(run.members) <= set(best.members) and now - run.started_at <= patience


def _learned(
    saved: TrainState, greens: Sequence[TrainRun], reds: Sequence[TrainRun], now: float
) -> TrainState:
    cleared = {*saved.cleared, *(member for run in greens for member in run.members)}
    # A red of which everybody is green elsewhere was for no reason, or comes of two together.
    groups = [group for group in saved.reds if not set(group) <= cleared]
    bad = dict(saved.bad)
    for run in reds:
        if set(run.members) <= cleared:
            cleared -= set(run.members)
        groups += [run.members] if run.members not in groups else []
        number, head = run.members[0]
        if len(run.members) == 1 and saved.retried.get(number) == head:
            bad[number] = (head, now)
    return replace(saved, reds=tuple(groups), cleared=tuple(sorted(cleared)), bad=bad)


def after_refused_push(saved: TrainState, run: TrainRun) -> TrainState:
    """Look for whom the remote does not take in a batch of several; nothing was tested."""
    groups = (*saved.reds, run.members) if len(run.members) > 1 else saved.reds
    runs = tuple(other for other in saved.runs if other != run)
    return replace(saved, runs=runs, reds=groups)


def after_landing(saved: TrainState, landed: Collection[int]) -> TrainState:
    """Clear the runs; what is left of a red group after its green part landed is narrower."""
    groups = (tuple(m for m in group if m[0] not in landed) for group in saved.reds)
    cleared = tuple(member for member in saved.cleared if member[0] not in landed)
    return replace(saved, runs=(), reds=tuple(filter(None, groups)), cleared=cleared)


def is_bad(policy: MergePolicy, saved: TrainState, member: Member, now: float) -> bool:
    """Whether this very head was found red and its retry time has not come."""
    head, since = saved.bad.get(member[0], ("", 0.0))
    return head == member[1] and now - since < policy.train.retry_seconds


def _start(
    policy: MergePolicy, ready: tuple[Member, ...], saved: TrainState, now: float
) -> TrainStep:
    waiting = tuple(member for member in ready if not is_bad(policy, saved, member, now))
    known = set(waiting)
    saved = replace(
        saved,
        runs=(),
        # Who is bad, gone or changed explains the group that it was in.
        reds=tuple(group for group in saved.reds if set(group) <= known),
        cleared=tuple(member for member in saved.cleared if member in known),
        retried={number: head for number, head in saved.retried.items() if (number, head) in known},
        bad={n: (h, at) for n, (h, at) in saved.bad.items() if is_bad(policy, saved, (n, h), now)},
    )
    if not waiting:
        return TrainStep("rest", (), saved)
    groups = suspected(saved)
    if now < saved.alone_until:
        batches: tuple[tuple[Member, ...], ...] = (waiting[:1],)
    else:
        together = set(waiting[: policy.train.max_members]).union(*groups)
        everybody = tuple(member for member in waiting if member in together)
        batches = search(everybody, groups, policy.train.slots)
    suspects = {member for group in groups if len(group) == 1 for member in group}
    # A red that does not come again is nobody's fault: each has one more test, alone.
    alone = {m[0]: m[1] for batch in batches if len(batch) == 1 for m in batch if m in suspects}
    return TrainStep("start", batches, replace(saved, retried={**saved.retried, **alone}))


def suspected(saved: TrainState) -> list[Group]:
    """Return the smallest groups that have somebody red among them, the smallest first."""
    cleared = frozenset(saved.cleared)
    groups = {frozenset(group) - cleared for group in saved.reds} - {frozenset()}
    smallest = [group for group in groups if not any(other < group for other in groups)]
    return sorted(smallest, key=lambda group: (len(group), sorted(group)))


def search(
    everybody: tuple[Member, ...], groups: Sequence[Group], slots: int
) -> tuple[tuple[Member, ...], ...]:
    """Return which batches, at most ``slots``, one round of CI tests, each in order.

    All together while nothing is known to be red. Else, as soon as few enough combinations of
    members explain all that is red, everybody but these, for each combination: the right one
    lands at once. Until then the groups are divided.
    """
    apart: list[Group] = []
    for group in groups:
        apart += [group] if not any(group & other for other in apart) else []
    wanted: list[Group] = []
    guesses = _guesses(apart, groups, slots)
    if guesses:
        wanted += [frozenset(everybody) - guess for guess in guesses]
    else:
        wanted += _divided([group for group in apart if len(group) > 1], slots)
    wanted += [group for group in apart if len(group) == 1]
    wanted.append(frozenset(everybody).difference(*apart))
    distinct = [chosen for chosen in dict.fromkeys(wanted) if chosen]
    return tuple(
        tuple(member for member in everybody if member in chosen) for chosen in distinct[:slots]
    )


def _guesses(apart: Sequence[Group], groups: Sequence[Group], slots: int) -> list[Group]:
    """Return the least combinations that explain every red group; none when they are too many."""
    if not apart:
        return []
    combinations = product(*(sorted(group) for group in apart))
    tried = list(islice(combinations, _GUESSES_COUNT + 1))
    found = [frozenset(c) for c in tried if all(group.intersection(c) for group in groups)]
    return found if len(tried) <= _GUESSES_COUNT and len(found) <= slots else []


def _divided(groups: Sequence[Group], slots: int) -> Iterator[Group]:
    """Yield parts of groups to test, as many as there are slots for."""
    chosen = groups[:slots]
    for index, group in enumerate(chosen):
        share = slots // len(chosen) + (index < slots % len(chosen))
        members = sorted(group)
        if (len(chosen) == 1 and share > 1) or share >= len(members):
            # Several may be red: parts that have nobody in common.
            parts = min(share, len(members))
            yield from (frozenset(members[part::parts]) for part in range(parts))
        elif share == 1:
            yield frozenset(members[: len(members) // 2])
        else:
            # Most likely one is red: which, its number in binary tells.
            for bit in range(min(share, (len(members) - 1).bit_length())):
                yield frozenset(m for n, m in enumerate(members) if n >> bit & 1)
