"""Disks that are about to fill."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from ...base.text import duration, size
from .. import trend
from ..check import Answer, AtLimit, Check, JudgeContext, Status, not_known
from ..facts import HOUR
from ..filesystems import hidden
from ..limits import Limit
from ..sources import Source
from ..trend import DiskSample

FULL_WITHIN = Limit(
    "disk_full_within_hours",
    "Time until a filesystem is full, by its trend.",
    raise_at=48,
    clear_at=72,
    high_is_bad=False,
)

# By disk, oldest first.
Histories = Mapping[str, tuple[DiskSample, ...]]


def judge(samples: Histories, context: JudgeContext) -> Iterator[Answer]:
    """Judge when each filesystem will be full."""
    for path, history in samples.items():
        found = trend.of(history, context.now)
        unknown = hidden(path, context.facts)
        if unknown is not None:
            yield not_known(path, unknown)
        elif found.growth_bytes_per_hour is None:
            detail = (
                f"{found.span_hours:.1f} h of samples of {path}; a trend needs some more than 24"
            )
            yield Answer(path, Status.ABSENT, detail)
        elif found.hours_to_full is None:
            yield Answer(path, Status.OK, f"{path} is not about to fill")
        else:
            hours = round(found.hours_to_full, 1)
            status, lingers = context.by(FULL_WITHIN, hours)
            detail = (
                f"{path} is full in {duration(hours * HOUR)} at "
                f"{size(found.growth_bytes_per_hour)} an hour"
            )
            yield Answer(path, status, detail, hours, lingers)


def _full_in(hours: float, now: float) -> Histories:
    # At nine tenths, growing so that the rest is gone after exactly these hours.
    total, left = 1000 << 30, 100 << 30
    growth = left / max(hours, 0.2)
    samples = []
    for quarter in range(49 * 4):
        ago = (49 * 4 - 1 - quarter) / 4
        used = max(0, round(total - left - growth * ago))
        samples.append(DiskSample(now - ago * HOUR, used, total - used, 0))
    return {"/": tuple(samples)}


SOURCE = Source[Histories]("samples")
CHECKS = (
    Check(
        name="disk_trend",
        title="Disk fills",
        advice="factory status shows who holds the disk; factory janitor --dry-run what may go",
        source=SOURCE,
        judge=judge,
        selftest=AtLimit(FULL_WITHIN, _full_in),
        severity="critical",
        raise_after=(3, 3),
        stages=(24, 6),
    ),
)
