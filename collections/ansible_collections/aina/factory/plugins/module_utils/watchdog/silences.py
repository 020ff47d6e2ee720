"""Silences: who does not want to hear of what, why, and until when. None is for ever."""

from __future__ import annotations

import fnmatch
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from ..base import times
from ..base.configuration import Section


@dataclass(frozen=True)
class Silence:
    """``match`` is a pattern over alert keys such as ``disk_space:/`` or ``job_*``."""

    match: str
    until: float
    reason: str
    by: str
    origin: str = "declared"

    def active(self, now: float) -> bool:
        """Whether it has not ended."""
        return now < self.until

    def covers(self, key: str) -> bool:
        """Whether the pattern stands for the key."""
        return fnmatch.fnmatchcase(key, self.match)

    def document(self, now: float) -> dict[str, Any]:
        return {
            "match": self.match,
            "until": times.iso_or_none(self.until),
            "reason": self.reason,
            "by": self.by,
            "origin": self.origin,
            "active": self.active(now),
        }


def from_section(
    section: Section, checks: Iterable[str] | None, origin: str = "declared"
) -> Silence:
    """Read one silence; it must fit one of the checks, where these are given.

    Raises:
        ConfigurationError: a part is missing (the end, too) or wrong.

    """
    texts = {}
    for key in ("match", "reason", "by", "until"):
        texts[key] = section.text(key)
        if not texts[key].strip():
            raise section.error(key, texts[key], "not be empty")
    section.done()
    if checks is not None and not _fits(texts["match"], checks):
        wish = "fit a check's name, such as engine, disk_space:/ or job_*"
        raise section.error("match", texts["match"], wish)
    try:
        until = times.seconds(texts["until"])
    except ValueError:
        raise section.error("until", texts["until"], "be a date such as 2026-07-14") from None
    return Silence(texts["match"], until, texts["reason"], texts["by"], origin)


def _fits(match: str, checks: Iterable[str]) -> bool:
    head = match.partition(":")[0]
    return any(fnmatch.fnmatchcase(name, head) for name in (*checks, "unknown"))


def covering(key: str, silences: Iterable[Silence], now: float) -> Silence | None:
    """Return the active silence of a key that lasts longest."""
    fitting: Sequence[Silence] = [
        silence for silence in silences if silence.active(now) and silence.covers(key)
    ]
    return max(fitting, key=lambda silence: silence.until, default=None)
