"""What a person says stays as it is."""

from __future__ import annotations

import pytest
import yaml

from workflows.judging import CHECK, COMMIT, judged

TWO = (
    f"{CHECK}  other:\n    runs-on: ubuntu-latest\n    steps:\n      - uses: actions/checkout@v4\n"
)
WHOLE = {"workflow": "c?.yml", "reason": "it is generated"}


def test_a_workflow_that_is_excepted_stays_byte_for_byte() -> None:
    report = judged(TWO, exceptions=[WHOLE])

    assert (report.after, report.edits, report.problems) == (TWO, [], [])
    assert {(job.outcome, job.reason) for job in report.jobs} == {
        ("kept", "stays where it runs: it is generated")
    }
    assert sum("it is generated" in line for line in report.kept) >= 7
    assert judged(TWO, exceptions=[{**WHOLE, "workflow": "x.yml"}]).after != TWO


@pytest.mark.parametrize(
    "part", ["runs_on", "triggers", "concurrency", "timeout_minutes", "permissions", "pin_actions"]
)
def test_a_part_that_is_excepted_is_not_applied_and_the_others_are(part: str) -> None:
    texts = {
        "runs_on": "vars.CI_RUNS_ON",
        "triggers": "branches: [main]",
        "concurrency": "cancel-in-progress",
        "timeout_minutes": "timeout-minutes",
        "permissions": "contents: read",
        "pin_actions": COMMIT,
    }

    report = judged(TWO, exceptions=[{**WHOLE, "parts": [part]}])

    assert {name for name, text in texts.items() if text not in report.after} == {part}


def test_a_job_that_is_excepted_leaves_the_others_and_the_file_to_the_policy() -> None:
    # The last one would match the star that stands for the whole file.
    exceptions = [{**WHOLE, "job": "other"}, {**WHOLE, "job": "?"}]
    report = judged(TWO, exceptions=exceptions)

    document = yaml.safe_load(report.after)
    before = yaml.safe_load(TWO)
    assert document["jobs"]["other"] == before["jobs"]["other"]
    assert document["jobs"]["test"]["timeout-minutes"] == 30
    assert {"permissions", "concurrency"} <= document.keys()


@pytest.mark.parametrize(
    ("on", "forks", "is_said"),
    [
        ("[pull_request]", "anybody's pull request starts it", True),
        ("[push]", "anybody's pull request starts it", False),
        ("[pull_request]", "", False),
    ],
)
def test_a_job_that_forks_start_does_not_move_unsaid(on: str, forks: str, is_said: bool) -> None:
    report = judged(CHECK.replace("[push, pull_request]", on), forks=forks)

    (job,) = report.jobs
    assert job.outcome == "moved"
    assert (bool(forks) and forks in job.reason) is is_said


@pytest.mark.parametrize(
    ("job", "outcome"),
    [
        ("    steps: [{run: pnpm test}]\n", "kept"),
        ("    steps: [{run: docker build .}]\n", "problem"),
        ("    services: {db: {image: postgres}}\n    steps: [{run: pnpm test}]\n", "problem"),
    ],
)
@pytest.mark.parametrize(
    "expression", ["fromJSON(vars.CI_RUNS_ON)", "VARS . ci_runs_on && 'x' || 'y'"]
)
def test_a_job_that_reads_the_variable_is_judged_as_one_that_moves(
    job: str, outcome: str, expression: str
) -> None:
    text = f"on: push\njobs:\n  a:\n    runs-on: ${{{{ {expression} }}}}\n{job}"

    report = judged(text)

    assert [item.outcome for item in report.jobs] == [outcome]
    assert bool(report.unfit) is (outcome == "problem")
