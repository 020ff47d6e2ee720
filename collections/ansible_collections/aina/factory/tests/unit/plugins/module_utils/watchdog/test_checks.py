"""Every check: bad, good, unknown, not there; and every threshold at its very edge."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, cast

import pytest

from factory.core.base.configuration import Section
from factory.core.watchdog import attribution, checks, paperclip, policy, selftest, workspaces
from factory.core.watchdog.check import Finding, Status
from factory.core.watchdog.checks import (
    clock,
    disk_owners,
    disks,
    drift,
    images,
    jobs,
    lanes,
    merge_queues,
    pressure,
    runners,
)
from factory.core.watchdog.checks import paperclip as board
from factory.core.watchdog.facts import Absent, Known, Unknown
from factory.core.watchdog.filesystems import DISKS
from factory.core.watchdog.limits import Limit
from factory.core.watchdog.sources import Host

NOW = 1_800_000_000.0
MINUTE, HOUR, DAY = 60.0, 3600.0, 86400.0
POLICY = policy.from_section(Section({}, "watchdog"))
LIMITS = {limit.name: limit for limit in checks.LIMITS}

# What the documents promise: (raise, clear, on which side the trouble lies).
PROMISED: Mapping[str, tuple[float, float, bool]] = {
    "disk_used_percent": (85, 80, True),
    "inodes_used_percent": (85, 80, True),
    "disk_full_within_hours": (48, 72, False),
    "unattributed_percent": (30, 20, True),
    "deleted_open_mib": (5120, 2048, True),
    "measure_age_hours": (6, 6, True),
    "state_age_minutes": (30, 30, True),
    "unit_restarts_count": (3, 1, True),
    "runner_down_minutes": (15, 15, True),
    "runner_queued_minutes": (30, 15, True),
    "runner_version_days": (20, 20, True),
    "runner_failures_count": (3, 1, True),
    "lane_silent_minutes": (30, 30, True),
    "lane_age_hours": (6, 6, True),
    "merge_report_minutes": (60, 60, True),
    "merge_waiting_hours": (24, 24, True),
    "main_red_minutes": (60, 60, True),
    "paperclip_success_hours": (6, 6, True),
    "paperclip_failed_percent": (50, 25, True),
    "paperclip_silent_minutes": (60, 60, True),
    "paperclip_agents_error_count": (1, 0, True),
    "image_age_days": (14, 14, True),
    "backup_age_hours": (50, 50, True),
    "certificate_days": (14, 21, False),
    "memory_available_percent": (5, 10, False),
    "memory_pressure_percent": (10, 5, True),
    "io_pressure_percent": (40, 20, True),
    "cpu_pressure_percent": (80, 60, True),
    "reboot_required_days": (7, 7, True),
    "clock_error_seconds": (1, 0.5, True),
    "drift_age_hours": (50, 50, True),
    "undelivered_minutes": (60, 30, True),
    "dead_man_silent_minutes": (60, 60, True),
    "run_gap_minutes": (45, 45, True),
    "proof_age_hours": (3, 3, True),
    "planned_work_hours": (12, 12, True),
    "zombies_count": (100, 50, True),
}


def _lane(age_hours: float, now: float) -> Any:
    lane = lanes.LaneState("l", "p", "1", "running", now - age_hours * HOUR, now, now)
    return {"l": Known(lane)}


# What somebody wrote down is too old where it is read: the limit, and the check that then lacks it.
LASTING: Mapping[str, str] = {
    "measure_age_hours": "disk_owners",
    "state_age_minutes": "runner",
    "merge_report_minutes": "merge_report",
    "drift_age_hours": "drift",
    "proof_age_hours": "container_start",
}


def lasting_problem(name: str, limits: Mapping[str, Limit]) -> str:
    """Say where what was written down does not last as long as is promised; "" when it does."""
    check = LASTING[name]
    unit = MINUTE if name.endswith("_minutes") else HOUR
    value = checks.BY_NAME[check].selftest.fact(LIMITS, NOW, bad=False)
    whole = Section({}, "configuration")
    policy_ = replace(POLICY, limits=cast("policy.Limits", limits))
    host = Host(policy_, whole, NOW, *[cast("Any", None)] * 5)

    def at(age: float) -> Status:
        (limit,) = (item for item in checks.BY_NAME[check].limits if item.name == name)
        fact = host.written(value, NOW - age * unit, "it", limit)
        given = selftest.alone(NOW, checks.BY_NAME[check].source, fact)
        return min(item.status for item in checks.run(given, limits) if item.check == check)

    lasts = PROMISED[name][0]
    if at(lasts) is not Status.UNKNOWN:
        return f"{name}: known though it is {lasts} old"
    return "" if at(lasts - 0.1) is Status.OK else f"{name}: not known though younger than {lasts}"


# Limits that are no check's main one: the check, the fact for a value, what lies beyond.
OTHERS: Mapping[str, tuple[str, Any, Status]] = {
    "runner_failures_count": (
        "runner",
        lambda value, now: runners.example(now, consecutive_failures=value),
        Status.PROBLEM,
    ),
    "lane_age_hours": ("lane_stuck", _lane, Status.PROBLEM),
    "io_pressure_percent": (
        "pressure",
        lambda value, _: pressure.Pressure(0, value, 0),
        Status.PROBLEM,
    ),
    "cpu_pressure_percent": (
        "pressure",
        lambda value, _: pressure.Pressure(0, 0, value),
        Status.PROBLEM,
    ),
}
MAIN = {
    check.selftest.limit.name: (check.name, check.selftest.make, Status.PROBLEM)
    for check in checks.CHECKS
    if check.selftest.limit is not None
}
EDGES = {**MAIN, **OTHERS}


def findings(check: str, value: Any, **changes: Any) -> list[Finding]:
    given = selftest.alone(NOW, checks.BY_NAME[check].source, value)
    return [
        item for item in checks.run(given, replace(POLICY, **changes).limits) if item.check == check
    ]


def worst(check: str, value: Any, **changes: Any) -> Finding:
    order = (Status.PROBLEM, Status.UNKNOWN, Status.OK, Status.ABSENT)
    found = findings(check, value, **changes)
    return min(found, key=lambda item: (order.index(item.status), not item.lingers))


def edge_problem(name: str, limits: Mapping[str, Limit]) -> str:
    """Say where a limit does not act exactly where it is promised to; "" when it does."""
    check, make, beyond = EDGES[name]
    raise_at, clear_at, high_is_bad = PROMISED[name]
    # Less than any check rounds away, more than any float loses.
    step = 1.0 if name.endswith("_count") else 0.2 if name == "disk_full_within_hours" else 0.11
    near = -step if high_is_bad else step

    def at(value: float) -> Finding:
        return worst(check, Known(make(value, NOW)), limits=limits)

    if at(raise_at).status is not beyond:
        return f"{name}: not raised at {raise_at}"
    if at(raise_at + near).status is beyond:
        return f"{name}: raised before {raise_at}"
    if beyond is not Status.PROBLEM:
        return ""
    if at(clear_at).lingers and clear_at != raise_at:
        return f"{name}: not cleared at {clear_at}"
    if clear_at != raise_at and not at(clear_at - near).lingers:
        return f"{name}: cleared before {clear_at}"
    return ""


def test_every_limit_is_promised_and_has_its_edges_tested() -> None:
    assert {n: (i.raise_at, i.clear_at, i.high_is_bad) for n, i in LIMITS.items()} == PROMISED
    assert {*EDGES, *LASTING} == LIMITS.keys()


@pytest.mark.parametrize("name", EDGES)
def test_a_limit_acts_exactly_where_it_is_promised_to(name: str) -> None:
    assert edge_problem(name, LIMITS) == ""


@pytest.mark.parametrize("name", LASTING)
def test_what_was_written_down_lasts_exactly_as_long_as_is_promised(name: str) -> None:
    assert lasting_problem(name, LIMITS) == ""
    for kind in ("raise_later", "raise_sooner"):
        assert lasting_problem(name, {**LIMITS, name: mutated(LIMITS[name], kind)}) != ""


# Limits between whose two thresholds a value can lie.
WITH_TWO = [
    name
    for name, (raise_at, clear_at, _unit) in PROMISED.items()
    if clear_at != raise_at and name in EDGES and name != "paperclip_agents_error_count"
]
MUTATIONS = [
    *((name, kind) for name in EDGES for kind in ("raise_later", "raise_sooner", "other_side")),
    *((name, kind) for name in WITH_TWO for kind in ("clear_sooner", "clear_later")),
]


def mutated(limit: Limit, kind: str) -> Limit:
    far = max(1.0, abs(limit.raise_at) * 0.1)
    outward = far if limit.high_is_bad else -far
    return {
        "raise_later": replace(limit, raise_at=limit.raise_at + outward),
        "raise_sooner": replace(limit, raise_at=limit.raise_at - outward),
        "other_side": replace(limit, high_is_bad=not limit.high_is_bad),
        "clear_sooner": replace(limit, clear_at=limit.clear_at + outward),
        "clear_later": replace(limit, clear_at=limit.clear_at - outward),
    }[kind]


@pytest.mark.deep
@pytest.mark.parametrize(("name", "kind"), MUTATIONS)
def test_a_mutation_of_a_limit_does_not_go_unseen(name: str, kind: str) -> None:
    limits = {**LIMITS, name: mutated(LIMITS[name], kind)}

    assert edge_problem(name, limits) != ""


@pytest.mark.parametrize("name", checks.BY_NAME)
def test_a_check_answers_bad_good_unknown_and_absent(name: str) -> None:
    case = checks.BY_NAME[name].selftest
    bad, good = (case.fact(POLICY.limits, NOW, bad=bad) for bad in (True, False))

    assert worst(name, Known(bad)).status is Status.PROBLEM
    assert worst(name, Known(good)).status in (Status.OK, Status.ABSENT)
    assert worst(name, Unknown("gone")).status is Status.UNKNOWN
    assert worst(name, Unknown("gone")).detail == "gone"
    assert worst(name, Absent("not declared")).status is Status.ABSENT


@pytest.mark.parametrize("name", checks.BY_NAME)
def test_a_check_that_crashes_is_unknown_and_stops_no_other(name: str) -> None:
    class Broken:
        def __getattr__(self, attribute: str) -> Any:
            raise RuntimeError("boom")

        def __iter__(self) -> Any:
            raise RuntimeError("boom")

    found = findings(name, Known(Broken()))

    assert [item.status for item in found] == [Status.UNKNOWN]
    everything = checks.run(
        selftest.alone(NOW, checks.BY_NAME[name].source, Known(Broken())), POLICY.limits
    )
    assert {item.check for item in everything} == set(checks.BY_NAME)


def test_the_self_test_passes_with_the_default_policy() -> None:
    assert [result for result in selftest.run(POLICY) if result.problem] == []


@pytest.fixture
def few_checks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave two checks: what finds a fault of one does not need all the others."""
    kept = tuple(check for check in checks.CHECKS if check.name in ("disk_space", "engine"))
    monkeypatch.setattr(checks, "CHECKS", kept)


