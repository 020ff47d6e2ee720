from __future__ import annotations

import pytest

from factory.core.jobs import drain


@pytest.mark.parametrize(
    ("state", "works"),
    [
        ("idle", True),
        ("stopped", False),
        ("backoff", False),
        ("busy", True),
        ("starting", True),
        ("unknown", True),
        ("something new", True),
    ],
)
def test_a_runner_that_has_a_job_or_may_get_one_works(state: str, works: bool) -> None:
    assert bool([*drain.working_runners({"one": {"state": state}})]) is works


def test_a_part_that_says_nothing_readable_counts_as_working() -> None:
    assert [*drain.working_runners({"one": None})] == ["runner one is unknown"]
    assert [*drain.working_lanes({"seven": None}, [])] == ["lane seven works"]


def test_a_lane_works_by_its_state_or_by_its_container() -> None:
    documents = {"one": {"state": "running"}, "two": {"state": "done"}}

    assert [*drain.working_lanes(documents, ["three"])] == ["lane one works", "lane three works"]


def test_the_watchdog_goes_on_and_every_other_job_is_waited_for() -> None:
    units = [
        ("factory-job-watchdog.service", "activating"),
        ("factory-job-janitor.service", "activating"),
        ("factory-job-backup.service", "inactive"),
        ("factory-job-marshal.service", "failed"),
    ]

    assert [*drain.working_jobs(units, drain.KEPT_JOBS)] == ["job janitor runs"]
