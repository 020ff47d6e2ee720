"""The names of just-in-time runners: unique per run, recognisable as ours, and dated; pure."""

from __future__ import annotations

import re

_DIGITS = "0123456789abcdefghijklmnopqrstuvwxyz"


def runner_name_of(prefix: str, slot: str, now: float, draw: float) -> str:
    """Return the name of a slot's next runner; ``draw`` lies in [0, 1)."""
    return f"{prefix}-{slot}-{_base36(int(now))}{_base36(int(draw * 1296)).rjust(2, '0')}"


def slot_of(name: str, prefix: str) -> tuple[str, float] | None:
    """Return the slot that a runner's name belongs to and when it was made; None when it is not ours."""
    match = re.fullmatch(
        rf"{re.escape(prefix)}-([a-z0-9-]+-\d+)-([0-9a-z]{{6,7}})[0-9a-z]{{2}}", name
    )
    if match is None:
        return None
    return match[1], float(int(match[2], 36))


def _base36(number: int) -> str:
    text = ""
    while number:
        number, digit = divmod(number, 36)
        text = _DIGITS[digit] + text
    return text or "0"
