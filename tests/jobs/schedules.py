"""Schedules, and when cron runs them: what another program says of it, written down once.

``cron_times.json`` holds what cronsim 2.8 said, which keeps Debian's rules of cron: of each schedule the first
times, as one short digest. After a change here: ``pip install cronsim==2.8`` somewhere, and
``PYTHONPATH=tests:collections/ansible_collections/aina/factory/host python -m jobs.schedules``.
"""

from __future__ import annotations

import datetime
import hashlib
import importlib
import json
import random
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

RECORD = Path(__file__).with_name("cron_times.json")
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
# On these versions of systemd every point was tried with the conversions of this digest, and none was wrong.
PROVEN_ON = ("252.38", "257.13")
PROVEN = "ec6bbd6c92f652fb"
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


def points() -> list[Point]:
    lines = _grid() + [_random_line(number) for number in range(RANDOM_COUNT)]
    draw = random.Random(0)  # noqa: S311 - no secret
    return [(line, draw.choice(ZONES), draw.choice(STARTS)) for line in lines]


def digest(times: Iterable[datetime.datetime]) -> str:
    """Return a short sign of the first times, which are in UTC."""
    first = [at for at in times if at < HORIZON][:RUNS_COUNT]
    text = "".join(f"{at:%Y-%m-%dT%H:%M:%S} " for at in first)
    return f"{len(first)} {hashlib.sha256(text.encode()).hexdigest()[:12]}"


def key(line: str, zone: str, start: datetime.datetime) -> str:
    return f"{line}|{zone}|{start:%Y-%m-%d}"


def recorded() -> dict[str, str]:
    """Return the digest of cron's times by :func:`key`."""
    found: dict[str, str] = json.loads(RECORD.read_text(encoding="utf-8"))
    return found


def edges() -> list[Point]:
    """Return where months begin and clocks change."""
    lines = ("0 */5 * * *", "*/7 * * * *", "15 * * * *", "*/20 1-3 * * *", "5 4 */13 * *")
    places = [("UTC", start) for start in STARTS[:3]]
    places += [("Europe/Berlin", start) for start in STARTS[3:5]]
    places += [("America/Santiago", start) for start in STARTS[5:]]
    return [(line, *place) for line in lines for place in places]


# What systemd calls it, and what it is to cron.
BACK = {
    "*:0/7": "*/7 * * * *",
    "0/5:00": "0 */5 * * *",
    "2/4:30": "30 2,6,10,14,18,22 * * *",
    "*-*-1/7 03:05": "5 3 */7 * *",
    "*-2/4 03:05": "5 3 2,6,10,14,18,22,26,30 * *",
    "*-1/5-01 03:05": "5 3 1 */5 *",
    "Mon..Fri 08:05": "5 8 * * 1-5",
    "Sat,Sun *-*-* 04:00": "0 4 * * 0,6",
    "weekly": "0 0 * * 1",
    "monthly": "0 0 1 * *",
    "quarterly": "0 0 1 */3 *",
    "yearly": "0 0 1 1 *",
    "hourly": "0 * * * *",
    "daily": "0 0 * * *",
    "*-*-31 23:59": "59 23 31 * *",
    "*-02-29 04:00": "0 4 29 2 *",
    "22..23:10,20": "10,20 22,23 * * *",
}


def _times_of_cron(line: str, zone: str, start: datetime.datetime) -> list[datetime.datetime]:
    cronsim: Any = importlib.import_module("cronsim")

    found: list[datetime.datetime] = []
    try:
        moments = cronsim.CronSim(line, start.astimezone(ZoneInfo(zone)))
    except cronsim.CronSimError:  # a day that never comes, such as 31 February
        return []
    for moment in moments:
        found.append(moment.astimezone(datetime.UTC))
        if len(found) == RUNS_COUNT or found[-1] >= HORIZON:
            break
    return found


def main() -> int:
    """Write the record anew."""
    wanted = [
        *points(),
        *edges(),
        *((line, "UTC", start) for line in BACK.values() for start in STARTS[1:3]),
    ]
    record = {key(*point): digest(_times_of_cron(*point)) for point in wanted}
    lines = ",\n".join(f"{json.dumps(name)}: {json.dumps(record[name])}" for name in sorted(record))
    RECORD.write_text(f"{{\n{lines}\n}}\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
