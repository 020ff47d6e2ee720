"""Workflows as people write them, before and after the policy."""

from __future__ import annotations

import difflib
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from factory.core.base.configuration import ConfigurationError, Section
from factory.core.workflows import judge
from factory.core.workflows.document import Document
from factory.core.workflows.judge import Report
from factory.core.workflows.policy import Policy, from_section
from factory.core.workflows.yaml_nodes import composer

CORPUS = {
    path.stem: path.read_bytes().decode() for path in sorted(Path(__file__).parent.glob("corpus/*"))
}
COMMIT = "0123456789abcdef0123456789abcdef01234567"
COMPOSE = composer(yaml)
VARIABLE = "${{ fromJSON(vars.CI_RUNS_ON || '\"ubuntu-latest\"') }}"
MINE = ["self-hosted", "vds", "linux"]
LABELS = {"strategy": "labels", "labels": MINE}


def policy(**values: Any) -> Policy:
    return from_section(Section(values, "policy"), "main")


def judged(name: str, **values: Any) -> Report:
    return judge.judge(f"{name}.yml", CORPUS[name], policy(**values), COMPOSE, lambda *_: COMMIT)


def data(report: Report) -> dict[str, Any]:
    """Return what an ordinary reader makes of the result."""
    document: dict[Any, Any] = yaml.safe_load(report.after)
    return {"on" if key is True else key: value for key, value in document.items()}


def removed_lines(report: Report) -> list[str]:
    before, after = report.before.splitlines(), report.after.splitlines()
    return [line[2:] for line in difflib.ndiff(before, after) if line.startswith("- ")]


@pytest.mark.parametrize("name", CORPUS)
@pytest.mark.parametrize("runs_on", [{}, LABELS], ids=["variable", "labels"])
def test_a_second_run_changes_nothing(name: str, runs_on: dict[str, Any]) -> None:
    values = {"runs_on": runs_on, "triggers": {"paths_ignore": ["**.md"]}}
    first = judged(name, **values)

    second = judge.judge(f"{name}.yml", first.after, policy(**values), COMPOSE, lambda *_: COMMIT)

    assert second.edits == []
    assert second.after == first.after


@pytest.mark.parametrize("name", CORPUS)
def test_only_intended_lines_change_and_comments_survive(name: str) -> None:
    report = judged(name)
    meant = re.compile(r"runs-on|uses:|timeout-minutes|^\"?on\"?:|push:|- ubuntu-latest|^\{")

    assert [line for line in removed_lines(report) if not meant.search(line)] == []
    comments = re.findall(r"#.*", report.before)
    assert [text for text in comments if text.rstrip("\r") not in report.after] == []
    # Line endings and the end of the file are as they were.
    assert ("\r\n" in report.before) == ("\r\n" in report.after)
    assert report.after.replace("\r\n", "").count("\n") == 0 or "\r\n" not in report.before


@pytest.mark.parametrize("name", CORPUS)
def test_the_names_of_checks_and_all_steps_stay(name: str) -> None:
    report = judged(name)
    before, after = yaml.safe_load(report.before)["jobs"], data(report)["jobs"]

    assert list(before) == list(after)
    for key, job in before.items():
        assert job.get("name") == after[key].get("name")
        assert job.get("strategy") == after[key].get("strategy")
        steps = [step.get("run") for step in job.get("steps", [])]
        assert steps == [step.get("run") for step in after[key].get("steps", [])]


def test_the_three_workflows_of_a_live_repository() -> None:
    ci, guard, watcher = map(judged, ("ci", "canon-guard", "pr-bot-review-watcher"))

    assert data(ci)["jobs"]["checks"]["runs-on"] == VARIABLE
    assert data(ci)["jobs"]["checks"].get("timeout-minutes") == 30
    assert data(ci)["on"]["push"] == {"branches": ["main"]}
    assert data(ci)["permissions"] == {"contents": "read"}
    assert data(ci)["concurrency"]["cancel-in-progress"] == "${{ github.ref != 'refs/heads/main' }}"
    assert f"uses: actions/checkout@{COMMIT} # v4\n" in ci.after
    assert f"uses: pnpm/action-setup@{COMMIT} # v4 # reads packageManager\n" in ci.after
    jobs = data(guard)["jobs"]
    assert [job["runs-on"] for job in jobs.values()] == [VARIABLE, VARIABLE]
    assert [job["timeout-minutes"] for job in jobs.values()] == [10, 120]
    assert "     # two spaces before, five after" in guard.after
    assert data(guard)["concurrency"]["group"] == "canon-${{ github.ref }}"
    assert data(watcher)["permissions"]["pull-requests"] == "write"
    assert data(watcher)["jobs"]["watch"]["runs-on"] == VARIABLE
    assert ci.problems + guard.problems + watcher.problems == []


