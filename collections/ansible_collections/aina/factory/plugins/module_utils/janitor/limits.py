"""The limits that every kind has, as settings."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from ..base.settings import setting
from .model import KindLimits

MIB = 1 << 20
HOUR = 3600.0
DAY = 86400.0


@dataclass(frozen=True)
class Limited:
    """When something goes."""

    max_age_days: float = setting(
        0, "What was not used for longer goes; 0 switches the age limit off.", minimum=0
    )
    min_age_hours: float = setting(
        0, "What was used within this time stays, even on a full disk.", minimum=0
    )
    max_total_mib: float = setting(
        0,
        "The oldest go until the rest is at most this large; 0 switches the limit off.",
        minimum=0,
    )
    max_per_run: int = setting(1000, "At most this many go in one run.", minimum=1)
    watermark: bool = setting(
        True, "Whether a disk above its high mark may take what is within the other limits."
    )

    def contradictions(self) -> Iterator[tuple[str, str]]:
        """Yield an age that the protected time does not let come."""
        if self.max_age_days and self.max_age_days * DAY < self.min_age_hours * HOUR:
            yield (
                "max_age_days",
                f"not be below min_age_hours, which is {self.min_age_hours:g} hours",
            )

    @property
    def limits(self) -> KindLimits:
        """The limits as a plan takes them."""
        return KindLimits(
            max_age_seconds=self.max_age_days * DAY or None,
            min_age_seconds=self.min_age_hours * HOUR,
            max_total_bytes=int(self.max_total_mib * MIB) or None,
            max_per_run=self.max_per_run,
            watermark=self.watermark,
        )


@dataclass(frozen=True)
class Rooted(Limited):
    """When something goes of what lies in declared places."""

    roots: tuple[str, ...] = setting(
        (), "Absolute paths to look at; wildcards are allowed.", kind="path"
    )
