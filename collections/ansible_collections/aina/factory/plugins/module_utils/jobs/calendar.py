"""Convert schedules between cron's five fields and systemd's OnCalendar.

The two languages differ where it hurts: cron runs when the day of the month *or* the
day of the week matches, systemd only when both do. Each conversion is exact or refused;
the tests compare the times with those of a cron and of systemd itself. At a change of the
clock they part: cron makes up for what fell into the missing hour, and runs what has no fixed
time in both of the two equal ones.
"""

from __future__ import annotations

import datetime
import re
from dataclasses import dataclass
from itertools import pairwise

from ..base.errors import FactoryError
from . import clock_changes
from .clock_changes import ClockChange

WEEKDAYS = ("Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat")
_WEEKDAY_NUMBER = {
    name: number
    for number, day in enumerate(
        ("sunday", "monday", "tuesday", "wednesday", "thursday", "friday", "saturday")
    )
    for name in (day, day[:3])
}
MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
CRON_MACROS = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
}
CALENDAR_MACROS = {
    "minutely": "*-*-* *:*:00",
    "hourly": "*-*-* *:00:00",
    "daily": "*-*-* 00:00:00",
    "weekly": "Mon *-*-* 00:00:00",
    "monthly": "*-*-01 00:00:00",
    "quarterly": "*-01,04,07,10-01 00:00:00",
    "semiannually": "*-01,07-01 00:00:00",
    "yearly": "*-01-01 00:00:00",
    "annually": "*-01-01 00:00:00",
}


AT_BOOT = "@reboot"


class ScheduleError(FactoryError, ValueError):
    """A schedule that cannot be read or not be expressed; says why."""


@dataclass(frozen=True)
class _Field:
    name: str
    low: int
    high: int

    @property
    def every(self) -> frozenset[int]:
        return frozenset(range(self.low, self.high + 1))


MINUTE = _Field("minute", 0, 59)
HOUR = _Field("hour", 0, 23)
DAY = _Field("day of month", 1, 31)
MONTH = _Field("month", 1, 12)
WEEKDAY = _Field("day of week", 0, 6)


@dataclass(frozen=True)
class _CronFields:
    """What the five fields of a schedule mean to cron."""

    minutes: frozenset[int]
    hours: frozenset[int]
    days: frozenset[int]
    months: frozenset[int]
    weekdays: frozenset[int]
    # A field that starts with "*" is no restriction to cron, even as "*/2".
    both_days: bool
    fixed: bool

    @property
    def is_of_every_hour(self) -> bool:
        return (self.hours, self.days, self.months, self.weekdays) == (
            *(field.every for field in (HOUR, DAY, MONTH, WEEKDAY)),
        )

    def runs_on(self, day: datetime.date) -> bool:
        by_day, by_weekday = day.day in self.days, day.isoweekday() % 7 in self.weekdays
        comes = by_day and by_weekday if self.both_days else by_day or by_weekday
        return comes and day.month in self.months

    def first_within(self, change: ClockChange) -> datetime.datetime | None:
        """Return the first time within a change of the clock at which it would run."""
        moment = change.begin
        while moment < change.end:
            if moment.hour not in self.hours or not self.runs_on(moment.date()):
                moment = moment.replace(minute=0) + datetime.timedelta(hours=1)
            elif moment.minute not in self.minutes:
                moment += datetime.timedelta(minutes=1)
            else:
                return moment
        return None


def is_cron(schedule: str) -> bool:
    """Whether ``schedule`` is written in cron's language: five fields or an @ macro."""
    return schedule.startswith("@") or len(schedule.split()) == 5


def is_at_boot(schedule: str) -> bool:
    """Whether it means each start of the host, and no time."""
    return schedule.strip() == AT_BOOT


