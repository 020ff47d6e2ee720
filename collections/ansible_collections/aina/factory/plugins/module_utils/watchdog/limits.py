"""The limits of the checks: where an alert is raised, and where it is cleared."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from ..base.configuration import Section
from ..base.settings import REQUIRED, setting

_UNITS = {"mib": "mebibytes"}
_SECONDS = {"seconds": 1.0, "minutes": 60.0, "hours": 3600.0, "days": 86400.0}


@dataclass(frozen=True)
class Limit:
    """Two thresholds of one quantity; between them nothing changes."""

    # It ends with the unit.
    name: str
    # One sentence about the quantity.
    text: str
    raise_at: float = setting(REQUIRED, "Where the alert is raised.", key="raise", minimum=0)
    clear_at: float = setting(
        REQUIRED,
        "Where it is cleared; a given `raise` beyond it takes it along.",
        key="clear",
        minimum=0,
    )
    # On which side the trouble lies.
    high_is_bad: bool = True
    maximum: float = 1e9

    @property
    def unit(self) -> str:
        """The unit of its quantity."""
        last = self.name.rpartition("_")[2]
        return _UNITS.get(last, last)

    @property
    def seconds(self) -> float:
        """Where the alert of a time is raised, in seconds."""
        return self.raise_at * _SECONDS[self.unit]

    def exceeded(self, value: float) -> bool:
        """Whether the value raises an alert."""
        return value >= self.raise_at if self.high_is_bad else value <= self.raise_at

    def lingers(self, value: float) -> bool:
        """Whether the value keeps an alert that was raised."""
        return value > self.clear_at if self.high_is_bad else value < self.clear_at

    def fitted(self, given: Section) -> Limit:
        """Return the defaults of a section: a new threshold takes its partner along."""
        raise_at = given.number("raise", self.raise_at)
        partner = min if self.high_is_bad else max
        return replace(self, clear_at=partner(self.clear_at, raise_at))

    def contradictions(self) -> Iterator[tuple[str, str, float]]:
        """Yield a threshold that no value reaches, and two on the wrong sides of each other."""
        if self.raise_at > self.maximum:
            yield "raise", f"lie between 0 and {self.maximum:g}", self.raise_at
        if (self.clear_at > self.raise_at) if self.high_is_bad else (self.clear_at < self.raise_at):
            side = "above" if self.high_is_bad else "below"
            yield "clear", f"not be {side} raise, which is {self.raise_at:g}", self.clear_at
