"""Judges of the watchdog itself: repairs, messages, the outside watcher."""

from __future__ import annotations

from collections.abc import Iterator

from ...base import times
from ...base.text import duration
from ..facts import DeadMan, Delivery, Healing, Previous
from ..findings import MINUTE, Answer, Context, Status


def healing(healing: Healing, _context: Context) -> Iterator[Answer]:
    """Report repairs that were given up."""
    for key in healing.open_circuits:
        yield Answer(key, Status.PROBLEM, "repaired again and again and did not stay so; given up")
    for action in healing.exhausted:
        yield Answer(action, Status.PROBLEM, "today's budget of repairs is used up")
    if not healing.open_circuits and not healing.exhausted:
        yield Answer("", Status.OK, "nothing was given up")


def delivery(delivery: Delivery, context: Context) -> Iterator[Answer]:
    """Judge how long messages wait to be delivered."""
    if delivery.oldest_at is None:
        yield Answer("", Status.OK, "every message was delivered", 0)
        return
    minutes = (context.now - delivery.oldest_at) / MINUTE
    status, lingers = context.by("undelivered_minutes", minutes)
    detail = f"{delivery.waiting} messages wait, the oldest for {duration(minutes * MINUTE)}"
    detail += f": {delivery.error}" if delivery.error else ""
    detail += f"; {delivery.dropped} were dropped" if delivery.dropped else ""
    yield Answer("", status, detail, round(minutes, 1), lingers)


def dead_man(dead_man: DeadMan, context: Context) -> Iterator[Answer]:
    """Judge how long the outside watcher has not heard of this host."""
    if not dead_man.error:
        yield Answer(
            "",
            Status.OK,
            f"last heard of us at {times.iso_or_none(dead_man.last_ok_at) or 'never'}",
            0,
        )
        return
    if dead_man.last_ok_at is None:
        yield Answer("", Status.PROBLEM, f"has never heard of us: {dead_man.error}")
        return
    minutes = (context.now - dead_man.last_ok_at) / MINUTE
    status, lingers = context.by("dead_man_silent_minutes", minutes)
    detail = f"last heard of us {duration(minutes * MINUTE)} ago: {dead_man.error}"
    yield Answer("", status, detail, round(minutes, 1), lingers)


def run_gap(previous: Previous, context: Context) -> Iterator[Answer]:
    """Report that the watchdog itself did not run."""
    minutes = (context.now - previous.finished_at) / MINUTE
    status, lingers = context.by("run_gap_minutes", minutes)
    yield Answer(
        "",
        status,
        f"the run before was {duration(minutes * MINUTE)} ago",
        round(minutes, 1),
        lingers,
    )


def configuration(errors: tuple[str, ...], _context: Context) -> Iterator[Answer]:
    """Report what is wrong in the watchdog's own configuration."""
    if errors:
        yield Answer("", Status.PROBLEM, "; ".join(errors), len(errors))
    else:
        yield Answer("", Status.OK, "it is valid", 0)
