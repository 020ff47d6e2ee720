"""Whether the outside watcher hears of this host."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from ...base.text import duration
from ..check import Answer, AtLimit, Check, JudgeContext, Status
from ..facts import MINUTE
from ..limits import Limit
from ..sources import Source

SILENT = Limit(
    "dead_man_silent_minutes",
    "How long the outside watcher could not be called.",
    raise_at=60,
    clear_at=60,
)


@dataclass(frozen=True)
class DeadMan:
    """The outside watcher: when it last heard of us, and what went wrong since."""

    last_ok_at: float | None
    error: str


def judge(dead_man: DeadMan, context: JudgeContext) -> Iterator[Answer]:
    """Judge how long the outside watcher has not heard of this host."""
    if dead_man.last_ok_at is None:
        words = f"has never heard of us: {dead_man.error}" if dead_man.error else "not called yet"
        yield Answer("", Status.PROBLEM if dead_man.error else Status.ABSENT, words)
        return
    minutes = (context.now - dead_man.last_ok_at) / MINUTE
    status, lingers = context.by(SILENT, minutes)
    detail = f"last heard of us {duration(minutes * MINUTE)} ago"
    detail += f": {dead_man.error}" if dead_man.error else ""
    yield Answer("", status, detail, round(minutes, 1), lingers)


SOURCE = Source[DeadMan]("dead_man")
CHECKS = (
    Check(
        name="dead_man",
        title="Outside watcher",
        advice="look at the network and the address in the dead-man file",
        source=SOURCE,
        judge=judge,
        selftest=AtLimit(SILENT, lambda minutes, now: DeadMan(now - minutes * MINUTE, "refused")),
    ),
)
