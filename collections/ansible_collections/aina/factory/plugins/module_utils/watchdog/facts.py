"""What is known, and what is not: "unknown" and "not here" are answers of their own."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Generic, TypeAlias, TypeVar

from ..base.text import duration

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)

MINUTE = 60.0
HOUR = 3600.0
DAY = 86400.0
# Writer and reader share a clock; what is dated further ahead was written before it went back.
AHEAD_SECONDS = MINUTE


@dataclass(frozen=True)
class Known(Generic[T_co]):
    """A fact that was read.

    ``as_of`` is when it was so (seconds since the epoch) and ``by`` who wrote it down; both
    are empty where this run asked for it itself.
    """

    value: T_co
    as_of: float | None = None
    by: str = ""


@dataclass(frozen=True)
class Unknown:
    """A fact that should be there and could not be read; ``reason`` says why."""

    reason: str


@dataclass(frozen=True)
class Absent:
    """Nothing to know: ``reason`` says what is not configured or not offered here."""

    reason: str


Fact: TypeAlias = Known[T] | Unknown | Absent
NOT_GATHERED = Unknown("it was not gathered")


def written(
    value: T,
    at: float,
    by: str,
    now: float,
    *,
    lasts_seconds: float = math.inf,
    moments: Iterable[float | None] = (),
) -> Known[T] | Unknown:
    """Return what somebody wrote down at a time, as far as that says something of now.

    The one rule of freshness: what is from the future, or older than it lasts, is unknown.
    ``lasts_seconds`` is infinite where the age itself is judged; ``moments`` are other times
    in it, none of which can lie ahead.
    """
    age, newest = now - at, max([at, *(item for item in moments if item is not None)])
    if newest > now + AHEAD_SECONDS:
        ahead = duration(newest - now)
        return Unknown(f"{by} is dated {ahead} ahead of now; did the clock go back?")
    if age >= lasts_seconds:
        return Unknown(f"{by} was last written {duration(age)} ago; does its writer still run?")
    return Known(value, at, by)
