from __future__ import annotations

from typing import Any

import pytest

from factory.core.base.configuration import Section
from factory.core.jobs import foreign, model, observe, report

TIMER, SERVICE = "factory-job-tick.timer", "factory-job-tick.service"
NOW = 1_800_000_000.0


def jobs(**changes: Any) -> model.Jobs:
    job = {"name": "tick", "schedule": "*:0/5", "command": ["/srv/ops/tick.sh"], **changes}
    return model.from_section(Section({"declared": [job]}, "jobs"))


def systemd(timer: str = "active", enabled: str = "enabled", since: float = NOW - 10) -> Any:
    return observe.parse_units(
        f"Id={TIMER}\nLoadState=loaded\nActiveState={timer}\nUnitFileState={enabled}\n"
        f"ActiveEnterTimestamp=@{since:.0f}\nNextElapseUSecRealtime=Mon 2027-01-18 08:00:00 UTC\n\n"
        f"Id={SERVICE}\nLoadState=loaded\nActiveState=inactive\nUnitFileState=static\n"
    )


def named(name: str, load_state: str) -> Any:
    return observe.parse_units(
        f"Id={name}\nLoadState={load_state}\nActiveState=inactive\nUnitFileState={load_state}\n"
    )


def actual(**changes: Any) -> report.Actual:
    values = {"units": systemd(), "runtime_pauses": {}, "last_runs": {}, "last_successes": {}}
    return report.Actual(**{**values, **changes})


def only(document: dict[str, Any]) -> dict[str, Any]:
    (job,) = document["jobs"]
    return dict(job)


def test_a_settled_job_has_no_drift() -> None:
    document = report.report(jobs(), actual(), NOW)

    assert document["drift"] == []
    assert only(document)["drift"] == []
    assert only(document)["next_elapse_at"] == "2027-01-18T08:00:00Z"


def test_what_cannot_be_asked_stays_unknown() -> None:
    document = report.report(jobs(expect_every_seconds=60), actual(units=None), NOW)

    job = only(document)
    assert (document["drift"], job["drift"], job["missed"], job["running"]) == (None,) * 4
    assert "actual state unknown" in report.table(document)


DRIFT = [
    (systemd("inactive", "disabled"), ["timer_not_active", "timer_not_enabled"]),
    (observe.parse_units(""), ["timer_missing", "service_missing"]),
    ({**systemd(), **named(SERVICE, "masked")}, ["service_masked"]),
    ({**systemd(), **named(SERVICE, "bad-setting")}, ["service_bad_setting"]),
    (
        {**systemd(), **named(TIMER, "masked")},
        ["timer_masked", "timer_not_active", "timer_not_enabled"],
    ),
]


@pytest.mark.parametrize(("units", "codes"), DRIFT)
def test_a_timer_that_is_not_as_declared_is_drift(units: Any, codes: list[str]) -> None:
    assert only(report.report(jobs(), actual(units=units), NOW))["drift"] == codes


def test_a_paused_job_whose_timer_runs_is_drift() -> None:
    pause = {"reason": "x", "by": "y", "since": "2026-01-01", "review_after": "2026-02-01"}

    job = only(report.report(jobs(state="paused", paused=pause), actual(), NOW))

    assert job["drift"] == ["timer_active_though_paused", "timer_enabled_though_paused"]
    assert job["review_due"] is True


def test_an_undeclared_unit_of_the_prefix_is_drift() -> None:
    units = {
        **systemd(),
        **observe.parse_units("Id=factory-job-old.timer\nLoadState=loaded\nActiveState=active\n"),
    }

    assert report.report(jobs(), actual(units=units), NOW)["drift"] == [
        {"unit": "factory-job-old.timer", "reason": "undeclared"}
    ]


MISSED = [
    ({"ended_at_seconds": NOW_SECONDS}, expected)
    for NOW_SECONDS, expected in ((int(NOW) - 50, False), (int(NOW) - 70, True))
]


@pytest.mark.parametrize(("success", "expected"), MISSED)
def test_a_job_without_a_timely_success_is_missed(success: Any, expected: bool) -> None:
    host = actual(last_successes={"tick": success})

    assert only(report.report(jobs(expect_every_seconds=60), host, NOW))["missed"] is expected


def test_a_job_that_never_succeeded_is_missed_once_it_had_its_chance() -> None:
    old = actual(units=systemd(since=NOW - 61))

    assert only(report.report(jobs(expect_every_seconds=60), actual(), NOW))["missed"] is False
    assert only(report.report(jobs(expect_every_seconds=60), old, NOW))["missed"] is True


LINES = [
    ("*/5 * * * * bash /srv/ops/tick.sh >/dev/null 2>&1", True),
    ("*/5 * * * * /home/ali/tick.py", True),
    ("*/5 * * * * /srv/ops/ticket.sh", False),
    ("# */5 * * * * /srv/ops/tick.sh", False),
    ("0 0 * * * tick", False),
]


@pytest.mark.parametrize(("line", "found"), LINES)
def test_a_live_crontab_line_that_runs_a_job_is_found(line: str, found: bool) -> None:
    assert bool(foreign.crontab_duplicates(jobs(), {"/etc/crontab": line})) is found


def test_a_shared_program_is_no_sign_of_a_job() -> None:
    declared = jobs(command=["/usr/local/bin/factory", "tick"])

    assert (
        foreign.crontab_duplicates(declared, {"t": "* * * * * /usr/local/bin/factory reap"}) == []
    )
