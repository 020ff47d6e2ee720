"""Silences: who does not want to hear of what, why, and until when. None is for ever."""

from __future__ import annotations

import fnmatch
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from ..base import settings, times
from ..base.configuration import Section
from ..base.settings import REQUIRED, setting

_SAID = (r"[\s\S]*\S[\s\S]*", "not be empty")


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


@dataclass(frozen=True)
class SilenceSettings:
    """Alerts that nobody wants to hear of for a time."""

    match: str = setting(
        REQUIRED,
        "The alert's key as the status shows it, or a pattern such as `job_*`.",
        form=_SAID,
    )
    until: str = setting(REQUIRED, "When it ends, an ISO 8601 date.", form=_SAID)
    reason: str = setting(REQUIRED, "Why.", form=_SAID)
    by: str = setting(REQUIRED, "Who decided it.", form=_SAID)

    def contradictions(self) -> Iterator[tuple[str, str]]:
        """Yield an end that is no date."""
        try:
            times.seconds(self.until)
        except ValueError:
            yield "until", "be a date such as 2026-07-14"

    def silence(self, origin: str = "declared") -> Silence:
        """Return what is meant."""
        return Silence(self.match, times.seconds(self.until), self.reason, self.by, origin)

    def fits(self, checks: Iterable[str]) -> bool:
        """Whether one of the checks can raise an alert that it covers."""
        head = self.match.partition(":")[0]
        return any(fnmatch.fnmatchcase(name, head) for name in (*checks, "unknown"))


FITTING = "fit a check's name, such as engine, disk_space:/ or job_*"


def from_section(
    section: Section, checks: Iterable[str] | None, origin: str = "declared"
) -> Silence:
    """Read one silence; it must fit one of the checks, where these are given.

    Raises:
        ConfigurationError: a part is missing (the end, too) or wrong.

    """
    found = settings.read(SilenceSettings, section)
    if checks is not None and not found.fits(checks):
        raise section.error("match", found.match, FITTING)
    return found.silence(origin)


def covering(key: str, silences: Iterable[Silence], now: float) -> Silence | None:
    """Return the active silence of a key that lasts longest."""
    fitting: Sequence[Silence] = [
        silence for silence in silences if silence.active(now) and silence.covers(key)
    ]
    return max(fitting, key=lambda silence: silence.until, default=None)
