"""Jobs that wait for a file, such as a secret."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from factory.core.base import settings
from factory.core.base.configuration import Section
from factory.core.jobs import converge, render
from factory.core.jobs.settings import Jobs


def jobs(**changes: Any) -> Jobs:
    job = {"name": "tick", "schedule": "*:0/5", "command": ["/bin/true"], **changes}
    return settings.read(Jobs, Section({"jobs": [job]}, "jobs"))


def test_a_job_waits_for_the_files_that_it_needs(tmp_path: Path) -> None:
    there, missing = tmp_path / "there", tmp_path / "missing"
    there.touch()
    needs = [str(there), str(missing)]

    unit = render.units(jobs(needs=needs))["factory-job-tick.service"]

    assert [f"ConditionPathExists={path}" in unit.splitlines() for path in needs] == [True, True]
    assert converge.unfed(jobs(needs=needs)) == [("tick", str(missing))]
    rests = {"reason": "x", "by": "ali", "since": "2026-06-30"}
    assert converge.unfed(jobs(needs=needs, state="paused", paused=rests)) == []
