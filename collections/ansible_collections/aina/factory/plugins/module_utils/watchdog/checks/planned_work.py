"""Whether planned work has been forgotten: a server that is emptied and never filled again."""

from __future__ import annotations

from collections.abc import Iterator

from ...base.text import duration
from .. import planned
from ..check import Answer, AtLimit, Check, JudgeContext
from ..facts import HOUR, Fact
from ..limits import Limit
from ..planned import PlannedWork
from ..sources import AbsentError, Host, Source

LASTS = Limit(
    "planned_work_hours",
    "How long planned work keeps alerts quiet, and is none itself.",
    raise_at=12,
    clear_at=12,
)


def read(host: Host) -> Fact[PlannedWork]:
    """Return the work that somebody planned."""
    work = planned.read(host.policy.data_dir)
    if work is None:
        raise AbsentError("the server works as usual")
    return host.written(work, work.since, "the mark of planned work")


def judge(work: PlannedWork, context: JudgeContext) -> Iterator[Answer]:
    """Judge how long it lasts."""
    hours = (context.now - work.since) / HOUR
    status, lingers = context.by(LASTS, hours)
    detail = f"emptied of work by {work.by} {duration(hours * HOUR)} ago: {work.reason}"
    yield Answer("", status, detail, round(hours, 1), lingers)


SOURCE = Source[PlannedWork]("planned_work", read)
CHECKS = (
    Check(
        name="planned_work",
        title="Planned work",
        advice="factory drain --end lets the server work again",
        source=SOURCE,
        judge=judge,
        selftest=AtLimit(LASTS, lambda hours, now: PlannedWork(now - hours * HOUR, "x", "y")),
        raise_after=(1, 1),
    ),
)
