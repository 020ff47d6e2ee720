"""What the janitor may do: section ``janitor`` of the configuration."""

from __future__ import annotations

from dataclasses import dataclass

from ..base.configuration import ConfigurationError, Section
from .host import Host, Settings
from .kinds import READERS
from .model import Kind, Watermarks


@dataclass(frozen=True)
class Policy:
    """The watched disk, and the settings of every kind."""

    disk_path: str
    watermarks: Watermarks
    settings: tuple[Settings, ...]

    def kinds(self, host: Host) -> list[Kind]:
        """Return all kinds, the cheapest loss first."""
        return [kind for settings in self.settings for kind in settings.kinds(host)]


def from_section(section: Section) -> Policy:
    """Read the section ``janitor``; every key has a default but the places to look at.

    Raises:
        ConfigurationError: a value is wrong, two values contradict each other, or a key is
            unknown.

    """
    policy = Policy(
        section.absolute_path("disk_path", "/"),
        _watermarks(section),
        tuple(read(section) for read in READERS),
    )
    section.done()
    return policy


def _watermarks(section: Section) -> Watermarks:
    high = section.number("disk_used_high_percent", 80, minimum=1, maximum=99)
    low = section.number("disk_used_low_percent", 70, minimum=1, maximum=99)
    if low >= high:
        raise ConfigurationError(
            f"{section.path}.disk_used_low_percent is {low:g}; it must be below "
            f"disk_used_high_percent, which is {high:g}"
        )
    return Watermarks(high, low)