@pytest.mark.usefixtures("few_checks")
def test_the_self_test_finds_a_limit_that_can_never_be_reached() -> None:
    # The alert of the seed: syntactically fine, and nothing could make it fire.
    never: Any = {**LIMITS, "disk_used_percent": replace(disks.SPACE, raise_at=101, maximum=200)}
    limits = replace(POLICY, limits=never)

    failed = {result.check: result.problem for result in selftest.run(limits) if result.problem}

    assert list(failed) == ["disk_space"]


def test_one_unreadable_runner_does_not_hide_the_others() -> None:
    known = runners.example(NOW, state="failed")
    found = findings("runner", Known({**known, "other": Unknown("no JSON")}))

    assert {item.subject: item.status for item in found} == {
        "r": Status.PROBLEM,
        "other": Status.UNKNOWN,
    }


def test_a_runner_that_is_online_but_whose_unit_is_dead_is_a_problem() -> None:
    assert worst("runner", Known(runners.example(NOW, unit_active=False))).status is Status.PROBLEM
    assert worst("runner", Known(runners.example(NOW, unit_active=True))).status is Status.OK
    assert worst("runner", Known(runners.example(NOW, state="unknown"))).status is Status.UNKNOWN


def test_a_disk_alert_names_who_grew_most() -> None:
    owners = attribution.Attribution(
        "/",
        NOW,
        100 << 30,
        (
            attribution.RootUsage("/srv/a", 60 << 30, 20 << 30),
            attribution.RootUsage("/srv/b", 1 << 30, -(1 << 30)),
        ),
        0,
        (),
        10 << 30,
        5 << 30,
        True,
    )
    full = selftest.alone(NOW, DISKS, Known(disks.example(90)))
    given = full.having(disk_owners.SOURCE, Known({"/": Known(owners)}))

    (found,) = [item for item in checks.run(given, POLICY.limits) if item.check == "disk_space"]

    assert "/srv/a +20.0 GiB, unattributed +5.0 GiB" in found.detail
    assert "/srv/b" not in found.detail


