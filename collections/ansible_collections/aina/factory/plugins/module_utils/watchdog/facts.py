"""What is known, and what is not: "unknown" and "not here" are answers of their own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic, TypeAlias, TypeVar

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)

MINUTE = 60.0
HOUR = 3600.0
DAY = 86400.0


@dataclass(frozen=True)
class Known(Generic[T_co]):
    """A fact that was read."""

    value: T_co


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
