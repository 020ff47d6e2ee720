"""What the watchdog watches, and how it speaks: section ``watchdog`` but for the limits of checks."""

from __future__ import annotations

import fnmatch
import string
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import ClassVar

from ..base import projects
from ..base.settings import OPTIONAL_PATH, REQUIRED, setting
from .limits import Limit
from .silences import Silence, SilenceSettings

HEAL_MODES = ("off", "report", "repair")
MINUTE, HOUR = 60.0, 3600.0
WORDS = frozenset({"host", "summary", "edges", "problems", "recovered", "reminders", "time"})


@dataclass(frozen=True)
class Notify:
    """What a message says, and how long an address may take to accept it."""

    apprise_path: str = setting(
        "",
        "A file of addresses as apprise knows them, one a line; secrets. Empty for none.",
        kind="path",
        by="role",
    )
    urgent_path: str = setting(
        "",
        "A file of addresses that hear of critical alerts alone, such as a pager's; secrets. Empty"
        " for none.",
        kind="path",
        by="role",
    )
    dead_man_path: str = setting(
        "",
        "A file of the outside watcher's addresses, one a line; secrets. Empty for none.",
        kind="path",
        by="role",
    )
    title: str = setting(
        "$host: $summary",
        "Title of a message; `$host`, `$summary`, `$problems`, `$reminders`, `$recovered` and"
        " `$time` are replaced.",
    )
    body: str = setting(
        "$edges",
        "Text of a message; `$edges` is replaced as well, by one paragraph for each change.",
    )
    timeout_seconds: float = setting(30, "How long an address may take.", minimum=1)

    @property
    def is_heard(self) -> bool:
        """Whether anybody is told anything."""
        return bool(self.apprise_path or self.urgent_path)

    def contradictions(self) -> Iterator[tuple[str, str]]:
        """Yield texts with words that nothing replaces."""
        known = ", ".join(f"${word}" for word in sorted(WORDS))
        for key, text in (("title", self.title), ("body", self.body)):
            template = string.Template(text)
            if not template.is_valid() or not set(template.get_identifiers()) <= WORDS:
                yield key, f"use no other words than {known} ($$ is a dollar sign)"


@dataclass(frozen=True)
class Reminders:
    """When an alert that stays is told again: ever later, up to a longest pause."""

    first_hours: float = setting(
        6, "How long after its message an alert is told again, the first time.", minimum=0.1
    )
    factor: float = setting(2, "How many times longer each pause is than the last.", minimum=1)
    longest_hours: float = setting(48, "The longest pause.", minimum=0.1)

    @property
    def first_seconds(self) -> float:
        """The first pause."""
        return HOUR * self.first_hours

    @property
    def longest_seconds(self) -> float:
        """The longest pause."""
        return HOUR * self.longest_hours


@dataclass(frozen=True)
class LaneOrder:
    """The issue that an agent is to work on when an alert is raised."""

    alert: str = setting(
        REQUIRED,
        "A check, such as `main_red`, or one of its alerts, such as `main_red:demo`; a pattern.",
    )
    project: str = setting(
        REQUIRED, "The project whose issue it is, one with lanes.", form=projects.NAME_FORM
    )
    issue: int = setting(
        REQUIRED, "The number of the issue, which says what is to be done.", minimum=1
    )

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

    renamed: ClassVar[Mapping[str, str]] = {
        "max_per_day": "max_per_day_count",
        "max_attempts": "max_attempts_count",
        "lanes_max_per_day": "lanes_max_per_day_count",
    }

    mode: str = setting(
        "report",
        "Whether workspaces and units are repaired and lanes started, only reported, or not even"
        " that.",
        choices=HEAL_MODES,
    )
    workspace_roots: tuple[str, ...] = setting(
        (),
        "Directories whose direct entries are agents' workspaces; wildcards are allowed.",
        kind="path",
    )
    units: tuple[str, ...] = setting(
        (),
        "Units that are restarted when they have failed, beside those that roles bring.",
    )
    max_per_day_count: int = setting(
        50, "At most this many repairs of each kind within 24 hours.", minimum=0
    )
    cooldown_minutes: float = setting(
        60, "How long after a repair the same thing is not repaired again.", minimum=0
    )
    max_attempts_count: int = setting(
        3,
        "After so many repairs of the same thing within 24 hours it is given up, and told.",
        minimum=1,
    )
    lanes: tuple[LaneOrder, ...] = setting(
        (), "Issues that an agent gets, each when the alert beside it is raised."
    )
    lanes_max_per_day_count: int = setting(
        4, "At most this many lanes for alerts within 24 hours.", minimum=0
    )

    @property
    def cooldown_seconds(self) -> float:
        """How long after a repair the same thing is not repaired again."""
        return MINUTE * self.cooldown_minutes


