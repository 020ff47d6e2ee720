"""When the supervisor of a slot ends its runner; pure."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto

from .settings import Instance, Timing


class Act(Enum):
    """What to do: nothing; close it if GitHub says that it is idle; end it now."""

    KEEP = auto()
    CLOSE = auto()
    END = auto()


@dataclass(frozen=True)
class ContainerObservation:
    """What is known of a running container; None is unknown.

    ``job_seconds`` counts from when a job was first noticed, ``misses_count`` how often in
    a row GitHub did not know the runner, ``leaving`` why the slot wants to be empty and
    ``leaving_seconds`` for how long it has had to be, where that is bounded at all.
    """

    age_seconds: float
    listening: bool
    job_seconds: float | None
    worker: bool | None
    misses_count: int
    written_mib: float | None
    leaving: str = ""
    leaving_seconds: float = 0.0


@dataclass(frozen=True)
class Advice:
    """What to do and why; ``is_failure`` counts towards giving the slot up."""

    act: Act
    reason: str = ""
    is_failure: bool = False


def advise(seen: ContainerObservation, instance: Instance, timing: Timing) -> Advice:
    """Return what to do with a running container."""
    if seen.written_mib is not None and seen.written_mib > instance.disk_mib:
        return Advice(
            Act.END, f"it wrote {seen.written_mib:.0f} MiB; its limit is {instance.disk_mib}"
        )
    if seen.leaving and seen.leaving_seconds > timing.stop_grace_seconds:
        return Advice(Act.END, f"{seen.leaving}, and it did not end in time")
    if seen.job_seconds is not None:
        if seen.job_seconds > instance.job_max_minutes * 60:
            return Advice(Act.END, f"its job took more than {instance.job_max_minutes:g} minutes")
        return Advice(Act.KEEP)
    if seen.leaving:
        return Advice(Act.CLOSE, seen.leaving)
    if not seen.listening and seen.age_seconds > timing.online_max_seconds:
        return Advice(Act.END, "it never came online", is_failure=True)
    if (
        seen.misses_count >= timing.orphan_misses_count
        and seen.age_seconds > timing.orphan_grace_seconds
        and seen.worker is False
    ):
        return Advice(Act.END, "GitHub does not know it any more: an orphan")
    if seen.age_seconds > instance.idle_max_hours * 3600:
        return Advice(Act.CLOSE, f"idle for more than {instance.idle_max_hours:g} hours")
    return Advice(Act.KEEP)
