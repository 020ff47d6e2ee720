"""Messages that wait to be delivered."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from ...base.text import duration
from ..check import Answer, AtLimit, Check, JudgeContext, Status
from ..facts import MINUTE
from ..limits import Limit
from ..sources import Source

UNDELIVERED = Limit(
    "undelivered_minutes",
    "How long a message waits for an address that does not take it.",
    raise_at=60,
    clear_at=30,
)


@dataclass(frozen=True)
class Delivery:
    """Messages that wait to be delivered."""

    waiting: int
    oldest_at: float | None
    error: str
    dropped: int = 0


def judge(delivery: Delivery, context: JudgeContext) -> Iterator[Answer]:
    """Judge how long messages wait to be delivered."""
    if delivery.oldest_at is None:
        yield Answer("", Status.OK, "every message was delivered", 0)
        return
    minutes = (context.now - delivery.oldest_at) / MINUTE
    status, lingers = context.by(UNDELIVERED, minutes)
    detail = f"{delivery.waiting} messages wait, the oldest for {duration(minutes * MINUTE)}"
    detail += f": {delivery.error}" if delivery.error else ""
    detail += f"; {delivery.dropped} were dropped" if delivery.dropped else ""
    yield Answer("", status, detail, round(minutes, 1), lingers)


SOURCE = Source[Delivery]("delivery")
CHECKS = (
    Check(
        name="delivery",
        title="Undelivered messages",
        advice="look at the addresses in the apprise file",
        source=SOURCE,
        judge=judge,
        selftest=AtLimit(
            UNDELIVERED, lambda minutes, now: Delivery(1, now - minutes * MINUTE, "refused")
        ),
    ),
)
