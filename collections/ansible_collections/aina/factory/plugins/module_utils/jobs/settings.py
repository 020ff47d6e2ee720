"""Section ``jobs`` of the configuration: the scheduled jobs and what they share."""

from __future__ import annotations

import datetime
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import ClassVar

from ..base.settings import REQUIRED, setting, settings_of
from . import calendar

_NAME = (
    r"[a-z0-9](?:[a-z0-9-]{0,46}[a-z0-9])?",
    "consist of at most 48 lower-case letters, digits and inner dashes",
)
_LINE = (r"[^\x00-\x1f\x7f]*[^\x00-\x20\x7f][^\x00-\x1f\x7f]*", "be one line of text")
_UNIT = r"[A-Za-z0-9:_.@%\\-]+\.(?:service|target|socket|mount|timer|path)"
_LINKED_UNITS = {"network-online": "network-online.target", "docker": "docker.service"}
_CALENDAR = re.compile(r"[A-Za-z0-9*/:.,~ -]+")
_ZONE = re.compile(r"[A-Za-z]/[A-Za-z]")
# systemd reads some first characters as modifiers; a bare name is looked up on PATH.
_PROGRAM = re.compile(r"(?:/|[A-Za-z0-9_])[^\s]*")


@dataclass(frozen=True)
class Pause:
    """Why a job does not run."""

    reason: str = setting(REQUIRED, "Why, one line.", form=_LINE)
    by: str = setting(REQUIRED, "Who decided it.", form=_LINE)
    since: str = setting(REQUIRED, "Since when, an ISO 8601 date.")
    review_after: str | None = setting(None, "When to think again, an ISO 8601 date.")

    def contradictions(self) -> Iterator[tuple[str, str]]:
        """Yield what is no date."""
        for key, value in (("since", self.since), ("review_after", self.review_after)):
            try:
                datetime.datetime.fromisoformat(value or "2026-07-14")
            except ValueError:
                yield key, "be a date such as 2026-07-14"


