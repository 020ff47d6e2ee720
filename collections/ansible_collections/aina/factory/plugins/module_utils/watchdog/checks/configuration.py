"""What is wrong in the watchdog's own configuration."""

from __future__ import annotations

from collections.abc import Iterator

from ..check import Answer, BadOrGood, Check, JudgeContext, Status
from ..sources import Source


def judge(errors: tuple[str, ...], _context: JudgeContext) -> Iterator[Answer]:
    """Report what is wrong in the watchdog's own configuration."""
    if errors:
        yield Answer("", Status.PROBLEM, "; ".join(errors), len(errors))
    else:
        yield Answer("", Status.OK, "it is valid", 0)


SOURCE = Source[tuple[str, ...]]("configuration")
CHECKS = (
    Check(
        name="configuration",
        title="The watchdog's configuration",
        advice="correct the named key in the inventory, then converge",
        source=SOURCE,
        judge=judge,
        selftest=BadOrGood(lambda bad, _now: ("watchdog.x is wrong",) if bad else ()),
        severity="critical",
        raise_after=(1, 1),
        value_unit="count",
    ),
)
