"""The limits of the checks: where an alert is raised, and where it is cleared."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ..base.configuration import ConfigurationError, Section


@dataclass(frozen=True)
class Limit:
    """Two thresholds of one quantity; between them nothing changes.

    ``high_is_bad`` says on which side the trouble lies; the name ends with the unit.
    """

    raise_at: float
    clear_at: float
    high_is_bad: bool = True
    maximum: float = 1e9

    def exceeded(self, value: float) -> bool:
        """Whether the value raises an alert."""
        return value >= self.raise_at if self.high_is_bad else value <= self.raise_at

    def lingers(self, value: float) -> bool:
        """Whether the value keeps an alert that was raised."""
        return value > self.clear_at if self.high_is_bad else value < self.clear_at


LIMITS: Mapping[str, Limit] = {
    "disk_used_percent": Limit(85, 80, maximum=99),
    "inodes_used_percent": Limit(85, 80, maximum=99),
    "disk_full_within_hours": Limit(48, 72, high_is_bad=False),
    "unattributed_percent": Limit(30, 20, maximum=100),
    "deleted_open_mib": Limit(5120, 2048),
    "measure_age_hours": Limit(6, 6),
    "state_age_minutes": Limit(30, 30),
    "unit_restarts_count": Limit(3, 1),
    "runner_down_minutes": Limit(15, 15),
    "runner_queued_minutes": Limit(30, 15),
    "runner_version_days": Limit(20, 20),
    "runner_failures_count": Limit(3, 1),
    "lane_silent_minutes": Limit(30, 30),
    "lane_age_hours": Limit(6, 6),
    "merge_report_minutes": Limit(60, 60),
    "merge_waiting_hours": Limit(24, 24),
    "main_red_minutes": Limit(60, 60),
    "paperclip_success_hours": Limit(6, 6),
    "paperclip_failed_percent": Limit(50, 25, maximum=100),
    "paperclip_silent_minutes": Limit(60, 60),
    "paperclip_agents_error_count": Limit(1, 0),
    "image_age_days": Limit(14, 14),
    "backup_age_hours": Limit(50, 50),
    "certificate_days": Limit(14, 21, high_is_bad=False),
    "memory_available_percent": Limit(5, 10, high_is_bad=False, maximum=100),
    "memory_pressure_percent": Limit(10, 5, maximum=100),
    "io_pressure_percent": Limit(40, 20, maximum=100),
    "cpu_pressure_percent": Limit(80, 60, maximum=100),
    "reboot_required_days": Limit(7, 7),
    "clock_error_seconds": Limit(1, 0.5),
    "drift_age_hours": Limit(50, 50),
    "undelivered_minutes": Limit(60, 30),
    "dead_man_silent_minutes": Limit(60, 60),
    "run_gap_minutes": Limit(45, 45),
}


def from_section(section: Section) -> Mapping[str, Limit]:
    """Return all limits, those of the section in place of the defaults.

    Raises:
        ConfigurationError: a value is wrong, or the two thresholds of a limit contradict
            each other; the message names the key.

    """
    read = {name: _limit(section, name, default) for name, default in LIMITS.items()}
    section.done()
    return read


def _limit(section: Section, name: str, default: Limit) -> Limit:
    if not section.has(name):
        return default
    own = section.section(name)
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
    return Limit(raise_at, clear_at, default.high_is_bad, default.maximum)
