"""Whether the watchdog itself ran as often as it should."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from ...base.text import duration
from ..check import Answer, AtLimit, Check, JudgeContext
from ..facts import MINUTE
from ..limits import Limit
from ..sources import Source

GAP = Limit("run_gap_minutes", "Time between two runs of the watchdog.", raise_at=45, clear_at=45)


@dataclass(frozen=True)
class Previous:
    """The run before this one."""

    finished_at: float


def judge(previous: Previous, context: JudgeContext) -> Iterator[Answer]:
    """Report that the watchdog itself did not run."""
    minutes = (context.now - previous.finished_at) / MINUTE
    status, lingers = context.by(GAP, minutes)
    detail = f"the run before was {duration(minutes * MINUTE)} ago"
    yield Answer("", status, detail, round(minutes, 1), lingers)


SOURCE = Source[Previous]("previous")
CHECKS = (
    Check(
        name="run_gap",
        title="Gap between the watchdog's runs",
        advice="factory jobs; was the host off?",
        source=SOURCE,
        judge=judge,
        selftest=AtLimit(GAP, lambda minutes, now: Previous(now - minutes * MINUTE)),
        severity="info",
        raise_after=(1, 1),
    ),
)
