"""What a check says, and what its judge may ask."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from .facts import Absent, Fact, Facts, Known, Unknown
from .limits import Limit

MINUTE = 60.0
SHOWN = 3


class Status(StrEnum):
    """What a check says. ``absent``: there is nothing to judge here (yet)."""

    OK = "ok"
    PROBLEM = "problem"
    UNKNOWN = "unknown"
    ABSENT = "absent"


@dataclass(frozen=True)
class Finding:
    """One answer of one check about one subject.

    ``lingers``: not bad enough to raise an alert, too bad to clear one. ``source`` names
    the fact that is unknown as a whole: several checks may want for the same one.
    """

    check: str
    subject: str
    status: Status
    detail: str
    value: float | None = None
    lingers: bool = False
    source: str = ""

    @property
    def key(self) -> str:
        """The name of the alert that this finding can raise."""
        return f"{self.check}:{self.subject}" if self.subject else self.check


@dataclass(frozen=True)
class Context:
    """What a judge may ask beside its own fact."""

    facts: Facts
    limits: Mapping[str, Limit]

    @property
    def now(self) -> float:
        """Seconds since the epoch."""
        return self.facts.now

    def by(self, limit: str, value: float) -> tuple[Status, bool]:
        """Return the status by a limit, and whether a raised alert stays."""
        chosen = self.limits[limit]
        if chosen.exceeded(value):
            return Status.PROBLEM, True
        return Status.OK, chosen.lingers(value)


@dataclass(frozen=True)
class Answer:
    """A finding before it is bound to its check; ``source`` is what of its fact is unknown."""

    subject: str
    status: Status
    detail: str
    value: float | None = None
    lingers: bool = False
    source: str = ""


Judge = Callable[[Any, Context], Iterable[Answer]]


@dataclass(frozen=True)
class Check:
    """One check: which fact it judges, when it raises, and what a person does about it.

    ``raise_after`` is (N, M): N bad answers among the last M runs. ``unit`` is that of the
    findings' values; ``limit`` is the one of the policy that they are measured by.
    """

    name: str
    title: str
    advice: str
    fact: str
    judge: Judge
    severity: str = "warning"
    raise_after: tuple[int, int] = (2, 3)
    unit: str = ""
    limit: str = ""


def not_known(subject: str, fact: Unknown | Absent) -> Answer:
    """Return the answer about a fact that is not known."""
    status = Status.UNKNOWN if isinstance(fact, Unknown) else Status.ABSENT
    # The part of the fact that is not known: each check that judges it wants for the same.
    return Answer(subject, status, fact.reason, source=subject)


def each(
    facts: Mapping[str, Fact[Any]], judge: Callable[[str, Any], Iterable[Answer]]
) -> Iterator[Answer]:
    """Judge every known one of several facts; the others say themselves that they are not."""
    for name, fact in facts.items():
        if isinstance(fact, Known):
            yield from judge(name, fact.value)
        else:
            yield not_known(name, fact)


def some(words: Iterable[str]) -> str:
    """Return the first few words, and how many more there are."""
    found = list(words)
    more = len(found) - SHOWN
    return ", ".join(found[:SHOWN]) + (f" and {more} more" if more > 0 else "")
