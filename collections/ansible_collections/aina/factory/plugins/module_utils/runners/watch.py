"""When the supervisor of a slot ends its runner, as a table; pure."""

from __future__ import annotations

from collections.abc import Callable
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
    a row GitHub did not know the runner and ``forgotten_seconds`` for how long, ``leaving`` why
    the slot wants to be empty and ``leaving_seconds`` for how long it has had to be, where that
    is bounded at all.
    """

    age_seconds: float
    listening: bool
    job_seconds: float | None
    worker: bool | None
    misses_count: int
    written_mib: float | None
    leaving: str = ""
    leaving_seconds: float = 0.0
    forgotten_seconds: float = 0.0


@dataclass(frozen=True)
class Advice:
    """What to do and why; ``is_failure`` slows the slot down."""

    act: Act
    reason: str = ""
    is_failure: bool = False


@dataclass(frozen=True)
class _Row:
    """One row: when it fits, what follows, and the reason in words."""

    fits: Callable[[ContainerObservation, Instance, Timing], bool]
    act: Act
    reason: Callable[[ContainerObservation, Instance], str]
    is_failure: bool = False


# Read in order; the first that fits decides. Limits come before jobs, jobs before everything else.
_ROWS = (
    _Row(
        lambda seen, instance, _timing: (
            seen.written_mib is not None and seen.written_mib > instance.disk_mib
        ),
        Act.END,
        lambda seen, instance: (
            f"it wrote {seen.written_mib:.0f} MiB; its limit is {instance.disk_mib}"
        ),
    ),
    _Row(
        lambda seen, _instance, timing: (
            bool(seen.leaving) and seen.leaving_seconds > timing.stop_grace_seconds
        ),
        Act.END,
        lambda seen, _instance: f"{seen.leaving}, and it did not end in time",
    ),
    _Row(
        lambda seen, instance, _timing: (
            seen.job_seconds is not None and seen.job_seconds > instance.job_max_minutes * 60
        ),
        Act.END,
        lambda _seen, instance: f"its job took more than {instance.job_max_minutes:g} minutes",
    ),
    # GitHub has failed the job of a runner that it forgot: nobody waits for what it still does.
    _Row(
        lambda seen, _instance, timing: seen.forgotten_seconds > timing.forgotten_max_seconds,
        Act.END,
        lambda seen, _instance: (
            f"GitHub has not known it for {seen.forgotten_seconds / 60:.0f} minutes: an orphan"
        ),
    ),
    _Row(
        lambda seen, _instance, _timing: seen.job_seconds is not None,
        Act.KEEP,
        lambda _seen, _instance: "",
    ),
    _Row(
        lambda seen, _instance, _timing: bool(seen.leaving),
        Act.CLOSE,
        lambda seen, _instance: seen.leaving,
    ),
    _Row(
        lambda seen, _instance, timing: (
            not seen.listening and seen.age_seconds > timing.online_max_seconds
        ),
        Act.END,
        lambda _seen, _instance: "it never came online",
        is_failure=True,
    ),
    _Row(
        lambda seen, _instance, timing: (
            seen.misses_count >= timing.orphan_misses_count
            and seen.age_seconds > timing.orphan_grace_seconds
            and seen.worker is False
        ),
        Act.END,
        lambda _seen, _instance: "GitHub does not know it any more: an orphan",
    ),
    _Row(
        lambda seen, instance, _timing: seen.age_seconds > instance.idle_max_hours * 3600,
        Act.CLOSE,
        lambda _seen, instance: f"idle for more than {instance.idle_max_hours:g} hours",
    ),
)


def advise(seen: ContainerObservation, instance: Instance, timing: Timing) -> Advice:
    """Return what to do with a running container."""
    for row in _ROWS:
        if row.fits(seen, instance, timing):
            return Advice(row.act, row.reason(seen, instance), row.is_failure)
    return Advice(Act.KEEP)