def test_a_paused_job_is_neither_missed_nor_overlapping() -> None:
    pause = {"since": "x", "by": "y", "reason": "z", "review_after": None}
    job = jobs.example(paused=pause, missed=True, running=True, running_since="2020-01-01")

    assert findings("job_missed", Known(job)) == []
    assert findings("job_overlapping", Known(job)) == []


def test_a_job_that_did_nothing_because_of_a_lock_overlaps() -> None:
    found = worst("job_overlapping", Known(jobs.example(last_run=jobs.ended("skipped", NOW))))

    assert found.status is Status.PROBLEM


def test_a_clock_that_went_back_is_a_problem() -> None:
    assert worst("clock", Known(clock.Clock(True, 0, NOW + 3600))).status is Status.PROBLEM
    assert worst("clock", Known(clock.Clock(False, 0))).status is Status.PROBLEM


def test_a_green_board_whose_agents_bring_nothing_about_is_a_problem() -> None:
    day = board.example(NOW, last_success_at=NOW - DAY)

    assert worst("paperclip", Known(day)).status is Status.OK
    assert worst("paperclip_progress", Known(day)).status is Status.PROBLEM


DASHBOARD = {
    "tasks": {"open": 66, "inProgress": 5, "blocked": 1, "done": 134},
    "agents": {"active": 4, "running": 2, "paused": 0, "error": 0},
}


