"""Read section ``watchdog`` of the configuration: limits and alerts by the names of the checks."""

from __future__ import annotations

import string
from collections.abc import Iterable
from dataclasses import replace

from ..base import brought, projects
from ..base.configuration import ConfigurationError, Section
from . import checks, limits, silences
from .settings import HEAL_MODES, Heal, LaneOrder, Measure, Notify, Reminders, WatchdogSettings
from .silences import Silence

DATA_DIR = "/var/lib/aina-factory"
TITLE = "$host: $summary"
BODY = "$edges"
WORDS = frozenset({"host", "summary", "edges", "problems", "recovered", "reminders", "time"})


def from_section(section: Section) -> WatchdogSettings:
    """Read the section; every key has a default.

    Raises:
        ConfigurationError: a value is wrong or a key is unknown; the message names it.

    """
    data_dir = section.absolute_path("data_dir", DATA_DIR)
    policy = WatchdogSettings(
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
        limits=limits.from_section(section.section("limits", {}), checks.LIMITS),
        clear_runs=section.integer("clear_runs", 2, minimum=1),
        unknown_runs=section.integer("unknown_runs", 3, minimum=1),
        reminders=_reminders(section.section("reminders", {})),
        notify=_notify(section.section("notify", {})),
        silences=_silences(section.sections("silences", ())),
        heal=_heal(section.section("heal", {})),
        engine_socket_path=_path_or_none(section, "engine_socket_path", "/run/docker.sock"),
        certificates=tuple(section.strings("certificates", ())),
        clock_enabled=section.boolean("clock_enabled", True),
        gather_seconds=section.number("gather_seconds", 20, minimum=0.1),
    )
    section.done()
    return policy


def of(whole: Section) -> tuple[WatchdogSettings, tuple[str, ...]]:
    """Return the policy with what the roles have brought, as :func:`tolerant` does."""
    policy, errors = tolerant(whole.section("watchdog", {}))
    try:
        found = brought.read(whole)
    except ConfigurationError as error:
        return policy, (*errors, str(error))
    units = tuple(dict.fromkeys((*policy.heal.units, *found.units)))
    certificates = tuple(dict.fromkeys((*policy.certificates, *found.certificates)))
    heal = replace(policy.heal, units=units)
    return replace(policy, heal=heal, certificates=certificates), errors


def tolerant(section: Section) -> tuple[WatchdogSettings, tuple[str, ...]]:
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


def _silences(sections: Iterable[Section]) -> tuple[Silence, ...]:
    return tuple(silences.from_section(section, checks.BY_NAME) for section in sections)


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
    if order.alert.partition(":")[0] not in checks.BY_NAME:
        wish = "begin with a check's name, such as main_red or main_red:demo"
        raise section.error("alert", order.alert, wish)
    if not projects.NAME.match(order.project):
        raise section.error("project", order.project, "be a project's name, such as demo")
    section.done()
    return order
