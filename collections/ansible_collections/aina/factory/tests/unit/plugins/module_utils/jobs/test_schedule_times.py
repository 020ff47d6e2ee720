"""Schedules become due at the same moments for cron and for systemd, or are refused.

The judges are others' programs: cronsim, which keeps Debian's rules of cron and whose answers
are written down, and the ``systemd-analyze`` of this machine (SYSTEMD_ANALYZE names another one).
"""

from __future__ import annotations

import datetime
import hashlib
import os
import re
import shutil
import subprocess
from collections import defaultdict
from collections.abc import Sequence
from zoneinfo import ZoneInfo

import pytest
import sampling
from jobs.schedules import (
    BACK,
    PROVEN,
    PROVEN_ON,
    RANDOM_COUNT,
    RUNS_COUNT,
    STARTS,
    Point,
    digest,
    edges,
    key,
    points,
    recorded,
)

from factory.core.jobs import calendar

PROGRAM = os.environ.get("SYSTEMD_ANALYZE", "systemd-analyze")


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


def differences(points: Sequence[Point]) -> tuple[list[str], int]:
    """Return where systemd and cron part, and how many schedules were refused."""
    together: dict[datetime.datetime, list[tuple[Point, tuple[str, ...]]]] = defaultdict(list)
    cron, refused = recorded(), 0
    for point in points:
        try:
            together[point[2]].append((point, calendar.in_zone(*point[:2])))
        except calendar.ScheduleError:
            refused += 1
    wrong = []
    for start, items in together.items():
        answers = times_of_systemd([text for _point, texts in items for text in texts], start)
        for point, texts in items:
            times = sorted({at for text in texts for at in answers[text]})
            if digest(times) != cron[key(*point)]:
                wrong.append(f"{key(*point)}: {texts}")
    return wrong, refused


needs_systemd = pytest.mark.skipif(
    shutil.which(PROGRAM) is None, reason="there is no systemd-analyze"
)


@needs_systemd
def test_systemd_runs_it_when_cron_would() -> None:
    named = "SYSTEMD_ANALYZE" in os.environ
    wrong, refused = differences(points() if named else sampling.draw("schedules", points()))

    assert wrong == []
    assert refused < RANDOM_COUNT / 4


@needs_systemd
def test_systemd_runs_it_where_months_begin_and_clocks_change() -> None:
    wrong, refused = differences(edges())

    assert wrong == []
    assert refused == 4


def test_every_conversion_is_one_that_was_proven_on_each_systemd() -> None:
    told = hashlib.sha256()
    for line, zone, start in (*points(), *edges()):
        try:
            texts = calendar.in_zone(line, zone)
        except calendar.ScheduleError:
            texts = ()
        told.update(f"{key(line, zone, start)}: {'; '.join(texts)}\n".encode())

    assert told.hexdigest()[:16] == PROVEN, (
        f"conversions differ from those that were proven on systemd {' and '.join(PROVEN_ON)}: run this file with"
        " the systemd-analyze of each in SYSTEMD_ANALYZE, and write the digest into tests/jobs/schedules.py"
    )


@pytest.mark.parametrize(
    ("line", "zone", "words"),
    [
        ("30 2 * * *", "Europe/Berlin", "02:30, which does not come"),
        ("5 1,2,3 * * 0", "Europe/Berlin", "02:05, which does not come"),
        ("0 */2 * * *", "Europe/Berlin", "02:00, which does not come"),
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


@needs_systemd
def test_cron_runs_it_when_systemd_would() -> None:
    cron = recorded()

    for start in STARTS[1:3]:
        expressions = {schedule: calendar.in_zone(schedule, "UTC") for schedule in BACK}
        answers = times_of_systemd([text for (text,) in expressions.values()], start)
        for schedule, (text,) in expressions.items():
            assert digest(answers[text]) == cron[key(BACK[schedule], "UTC", start)], schedule

    assert {schedule: calendar.to_cron(schedule) for schedule in BACK} == BACK


@pytest.mark.parametrize("schedule", ["*-*-* 02:30", "hourly", "*:0/5"])
def test_what_cron_would_run_at_other_times_is_refused(schedule: str) -> None:
    assert calendar.to_cron(schedule, "UTC")
    with pytest.raises(calendar.ScheduleError, match="Europe/Berlin"):
        calendar.to_cron(schedule, "Europe/Berlin")