@dataclass(frozen=True)
class Job:
    """One scheduled job."""

    name: str = setting(
        REQUIRED,
        "Unique name of lower-case letters, digits and inner dashes, at most 48 characters.",
        form=_NAME,
    )
    description: str = setting("", "What it does, one line; its name when empty.", form=_LINE)
    state: str = setting(
        "present",
        "Whether the timer runs, rests with a reason, or the job is removed.",
        choices=("present", "paused", "absent"),
    )
    paused: Pause | None = setting(None, "Why the job rests; required when it does.")
    schedule: str = setting(
        "",
        "When it runs, as systemd's OnCalendar or cron's five fields, or `@reboot` for each start of"
        " the host; required unless `state` is `absent`.",
    )
    timezone: str = setting(
        "UTC",
        "Time zone of the schedule.",
        form=(r"[A-Za-z0-9_+-]+(?:/[A-Za-z0-9_+-]+)*", "be a name such as Europe/Berlin"),
    )
    jitter_seconds: int = setting(
        0,
        "It starts at most this much later, by an amount that stays the same for the host.",
        minimum=0,
        maximum=86400,
    )
    catch_up: bool = setting(
        False, "Whether a run that was missed while the host was off is made up for once."
    )
    command: tuple[str, ...] = setting(
        (), "Program and arguments, no shell; required unless `state` is `absent`."
    )
    user: str = setting(
        "root",
        "The account that runs it; one whose name begins with `factory-` is made where it is missing.",
        form=(r"[a-z_][a-z0-9_-]{0,30}", "be the name of an account"),
    )
    root_equivalent: bool = setting(
        False,
        "Whether `user` is meant to be one that can become root without a password, as whoever"
        " commands the container engine can; a converge warns otherwise.",
    )
    timeout_seconds: int = setting(
        3600,
        "A run that takes longer is ended and reported, waiting for locks included.",
        minimum=1,
        maximum=604800,
    )
    on_overlap: str = setting(
        "skip",
        "What happens when it is due while its last run, or the holder of its lock, still works:"
        " `skip` lets that one finish, `queue` runs once more afterwards, `kill_old` ends it.",
        choices=("skip", "queue", "kill_old"),
    )
    locks: tuple[str, ...] = setting(
        (),
        "Names of locks shared with other jobs, each `/run/factory-job-locks/factory-NAME.lock`.",
        form=_NAME,
    )
    resource_class: str = setting(
        "normal",
        "The slice that it shares with its like.",
        choices=("light", "normal", "heavy"),
    )
    on_failure: object = setting(
        "alert", "Either `alert`, `ignore`, or a list of units to start instead."
    )
    expect_every_seconds: int | None = setting(
        None, "Without a success for this long the job counts as missed.", minimum=1
    )
    requires: tuple[str, ...] = setting(
        (),
        "Any of `network-online`, `docker`, or full names of units, started before it.",
        form=(
            "|".join([*_LINKED_UNITS, _UNIT]),
            f"be {', '.join(_LINKED_UNITS)} or the full name of a unit",
        ),
    )
    needs: tuple[str, ...] = setting(
        (),
        "Files, such as a secret, without which it does not start; it waits for them.",
        form=(r"/[^\s%\\\"'!]+", "be the absolute path of a file, without spaces and quotes"),
    )
    environment: Mapping[str, str] = setting(
        {},
        "Environment variables; no secrets, everybody can read unit files.",
        names=("[A-Za-z_][A-Za-z0-9_]*", "map names of variables to texts"),
        form=(r"[^\x00]*", "hold no NUL character"),
    )
    credentials: tuple[str, ...] = setting(
        (),
        "Secrets as NAME or NAME:/path for systemd's LoadCredential.",
        form=(r"[A-Za-z0-9_.-]+(?::/[^\s:]+)?", "be NAME or NAME:/absolute/path"),
    )

    @property
    def is_active(self) -> bool:
        """Whether its timer is declared to run."""
        return self.state == "present"

    @property
    def at_boot(self) -> bool:
        """Whether it runs at each start of the host, and by no time."""
        return calendar.is_at_boot(self.schedule)

    @property
    def title(self) -> str:
        """What people read: what it does."""
        return self.description or self.name

    @property
    def lock_names(self) -> tuple[str, ...]:
        """The locks in the order in which everybody takes them, each once."""
        return tuple(sorted(set(self.locks)))

    @property
    def required_units(self) -> tuple[str, ...]:
        """The systemd units that are started and waited for before the job."""
        return tuple(_LINKED_UNITS.get(name, name) for name in self.requires)

    @property
    def failure_units(self) -> tuple[str, ...] | None:
        """The units that its failure starts; ``None`` where it is told as others are, or not."""
        return tuple(self.on_failure) if isinstance(self.on_failure, list | tuple) else None

    def contradictions(self) -> Iterator[tuple[str, str] | tuple[str, str, object]]:
        """Yield what does not fit together, and what more than one rule binds."""
        if self.state == "paused" and self.paused is None:
            yield "paused", "say why, by whom and since when, since state is paused"
        if self.state != "paused" and self.paused is not None:
            yield "paused", "be left out unless state is paused", self.state
        if self.state != "absent":
            yield from self._wrong_schedule()
            if not self.command:
                yield "command", "name a program and its arguments"
        yield from self._wrong_command()
        if self.on_failure not in ("alert", "ignore"):
            yield from self._wrong_units()

    def _wrong_schedule(self) -> Iterator[tuple[str, str]]:
        schedule = " ".join(self.schedule.split())
        try:
            calendar.in_zone(schedule, self.timezone)
            expressions = calendar.to_calendar(schedule)
        except calendar.ScheduleError as error:
            yield "schedule", f"be one that can be read: {error}"
            return
        if self.at_boot:
            if self.catch_up:
                yield "catch_up", "be left out of a job at boot, which misses no time"
            return
        words = schedule.split()
        if not words or not all(_CALENDAR.fullmatch(expression) for expression in expressions):
            yield "schedule", "be an OnCalendar expression or cron's five fields"
        elif words[-1] == "UTC" or _ZONE.search(words[-1]):
            yield "schedule", f"name no time zone; set timezone: {words[-1]}"

    def _wrong_command(self) -> Iterator[tuple[str, str, object]]:
        for word in self.command:
            if "\x00" in word:
                yield "command", "hold no NUL character", word
        if self.command and not _PROGRAM.fullmatch(self.command[0]):
            yield "command", "start with a program's absolute path or name", self.command[0]

    def _wrong_units(self) -> Iterator[tuple[str, str, object]]:
        units = self.failure_units
        if units is None:
            yield "on_failure", "be alert, ignore or a list of unit names", self.on_failure
        elif not units:
            yield "on_failure", "name at least one unit; use ignore for none", units
        else:
            for unit in units:
                if not isinstance(unit, str) or not re.fullmatch(_UNIT, unit):
                    yield "on_failure", "be alert, ignore or a list of unit names", unit