def to_calendar(schedule: str) -> tuple[str, ...]:
    """Return OnCalendar expressions for a schedule in either language; none for the boot.

    Days of month and of week that are both restricted become two expressions, since
    cron means "either". Steps that systemd would misread are given their end.

    Raises:
        ScheduleError: a cron schedule that cannot be read.

    """
    schedule = " ".join(schedule.split())
    if is_at_boot(schedule):
        return ()
    if not is_cron(schedule):
        return (" ".join(_closed(word) for word in schedule.split()),)
    fields = _cron_fields(schedule)
    time = f"{_calendar_values(fields.hours, HOUR)}:{_calendar_values(fields.minutes, MINUTE)}:00"
    month = _calendar_values(fields.months, MONTH)
    by_day = f"*-{month}-{_calendar_values(fields.days, DAY)} {time}"
    names = ",".join(
        WEEKDAYS[day] for day in sorted(fields.weekdays, key=lambda day: (day - 1) % 7)
    )
    if not fields.both_days and WEEKDAY.every == fields.weekdays:
        return (f"*-{month}-* {time}",)  # "either" of them, and one is every day
    if fields.weekdays == WEEKDAY.every:
        return (by_day,)
    if fields.both_days:
        return (f"{names} {by_day}",)
    return (by_day, f"{names} *-{month}-* {time}")


