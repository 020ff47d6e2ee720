"""The limits of the checks: where an alert is raised, and where it is cleared."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from ..base.configuration import ConfigurationError, Section

_UNITS = {"mib": "mebibytes"}


@dataclass(frozen=True)
class Limit:
    """Two thresholds of one quantity; between them nothing changes.

    ``high_is_bad`` says on which side the trouble lies; the name ends with the unit.
    """

    name: str
    raise_at: float
    clear_at: float
    high_is_bad: bool = True
    maximum: float = 1e9

    @property
    def unit(self) -> str:
        """The unit of its quantity."""
        last = self.name.rpartition("_")[2]
        return _UNITS.get(last, last)

    def exceeded(self, value: float) -> bool:
        """Whether the value raises an alert."""
        return value >= self.raise_at if self.high_is_bad else value <= self.raise_at

    def lingers(self, value: float) -> bool:
        """Whether the value keeps an alert that was raised."""
        return value > self.clear_at if self.high_is_bad else value < self.clear_at


def from_section(section: Section, limits: Iterable[Limit]) -> Mapping[str, Limit]:
    """Return all limits by name, those of the section in place of the defaults.

    Raises:
        ConfigurationError: a value is wrong, or the two thresholds of a limit contradict
            each other; the message names the key.

    """
    read = {limit.name: _limit(section, limit) for limit in limits}
    section.done()
    return read


def _limit(section: Section, default: Limit) -> Limit:
    if not section.has(default.name):
        return default
    own = section.section(default.name)
    raise_at = own.number("raise", default.raise_at, minimum=0, maximum=default.maximum)
    # A new threshold alone takes its partner along where the default one would contradict it.
    partner = min if default.high_is_bad else max
    clear_at = own.number("clear", partner(default.clear_at, raise_at), minimum=0)
    own.done()
    if (clear_at > raise_at) if default.high_is_bad else (clear_at < raise_at):
        side = "above" if default.high_is_bad else "below"
        raise ConfigurationError(
            f"{own.path}.clear is {clear_at:g}; it must not be {side} {own.path}.raise, "
            f"which is {raise_at:g}"
        )
    return replace(default, raise_at=raise_at, clear_at=clear_at)