def test_labels_are_written_where_that_is_the_strategy() -> None:
    jobs = data(judged("arrays", runs_on=LABELS))["jobs"]

    assert jobs["list"]["runs-on"] == jobs["block"]["runs-on"] == MINE
    assert jobs["mine"]["runs-on"] == MINE
    assert jobs["group"]["runs-on"]["group"] == "large"


def test_a_matrix_keeps_its_values_and_so_its_checks() -> None:
    jobs = data(judged("matrix"))["jobs"]

    assert jobs["test"]["runs-on"] == (
        "${{ (matrix.os == 'ubuntu-latest' || matrix.os == 'ubuntu-22.04') && "
        "fromJSON(vars.CI_RUNS_ON || '\"ubuntu-latest\"') || matrix.os }}"
    )
    assert jobs["plain"]["runs-on"] == VARIABLE
    assert jobs["windows"]["runs-on"] == "windows-latest"
    assert data(judged("matrix"))["on"] == {"push": {"branches": ["main"]}, "pull_request": None}


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("arrays", "takes any self-hosted runner"),
        ("arrays", "which no runner offers"),
        ("dangerous", "pull_request_target runs foreign code"),
        ("braces", "mapping in braces is not extended"),
    ],
)
def test_what_is_wrong_and_cannot_be_mended_here_is_reported(name: str, words: str) -> None:
    assert any(words in problem for problem in judged(name).problems)


@pytest.mark.parametrize(
    ("name", "words"),
    [("arrays", "names a runner group"), ("expressions", "job chosen computes its runner")],
)
def test_what_is_left_alone_says_why(name: str, words: str) -> None:
    report = judged(name)

    assert any(words in line for line in report.kept)
    assert "job variable" not in " ".join(report.kept + report.edits)


def test_a_job_may_stay_on_a_hosted_runner_with_a_reason() -> None:
    kept = [{"workflow": "canon-*.yml", "job": "report", "reason": "needs a clean machine"}]
    report = judged("canon-guard", runs_on={"keep_hosted": kept})

    jobs = data(report)["jobs"]
    assert jobs["report"]["runs-on"] == "ubuntu-latest"
    assert jobs["guard"]["runs-on"] == VARIABLE
    assert "needs a clean machine" in report.kept[0]


def test_a_required_check_never_gets_a_filter_that_keeps_it_pending() -> None:
    triggers = {"paths_ignore": ["**.md"]}

    free = judged("ci", triggers=triggers)
    required = judged("ci", triggers=triggers, required_checks=["local launch-path checks"])
    already = judged("canon-guard", required_checks=["guard"])

    assert data(free)["on"]["pull_request"]["paths-ignore"] == ["**.md"]
    assert "paths-ignore" not in data(required)["on"]["pull_request"]
    assert any("is a required check" in line for line in required.kept)
    assert any("pending for ever" in problem for problem in already.problems)


def test_an_anchor_is_changed_once_for_all_who_use_it() -> None:
    report = judged("anchors")
    jobs = data(report)["jobs"]

    assert [job["runs-on"] for job in jobs.values()] == [VARIABLE] * 3
    assert "runs-on: &runner ${{" in report.after
    assert "runs-on: *runner" in report.after
    assert jobs["second"]["steps"][0]["uses"] == f"actions/checkout@{COMMIT}"


def test_called_workflows_get_neither_runner_nor_limit() -> None:
    jobs = data(judged("reusable"))["jobs"]

    assert set(jobs["local"]) == {"uses", "with"}
    assert jobs["remote"]["uses"] == f"example/shared/.github/workflows/deploy.yml@{COMMIT}"
    uses = [step["uses"] for step in jobs["own"]["steps"]]
    assert uses == ["docker://alpine:3.20", "./tools/action", f"example/action/sub/path@{COMMIT}"]


