"""Schedules become due at the same moments for cron and for systemd, or are refused.

The judges are others' programs: cronsim, which keeps Debian's rules of cron, and the
``systemd-analyze`` of this machine (SYSTEMD_ANALYZE names another one).
"""

from __future__ import annotations

import datetime
import os
import random
import re
import shutil
import subprocess
from collections import defaultdict
from collections.abc import Sequence
from zoneinfo import ZoneInfo

import pytest
import sampling
from cronsim import CronSim, CronSimError

from factory.core.jobs import calendar

PROGRAM = os.environ.get("SYSTEMD_ANALYZE", "systemd-analyze")
RUNS_COUNT = 400
HORIZON = datetime.datetime(2045, 1, 1, tzinfo=datetime.UTC)
RANDOM_COUNT = 2000
# cronsim itself is wrong where the clock moves by half an hour, as on Lord Howe.
ZONES = ("UTC", "Europe/Berlin", "America/New_York", "America/Santiago", "Pacific/Chatham")
# Shortly before ends of months, of years, a leap day, and both changes of the clock.
STARTS = tuple(
    datetime.datetime.fromisoformat(text).replace(tzinfo=datetime.UTC)
    for text in (
        "2026-11-29 12:00:30",
        "2027-12-30 12:00:30",
        "2028-02-27 12:00:30",
        "2027-03-26 12:00:30",
        "2027-10-29 12:00:30",
        "2027-04-02 12:00:30",
        "2027-09-03 12:00:30",
    )
)
Point = tuple[str, str, datetime.datetime]


def _grid() -> list[str]:
    lines = [f"*/{step} * * * *" for step in range(2, 60)]
    lines += [f"0 */{step} * * *" for step in range(2, 24)]
    lines += [f"5 4 */{step} * *" for step in range(2, 31)]
    lines += [f"5 4 1 */{step} *" for step in range(2, 12)]
    lines += [
        "30 2-22/4 * * *",
        "3-59/11 1-23/3 * * *",
        "5 4 2-30/9 * *",
        "5 4 31 * *",
        "5 4 29 2 *",
    ]
    lines += ["0 5 13 * 5", "0 5 */10 * 5", "0 5 1 * 0-6", "0 5 1 * */2", "0 0 31 12 *"]
    return lines


def _random_line(number: int) -> str:
    draw = random.Random(number)  # noqa: S311 - no secret

    def field(low: int, high: int, star: float) -> str:
        if draw.random() < star:
            return "*"
        first, last = sorted(draw.sample(range(low, high + 1), 2))
        some = sorted(draw.sample(range(low, high + 1), min(draw.randint(2, 5), high - low + 1)))
        step = draw.randint(1, last - first)
        return draw.choice(
            (
                f"*/{draw.randint(2, high)}",
                str(first),
                ",".join(map(str, some)),
                f"{first}-{last}",
                f"{first}-{last}/{step}",
            )
        )

    spans = ((0, 59, 0.3), (0, 23, 0.3), (1, 31, 0.6), (1, 12, 0.7), (0, 6, 0.6))
    return " ".join(field(*span) for span in spans)


def _points() -> list[Point]:
    lines = _grid() + [_random_line(number) for number in range(RANDOM_COUNT)]
    draw = random.Random(0)  # noqa: S311 - no secret
    return [(line, draw.choice(ZONES), draw.choice(STARTS)) for line in lines]


def times_of_cron(line: str, zone: str, start: datetime.datetime) -> list[datetime.datetime]:
    found: list[datetime.datetime] = []
    try:
        moments = CronSim(line, start.astimezone(ZoneInfo(zone)))
    except CronSimError:  # a day that never comes, such as 31 February
        return []
    for moment in moments:
        found.append(moment.astimezone(datetime.UTC))
        if len(found) == RUNS_COUNT or found[-1] >= HORIZON:
            break
    return [moment for moment in found if moment < HORIZON]


