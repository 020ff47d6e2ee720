"""Which jobs move to the declared runner, and why the others stay."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from factory.core.base import settings
from factory.core.base.configuration import Section
from factory.core.base.github.job_needs import Offer
from factory.core.runners.offer import offer
from factory.core.runners.settings import RunnerOptions
from factory.core.workflows import judge, semantics
from factory.core.workflows.judge import WorkflowReport
from factory.core.workflows.settings import WorkflowPolicy
from workflows.judging import COMMIT, COMPOSE
from workflows.test_corpus import CORPUS

MATRIX = "    strategy: {matrix: %s}\n    runs-on: ${{ matrix.%s }}\n"


def judged(
    text: str, others: dict[str, str] | None = None, offered: Offer | None = None, **runs_on: Any
) -> WorkflowReport:
    policy = settings.read(WorkflowPolicy, Section({"runs_on": runs_on}, "policy"))
    together = semantics.neighbours({"ci.yml": text, **(others or {})}, COMPOSE)
    neighbours = together.without("ci.yml")
    return judge.judge("ci.yml", text, policy, COMPOSE, lambda *_: COMMIT, neighbours, offered)


def workflow(job: str, on: str = "push") -> str:
    return f"on: {on}\njobs:\n  a:\n{job}"


def hosted(rest: str = "", label: str = "ubuntu-latest") -> str:
    return f"    runs-on: {label}\n    steps:\n      - run: pnpm test\n{rest}"


def outcome(report: WorkflowReport) -> tuple[str, str]:
    (job,) = report.jobs
    return job.outcome, job.reason


@pytest.mark.parametrize(
    ("job", "reason"),
    [
        (hosted("    container: node:22\n"), "no container engine"),
        (hosted("    services: {db: {image: postgres}}\n"), "no container engine"),
        (hosted("      - uses: docker/build-push-action@v6\n"), "no container engine"),
        (hosted("      - run: docker compose up -d\n"), "no container engine"),
        (hosted("      - run: sudo apt-get install -y x\n"), "nobody is root"),
        (hosted("      - uses: ./tools/x\n"), "nobody knows what its action"),
        (hosted(label="ubuntu-22.04"), "image is Ubuntu 24.04"),
        (hosted("      - run: cmake .\n"), "runs cmake"),
        (hosted(label="ubuntu-24.04-arm"), "ubuntu-24.04-arm"),
        (hosted(label="macos-14"), "macos-14"),
        (hosted(label="ubuntu-20.04"), "ubuntu-20.04"),
        (hosted(label="Windows-Latest"), "Windows-Latest"),
    ],
)
def test_a_job_moves_only_to_a_runner_that_can_run_it(job: str, reason: str) -> None:
    report = judged(workflow(job), offered=offer(RunnerOptions()))

    kind, said = outcome(report)
    assert kind == "kept"
    assert reason in said
    assert any(reason in line for line in report.kept)
    assert "runs on" not in " ".join(report.edits)


@pytest.mark.parametrize(
    ("job", "options"),
    [
        (hosted(), {}),
        (hosted(label="Ubuntu-Latest"), {}),
        (hosted(label="[ubuntu-24.04]"), {}),
        (hosted("      - run: make check\n"), {"image": "own"}),
        (hosted("      - run: sudo make\n"), {"mode": "native", "hardening": "sudo"}),
        (hosted("    container: node:22\n"), {"docker_socket_reason": "a server of its own"}),
        (hosted(label="ubuntu-22.04"), {"image": "own"}),
    ],
)
def test_a_job_moves_where_the_runner_offers_what_it_needs(
    job: str, options: dict[str, Any]
) -> None:
    report = judged(
        workflow(job), offered=offer(settings.read(RunnerOptions, Section(options, "runner")))
    )

    assert outcome(report)[0] == "moved"
    assert "CI_RUNS_ON" in report.after


@pytest.mark.parametrize(
    "event", ["pull_request_target", "issue_comment", "workflow_run", "issues"]
)
def test_what_strangers_start_stays(event: str) -> None:
    called = workflow(hosted(), on="workflow_call")
    caller = f"on: [push, {event}]\njobs:\n  b:\n    uses: ./.github/workflows/ci.yml\n"
    between = "on: workflow_call\njobs:\n  b:\n    uses: ./.github/workflows/ci.yml\n"
    outer = caller.replace("ci.yml", "between.yml")

    for report in (
        judged(workflow(hosted(), on=f"[push, {event}]")),
        judged(called, {"caller.yml": caller}),
        judged(called, {"between.yml": between, "outer.yml": outer}),
        judged(called, {"odd.yml": caller + "\t"}),
    ):
        kind, said = outcome(report)
        assert kind == "kept"
        assert event in said
    # However many call each other, each is read once.
    calls = "".join(f"  j{n}:\n    uses: ./.github/workflows/w{n}.yml\n" for n in range(14))
    calls += "  ci:\n    uses: ./.github/workflows/ci.yml\n"
    web = {f"w{n}.yml": f"on: workflow_call\njobs:\n{calls}" for n in range(14)}
    assert outcome(judged(called, {**web, "caller.yml": caller}))[0] == "kept"
    own = judged(workflow(hosted(label="[self-hosted, vds]"), on=event))
    assert outcome(own)[0] == "problem"
    assert (
        outcome(judged(called, {"caller.yml": caller.replace(event, "pull_request")}))[0] == "moved"
    )


def test_an_exception_moves_a_job_and_says_why() -> None:
    anyway = [{"workflow": "ci.yml", "job": "a", "reason": "it only looks"}]

    report = judged(workflow(hosted("    container: x\n"), on="issue_comment"), move_anyway=anyway)

    assert outcome(report)[0] == "moved"
    assert "as was said: it only looks" in outcome(report)[1]
    assert "as was said: it only looks" in " ".join(report.edits)
    other = judged(workflow(hosted("    container: x\n")), move_anyway=[{**anyway[0], "job": "b"}])
    assert outcome(other)[0] == "kept"


@pytest.mark.parametrize(
    ("matrix", "path", "expected"),
    [
        ("{os: [ubuntu-latest, macos-14]}", "os", "matrix.os == 'ubuntu-latest' &&"),
        (
            "{include: [{os: ubuntu-latest}, {os: macos-14}]}",
            "os",
            "matrix.os == 'ubuntu-latest' &&",
        ),
        ("{x: [{os: ubuntu-latest, n: 1}]}", "x.os", "matrix.x.os == 'ubuntu-latest' &&"),
        ("{os: [ubuntu-latest, ubuntu-22.04]}", "os", "${{ matrix.os == 'ubuntu-latest' &&"),
        ("{os: [macos-14, windows-2022]}", "os", None),
        ("{os: '${{ fromJSON(needs.x.outputs.y) }}'}", "os", None),
        ("{os: [ubuntu-latest, '${{ inputs.os }}']}", "os", None),
        ("{x: [1]}", "os", None),
    ],
)
def test_a_matrix_moves_by_what_its_values_mean(
    matrix: str, path: str, expected: str | None
) -> None:
    report = judged(workflow(MATRIX % (matrix, path)), offered=offer(RunnerOptions()))

    runs_on = yaml.safe_load(report.after)["jobs"]["a"]["runs-on"]
    assert outcome(report)[0] == ("kept" if expected is None else "moved")
    assert (expected or f"${{{{ matrix.{path} }}}}") in runs_on


@pytest.mark.parametrize("name", CORPUS)
def test_each_job_has_one_outcome_with_a_reason(name: str) -> None:
    report = judged(CORPUS[name])

    jobs = yaml.safe_load(CORPUS[name])["jobs"]
    assert [job.job for job in report.jobs] == list(jobs)
    assert all(job.reason for job in report.jobs)
    assert {job.outcome for job in report.jobs} <= {"moved", "kept", "problem"}
