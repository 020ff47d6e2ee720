"""Which open issues get a lane now, and why the others do not. Pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace

from . import admission
from .outcome import INTERRUPTED
from .settings import LaneProject, LanesSettings

START, WAIT, SKIP = "start", "wait", "skip"
INTERRUPTED_MAX_COUNT = 5


@dataclass(frozen=True)
class LabelledIssue:
    """An open issue that carries the label of the dispatch."""

    number: int
    title: str
    labels: frozenset[str]


@dataclass(frozen=True)
class Past:
    """What became of one issue's lanes so far."""

    finished_at: tuple[float, ...] = ()
    last_outcome: str = ""
    # The last one that left work, from which another can go on; and whether GitHub is to take it.
    lane: str = ""
    is_undelivered: bool = False
    # How many were ended by something else than themselves.
    interrupted_count: int = 0
    # Whether a person has stopped the last one.
    is_stopped: bool = False


@dataclass(frozen=True)
class ObservedProject:
    """One project: its wishes, oldest first, and the issues that an open pull request has."""

    project: LaneProject
    wishes: Sequence[LabelledIssue]
    proposed: Collection[int]
    past: Mapping[int, Past]
    # What other servers have said about issues: why theirs is in the way, and how often all have tried.
    elsewhere: Mapping[int, str] = field(default_factory=dict)
    attempts: Mapping[int, int] = field(default_factory=dict)


@dataclass(frozen=True)
class DispatchDecision:
    """What happens with one issue."""

    project: str
    issue: int
    title: str
    verb: str
    why: str
    # The lane from which it goes on.
    resumed: str = ""


def plan(
    settings: LanesSettings, seen: Sequence[ObservedProject], load: admission.Load, now: float
) -> list[DispatchDecision]:
    """Return one decision for each issue.

    Of the projects that has its turn which has the fewest lanes for its share, and of these the one
    that has waited longest, so that none starves. ``load`` is what the host has before anything is
    started; each start is added to it.
    """
    decided: dict[tuple[str, int], DispatchDecision] = {}
    queues = {item.project.name: _by_priority(item) for item in seen}
    while waiting := [item for item in seen if queues[item.project.name]]:
        item = min(waiting, key=lambda each: _share(each, load))
        decision = _decide(settings, item, queues[item.project.name].pop(0), load, now)
        decided[decision.project, decision.issue] = decision
        if decision.verb == START:
            load = _with(load, item.project, decision.issue)
    return [decided[item.project.name, wish.number] for item in seen for wish in item.wishes]


def _by_priority(seen: ObservedProject) -> list[LabelledIssue]:
    labels = seen.project.dispatch.priority_labels

    def place(wish: LabelledIssue) -> int:
        return min(
            (n for n, label in enumerate(labels) if label in wish.labels), default=len(labels)
        )

    return sorted(seen.wishes, key=place)


def _share(seen: ObservedProject, load: admission.Load) -> tuple[float, float]:
    """Return which part of its places a project has, and when its last lane ended."""
    own = sum(name == seen.project.name for name, _issue in load.running)
    ends = (at for past in seen.past.values() for at in past.finished_at)
    return own / seen.project.concurrency_count, max(ends, default=0.0)


def _decide(
    settings: LanesSettings,
    seen: ObservedProject,
    wish: LabelledIssue,
    load: admission.Load,
    now: float,
) -> DispatchDecision:
    project = seen.project
    verb, why = _past(seen, wish, now)
    if not verb:
        obstacle = admission.obstacle(settings, project, wish.number, load)
        verb, why = (WAIT, obstacle.words) if obstacle else (START, "it is open and has the label")
    past = seen.past.get(wish.number, Past())
    resumed = past.lane if verb == START else ""
    why = f"it goes on from {resumed}" if resumed else why
    return DispatchDecision(project.name, wish.number, wish.title, verb, why, resumed)


def _past(seen: ObservedProject, wish: LabelledIssue, now: float) -> tuple[str, str]:
    """Return the verdict of what was before; empty when nothing speaks against a lane."""
    rules = seen.project.dispatch
    held = sorted(wish.labels & set(rules.hold_labels))
    if held:
        return SKIP, f"it has the label {held[0]}"
    if wish.number in seen.proposed:
        return SKIP, "a lane's pull request for it is open"
    if wish.number in seen.elsewhere:
        return WAIT, seen.elsewhere[wish.number]
    past = seen.past.get(wish.number, Past())
    if past.is_undelivered:
        return WAIT, f"lane {past.lane} has done it, and GitHub is asked again to take that"
    if past.is_stopped:
        return SKIP, "somebody has stopped its last lane; factory lane resume or run goes on"
    # What a restart of the engine or of the host ended is none of its own tries, and goes on at once.
    if past.last_outcome == INTERRUPTED and past.interrupted_count <= INTERRUPTED_MAX_COUNT:
        return "", ""
    tries = len(past.finished_at) - min(past.interrupted_count, INTERRUPTED_MAX_COUNT)
    tries = max(tries, seen.attempts.get(wish.number, 0))
    if tries >= rules.attempts_max_count:
        last = f", the last as {past.last_outcome}" if past.last_outcome else ""
        return SKIP, (
            f"{tries} lanes ended without solving it{last}; factory lane run starts another"
        )
    if past.finished_at and now - max(past.finished_at) < rules.retry_seconds:
        hours = rules.retry_seconds / 3600
        return WAIT, f"its last lane ended as {past.last_outcome} less than {hours:g} hours ago"
    return "", ""


def _with(load: admission.Load, project: LaneProject, issue: int) -> admission.Load:
    return replace(
        load,
        running=[*load.running, (project.name, issue)],
        # It does not use it yet, and may.
        available_memory_bytes=load.available_memory_bytes
        - project.limits.memory_mib * admission.MIB,
    )
