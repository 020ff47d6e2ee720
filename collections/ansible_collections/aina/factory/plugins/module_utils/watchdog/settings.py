"""What the watchdog watches, and how it speaks: the classes of section ``watchdog``."""

from __future__ import annotations

import fnmatch
from collections.abc import Mapping
from dataclasses import dataclass

from .limits import Limit
from .silences import Silence

HEAL_MODES = ("off", "report", "repair")


@dataclass(frozen=True)
class Notify:
    """Where messages go: both files hold addresses that are secrets, one a line.

    An empty path means that nothing is sent there.
    """

    apprise_path: str
    dead_man_path: str
    title: str
    body: str
    timeout_seconds: float


@dataclass(frozen=True)
class Reminders:
    """When an alert that stays is told again: ever later, up to a longest pause."""

    first_seconds: float
    factor: float
    longest_seconds: float


@dataclass(frozen=True)
class LaneOrder:
    """The issue that an agent is to work on when an alert is raised.

    ``alert`` is a check, whatever its subject, or a pattern over alert keys.
    """

    alert: str
    project: str
    issue: int

    @property
    def target(self) -> str:
        """How people write the issue."""
        return f"{self.project}#{self.issue}"

    def covers(self, check: str, key: str) -> bool:
        """Whether the alert with this key is meant."""
        return self.alert == check or fnmatch.fnmatchcase(key, self.alert)


@dataclass(frozen=True)
class Heal:
    """What the watchdog may repair by itself, and how often."""

    mode: str
    workspace_roots: tuple[str, ...]
    units: tuple[str, ...]
    max_per_day: int
    cooldown_seconds: float
    max_attempts: int
    lanes: tuple[LaneOrder, ...]
    lanes_max_per_day: int


@dataclass(frozen=True)
class Measure:
    """Which places are measured for the attribution of the disk, and for how long at most."""

    roots: tuple[str, ...]
    timeout_seconds: float


@dataclass(frozen=True)
class WatchdogSettings:
    """The whole section."""

    interval_seconds: float
    data_dir: str
    state_dir: str
    status_path: str
    page_path: str
    legacy_status_path: str
    metrics_path: str
    reserve_mib: int
    disks: tuple[str, ...]
    measure: Measure
    limits: Mapping[str, Limit]
    clear_runs: int
    unknown_runs: int
    reminders: Reminders
    notify: Notify
    silences: tuple[Silence, ...]
    heal: Heal
    engine_socket_path: str
    certificates: tuple[str, ...]
    clock_enabled: bool
    gather_seconds: float