@dataclass(frozen=True)
class JobEntry(Job):
    """What an inventory says of a job: all of it, or what differs from that of a capability."""

    def contradictions(self) -> Iterator[tuple[str, str] | tuple[str, str, object]]:
        """Yield nothing: what is left out, the capability says, and the whole is judged."""
        return iter(())


@dataclass(frozen=True)
class ResourceClass:
    """Weights and caps that the jobs of one class share."""

    cpu_weight: int = setting(
        100, "Share of the processors where they are short.", minimum=1, maximum=10000
    )
    io_weight: int = setting(100, "Share of the disk where it is short.", minimum=1, maximum=10000)
    memory_max_mib: int = setting(2048, "Memory of all its jobs together.", minimum=16)
    tasks_max_count: int = setting(
        2048, "Processes and threads of all its jobs together.", minimum=1
    )
    nice: int = setting(0, "How far each job lets others go first.", minimum=-20, maximum=19)
    io_idle: bool = setting(False, "Whether its jobs use the disk only while nobody else does.")


@dataclass(frozen=True)
class ResourceClasses:
    """The classes that a job can name."""

    light: ResourceClass = setting(
        ResourceClass(memory_max_mib=512, tasks_max_count=256), "Of jobs that need little."
    )
    normal: ResourceClass = setting(ResourceClass(), "Of jobs that name no class.")
    heavy: ResourceClass = setting(
        ResourceClass(
            cpu_weight=20,
            io_weight=10,
            memory_max_mib=4096,
            tasks_max_count=4096,
            nice=10,
            io_idle=True,
        ),
        "Of jobs that need much and can wait.",
    )

    def items(self) -> Iterator[tuple[str, ResourceClass]]:
        """Yield each class with its name."""
        for item in settings_of(ResourceClasses):
            yield item.key, self[item.key]

    def __getitem__(self, name: str) -> ResourceClass:
        """Return the class of that name."""
        found: ResourceClass = getattr(self, name)
        return found


@dataclass(frozen=True)
class Replacement:
    """Lines of a user's crontab that a declared job takes the place of."""

    user: str = setting(REQUIRED, "Owner of the crontab.")
    matches: str = setting(
        REQUIRED,
        "Text of the line's one command, at least four characters; a line that does more stays.",
        form=(r"\s*\S.{2,}\S\s*", "be at least four characters of the old line"),
    )
    job: str | None = setting(
        None, "The successor; the declared job whose program the line calls when left out."
    )
    park: str | None = setting(
        None,
        "The script that the line ran; moved into `parked/` beside it once nothing runs it any"
        " more.",
        kind="path",
    )


@dataclass(frozen=True)
class Jobs:
    """The scheduled jobs, and what those of a class share."""

    renamed: ClassVar[Mapping[str, str]] = {"declared": "jobs"}

    jobs: tuple[Job, ...] = setting(
        (),
        "The complete list of jobs; what has the prefix `factory-job-` and is not listed here is"
        " removed.",
        named="name",
        by="role",
    )
    resource_classes: ResourceClasses = setting(
        ResourceClasses(), "Weights and caps of each resource class."
    )
    replaces: tuple[Replacement, ...] = setting(
        (), "Lines of users' crontabs that declared jobs take the place of."
    )

    @property
    def declared(self) -> tuple[Job, ...]:
        """The jobs that are there, paused ones included."""
        return tuple(job for job in self.jobs if job.state != "absent")

    def get(self, name: str) -> Job | None:
        """Return the declared job ``name``."""
        return next((job for job in self.declared if job.name == name), None)
