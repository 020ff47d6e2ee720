"""A job that runs unattended as somebody who is as good as root is named."""

from __future__ import annotations

from factory.core.base.configuration import Section
from factory.core.base.settings import read
from factory.core.jobs.converge import root_warnings
from factory.core.jobs.settings import Jobs

WHY = {"ali": ["group docker"], "root": [], "factory-report": []}


def warnings(**changed: object) -> list[str]:
    job = {
        "name": "report",
        "schedule": "daily",
        "command": ["/bin/true"],
        "user": "ali",
        **changed,
    }
    return root_warnings(read(Jobs, Section({"jobs": [job]}, "jobs")), WHY)


def test_a_person_who_commands_the_engine_is_named_with_the_way_out() -> None:
    (words,) = warnings()

    assert "the job report runs unattended as ali, who is as good as root (group docker)" in words
    assert "user: factory-report" in words


def test_what_is_meant_so_or_has_an_account_of_its_own_is_not() -> None:
    assert warnings(root_equivalent=True) == []
    assert warnings(user="factory-report") == []
    assert warnings(state="absent") == []
