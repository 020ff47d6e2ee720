from __future__ import annotations

from typing import Any

import pytest

from factory.core.base import settings
from factory.core.base.configuration import ConfigurationError, Section
from factory.core.jobs.settings import JobEntry, Jobs

JOB: dict[str, Any] = {"name": "tick", "schedule": "*:0/5", "command": ["/bin/true"]}
PAUSE = {"reason": "saving", "by": "ali", "since": "2026-06-30"}


def read(*jobs: dict[str, Any]) -> Jobs:
    return settings.read(Jobs, Section({"jobs": list(jobs)}, "jobs"))


def test_a_short_job_has_safe_defaults() -> None:
    (job,) = read(JOB).declared

    assert (job.timezone, job.user, job.catch_up, job.on_overlap) == ("UTC", "root", False, "skip")
    assert job.timeout_seconds == 3600
    assert job.on_failure == "alert"
    assert job.is_active


def test_an_absent_job_needs_no_more_than_its_name_and_is_not_declared() -> None:
    assert read({"name": "old", "state": "absent"}).declared == ()


def test_an_inventory_may_say_no_more_of_a_job_than_what_differs() -> None:
    entry = settings.read(JobEntry, Section({"name": "tick", "schedule": "daily"}, "jobs"))

    assert (entry.name, entry.schedule) == ("tick", "daily")
    with pytest.raises(
        ConfigurationError, match=r"jobs\.schedul is not known; did you mean schedule"
    ):
        settings.read(JobEntry, Section({"name": "tick", "schedul": "daily"}, "jobs"))


def test_what_a_job_requires_is_a_unit() -> None:
    (job,) = read({**JOB, "requires": ["network-online", "docker", "nginx.service"]}).declared

    assert job.required_units == ("network-online.target", "docker.service", "nginx.service")


def test_a_resource_class_keeps_what_is_left_out() -> None:
    section = Section({"resource_classes": {"heavy": {"memory_max_mib": 512}}}, "jobs")

    heavy = settings.read(Jobs, section).resource_classes["heavy"]

    default = Jobs().resource_classes["heavy"]
    assert (heavy.memory_max_mib, heavy.cpu_weight) == (512, default.cpu_weight)


def test_a_name_stands_only_once() -> None:
    with pytest.raises(ConfigurationError, match=r"name .tick. is declared twice"):
        read(JOB, JOB)


WRONG = [
    ({"name": "Tick"}, r"jobs\.jobs\[0\]\.name"),
    ({"name": "../x"}, r"jobs\.jobs\[0\]\.name"),
    ({"schedule": ""}, r"jobs\.tick\.schedule"),
    ({"schedule": "61 * * * *"}, r"jobs\.tick\.schedule.*minute"),
    ({"schedule": "daily\nExecStart=/bin/x"}, r"jobs\.tick\.schedule"),
    ({"schedule": "daily Europe/Berlin"}, r"jobs\.tick\.schedule.*timezone: Europe/Berlin"),
    ({"timezone": "U T C"}, r"jobs\.tick\.timezone"),
    ({"command": []}, r"jobs\.tick\.command"),
    ({"command": "true"}, r"jobs\.tick\.command"),
    ({"command": ["-true"]}, r"jobs\.tick\.command"),
    ({"command": ["+/bin/true"]}, r"jobs\.tick\.command"),
    ({"user": "a b"}, r"jobs\.tick\.user"),
    ({"timeout_seconds": 0}, r"jobs\.tick\.timeout_seconds"),
    ({"timeout_seconds": "5min"}, r"jobs\.tick\.timeout_seconds"),
    ({"jitter_seconds": -1}, r"jobs\.tick\.jitter_seconds"),
    ({"on_overlap": "both"}, r"jobs\.tick\.on_overlap"),
    ({"locks": ["../etc"]}, r"jobs\.tick\.locks"),
    ({"resource_class": "huge"}, r"jobs\.tick\.resource_class"),
    ({"on_failure": "mail"}, r"jobs\.tick\.on_failure"),
    ({"on_failure": ["mail"]}, r"jobs\.tick\.on_failure"),
    ({"requires": ["paper"]}, r"jobs\.tick\.requires"),
    ({"needs": ["!/etc/key"]}, r"jobs\.tick\.needs"),
    ({"needs": ["key"]}, r"jobs\.tick\.needs"),
    ({"environment": {"A B": "x"}}, r"jobs\.tick\.environment"),
    ({"credentials": ["a b"]}, r"jobs\.tick\.credentials"),
    ({"description": "two\nlines"}, r"jobs\.tick\.description"),
    ({"expect_every_seconds": 0}, r"jobs\.tick\.expect_every_seconds"),
    ({"state": "paused"}, r"jobs\.tick\.paused is None; it must say why"),
    ({"state": "paused", "paused": {"reason": "x", "by": "y"}}, r"jobs\.tick\.paused\.since"),
    ({"state": "paused", "paused": {**PAUSE, "since": "soon"}}, r"jobs\.tick\.paused\.since"),
    ({"paused": PAUSE}, r"jobs\.tick\.paused"),
    ({"shedule": "daily"}, r"jobs\.tick\.shedule is not known"),
]  # fmt: skip


@pytest.mark.parametrize(("change", "message"), WRONG)
def test_what_is_wrong_is_named_by_job_and_field(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        read({**JOB, **change})
