from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from factory.core.base.configuration import Section
from factory.core.base.ports import Completed
from factory.core.jobs import model, render, validate


def jobs() -> model.Jobs:
    job = {"name": "tick", "schedule": "*:0/5", "command": ["/srv/tick"]}
    return model.from_section(Section({"declared": [job]}, "jobs"))


def answering(stderr: str, returncode: int = 1, stdout: str = "") -> Any:
    def run(argv: Sequence[str], *, environment: Mapping[str, str], **_: Any) -> Completed:
        where = environment.get("SYSTEMD_UNIT_PATH", "").rstrip(":")
        return Completed(returncode, stdout.encode(), stderr.replace("@", where).encode())

    return run


def line_of(directive: str) -> int:
    lines = render.units(jobs())["factory-job-tick.service"].splitlines()
    return next(number for number, line in enumerate(lines, 1) if line.startswith(directive))


def test_a_complaint_names_the_job_and_the_field() -> None:
    words = f"@/factory-job-tick.service:{line_of('User=')}: Invalid user, ignoring: x"

    with pytest.raises(validate.ValidationError, match=r"jobs\.tick\.user: Invalid user"):
        validate.units(render.units(jobs()), answering(words))


def test_a_missing_program_is_a_warning_but_our_own_comes_later() -> None:
    words = (
        "factory-job-tick.service: Command /srv/tick is not executable: No such file or directory\n"
        "factory-job-tick.service: Command /usr/local/lib/aina-factory-jobs/record is not "
        "executable: No such file or directory\n"
    )

    (warning,) = validate.units(render.units(jobs()), answering(words))

    assert warning.startswith("jobs.tick.command: Command /srv/tick is not executable")


def test_a_refusal_without_words_is_still_a_refusal() -> None:
    with pytest.raises(validate.ValidationError, match="exit status 1"):
        validate.units(render.units(jobs()), answering(""))


def test_a_schedule_that_never_comes_is_refused() -> None:
    with pytest.raises(validate.ValidationError, match=r"jobs\.tick\.schedule .* never comes"):
        validate.schedules(jobs(), answering("", 0, "    Next elapse: never\n"))


def test_a_judge_that_cannot_run_is_no_approval() -> None:
    def missing(*_: Any, **__: Any) -> Completed:
        raise FileNotFoundError("systemd-analyze")

    with pytest.raises(validate.ValidationError, match="did not run"):
        validate.schedules(jobs(), missing)
