"""What the watchdog watches, and how it speaks: section ``watchdog`` of the configuration."""

from __future__ import annotations

import fnmatch
import string
from collections.abc import Mapping
from dataclasses import dataclass

from ..base import projects
from ..base.configuration import ConfigurationError, Section
from . import limits
from .checks import BY_NAME
from .limits import Limit
from .silences import Silence
from .silences import from_section as silence_from_section

DATA_DIR = "/var/lib/aina-factory"
TITLE = "$host: $summary"
BODY = "$edges"
WORDS = frozenset({"host", "summary", "edges", "problems", "recovered", "reminders", "time"})
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
class Policy:
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


def from_section(section: Section) -> Policy:
    """Read the section; every key has a default.

    Raises:
        ConfigurationError: a value is wrong or a key is unknown; the message names it.

    """
    data_dir = section.absolute_path("data_dir", DATA_DIR)
    policy = Policy(
        interval_seconds=section.number("interval_seconds", 900, minimum=10),
        data_dir=data_dir,
        state_dir=section.absolute_path("state_dir", f"{data_dir}/watchdog"),
        status_path=section.absolute_path("status_path", f"{data_dir}/status.json"),
        page_path=_path_or_none(section, "page_path", f"{data_dir}/status.html"),
        legacy_status_path=_path_or_none(section, "legacy_status_path", ""),
        metrics_path=_path_or_none(section, "metrics_path", ""),
        reserve_mib=section.integer("reserve_mib", 64, minimum=0),
        disks=tuple(section.absolute_paths("disks", ("/",))),
        measure=_measure(section.section("measure", {})),
        limits=limits.from_section(section.section("limits", {})),
        clear_runs=section.integer("clear_runs", 2, minimum=1),
        unknown_runs=section.integer("unknown_runs", 3, minimum=1),
        reminders=_reminders(section.section("reminders", {})),
        notify=_notify(section.section("notify", {})),
        silences=tuple(map(silence_from_section, section.sections("silences", ()))),
        heal=_heal(section.section("heal", {})),
        engine_socket_path=_path_or_none(section, "engine_socket_path", "/run/docker.sock"),
        certificates=tuple(section.strings("certificates", ())),
        clock_enabled=section.boolean("clock_enabled", True),
        gather_seconds=section.number("gather_seconds", 20, minimum=0.1),
    )
    section.done()
    return policy


def tolerant(section: Section) -> tuple[Policy, tuple[str, ...]]:
    """Return the policy without the parts that are wrong, and what is wrong with them.

    A watchdog that refused its whole configuration would say nothing at all.
    """
    values = dict(section.items())
    errors: list[str] = []
    while True:
        try:
            return from_section(Section(values, section.path)), tuple(errors)
        except ConfigurationError as error:
            errors.append(str(error))
            key = str(error).removeprefix(f"{section.path}.").partition(" ")[0]
            key = key.partition(".")[0].partition("[")[0]
            if values.pop(key, None) is None:
                raise


def _path_or_none(section: Section, key: str, default: str) -> str:
    if section.value(key, default) == "":
        return ""
    return section.absolute_path(key, default)


def _measure(section: Section) -> Measure:
    measure = Measure(
        tuple(section.absolute_paths("roots", ())),
        section.number("timeout_seconds", 1500, minimum=1),
    )
    section.done()
    return measure


def _reminders(section: Section) -> Reminders:
    reminders = Reminders(
        section.number("first_hours", 6, minimum=0.1) * 3600,
        section.number("factor", 2, minimum=1),
        section.number("longest_hours", 48, minimum=0.1) * 3600,
    )
    section.done()
    return reminders


def _notify(section: Section) -> Notify:
    notify = Notify(
        _path_or_none(section, "apprise_path", ""),
        _path_or_none(section, "dead_man_path", ""),
        _template(section, "title", TITLE),
        _template(section, "body", BODY),
        section.number("timeout_seconds", 30, minimum=1),
    )
    section.done()
    return notify


def _template(section: Section, key: str, default: str) -> str:
    text = section.text(key, default)
    template = string.Template(text)
    known = ", ".join(f"${word}" for word in sorted(WORDS))
    if not template.is_valid() or not set(template.get_identifiers()) <= WORDS:
        raise section.error(key, text, f"use no other words than {known} ($$ is a dollar sign)")
    return text


def _heal(section: Section) -> Heal:
    heal = Heal(
        mode=section.text("mode", "report", choices=HEAL_MODES),
        workspace_roots=tuple(section.absolute_paths("workspace_roots", ())),
        units=tuple(section.strings("units", ())),
        max_per_day=section.integer("max_per_day", 50, minimum=0),
        cooldown_seconds=section.number("cooldown_minutes", 60, minimum=0) * 60,
        max_attempts=section.integer("max_attempts", 3, minimum=1),
        lanes=tuple(map(_lane_order, section.sections("lanes", ()))),
        lanes_max_per_day=section.integer("lanes_max_per_day", 4, minimum=0),
    )
    section.done()
    return heal


def _lane_order(section: Section) -> LaneOrder:
    order = LaneOrder(
        section.text("alert"), section.text("project"), section.integer("issue", minimum=1)
    )
    if order.alert.partition(":")[0] not in BY_NAME:
        wish = "begin with a check's name, such as main_red or main_red:demo"
        raise section.error("alert", order.alert, wish)
    if not projects.NAME.match(order.project):
        raise section.error("project", order.project, "be a project's name, such as demo")
    section.done()
    return order