def times_of_systemd(
    expressions: Sequence[str], start: datetime.datetime
) -> dict[str, list[datetime.datetime]]:
    """Return the next times of expressions, in UTC; each ends with its time zone."""
    by_zone: dict[str, list[str]] = defaultdict(list)
    for expression in dict.fromkeys(expressions):
        text, _space, zone = expression.rpartition(" ")
        by_zone[zone].append(text)
    found = {}
    for zone, texts in by_zone.items():
        base = start.astimezone(ZoneInfo(zone))
        # The zone as that of the program: with one in each expression it starts a process a time.
        answer = subprocess.run(
            [
                PROGRAM,
                "calendar",
                f"--base-time={base:%Y-%m-%d %H:%M:%S}",
                f"--iterations={RUNS_COUNT}",
                *texts,
            ],
            env={**os.environ, "TZ": zone, "LC_ALL": "C"},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        blocks = re.split(r"Next elapse: ", answer)[1:]
        label = r"\(in UTC\): " if zone != "UTC" else r"(?:\A|#\d+: )"
        for text, block in zip(texts, blocks, strict=True):
            found[f"{text} {zone}"] = [
                datetime.datetime.fromisoformat(moment).replace(tzinfo=datetime.UTC)
                for moment in re.findall(label + r"\w{3} ([\d-]+ [\d:]+)", block)
            ]
    return found


def differences(points: Sequence[Point]) -> tuple[dict[Point, str], int]:
    """Return where systemd and cron part, and how many schedules were refused."""
    together: dict[datetime.datetime, list[tuple[Point, tuple[str, ...]]]] = defaultdict(list)
    refused = 0
    for point in points:
        try:
            together[point[2]].append((point, calendar.in_zone(*point[:2])))
        except calendar.ScheduleError:
            refused += 1
    wrong = {}
    for start, items in together.items():
        answers = times_of_systemd([text for _point, texts in items for text in texts], start)
        for point, texts in items:
            ends = [HORIZON, *(a[-1] for t in texts if len(a := answers[t]) == RUNS_COUNT)]
            until = min(ends)
            systemd = sorted({at for text in texts for at in answers[text] if at <= until})
            cron = [at for at in times_of_cron(*point) if at <= until]
            count = min(RUNS_COUNT, max(len(systemd), len(cron)))
            if RUNS_COUNT in (len(systemd), len(cron)):
                count = min(len(systemd), len(cron))
            if systemd[:count] != cron[:count]:
                first = min(set(systemd[:count]) ^ set(cron[:count]))
                wrong[point] = f"{texts}: {first} is in one of them only"
    return wrong, refused


needs_systemd = pytest.mark.skipif(
    shutil.which(PROGRAM) is None, reason="there is no systemd-analyze"
)


@needs_systemd
def test_systemd_runs_it_when_cron_would() -> None:
    wrong, refused = differences(sampling.draw("schedules", _points()))

    assert wrong == {}
    assert refused < RANDOM_COUNT / 4


@needs_systemd
def test_systemd_runs_it_where_months_begin_and_clocks_change() -> None:
    lines = ("0 */5 * * *", "*/7 * * * *", "15 * * * *", "*/20 1-3 * * *", "5 4 */13 * *")
    places = [("UTC", start) for start in STARTS[:3]]
    places += [("Europe/Berlin", start) for start in STARTS[3:5]]
    places += [("America/Santiago", start) for start in STARTS[5:]]

    wrong, refused = differences([(line, *place) for line in lines for place in places])

    assert wrong == {}
    assert refused == 2


@pytest.mark.parametrize(
    ("line", "zone", "words"),
    [
        ("30 2 * * *", "Europe/Berlin", "02:30, which does not come"),
        ("5 1,2,3 * * 0", "Europe/Berlin", "02:05, which does not come"),
        ("0 */2 * * *", "Europe/Berlin", "02:00, which comes twice"),
        ("*/20 1 * * *", "America/New_York", "01:00, which comes twice"),
        ("0 0 * * *", "America/Santiago", "00:00, which does not come"),
    ],
)
def test_what_runs_differently_when_the_clock_changes_is_refused(
    line: str, zone: str, words: str
) -> None:
    with pytest.raises(calendar.ScheduleError, match=words):
        calendar.in_zone(line, zone)


@pytest.mark.parametrize(
    ("line", "zone", "expected"),
    [
        ("15 * * * *", "Europe/Berlin", "*-*-* *:15:00 UTC"),
        ("5 * * * *", "Asia/Kolkata", "*-*-* *:35:00 UTC"),
        ("*/15 * * * *", "Australia/Lord_Howe", "*-*-* *:00,15,30,45:00 UTC"),
        ("30 3 * * *", "Europe/Berlin", "*-*-* 03:30:00 Europe/Berlin"),
        ("*/5 * * * 1-5", "Europe/Berlin", "Mon,Tue,Wed,Thu,Fri *-*-* *:00,05,10,15,20,25,30,35,"
         "40,45,50,55:00 Europe/Berlin"),
        ("*-*-* 02:30", "Europe/Berlin", "*-*-* 02:30 Europe/Berlin"),
        ("30 2 * * *", "No/Where", "*-*-* 02:30:00 No/Where"),
    ],
)  # fmt: skip
def test_what_no_change_of_the_clock_touches_is_told(line: str, zone: str, expected: str) -> None:
    assert calendar.in_zone(line, zone) == (expected,)


BACK = (
    *("*:0/7", "0/5:00", "2/4:30", "*-*-1/7 03:05", "*-2/4 03:05", "*-1/5-01 03:05"),
    *("Mon..Fri 08:05", "Sat,Sun *-*-* 04:00", "weekly", "monthly", "quarterly", "yearly"),
    *("hourly", "daily", "*-*-31 23:59", "*-02-29 04:00", "22..23:10,20"),
)


@needs_systemd
def test_cron_runs_it_when_systemd_would() -> None:
    for start in STARTS[1:3]:
        expressions = {schedule: calendar.in_zone(schedule, "UTC") for schedule in BACK}
        answers = times_of_systemd([text for (text,) in expressions.values()], start)
        for schedule, (text,) in expressions.items():
            cron = times_of_cron(calendar.to_cron(schedule), "UTC", start)
            systemd = [moment for moment in answers[text] if moment < HORIZON]
            assert systemd[: len(cron)] == cron[: len(systemd)], schedule


@pytest.mark.parametrize("schedule", ["*-*-* 02:30", "hourly", "*:0/5"])
def test_what_cron_would_run_at_other_times_is_refused(schedule: str) -> None:
    assert calendar.to_cron(schedule, "UTC")
    with pytest.raises(calendar.ScheduleError, match="Europe/Berlin"):
        calendar.to_cron(schedule, "Europe/Berlin")
