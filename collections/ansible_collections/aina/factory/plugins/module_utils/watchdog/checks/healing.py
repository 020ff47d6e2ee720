"""Repairs that the watchdog gave up."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from ..check import Answer, BadOrGood, Check, JudgeContext, Status
from ..sources import Source


@dataclass(frozen=True)
class Healing:
    """What self-heal gave up on: circuits that are open, budgets that are used up."""

    open_circuits: tuple[str, ...]
    exhausted: tuple[str, ...]


def judge(healing: Healing, _context: JudgeContext) -> Iterator[Answer]:
    """Report repairs that were given up."""
    for key in healing.open_circuits:
        yield Answer(key, Status.PROBLEM, "repaired again and again and did not stay so; given up")
    for action in healing.exhausted:
        yield Answer(action, Status.PROBLEM, "today's budget of repairs is used up")
    if not healing.open_circuits and not healing.exhausted:
        yield Answer("", Status.OK, "nothing was given up")


SOURCE = Source[Healing]("healing")
CHECKS = (
    Check(
        name="healing",
        title="Repairs given up",
        advice="mend it by hand; the watchdog begins anew a day later",
        source=SOURCE,
        judge=judge,
        selftest=BadOrGood(lambda bad, _now: Healing(("a:b",) if bad else (), ())),
        raise_after=(1, 1),
    ),
)