def ended(status: str, count: int, **more: Any) -> list[dict[str, Any]]:
    return [{"status": status, "finishedAt": "2027-01-15T07:00:00Z", **more}] * count


def runs_of(runs: Any, dashboard: Any = None) -> tuple[Finding, Finding]:
    company = paperclip.company("c", dashboard or DASHBOARD, [], runs, [])
    told = replace(board.example(NOW), companies=Known((company,)))
    return worst("paperclip_runs", Known(told)), worst("paperclip_progress", Known(told))


def test_a_board_on_which_every_run_fails_is_a_problem_with_its_reason() -> None:
    runs, progress = runs_of(ended("failed", 200, errorCode="workspace\x1b[31m"))

    assert (runs.status, progress.status) == (Status.PROBLEM, Status.PROBLEM)
    assert runs.detail == "20 of the last 20 runs failed: workspace\\x1b[31m"
    assert runs_of(ended("timed_out", 3))[0].status is Status.PROBLEM
    # So few that even the newest days say more.
    today = {"date": "2027-01-15", "succeeded": 0, "failed": 2880, "other": 0, "total": 2880}
    assert runs_of([], {**DASHBOARD, "runActivity": [today]})[0].status is Status.PROBLEM


def test_runs_that_were_called_off_or_still_run_do_not_count_as_failed() -> None:
    runs = [*ended("cancelled", 20), *ended("succeeded", 3), {"status": "running"}]

    assert runs_of(runs)[0].detail == "0 of the last 3 runs failed"
    assert runs_of(ended("cancelled", 20))[0].status is Status.ABSENT


def test_without_companies_the_board_is_absent_but_never_ok() -> None:
    down = replace(board.example(NOW), healthy=False, companies=Absent("not asked"))

    assert worst("paperclip_progress", Known(down)).status is Status.ABSENT
    assert worst("paperclip_agents", Known(down)).status is Status.ABSENT


def test_pull_requests_that_wait_for_their_author_are_no_alert() -> None:
    def waits(owner: str) -> Status:
        return worst("merge_waiting", Known(merge_queues.waiting_for(owner, 9 * 24, NOW))).status

    assert waits("author") is waits("reviewer") is Status.OK
    assert waits("ci") is waits("marshal") is waits("admin") is Status.PROBLEM


def test_a_failed_look_for_drift_is_unknown() -> None:
    assert worst("drift", Known(drift.Drift(NOW, "unreachable", ()))).status is Status.UNKNOWN


def test_a_failed_smoke_test_is_a_problem_however_new_the_image() -> None:
    image = images.ImageState("ci", NOW, None, 1, "failed", "no node")

    assert worst("image", Known({"ci": Known(image)})).status is Status.PROBLEM


def test_workspaces_are_told_by_their_exact_reason() -> None:
    broken = (
        workspaces.Workspace("/w/1", "dangling_gitfile"),
        workspaces.Workspace("/w/2", "dangling_gitfile"),
        workspaces.Workspace("/w/3", "unborn_head"),
    )

    found = findings("workspace", Known(workspaces.Workspaces(9, broken)))

    assert {item.subject: item.value for item in found} == {"dangling_gitfile": 2, "unborn_head": 1}
