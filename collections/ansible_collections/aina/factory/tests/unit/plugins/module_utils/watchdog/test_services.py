"""Units that do not keep running: which are asked about, what is said of them, what is counted."""

from __future__ import annotations

from typing import Any

import pytest

from factory.core.jobs import observe
from factory.core.watchdog import services
from factory.core.watchdog.services import Service

NOW = 1_800_000_000.0
RUN = 900.0

LISTING = """\
cron.service loaded inactive dead Runs jobs
docker.service loaded active running Engine
factory-job-tick.service masked inactive dead factory-job-tick.service
factory-lane-gateway.service masked inactive dead factory-lane-gateway.service
factory-lane-reaper.timer loaded inactive dead Reaper
logrotate.timer loaded active waiting Rotate
loop.service loaded activating auto-restart Loop
plymouth.service not-found inactive dead plymouth.service
rescue.service loaded inactive dead Rescue
"""


def test_only_units_of_which_there_may_be_something_to_say_are_asked_about() -> None:
    enabled = {"cron.service", "docker.service", "factory-lane-reaper.timer", "logrotate.timer"}

    assert services.candidates(LISTING, enabled, ["dokcer.service"]) == [
        "cron.service",
        "docker.service",
        "dokcer.service",
        "factory-lane-gateway.service",
        "factory-lane-reaper.timer",
        "loop.service",
    ]


STOPPED = {
    "Id": "a.service",
    "Names": "a.service b.service",
    "LoadState": "loaded",
    "ActiveState": "inactive",
    "UnitFileState": "enabled",
    "Type": "simple",
    "Restart": "on-failure",
    "NRestarts": "0",
    "Result": "success",
    "ConditionResult": "yes",
    "TriggeredBy": "",
    "InactiveEnterTimestamp": f"@{NOW:.0f}",
    "InactiveExitTimestamp": f"@{NOW - 50:.0f}",
}


def shown(*declared: str, **changes: str) -> tuple[Service, ...]:
    text = "\n".join(f"{key}={value}" for key, value in {**STOPPED, **changes}.items())
    return services.parse(f"{text}\n", declared, observe.timestamp)


def test_a_service_that_somebody_stopped_though_it_is_enabled_is_told() -> None:
    (service,) = shown()

    assert (service.name, service.stopped_at, service.is_broken) == ("a.service", NOW, False)
    assert shown(Id="a.timer", Restart="no", Type="")[0].stopped_at == NOW


QUIET: list[dict[str, str]] = [
    {"ActiveState": "active"},
    {"UnitFileState": "disabled"},
    {"UnitFileState": "static"},
    {"Type": "oneshot"},
    {"Type": "dbus"},
    {"Restart": "no"},
    {"TriggeredBy": "a.socket"},
    {"ConditionResult": "no"},
    {"InactiveEnterTimestamp": ""},
    # It has failed: that is told elsewhere.
    {"ActiveState": "failed", "Result": "exit-code"},
    {"LoadState": "masked"},
    {"Id": "factory-lane-gateway.service", "LoadState": "not-found", "UnitFileState": ""},
]


@pytest.mark.parametrize("changes", QUIET, ids=str)
def test_what_rests_as_it_is_meant_to_is_not_told(changes: dict[str, str]) -> None:
    assert shown(**changes) == ()


@pytest.mark.parametrize("state", ["masked", "not-found", "bad-setting", "error"])
def test_a_declared_unit_that_cannot_be_started_is_told(state: str) -> None:
    (service,) = shown("b.service", LoadState=state, UnitFileState=state)

    assert (service.is_broken, service.is_declared, service.load_state) == (True, True, state)


def test_a_masked_unit_of_the_factory_is_told() -> None:
    (service,) = shown(Id="factory-lane-gateway.service", LoadState="masked")

    assert (service.is_broken, service.is_declared) == (True, False)


def counted(counts: list[int], known: Any = None, every: float = RUN) -> list[int]:
    """Return the restarts of the last hour that each of several looks tells."""
    told = []
    for turn, count in enumerate(counts):
        now = NOW + turn * every
        service = Service("a", restarts=count, started_at=now - 5)
        (found,), known = services.count([service], known, now - every, now)
        told.append(found.recent_restarts)
    return told


def test_restarts_are_those_of_the_last_hour_whatever_came_before() -> None:
    assert counted([1, 4, 4, 4, 4, 4, 5], known={}) == [1, 4, 4, 4, 3, 0, 1]
    assert counted([7, 9, 2, 3], known={}) == [7, 9, 2, 3], "it was started anew"
    assert counted([7, 8, 9], known={}, every=1) == [7, 8, 9], "looks close together"


def test_where_nobody_has_counted_yet_old_restarts_are_none() -> None:
    old = Service("a", restarts=12, started_at=NOW - 90 * 86400)

    (first,), known = services.count([old], None, None, NOW)
    (second,), _known = services.count(
        [Service("a", restarts=16, started_at=NOW)], known, NOW, NOW + RUN
    )

    assert (first.recent_restarts, second.recent_restarts) == (0, 4)
    assert counted([5]) == [5], "it was started within the hour"