def in_zone(schedule: str, zone: str) -> tuple[str, ...]:
    """Return OnCalendar expressions, each with its time zone.

    What runs in every hour of every day is told in UTC, where no hour is missing or comes twice.

    Raises:
        ScheduleError: a cron schedule that cannot be read, or that systemd would run at other
            times than cron when the clock changes.

    """
    schedule = " ".join(schedule.split())
    if is_cron(schedule) and not is_at_boot(schedule):
        fields = _cron_fields(schedule)
        if fields.is_of_every_hour:
            shifted = {
                frozenset(
                    (minute - offset // datetime.timedelta(minutes=1)) % 60
                    for minute in fields.minutes
                )
                for offset in clock_changes.offsets(zone)
            }
            if len(shifted) == 1:
                return (f"*-*-* *:{_calendar_values(shifted.pop(), MINUTE)}:00 UTC",)
        _refuse_parting(fields, schedule, zone, "cron's five fields", "systemd's language")
    return tuple(f"{text} {zone}" for text in to_calendar(schedule))


def _refuse_parting(fields: _CronFields, schedule: str, zone: str, from_: str, other: str) -> None:
    for change in clock_changes.changes(zone):
        if change.twice and fields.fixed:
            continue  # both run it once
        moment = fields.first_within(change)
        if moment is not None:
            what = "comes twice" if change.twice else "does not come"
            raise ScheduleError(
                f"{schedule!r} means {moment:%H:%M}, which {what} in {zone} on {moment:%Y-%m-%d}: "
                f"cron and systemd then run at different times, so {from_} cannot be told to the "
                f"other; write it in {other}, choose another hour, or UTC as the time zone"
            )


def _cron_fields(schedule: str) -> _CronFields:
    fields = CRON_MACROS.get(schedule, schedule).split()
    if len(fields) != 5:
        raise ScheduleError(f"{schedule!r} is not one of {', '.join((*CRON_MACROS, AT_BOOT))}")
    return _CronFields(
        _cron_field(fields[0], MINUTE),
        _cron_field(fields[1], HOUR),
        _cron_field(fields[2], DAY),
        _cron_field(fields[3], MONTH, MONTHS),
        _cron_weekdays(fields[4]),
        both_days=fields[2].startswith("*") or fields[4].startswith("*"),
        fixed=not (fields[0].startswith("*") or fields[1].startswith("*")),
    )


def to_cron(schedule: str, zone: str = "UTC") -> str:
    """Return cron's five fields, or its word for the boot, for a schedule in either language.

    Raises:
        ScheduleError: cron cannot express it, or would run it at other times than systemd when
            the clock of its time zone changes.

    """
    schedule = " ".join(schedule.split())
    if is_cron(schedule):
        to_calendar(schedule)
        return CRON_MACROS.get(schedule, schedule)
    weekdays, date, time = _calendar_parts(CALENDAR_MACROS.get(schedule.lower(), schedule))
    year, month, day = date
    if year != "*":
        raise ScheduleError(f"cron knows no years; {schedule!r} names {year}")
    if _calendar_field(time[2], MINUTE) != {0}:
        raise ScheduleError(f"cron knows no seconds; {schedule!r} must run at second 00")
    days = _calendar_field(day, DAY)
    if days != DAY.every and weekdays != WEEKDAY.every:
        raise ScheduleError(
            f"cron cannot demand a day of the month and a day of the week at once, as {schedule!r} "
            "does"
        )
    found = " ".join(
        (
            _cron_values(_calendar_field(time[1], MINUTE), MINUTE),
            _cron_values(_calendar_field(time[0], HOUR), HOUR),
            _cron_values(days, DAY),
            _cron_values(_calendar_field(month, MONTH), MONTH),
            _cron_values(weekdays, WEEKDAY),
        )
    )
    _refuse_parting(_cron_fields(found), schedule, zone, "systemd's language", "cron's five fields")
    return found


def interval_seconds(schedule: str) -> int | None:
    """Return the shortest time between two runs, at most a day; ``None`` when it cannot be told.

    A schedule of a kind that only systemd knows is left to systemd, and so unknown here.
    """
    day = 24 * 60 * 60
    shortest = day
    if is_at_boot(schedule):
        return None
    try:
        for expression in to_calendar(schedule):
            known = CALENDAR_MACROS.get(expression.lower(), expression)
            _weekdays, _date, time = _calendar_parts(known)
            hours = _calendar_field(time[0], HOUR)
            minutes, seconds = (_calendar_field(text, MINUTE) for text in time[1:])
            if len(seconds) > 1:
                # Gaps within a minute are the same in each one.
                hours, minutes, day = frozenset({0}), frozenset({0}), 60
            times = sorted(3600 * h + 60 * m + s for h in hours for m in minutes for s in seconds)
            gaps = [later - earlier for earlier, later in pairwise(times)]
            shortest = min(shortest, day - times[-1] + times[0], *gaps)
    except ScheduleError:
        return None
    return shortest


def _cron_field(text: str, field: _Field, names: tuple[str, ...] = ()) -> frozenset[int]:
    values: set[int] = set()
    for item in text.split(","):
        match = re.fullmatch(r"(\*|\w+)(?:-(\w+))?(?:/(\d+))?", item)
        if match is None:
            raise ScheduleError(f"{item!r} is no cron {field.name}")
        first, last, step = match.groups()
        if first == "*" and last is None:
            low, high = field.low, field.high
        else:
            low = _cron_number(first, field, names)
            high = low if last is None else _cron_number(last, field, names)
            if step is not None and last is None:
                raise ScheduleError(f"{item!r}: cron allows a step only after * or a range")
        values |= _progression(low, high, step, item, field)
    return frozenset(values)


def _cron_weekdays(text: str) -> frozenset[int]:
    both_sundays = _Field(WEEKDAY.name, 0, 7)
    names = tuple(day.lower() for day in WEEKDAYS)
    if text == "*":
        return WEEKDAY.every
    return frozenset(
        value % 7
        for item in text.split(",")
        for value in _cron_field(item, WEEKDAY if item.startswith("*") else both_sundays, names)
    )


def _cron_number(text: str, field: _Field, names: tuple[str, ...]) -> int:
    if text.lower() in names:
        return names.index(text.lower()) + (1 if field.low == 1 else 0)
    if not text.isdigit() or not field.low <= int(text) <= field.high:
        raise ScheduleError(
            f"{text!r} is no cron {field.name}; it must lie between {field.low} and {field.high}"
        )
    return int(text)


def _progression(low: int, high: int, step: str | None, item: str, field: _Field) -> set[int]:
    if low > high or step == "0" or (step is not None and int(step) == 0):
        raise ScheduleError(f"{item!r} is no {field.name}: the range or its step is empty")
    return set(range(low, high + 1, int(step or 1)))


def _calendar_values(values: frozenset[int], field: _Field) -> str:
    """Return ``*``, a range or a list, and never a step.

    systemd steps over the end of the larger unit: ``00/5`` hours miss 00:00 on the first of a
    month, ``00/7`` minutes miss midnight, and a change of the clock can leave no next run at all.
    """
    if values == field.every:
        return "*"
    ordered = sorted(values)
    if len(ordered) > 2 and ordered == list(range(ordered[0], ordered[-1] + 1)):
        return f"{ordered[0]:02d}..{ordered[-1]:02d}"
    return ",".join(f"{value:02d}" for value in ordered)


def _closed(word: str) -> str:
    """Return a word of an OnCalendar expression without steps over the end of the larger unit."""
    is_time = ":" in word
    separator = ":" if is_time else "-"
    parts = word.split(separator)
    fields = (HOUR, MINUTE, MINUTE) if is_time else (None, MONTH, DAY)[-len(parts) :]
    if len(parts) not in (2, 3) or word[0].isalpha():
        return word  # a day of the week, a zone, or what systemd itself refuses

    def closed(item: str, field: _Field | None) -> str:
        match = re.fullmatch(r"(\d{1,2})/(\d{1,2})", item)
        if match is None or field is None or int(match[2]) == 0:
            return item
        low, step = int(match[1]), int(match[2])
        if low > field.high or (field is not DAY and (field.high + 1 - low) % step == 0):
            return item
        return f"{low:02d}..{field.high}/{step}"

    return separator.join(
        ",".join(closed(item, field) for item in part.split(","))
        for part, field in zip(parts, fields, strict=False)
    )


def _cron_values(values: frozenset[int], field: _Field) -> str:
    if values == field.every:
        return "*"
    ordered = sorted(values)
    if len(ordered) > 2:
        step = ordered[1] - ordered[0]
        if ordered == list(range(field.low, field.high + 1, step)):
            return f"*/{step}"
        if ordered == list(range(ordered[0], ordered[-1] + 1)):
            return f"{ordered[0]}-{ordered[-1]}"
    return ",".join(str(value) for value in ordered)


def _calendar_parts(
    schedule: str,
) -> tuple[frozenset[int], tuple[str, str, str], tuple[str, str, str]]:
    words = schedule.split()
    weekdays, date, time = WEEKDAY.every, ("*", "*", "*"), ("00", "00", "00")
    if words and words[0][0].isalpha():
        weekdays = _calendar_weekdays(words.pop(0).rstrip(","))
    if words and ":" not in words[0]:
        parts = words.pop(0).split("-")
        if len(parts) not in (2, 3):
            raise ScheduleError(f"{schedule!r} has a date that cron cannot express")
        date = ("*", parts[0], parts[1]) if len(parts) == 2 else (parts[0], parts[1], parts[2])
    if words:
        parts = words.pop(0).split(":")
        if len(parts) not in (2, 3):
            raise ScheduleError(f"{schedule!r} has a time that cron cannot express")
        time = (parts[0], parts[1], parts[2] if len(parts) == 3 else "00")
    if words:
        raise ScheduleError(f"{schedule!r}: {words[0]!r} is more than cron can express")
    return weekdays, date, time


def _calendar_weekdays(text: str) -> frozenset[int]:
    days: set[int] = set()
    for item in text.lower().split(","):
        # systemd takes the range of cron as well.
        ends = [_WEEKDAY_NUMBER.get(end) for end in re.split(r"\.\.|-", item)]
        first, last = ends[0], ends[-1]
        if len(ends) > 2 or first is None or last is None:
            raise ScheduleError(f"{item!r} is no day of the week")
        # systemd's week starts on Monday; Mon..Sun is the whole of it.
        days |= {(first + offset) % 7 for offset in range((last - first) % 7 + 1)}
    return frozenset(days)


def _calendar_field(text: str, field: _Field) -> frozenset[int]:
    values: set[int] = set()
    for item in text.split(","):
        match = re.fullmatch(r"(\*|\d+)(?:\.\.(\d+))?(?:/(\d+))?", item)
        if match is None or (match[1] == "*" and match[2] is not None):
            raise ScheduleError(f"{item!r} is a {field.name} that cron cannot express")
        low = field.low if match[1] == "*" else int(match[1])
        stepped = match[1] == "*" or match[3] is not None
        high = int(match[2]) if match[2] is not None else (field.high if stepped else low)
        if low < field.low or high > field.high:
            raise ScheduleError(
                f"{item!r} is no {field.name}; it must lie between {field.low} and {field.high}"
            )
        values |= _progression(low, high, match[3], item, field)
    return frozenset(values)