@dataclass(frozen=True)
class Measure:
    """Which places are measured for the attribution of the disk, and for how long at most."""

    roots: tuple[str, ...] = setting(
        (
            "/boot",
            "/home",
            "/home/*/.cache",
            "/home/*/.local/share/pnpm",
            "/home/*/.npm",
            "/opt",
            "/root",
            "/srv",
            "/swapfile",
            "/tmp",  # noqa: S108 - measured, never written
            "/usr",
            "/var",
            "/var/cache/apt",
            "/var/lib/containerd",
            "/var/lib/docker",
            "/var/lib/snapd",
            "/var/log",
            "/var/log/journal",
            "/var/tmp",  # noqa: S108 - measured, never written
        ),
        "Places whose size is measured, each without what lies in a deeper one; wildcards are"
        " allowed.",
        kind="path",
        adds=False,
    )
    extra_roots: tuple[str, ...] = setting(
        (), "Further places, such as agents' homes and worktrees.", kind="path"
    )
    timeout_seconds: float = setting(
        1500,
        "How long a measurement may take; what was not reached keeps its last size and is marked.",
        minimum=1,
    )

    @property
    def places(self) -> tuple[str, ...]:
        """All places, each once."""
        return tuple(dict.fromkeys((*self.roots, *self.extra_roots)))


@dataclass(frozen=True)
class ConsoleSettings:
    """Where the status is served to browsers; whoever has the server's token may read it."""

    listen: tuple[str, ...] = setting(
        ("127.0.0.1:8713",),
        "Addresses at which it is served, this host's own alone unless others are named; an empty"
        " list for no console.",
        form=(r"(\[[0-9a-fA-F:]+\]|[0-9.]+):[0-9]{1,5}", "be an address and a port"),
        adds=False,
    )
    names: tuple[str, ...] = setting(
        (),
        "Names of the host under which a proxy of the site passes requests on, beside localhost.",
        form=(r"[A-Za-z0-9.-]+", "be a host name"),
    )
    idle_seconds: float = setting(
        300, "After how long without a visitor it ends; the next one starts it again.", minimum=10
    )


@dataclass(frozen=True)
class WatchdogSettings:
    """What the watchdog watches, whom it tells, and what it may repair."""

    interval_seconds: float = setting(
        900,
        "How often the job runs that calls `factory watchdog`; its schedule is that of the job"
        " `watchdog`.",
        minimum=10,
    )
    data_dir: str = setting(
        "/var/lib/aina-factory",
        "Where the parts of the factory write what they know, and the watchdog its status.",
        kind="path",
        by="role",
    )
    legacy_status_path: str = setting(
        "",
        "Where readers of an earlier watchdog expect its file; empty for nowhere.",
        kind="path",
    )
    metrics_path: str = setting(
        "",
        "A file in the directory of node_exporter's textfile collector, ending in `.prom`; empty"
        " for none.",
        kind="path",
    )
    reserve_mib: int = setting(
        64, "Space that is kept for the moment in which the disk is full.", minimum=0
    )
    disks: tuple[str, ...] = setting(
        ("/",),
        "Mount points of the filesystems that are watched; one at which nothing is mounted is a"
        " problem.",
        kind="path",
        adds=False,
    )
    measure: Measure = setting(Measure(), "Which places are measured.")
    clear_runs_count: int = setting(
        2, "After how many good runs in a row an alert is cleared.", minimum=1
    )
    unknown_runs_count: int = setting(
        3, "After how many runs in a row what is unknown is an alert of its own.", minimum=1
    )
    reminders: Reminders = setting(Reminders(), "When an alert that stays is told again.")
    notify: Notify = setting(Notify(), "What a message says.")
    silences: tuple[SilenceSettings, ...] = setting(
        (), "Alerts that nobody wants to hear of for a time; they stay in the status."
    )
    silence_max_hours: float = setting(
        168,
        "For how long `factory silence` keeps an alert quiet at most; the inventory may for longer.",
        minimum=1,
    )
    heal: Heal = setting(Heal(), "What may be repaired, and how often.")
    engine_socket_path: str = setting(
        "/run/docker.sock",
        "The container engine's socket; empty where there is none.",
        form=OPTIONAL_PATH,
    )
    certificates: tuple[str, ...] = setting(
        (),
        "Certificates whose end is watched, as files (wildcards are allowed) or `HOST:PORT`, beside"
        " those that roles bring.",
    )
    resolved_names: tuple[str, ...] = setting(
        (),
        "Names of hosts that must be resolved, beside that of GitHub.",
        form=(r"[A-Za-z0-9.-]+", "be a host name"),
    )
    drift_places: tuple[str, ...] = setting(
        (),
        "Files that are compared with how the last converge left them, beside those of the host's"
        " own administration; wildcards are allowed.",
        kind="path",
    )
    clock_enabled: bool = setting(True, "Whether the clock must be synchronised.")
    console: ConsoleSettings = setting(ConsoleSettings(), "Where the status is served to browsers.")
    gather_seconds: float = setting(
        20, "How long a source of facts may take until what it knows is unknown.", minimum=0.1
    )
    # Those of the checks, which come above: see policy.py.
    limits: Mapping[str, Limit] = field(default_factory=dict, kw_only=True)

    @property
    def state_dir(self) -> str:
        """Where the watchdog keeps what it remembers."""
        return f"{self.data_dir}/watchdog"

    @property
    def status_path(self) -> str:
        """The status for programs."""
        return f"{self.data_dir}/status.json"

    @property
    def page_path(self) -> str:
        """The status for people."""
        return f"{self.data_dir}/status.html"

    @property
    def declared_silences(self) -> tuple[Silence, ...]:
        """The silences of the inventory."""
        return tuple(each.silence() for each in self.silences)
