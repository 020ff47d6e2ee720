"""What is left of lanes that nobody watches any more, and what becomes of it."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

# After its deadline a lane's own supervisor has this long to end it.
GRACE_SECONDS = 60.0
# After how long work that GitHub did not take is delivered again: at first, and at last.
_RETRY_SECONDS, _RETRY_MAX_SECONDS = 60.0, 3600.0
# After so many tries a person is told.
TOLD_ATTEMPTS_COUNT = 6
# So often a lane whose supervisor died is given to another one.
ADOPTED_MAX_COUNT = 3


@dataclass(frozen=True)
class LaneContainer:
    """A lane's container as the engine lists it."""

    id: str
    lane: str
    labels: Mapping[str, str]
    running: bool


@dataclass(frozen=True)
class ObservedHost:
    """What was found on the host.

    ``alive`` are supervisors (as their label names them) that run; ``places`` are lanes with
    a run directory, ``unfinished`` lanes with a state but no result, by supervisor. ``adoptable``
    are lanes that another supervisor can take over.
    """

    containers: Sequence[LaneContainer]
    alive: Collection[str]
    places: Mapping[str, str]
    unfinished: Mapping[str, str]
    adoptable: Collection[str] = ()


@dataclass(frozen=True)
class ReapStep:
    """One thing to do: have a container watched again, rescue and remove it, remove a place, write a result."""

    verb: str
    lane: str
    why: str
    container: str = ""


def plan(seen: ObservedHost, now: float) -> list[ReapStep]:
    """Return what is to be done, containers first."""
    steps: list[ReapStep] = []
    gone: set[str] = set()
    for container in seen.containers:
        supervisor = container.labels.get("lane.supervisor", "")
        deadline = _number(container.labels.get("lane.deadline", ""))
        # Its label names the first one; who took it over stands in its place.
        is_watched = supervisor in seen.alive or seen.places.get(container.lane, "") in seen.alive
        is_late = deadline is not None and now > deadline + GRACE_SECONDS
        why = "its deadline has passed" if is_late else ""
        if not is_watched:
            why = why or "its supervisor is gone"
        if why and not is_late and container.running and container.lane in seen.adoptable:
            steps.append(ReapStep("adopt", container.lane, why, container.id))
        elif why:
            steps.append(ReapStep("end", container.lane, why, container.id))
            gone.add(container.lane)
    held = {item.lane for item in seen.containers} - gone
    for lane, supervisor in seen.unfinished.items():
        if lane not in held and supervisor not in seen.alive:
            steps.append(ReapStep("finish", lane, "its supervisor is gone"))
    for lane, supervisor in seen.places.items():
        if lane not in held and supervisor not in seen.alive:
            steps.append(ReapStep("clear", lane, "its lane is gone"))
    return steps


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


@dataclass(frozen=True)
class Kept:
    """A finished lane's directory; ``is_unsaved`` says that it holds work which is nowhere else."""

    lane: str
    finished_at: float
    size_bytes: int
    is_unsaved: bool = False


def expired(kept: Sequence[Kept], now: float, keep_seconds: float, total_bytes: int) -> list[str]:
    """Return the lanes whose directories go: too old, or too much in total.

    Work that is nowhere else never grows too old, and of the room it has the first share. Where
    there is too much, the largest goes, so that few do.
    """
    unsaved = [item for item in kept if item.is_unsaved]
    others = [item for item in kept if not item.is_unsaved]
    old = [item for item in others if now - item.finished_at > keep_seconds]
    given_up = _over(unsaved, total_bytes)
    left = total_bytes - sum(item.size_bytes for item in unsaved if item not in given_up)
    large = _over([item for item in others if item not in old], left)
    return [item.lane for item in (*old, *large, *given_up)]


def _over(kept: Sequence[Kept], total_bytes: int) -> list[Kept]:
    """Return what goes until the rest fits: the largest, and of the same size the oldest."""
    going: list[Kept] = []
    left = sum(item.size_bytes for item in kept)
    for item in sorted(kept, key=lambda item: (-item.size_bytes, item.finished_at)):
        if left <= total_bytes:
            break
        going.append(item)
        left -= item.size_bytes
    return going


def is_due(result: Mapping[str, Any], finished_at: float, now: float) -> bool:
    """Whether GitHub is asked again to take a lane's work; ``finished_at`` is when it last was."""
    count = int(result.get("delivery_attempts_count") or 0)
    return now - finished_at >= min(_RETRY_SECONDS * 2.0 ** min(count, 10), _RETRY_MAX_SECONDS)


def superseded(results: Mapping[str, Mapping[str, Any]]) -> set[str]:
    """Return the lanes whose work went on in another that was delivered, by name of the lane."""
    done: set[str] = set()
    for result in results.values():
        earlier = str(result.get("resumes") or "") if result.get("pull_request") else ""
        while earlier and earlier not in done:
            done.add(earlier)
            earlier = str(results.get(earlier, {}).get("resumes") or "")
    return done


def residue(
    before: Mapping[str, Collection[str]], after: Mapping[str, Collection[str]]
) -> list[dict[str, Any]]:
    """Return what a lane has left: everything that is there now and was not before, by kind."""
    return [
        {"kind": kind, "name": name}
        for kind in sorted(after)
        for name in sorted(set(after[kind]) - set(before.get(kind, ())))
    ]