def test_an_action_whose_commit_nobody_knows_is_a_problem_and_stays() -> None:
    report = judge.judge("ci.yml", CORPUS["ci"], policy(), COMPOSE, lambda *_: "")

    assert "actions/checkout@v4" in report.after
    assert sum("could not be learned" in problem for problem in report.problems) == 2
    pinned = judge.judge(
        "ci.yml", CORPUS["ci"], policy(pins={"actions/checkout@v4": COMMIT}), COMPOSE, lambda *_: ""
    )
    assert f"actions/checkout@{COMMIT} # v4" in pinned.after


@pytest.mark.parametrize(
    "text",
    [
        "jobs:\n  a: {runs-on: x}\n  a: {runs-on: y}\non: push\n",
        "on: push\n---\njobs: {}\n",
        "on: push\njobs: [\n",
        "- just\n- a list\n",
        "name: no jobs\non: push\n",
        "jobs:\n  a:\n    runs-on: ubuntu-latest\n",
        "",
    ],
)
def test_what_is_no_workflow_stays_as_it_is(text: str) -> None:
    report = judge.judge("x.yml", text, policy(), COMPOSE, lambda *_: COMMIT)

    assert report.after == text
    assert report.problems


def test_a_change_that_says_more_than_was_meant_is_refused() -> None:
    """One job's anchor is another's value: the proof, not the author of an edit, notices."""
    text = CORPUS["anchors"].replace("timeout-minutes: &limit 10", "timeout-minutes: &limit 400")
    text = text.replace("    env: &empty {}", "    env: {LIMIT: *limit}")

    report = judge.judge("x.yml", text, policy(), COMPOSE, lambda *_: COMMIT)

    assert report.after == text
    assert "does not say exactly what was meant" in report.problems[0]


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"runs_on": {"strategy": "labels"}}, "matches any runner"),
        ({"runs_on": {"variable": "CI RUNS"}}, "variable's name"),
        ({"runs_on": {"keep_hosted": [{"workflow": "x.yml"}]}}, "reason is missing"),
        ({"timeout_minutes": {"default": 30, "max": 20}}, "lie between"),
        ({"pins": {"actions/checkout@v4": "v4"}}, "commit of 40 digits"),
        ({"runs-on": {}}, "is not known"),
    ],
)
def test_a_wrong_policy_is_named(values: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigurationError, match=words):
        policy(**values)


def findings(directory: Path) -> dict[str, int]:
    """Return how often each of zizmor's audits finds something."""
    argv = [str(Path(sys.executable).with_name("zizmor")), "--offline", "--no-exit-codes"]
    argv += ["--format=json", "--persona=auditor", str(directory)]
    done = subprocess.run(argv, capture_output=True, text=True, check=True)
    counts: dict[str, int] = {}
    for finding in json.loads(done.stdout):
        counts[finding["ident"]] = counts.get(finding["ident"], 0) + 1
    return counts


def test_no_auditor_finds_more_than_before(tmp_path: Path) -> None:
    reports = {
        name: judged(name) for name in ("ci", "canon-guard", "pr-bot-review-watcher", "matrix")
    }
    for state in ("before", "after"):
        workflows = tmp_path / state / ".github/workflows"
        workflows.mkdir(parents=True)
        for name, report in reports.items():
            (workflows / f"{name}.yml").write_text(getattr(report, state))

    before, after = findings(tmp_path / "before"), findings(tmp_path / "after")

    worse = {name: count for name, count in after.items() if count > before.get(name, 0)}
    assert worse == {}
    assert sum(after.values()) < sum(before.values())


def test_the_linter_of_workflows_accepts_every_result(tmp_path: Path) -> None:
    for name in CORPUS:
        report = judged(name)
        (tmp_path / f"{name}.yml").write_bytes(report.after.encode())
    linter = str(Path(sys.executable).with_name("check-jsonschema"))

    done = subprocess.run(
        [linter, "--builtin-schema", "vendor.github-workflows", *map(str, tmp_path.iterdir())],
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stdout


def test_every_result_is_what_an_ordinary_reader_reads_too() -> None:
    """Two readers of YAML agree on what was written."""
    for name, text in CORPUS.items():
        document = Document(text, COMPOSE)
        jobs = document.get(document.root, "jobs")
        assert jobs is not None
        assert [key.value for key, _ in jobs.pairs] == list(yaml.safe_load(text)["jobs"]), name
