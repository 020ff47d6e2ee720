from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from factory.core.jobs import calendar

TO_CALENDAR = [
    ("*/15 * * * *", ("*-*-* *:00,15,30,45:00",)),
    ("15 */6 * * *", ("*-*-* 00,06,12,18:15:00",)),
    ("0 4 * * *", ("*-*-* 04:00:00",)),
    ("5,35 8-18 * * 1-5", ("Mon,Tue,Wed,Thu,Fri *-*-* 08..18:05,35:00",)),
    ("0 0 1 * *", ("*-*-01 00:00:00",)),
    ("0 0 * * 7", ("Sun *-*-* 00:00:00",)),
    ("0 0 * * sun", ("Sun *-*-* 00:00:00",)),
    ("0 0 1 jan *", ("*-01-01 00:00:00",)),
    # Either day: cron's meaning needs two expressions.
    ("0 0 13 * 5", ("*-*-13 00:00:00", "Fri *-*-* 00:00:00")),
    ("0 5 1 * 0-6", ("*-*-* 05:00:00",)),
    # A star with a step is no restriction to cron, so both must hold.
    ("0 0 */10 * 5", ("Fri *-*-01,11,21,31 00:00:00",)),
    ("@daily", ("*-*-* 00:00:00",)),
    ("@weekly", ("Sun *-*-* 00:00:00",)),
    ("@reboot", ()),
    ("*:0/15", ("*:0/15",)),
    ("Mon..Fri *-*-* 10:00", ("Mon..Fri *-*-* 10:00",)),
    # systemd's own steps get their end where it would step over it.
    ("*-*-* 0/5:00", ("*-*-* 00..23/5:00",)),
    ("Mon *:3,0/7:0/2 Europe/Berlin", ("Mon *:3,00..59/7:0/2 Europe/Berlin",)),
    ("*-01/7 1..9/3:00", ("*-01..31/7 1..9/3:00",)),
    ("2027..2029-1/5-1 0/2:15", ("2027..2029-01..12/5-1 0/2:15",)),
    ("weekly", ("weekly",)),
    ("*-*~03 00:00", ("*-*~03 00:00",)),
]


@pytest.mark.parametrize(("schedule", "expected"), TO_CALENDAR)
def test_a_schedule_becomes_calendar_expressions(schedule: str, expected: tuple[str, ...]) -> None:
    assert calendar.to_calendar(schedule) == expected


TO_CRON = [
    ("*:0/15", "*/15 * * * *"),
    ("0/2:15", "15 */2 * * *"),
    ("*-*-* 04:00", "0 4 * * *"),
    ("Mon..Fri *-*-* 08:05:00", "5 8 * * 1-5"),
    ("Fri..Mon 08:05", "5 8 * * 0,1,5,6"),
    ("Mon-Fri 08:05", "5 8 * * 1-5"),
    ("Monday..wed,Sat 08:05", "5 8 * * 1,2,3,6"),
    ("*-*-01 00:00:00", "0 0 1 * *"),
    ("12-24", "0 0 24 12 *"),
    ("weekly", "0 0 * * 1"),
    ("quarterly", "0 0 1 */3 *"),
    ("*/7 * * * *", "*/7 * * * *"),
    ("@hourly", "0 * * * *"),
    ("@reboot", "@reboot"),
]


@pytest.mark.parametrize(("schedule", "expected"), TO_CRON)
def test_a_schedule_becomes_a_cron_schedule(schedule: str, expected: str) -> None:
    assert calendar.to_cron(schedule) == expected


REFUSED_BY_CRON = [
    ("*-*-* 04:00:30", "seconds"),
    ("2030-01-01", "years"),
    ("Fri *-*-13 00:00", "at once"),
    ("*-*~03 00:00", "cannot express"),
    ("*-*-* 25:00", "between 0 and 23"),
    ("Mon..Frido 10:00", "no day of the week"),
]


@pytest.mark.parametrize(("schedule", "words"), REFUSED_BY_CRON)
def test_what_cron_cannot_express_is_refused(schedule: str, words: str) -> None:
    with pytest.raises(calendar.ScheduleError, match=words):
        calendar.to_cron(schedule)


NO_CRON = [
    "60 * * * *",
    "* 24 * * *",
    "* * 0 * *",
    "5/2 * * * *",
    "9-5 * * * *",
    "*/0 * * * *",
    "@rebooted",
    "* * * * 8",
]


@pytest.mark.parametrize("schedule", NO_CRON)
def test_an_impossible_cron_schedule_is_refused(schedule: str) -> None:
    with pytest.raises(calendar.ScheduleError):
        calendar.to_calendar(schedule)


def _values(low: int, high: int) -> st.SearchStrategy[str]:
    some = st.sets(st.integers(low, high), min_size=1, max_size=6)
    return st.one_of(
        st.just("*"),
        some.map(lambda values: ",".join(str(value) for value in sorted(values))),
        st.integers(1, high).map(lambda step: f"*/{step}"),
    )


@settings(max_examples=200)
@given(_values(0, 59), _values(0, 23), _values(1, 31), _values(1, 12))
def test_there_and_back_means_the_same(minute: str, hour: str, day: str, month: str) -> None:
    (expression,) = calendar.to_calendar(f"{minute} {hour} {day} {month} *")

    back = calendar.to_cron(expression)

    assert calendar.to_calendar(back) == (expression,)


@pytest.mark.parametrize(
    ("schedule", "seconds"),
    [
        ("*:0/15", 900),
        ("*/10 * * * *", 600),
        ("*:*:0/2", 2),
        ("*-*-* 04:00", 86400),
        ("*-*-* 00/2:15", 7200),
        ("0 3 1 1 *", 86400),
        ("10,50 0,23 * * *", 1200),
        ("0,5 8,20 * * 1-5", 300),
        ("hourly", 3600),
        ("2027-*-* 4..6:00:00", 3600),
        ("Mon *-*-* 04:00 Europe/Berlin", None),
        ("@reboot", None),
    ],
)
def test_the_shortest_time_between_two_runs(schedule: str, seconds: int | None) -> None:
    assert calendar.interval_seconds(schedule) == seconds
