"""When a disk will be full, from its own history; robust against bursts and sawtooths."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

from ..base.disk import Disk
from .facts import DAY, HOUR

# Below this use a full disk is too far away to be foreseen.
MIN_USED_PERCENT = 50.0
_WINDOW = 2 * DAY
_NEAR = 1.5 * HOUR
# How many hours of today must have their counterpart of yesterday.
_PAIRS = 4


@dataclass(frozen=True)
class DiskSample:
    """A filesystem at one moment."""

    at: float
    used_bytes: int
    available_bytes: int
    inodes_used: int

    @property
    def used_percent(self) -> float:
        """The used share of what programs could ever use."""
        return Disk("", 0, self.used_bytes, self.available_bytes).used_percent


@dataclass(frozen=True)
class Trend:
    """Growth in bytes per hour; ``hours_to_full`` is ``None`` where none is in sight."""

    span_hours: float
    growth_bytes_per_hour: float | None
    hours_to_full: float | None


def of(samples: Sequence[DiskSample], now: float) -> Trend:
    """Return the trend of the last two days.

    Three estimates must agree that the disk grows, and the smallest counts: the median
    slope over two days, the same over one, and the median difference to the same hour of
    the day before. A burst of some hours moves no median, what comes and goes each night
    cancels out against the night before, and a single jump is no growth.
    """
    points = hourly([sample for sample in samples if now - _WINDOW <= sample.at <= now])
    if not points:
        return Trend(0.0, None, None)
    hours = (points[-1][0] - points[0][0]) / HOUR
    differences = _day_differences(points)
    if len(differences) < _PAIRS:
        return Trend(hours, None, None)
    day = [point for point in points if point[0] >= points[-1][0] - DAY]
    growth = min(_median_slope(points), _median_slope(day), _median(differences) / DAY) * HOUR
    latest = max(samples, key=lambda sample: sample.at)
    if growth <= 0 or latest.used_percent < MIN_USED_PERCENT:
        return Trend(hours, growth, None)
    return Trend(hours, growth, latest.available_bytes / growth)


def hourly(samples: Sequence[DiskSample]) -> list[tuple[float, float]]:
    """Return (time, median of the used bytes) of each hour that has samples."""
    hours: dict[int, list[DiskSample]] = {}
    for sample in samples:
        hours.setdefault(int(sample.at // HOUR), []).append(sample)
    return [
        (
            sum(sample.at for sample in group) / len(group),
            _median([sample.used_bytes for sample in group]),
        )
        for _hour, group in sorted(hours.items())
    ]


def _median_slope(points: Sequence[tuple[float, float]]) -> float:
    slopes = [(y2 - y1) / (x2 - x1) for (x1, y1), (x2, y2) in combinations(points, 2) if x2 > x1]
    return _median(slopes) if slopes else 0.0


def _day_differences(points: Sequence[tuple[float, float]]) -> list[float]:
    end = points[-1][0]
    differences = []
    for at, value in points:
        if at < end - DAY:
            continue
        before = min(points, key=lambda point: abs(point[0] - (at - DAY)))
        if abs(before[0] - (at - DAY)) <= _NEAR:
            differences.append(value - before[1])
    return differences


def _median(values: Sequence[float]) -> float:
    ordered = sorted(values)
    middle = len(ordered) // 2
    return ordered[middle] if len(ordered) % 2 else (ordered[middle - 1] + ordered[middle]) / 2
