"""When a disk will be full: steady growth early enough, and nothing else."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest

from factory.core.base.configuration import Section
from factory.core.watchdog import alerts, checks, policy, selftest, trend
from factory.core.watchdog.checks import disk_trend
from factory.core.watchdog.facts import Known
from factory.core.watchdog.trend import DiskSample

POLICY = policy.from_section(Section({}, "watchdog"))
START = 1_800_000_000.0
HOUR, DAY, RUN = 3600.0, 86400.0, 900.0
TOTAL = 232 << 30


def simulate(used_percent: Callable[[float], float], hours: float) -> list[float]:
    """Return the hours at which "full in" was raised, on a disk that is sampled each run."""
    samples: list[DiskSample] = []
    tracks: dict[str, alerts.Track] = {}
    raised = []
    for run in range(int(hours * HOUR / RUN)):
        now = START + run * RUN
        used = round(TOTAL * min(100.0, used_percent(run * RUN / HOUR)) / 100)
        samples = [*samples[-2000:], DiskSample(now, used, TOTAL - used, 0)]
        given = selftest.alone(now, disk_trend.SOURCE, Known({"/": tuple(samples)}))
        found = [item for item in checks.run(given, POLICY.limits) if item.check == "disk_trend"]
        step = alerts.step(tracks, found, POLICY, (), now)
        tracks = dict(step.tracks)
        raised += [run * RUN / HOUR for edge in step.edges if edge.change == "raised"]
    return raised


# (percent an hour, from where, after how many quiet hours)
STEADY = [(0.3, 60, 24), (0.5, 45, 48), (1.0, 45, 24), (1.0, 20, 0), (1.5, 20, 0), (1.5, 5, 48)]


@pytest.mark.parametrize(("percent_per_hour", "begin", "quiet"), STEADY)
@pytest.mark.parametrize("noise", [0.5, pytest.param(0.0, marks=pytest.mark.deep)])
def test_a_disk_that_fills_steadily_is_told_at_least_a_day_before(
    percent_per_hour: float, begin: float, quiet: float, noise: float
) -> None:
    dice = random.Random(1)  # noqa: S311 - the same noise in each run is what is wanted
    full = quiet + (100 - begin) / percent_per_hour

    def used(hour: float) -> float:
        grown = max(0.0, hour - quiet) * percent_per_hour
        return begin + grown + dice.uniform(-noise, noise)

    raised = simulate(used, full)

    assert raised, "never told"
    assert full - raised[0] >= 24
    # Nor so early that nobody believes it.
    assert full - raised[0] <= 60


def nightly(hour: float) -> float:
    return 25.0 if 1 <= hour % 24 < 5 else 0.0


QUIET: list[tuple[str, Callable[[float], float]]] = [
    ("nothing happens", lambda hour: 82.0),
    ("a burst each night", lambda hour: 60 + nightly(hour)),
    ("a burst each night on a slowly growing disk", lambda hour: 60 + 0.02 * hour + nightly(hour)),
    ("the first night with a burst", lambda hour: 60 + (nightly(hour) if hour > 48 else 0)),
    ("grows by day, is cleaned at night", lambda hour: 60 + hour % 24),
    ("one large pull", lambda hour: 55 if hour < 60 else 80),
    ("one large pull on the second day", lambda hour: 55 if hour < 30 else 80),
    ("cleaned once", lambda hour: 80 if hour < 40 else 55),
    ("fast growth far from full", lambda hour: 5 + hour / 3),
]


@pytest.mark.parametrize(("name", "used"), QUIET)
def test_bursts_sawtooths_and_jumps_are_no_growth(
    name: str, used: Callable[[float], float]
) -> None:
    assert simulate(used, 120) == [], name


def test_less_than_a_day_of_samples_says_nothing() -> None:
    samples = [DiskSample(START + i * RUN, i << 30, 100 << 30, 0) for i in range(60)]

    found = trend.of(samples, START + 60 * RUN)

    assert found.growth_bytes_per_hour is None


def test_growth_is_what_it_is() -> None:
    samples = [
        DiskSample(START + i * RUN, (100 << 30) + i * (1 << 28), 100 << 30, 0) for i in range(240)
    ]

    found = trend.of(samples, START + 240 * RUN)

    assert found.growth_bytes_per_hour == pytest.approx(1 << 30)
    assert found.hours_to_full == pytest.approx(100)
