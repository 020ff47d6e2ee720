"""Whether the clock is synchronised and did not go back."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ...base.text import duration
from ..check import Answer, AtLimit, Check, JudgeContext, Status
from ..facts import MINUTE
from ..limits import Limit
from ..sources import AbsentError, Host, Source

ERROR = Limit("clock_error_seconds", "How far the clock may be off.", raise_at=1, clear_at=0.5)
# Of adjtimex(2).
_TIME_ERROR = 5
_UNSYNCHRONISED = 0x40


@dataclass(frozen=True)
class Clock:
    """The kernel's account of its clock."""

    synchronised: bool
    max_error_seconds: float
    newest_trace_at: float | None = None


def read(host: Host) -> Clock:
    """Return the kernel's own account of its clock."""
    if not host.policy.clock_enabled:
        raise AbsentError("the clock is not watched (clock_enabled)")
    state, status, max_error = host.adjtimex()
    trace = Path(host.policy.state_dir, "state.json")
    newest = trace.stat().st_mtime if trace.exists() else None
    synchronised = state != _TIME_ERROR and not status & _UNSYNCHRONISED
    return Clock(synchronised, max_error / 1e6, newest)


def judge(clock: Clock, context: JudgeContext) -> Iterator[Answer]:
    """Judge whether the clock is synchronised and did not go back."""
    if clock.newest_trace_at is not None and clock.newest_trace_at > context.now + MINUTE:
        ahead = duration(clock.newest_trace_at - context.now)
        yield Answer("", Status.PROBLEM, f"it went back: an earlier run was {ahead} ahead of now")
        return
    status, lingers = context.by(ERROR, clock.max_error_seconds)
    detail = f"off by at most {clock.max_error_seconds:.3f} s"
    if not clock.synchronised:
        status, detail = Status.PROBLEM, "nothing synchronises it"
    yield Answer("", status, detail, clock.max_error_seconds, lingers)


SOURCE = Source("clock", read)
CHECKS = (
    Check(
        name="clock",
        title="Clock",
        advice="timedatectl status",
        source=SOURCE,
        judge=judge,
        selftest=AtLimit(ERROR, lambda seconds, _now: Clock(True, seconds)),
    ),
)
