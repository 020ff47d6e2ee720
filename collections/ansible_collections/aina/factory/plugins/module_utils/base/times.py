"""Moments: seconds since the epoch here, ISO 8601 in UTC wherever they are written down."""

from __future__ import annotations

from datetime import UTC, datetime


def iso(seconds: float) -> str:
    """Return seconds since the epoch as ISO 8601 in UTC."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def iso_or_none(seconds: object) -> str | None:
    """Return seconds since the epoch as ISO 8601 in UTC; ``None`` for anything else."""
    if isinstance(seconds, bool) or not isinstance(seconds, int | float):
        return None
    return iso(seconds)


def seconds(text: str) -> float:
    """Return seconds since the epoch of an ISO 8601 text; without a zone it is UTC.

    Raises:
        ValueError: it is none.

    """
    parsed = datetime.fromisoformat(text)
    return (parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)).timestamp()
