"""What a job is, read and checked from the configuration's ``jobs`` section."""

from __future__ import annotations

import datetime
import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from ..base.configuration import ConfigurationError, Section
from . import calendar

_NAME = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,46}[a-z0-9])?")
_NAME_RULE = "consist of at most 48 lower-case letters, digits and inner dashes"
_USER = re.compile(r"[a-z_][a-z0-9_-]{0,30}")
_UNIT = re.compile(r"[A-Za-z0-9:_.@%\\-]+\.(?:service|target|socket|mount|timer|path)")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_CREDENTIAL = re.compile(r"[A-Za-z0-9_.-]+(?::/[^\s:]+)?")
_CALENDAR = re.compile(r"[A-Za-z0-9*/:.,~ -]+")
_TIMEZONE = re.compile(r"[A-Za-z0-9_+-]+(?:/[A-Za-z0-9_+-]+)*")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_LINKED_UNITS = {"network-online": "network-online.target", "docker": "docker.service"}


class State(StrEnum):
    """What is declared of a job."""

    PRESENT = "present"
    PAUSED = "paused"
    ABSENT = "absent"


class Overlap(StrEnum):
    """What happens when a job is due while its last run still works."""

    SKIP = "skip"
    QUEUE = "queue"
    KILL_OLD = "kill_old"


@dataclass(frozen=True)
class Pause:
    """Why a job does not run; dates are ISO 8601 texts."""

    reason: str
    by: str
    since: str
    review_after: str | None = None


@dataclass(frozen=True)
class ResourceClass:
    """Weights and caps that the jobs of one class share."""

    cpu_weight: int
    io_weight: int
    memory_max_mib: int | None
    tasks_max_count: int
    nice: int
    io_idle: bool


@dataclass(frozen=True)
class Job:
    """One declared job; see the README of the role ``factory_crons`` for each field."""

    name: str
    description: str
    state: State
    paused: Pause | None
    schedule: str
    timezone: str
    jitter_seconds: int
    catch_up: bool
    command: tuple[str, ...]
    user: str
    timeout_seconds: int
    on_overlap: Overlap
    locks: tuple[str, ...]
    resource_class: str
    on_failure: str | tuple[str, ...]
    expect_every_seconds: int | None
    requires: tuple[str, ...]
    environment: tuple[tuple[str, str], ...]
    credentials: tuple[str, ...]

    @property
    def is_active(self) -> bool:
        """Whether its timer is declared to run."""
        return self.state is State.PRESENT

    @property
    def required_units(self) -> tuple[str, ...]:
        """The systemd units that are started and waited for before the job."""
        return tuple(_LINKED_UNITS.get(name, name) for name in self.requires)


@dataclass(frozen=True)
class Jobs:
    """The whole ``jobs`` section; ``declared`` holds no job of state ``absent``."""

    declared: tuple[Job, ...]
    resource_classes: dict[str, ResourceClass]

    def get(self, name: str) -> Job | None:
        """Return the declared job ``name``."""
        return next((job for job in self.declared if job.name == name), None)


DEFAULT_CLASSES = {
    "light": ResourceClass(100, 100, 512, 256, 0, io_idle=False),
    "normal": ResourceClass(100, 100, 2048, 2048, 0, io_idle=False),
    "heavy": ResourceClass(20, 10, 4096, 4096, 10, io_idle=True),
}


def from_section(section: Section) -> Jobs:
    """Read the ``jobs`` section: ``declared`` (list) and ``resource_classes``.

    Raises:
        ConfigurationError: a value is wrong; the message names the job and the field.

    """
    jobs = [_job(item) for item in section.sections("declared", [])]
    classes = section.section("resource_classes", {})
    read = {name: _resource_class(classes, name) for name in DEFAULT_CLASSES}
    classes.done()
    section.done()
    names = [job.name for job in jobs]
    for name in names:
        if names.count(name) > 1:
            raise ConfigurationError(f"jobs.{name} is declared {names.count(name)} times")
    return Jobs(tuple(job for job in jobs if job.state is not State.ABSENT), read)


def _resource_class(classes: Section, name: str) -> ResourceClass:
    default = DEFAULT_CLASSES[name]
    section = classes.section(name, {})
    memory = section.integer("memory_max_mib", default.memory_max_mib, minimum=16)
    read = ResourceClass(
        section.integer("cpu_weight", default.cpu_weight, minimum=1, maximum=10000),
        section.integer("io_weight", default.io_weight, minimum=1, maximum=10000),
        memory,
        section.integer("tasks_max_count", default.tasks_max_count, minimum=1),
        section.integer("nice", default.nice, minimum=-20, maximum=19),
        section.boolean("io_idle", default.io_idle),
    )
    section.done()
    return read


