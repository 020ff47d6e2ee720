"""A check: which fact it judges, by which limits, and how its alert is made to fire.

To add one, look at a file of ``checks/`` that is like it; ``checks/__init__.py`` lists them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Generic

from .facts import Absent, Fact, Known, T, T_co, Unknown
from .limits import Limit
from .sources import Facts, Source

SHOWN = 3
UNKNOWN = "unknown"


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
    the fact that is unknown as a whole: several checks may lack the same one.
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

    @property
    def raises(self) -> str:
        """The name of the alert that it raises as it is: what is not known has one of its own."""
        if self.status is Status.UNKNOWN:
            return f"{UNKNOWN}:{self.source or self.key}"
        return self.key


@dataclass(frozen=True)
class JudgeContext:
    """What a judge may ask beside its own fact: other facts, and this host's limits."""

    facts: Facts
    limits: Mapping[str, Limit]

    @property
    def now(self) -> float:
        return self.facts.now

    def exceeded(self, limit: Limit, value: float) -> bool:
        """Whether the value is beyond a limit of this host."""
        return self._own(limit).exceeded(value)

    def by(self, limit: Limit, value: float) -> tuple[Status, bool]:
        """Return the status by a limit of this host, and whether a raised alert stays."""
        own = self._own(limit)
        if own.exceeded(value):
            return Status.PROBLEM, True
        return Status.OK, own.lingers(value)

    def _own(self, limit: Limit) -> Limit:
        return self.limits.get(limit.name, limit)


@dataclass(frozen=True)
class Answer:
    """A finding before it is bound to its check; ``source`` is what of its fact is unknown."""

    subject: str
    status: Status
    detail: str
    value: float | None = None
    lingers: bool = False
    source: str = ""


@dataclass(frozen=True)
class AtLimit(Generic[T_co]):
    """A self-test by a limit: ``make`` gives the fact for any value of its quantity, and a time."""

    limit: Limit
    make: Callable[[float, float], T_co]

    def fact(self, limits: Mapping[str, Limit], now: float, *, bad: bool) -> T_co:
        """Return a fact on the bad side of this host's limit, or on the good side of both."""
        limit = limits.get(self.limit.name, self.limit)
        if bad:
            return self.make(max(0.0, limit.raise_at), now)
        well = limit.clear_at / 2 if limit.high_is_bad else limit.clear_at * 2 + 1
        return self.make(well, now)


@dataclass(frozen=True)
class BadOrGood(Generic[T_co]):
    """A self-test of a fact that is bad or not; ``make`` is told whether it is, and a time."""

    make: Callable[[bool, float], T_co]
    limit: None = None

    def fact(self, _limits: Mapping[str, Limit], now: float, *, bad: bool) -> T_co:
        """Return the bad or the good fact."""
        return self.make(bad, now)


@dataclass(frozen=True)
class Check(Generic[T]):
    """One check: which fact it judges, when it raises, and what a person does about it.

    ``selftest`` makes its alert fire; the limit in it is the one that the findings' values
    are compared with. ``other_limits`` are all others that the judge asks for.
    ``raise_after`` is (N, M): N bad answers among the last M runs. ``value_unit`` is
    the unit of the findings' values where there is no limit to say it.
    """

    name: str
    title: str
    advice: str
    source: Source[T]
    judge: Callable[[T, JudgeContext], Iterable[Answer]]
    selftest: AtLimit[T] | BadOrGood[T]
    severity: str = "warning"
    raise_after: tuple[int, int] = (2, 3)
    other_limits: tuple[Limit, ...] = ()
    value_unit: str = ""
    # Where a raised alert becomes worse, each step further than the one before.
    stages: tuple[float, ...] = ()

    def stage(self, value: float | None) -> int:
        """Return how many of its stages a value has reached."""
        limit = self.selftest.limit
        if value is None or limit is None:
            return 0
        return sum(value >= at if limit.high_is_bad else value <= at for at in self.stages)

    @property
    def unit(self) -> str:
        """The unit of its findings' values; "" where they have none."""
        return self.selftest.limit.unit if self.selftest.limit is not None else self.value_unit

    @property
    def limits(self) -> tuple[Limit, ...]:
        """All limits that it asks for."""
        own = self.selftest.limit
        return ((own,) if own is not None else ()) + self.other_limits

    def findings(self, context: JudgeContext) -> Iterator[Finding]:
        """Judge the fact; a judge that crashes makes the check unknown."""
        fact = context.facts[self.source]
        if not isinstance(fact, Known):
            answer = not_known("", fact)
            yield self._finding(answer, self.source.name)
            return
        try:
            answers = list(self.judge(fact.value, context))
        except Exception as error:
            detail = f"the check itself failed: {type(error).__name__}: {error}"
            answers = [Answer("", Status.UNKNOWN, detail)]
        for answer in answers:
            part = f"{self.source.name}:{answer.source}" if answer.source else ""
            yield self._finding(answer, part)

    def _finding(self, answer: Answer, source: str) -> Finding:
        return Finding(self.name, **{**vars(answer), "source": source})


def not_known(subject: str, fact: Unknown | Absent) -> Answer:
    """Return the answer about a fact that is not known."""
    status = Status.UNKNOWN if isinstance(fact, Unknown) else Status.ABSENT
    # The part of the fact that is not known: each check that judges it lacks the same.
    return Answer(subject, status, fact.reason, source=subject)


def each(
    facts: Mapping[str, Fact[T]], judge: Callable[[str, T], Iterable[Answer]]
) -> Iterator[Answer]:
    """Judge every known one of several facts; the others say themselves that they are not."""
    for name, fact in facts.items():
        if isinstance(fact, Known):
            yield from judge(name, fact.value)
        else:
            yield not_known(name, fact)


def differences(changes: Sequence[str], error: str, *, differs: str, same: str) -> Iterator[Answer]:
    """Report what a look at the host has found to differ, or that nobody could look."""
    if error:
        yield Answer("", Status.UNKNOWN, f"the look failed: {error}")
    elif changes:
        yield Answer("", Status.PROBLEM, f"{differs}: {some(changes)}", len(changes))
    else:
        yield Answer("", Status.OK, same, 0)


def some(words: Iterable[str]) -> str:
    """Return the first few words, and how many more there are."""
    found = list(words)
    more = len(found) - SHOWN
    return ", ".join(found[:SHOWN]) + (f" and {more} more" if more > 0 else "")
