"""When the clock of a time zone is put forward or back; pure but for the host's zone data."""

from __future__ import annotations

import datetime
import functools
import zoneinfo
from dataclasses import dataclass

# Rules repeat; where a zone has a list instead, it is one of years.
_FIRST = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
_YEARS = 20
_STEP = datetime.timedelta(days=7)
_MINUTE = datetime.timedelta(minutes=1)


@dataclass(frozen=True)
class ClockChange:
    """Local times from ``begin`` until before ``end`` that come twice, or not at all."""

    begin: datetime.datetime
    end: datetime.datetime
    twice: bool


@functools.lru_cache(maxsize=32)
def changes(zone: str) -> tuple[ClockChange, ...]:
    """Return the changes of a zone in the years to come; none for a zone that is not known here.

    systemd refuses an unknown zone itself.
    """
    rules = _rules(zone)
    if rules is None:
        return ()
    found, moment = [], _FIRST
    end = _FIRST.replace(year=_FIRST.year + _YEARS)
    while moment < end:
        before, after = _offset(rules, moment), _offset(rules, moment + _STEP)
        if before != after:
            at = _moment_of_change(rules, moment, moment + _STEP).replace(tzinfo=None)
            local = sorted((at + before, at + after))
            found.append(ClockChange(local[0], local[1], twice=after < before))
        moment += _STEP
    return tuple(found)


@functools.lru_cache(maxsize=32)
def offsets(zone: str) -> frozenset[datetime.timedelta]:
    """Return how far a zone's clock is ahead of UTC over the year; empty where it is not known."""
    rules = _rules(zone)
    if rules is None:
        return frozenset()
    return frozenset(_offset(rules, _FIRST + _STEP * week) for week in range(52 * _YEARS))


def _rules(zone: str) -> zoneinfo.ZoneInfo | None:
    try:
        return zoneinfo.ZoneInfo(zone)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        return None


def _offset(rules: zoneinfo.ZoneInfo, moment: datetime.datetime) -> datetime.timedelta:
    return moment.astimezone(rules).utcoffset() or datetime.timedelta()


def _moment_of_change(
    rules: zoneinfo.ZoneInfo, low: datetime.datetime, high: datetime.datetime
) -> datetime.datetime:
    """Return the first whole minute with the offset of ``high``."""
    before, minutes = _offset(rules, low), (high - low) // _MINUTE
    first, last = 0, minutes
    while last - first > 1:
        middle = (first + last) // 2
        if _offset(rules, low + _MINUTE * middle) == before:
            first = middle
        else:
            last = middle
    return low + _MINUTE * last