def _job(item: Section) -> Job:
    name = item.text("name")
    if not _NAME.fullmatch(name):
        raise item.error("name", name, _NAME_RULE)
    item = item.named(f"jobs.{name}")
    item.text("name")
    state = State(item.text("state", "present", choices=list(State)))
    environment = item.mapping_of_strings("environment", {})
    job = Job(
        name=name,
        description=_line(item, "description", name),
        state=state,
        paused=_pause(item, state),
        schedule=_schedule(item) if state is not State.ABSENT else item.text("schedule", ""),
        timezone=_matching(item, "timezone", "UTC", _TIMEZONE, "be a name such as Europe/Berlin"),
        jitter_seconds=item.integer("jitter_seconds", 0, minimum=0, maximum=86400),
        catch_up=item.boolean("catch_up", False),
        command=_command(item, state),
        user=_matching(item, "user", "root", _USER, "be the name of an account"),
        timeout_seconds=item.integer("timeout_seconds", 3600, minimum=1, maximum=604800),
        on_overlap=Overlap(item.text("on_overlap", "skip", choices=list(Overlap))),
        locks=tuple(sorted(set(_each(item, "locks", _NAME, _NAME_RULE)))),
        resource_class=item.text("resource_class", "normal", choices=list(DEFAULT_CLASSES)),
        on_failure=_on_failure(item),
        expect_every_seconds=(
            item.integer("expect_every_seconds", None, minimum=1)
            if item.has("expect_every_seconds")
            else None
        ),
        requires=_requires(item),
        environment=tuple(sorted(environment.items())),
        credentials=_each(item, "credentials", _CREDENTIAL, "be NAME or NAME:/absolute/path"),
    )
    for variable, value in environment.items():
        if not _VARIABLE.fullmatch(variable) or "\x00" in value:
            raise item.error("environment", variable, "map names of variables to texts")
    item.done()
    return job


def _line(item: Section, key: str, default: Any = "") -> str:
    text = item.text(key, default)
    if not text.strip() or _CONTROL.search(text):
        raise item.error(key, text, "be one line of text")
    return text


def _matching(item: Section, key: str, default: str, form: re.Pattern[str], rule: str) -> str:
    text = item.text(key, default)
    if not form.fullmatch(text):
        raise item.error(key, text, rule)
    return text


def _each(item: Section, key: str, form: re.Pattern[str], rule: str) -> tuple[str, ...]:
    values = item.strings(key, [])
    for value in values:
        if not form.fullmatch(value):
            raise item.error(key, value, rule)
    return tuple(values)


def _pause(item: Section, state: State) -> Pause | None:
    if state is not State.PAUSED:
        if item.has("paused"):
            raise item.error("paused", state.value, "be left out unless state is paused")
        return None
    section = item.section("paused")
    pause = Pause(
        _line(section, "reason"),
        _line(section, "by"),
        _date(section, "since"),
        _date(section, "review_after") if section.has("review_after") else None,
    )
    section.done()
    return pause


def _date(section: Section, key: str) -> str:
    text = section.text(key)
    try:
        datetime.datetime.fromisoformat(text)
    except ValueError:
        raise section.error(key, text, "be a date such as 2026-07-14") from None
    return text


def _schedule(item: Section) -> str:
    schedule = " ".join(item.text("schedule").split())
    try:
        expressions = calendar.to_calendar(schedule)
    except calendar.ScheduleError as error:
        raise ConfigurationError(f"{item.path}.schedule: {error}") from None
    words = schedule.split()
    if not words or not all(_CALENDAR.fullmatch(expression) for expression in expressions):
        raise item.error("schedule", schedule, "be an OnCalendar expression or cron's five fields")
    if words[-1] == "UTC" or re.search(r"[A-Za-z]/[A-Za-z]", words[-1]):
        raise item.error("schedule", schedule, f"name no time zone; set timezone: {words[-1]}")
    return schedule


def _command(item: Section, state: State) -> tuple[str, ...]:
    command = item.strings("command", [] if state is State.ABSENT else None)
    if state is not State.ABSENT and not command:
        raise item.error("command", command, "name a program and its arguments")
    for word in command:
        if "\x00" in word:
            raise item.error("command", word, "hold no NUL character")
    # systemd reads some first characters as modifiers; a bare name is looked up on PATH.
    if command and not re.fullmatch(r"(?:/|[A-Za-z0-9_])[^\s]*", command[0]):
        raise item.error("command", command[0], "start with a program's absolute path or name")
    return tuple(command)


def _on_failure(item: Section) -> str | tuple[str, ...]:
    value = item.value("on_failure", "alert")
    if value in ("alert", "ignore"):
        return str(value)
    if isinstance(value, str):
        raise item.error("on_failure", value, "be alert, ignore or a list of unit names")
    units = _each(item, "on_failure", _UNIT, "be alert, ignore or a list of unit names")
    if not units:
        raise item.error("on_failure", value, "name at least one unit; use ignore for none")
    return units


def _requires(item: Section) -> tuple[str, ...]:
    requires = tuple(item.strings("requires", []))
    for name in requires:
        if name not in _LINKED_UNITS and not _UNIT.fullmatch(name):
            known = ", ".join(_LINKED_UNITS)
            raise item.error("requires", name, f"be {known} or the full name of a unit")
    return requires
