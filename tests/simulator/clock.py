"""The simulator's own time: the machine's clock plus an offset, or a stopped clock."""

from __future__ import annotations

import time
from datetime import UTC, datetime


class Clock:
    """Seconds since the epoch; a stopped clock moves only when it is told to."""

    def __init__(self, start: float | None = None, *, running: bool = True) -> None:
        """``start`` is the first time shown; without it the machine's time."""
        self._running = running
        self._origin = time.time()
        self._shown = self._origin if start is None else start

    def now(self) -> float:
        return self._shown + (time.time() - self._origin if self._running else 0.0)

    def advance(self, seconds: float) -> None:
        """Move the clock on, or back with a negative number."""
        self._shown += seconds


def iso(moment: float) -> str:
    """Write a time as GitHub does: whole seconds, UTC, with a Z."""
    return datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def optional_iso(moment: float | None) -> str | None:
    """Write a time that may not have come yet."""
    return None if moment is None else iso(moment)


def parse_iso(text: str) -> float:
    """Read an ISO 8601 time.

    Raises:
        ValueError: it is none.

    """
    moment = datetime.fromisoformat(text.replace("Z", "+00:00"))
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
