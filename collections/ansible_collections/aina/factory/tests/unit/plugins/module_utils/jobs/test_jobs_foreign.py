from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ansible_collections.aina.factory.plugins.module_utils.configuration import Section
from ansible_collections.aina.factory.plugins.module_utils.jobs import foreign, model


def jobs(*declared: dict[str, Any]) -> model.Jobs:
    return model.from_section(Section({"declared": list(declared)}, "jobs"))


JANITOR = {"name": "janitor", "schedule": "daily", "command": ["/usr/local/bin/factory", "janitor"]}


@pytest.fixture
def script(tmp_path: Path) -> Path:
    path = tmp_path / "janitor.sh"
    path.write_text("true\n")
    return path


def parked(
    script: Path, declared: model.Jobs, settled: bool, crontab: str
) -> list[tuple[str, str]]:
    entry = foreign.Replacement("ali", str(script), "janitor", str(script))
    ready = declared.declared if settled else ()
    return foreign.parked([entry], ready, declared, {"/var/spool/cron/crontabs/ali": crontab})


def test_a_script_that_nothing_runs_any_more_is_parked_beside_where_it_was(script: Path) -> None:
    target = script.parent / "parked" / script.name

    assert parked(script, jobs(JANITOR), True, "") == [(str(script), str(target))]


@pytest.mark.parametrize("case", ["successor not settled", "crontab", "job", "gone", "undeclared"])
def test_a_script_that_something_may_still_run_stays(script: Path, case: str) -> None:
    declared = jobs(JANITOR) if case != "undeclared" else jobs()
    crontab = f"0 4 * * * {script}\n" if case == "crontab" else ""
    if case == "job":
        declared = jobs(
            JANITOR, {**JANITOR, "name": "other", "command": ["/bin/bash", str(script)]}
        )
    if case == "gone":
        script.unlink()

    assert parked(script, declared, case != "successor not settled", crontab) == []
