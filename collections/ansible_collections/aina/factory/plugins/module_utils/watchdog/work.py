"""What the factory has brought about, hour by hour: landed, reaped, spent; pure and bounded."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from ..base import times

FILE = "work.json"
REAPED = "reaped.jsonl"
HOUR, DAY = 3600, 86400
KEPT_HOURS = 35 * 24
QUANTITIES = ("landed", "reaped", "tokens", "cost_usd")

# Of one day (UTC), by quantity.
Totals = Mapping[str, float]


def day_of(now: float) -> str:
    """Return the day (UTC) of a time in seconds since the epoch."""
    return datetime.datetime.fromtimestamp(now, datetime.UTC).strftime("%Y-%m-%d")


def on(day: str, at: float) -> bool:
    """Whether a time in seconds since the epoch is on a day."""
    return day_of(at) == day


def added(
    document: Mapping[str, Any] | None, totals: Callable[[str], Totals], now: float
) -> dict[str, Any]:
    """Return the record with what was added since the last look at the totals of each day."""
    kept = document or {}
    day, seen = str(kept.get("day", "")), kept.get("seen")
    hours = {int(line[0]): [float(item) for item in line[1:]] for line in kept.get("hours", ())}
    today = day_of(now)
    if day and day != today:
        # What came after the last look of that day was not seen yet.
        last = int(times.seconds(f"{day}T23:00:00Z"))
        _add(hours, last, totals(day), seen)
        seen = None
    found = totals(today)
    _add(hours, int(now // HOUR) * HOUR, found, seen)
    oldest = now - KEPT_HOURS * HOUR
    lines = [[at, *values] for at, values in sorted(hours.items()) if oldest < at <= now]
    return {"day": today, "seen": {name: found[name] for name in QUANTITIES}, "hours": lines}


def _add(hours: dict[int, list[float]], at: int, found: Totals, seen: Totals | None) -> None:
    more = [max(0.0, found[name] - (seen or {}).get(name, 0)) for name in QUANTITIES]
    if any(more):
        before = hours.get(at, [0.0] * len(QUANTITIES))
        hours[at] = [round(a + b, 6) for a, b in zip(before, more, strict=True)]


def shown(document: Mapping[str, Any] | None, now: float) -> dict[str, list[dict[str, Any]]]:
    """Return the last 24 hours and the last 14 days, each with a number for every quantity."""
    hours = {int(line[0]): line[1:] for line in (document or {}).get("hours", ())}
    this_hour, today = int(now // HOUR) * HOUR, int(now // DAY) * DAY
    return {
        "hours": [_sum([hours.get(at, ())], at) for at in _back(this_hour, HOUR, 24)],
        "days": [
            _sum([line for hour, line in hours.items() if at <= hour < at + DAY], at)
            for at in _back(today, DAY, 14)
        ],
    }


def _back(last: int, step: int, count: int) -> Iterable[int]:
    return range(last - (count - 1) * step, last + 1, step)


def _sum(lines: Sequence[Sequence[float]], at: int) -> dict[str, Any]:
    sums = [sum(line[index] for line in lines if line) for index in range(len(QUANTITIES))]
    values = dict(zip(QUANTITIES, sums, strict=True))
    whole = {name: round(values[name]) for name in QUANTITIES[:3]}
    return {"at": times.iso(at), **whole, "cost_usd": round(values["cost_usd"], 4)}
