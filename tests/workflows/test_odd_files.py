"""A workflow that cannot be judged is one line of the report, and never the end of the run."""

from __future__ import annotations

import time

import pytest

from factory.core.base.configuration import Section
from factory.core.workflows import judge, yaml_nodes
from factory.core.workflows.policy import from_section
from workflows.judging import CHECK, COMPOSE, judged

BOMB = "on: push\nx0: &a0 [1, 1]\n" + "".join(
    f"x{level}: &a{level} [*a{level - 1}, *a{level - 1}]\n" for level in range(1, 30)
)
JOB = "jobs:\n  a:\n    runs-on: ubuntu-latest\n"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (f"on:\n  push:\n    branches: [main, *release]\n{JOB}", "line 3: the alias *release"),
        (f"on: push\nenv: &e {{A: *e}}\n{JOB}", "line 2: the alias *e stands within"),
        (f"on: push\nenv: *{'e' * 5000}\n{JOB}", "line 2: the alias *eee"),
        (f"on: push\nx: &e 1\nenv: &e [*e]\n{JOB}", "line 3: the alias *e stands within"),
        (f"{BOMB}{JOB}", "stand for more"),
        (f"on: push\nx: {'[' * 5000}\n{JOB}", "deeply nested"),
        (f'on: push\nx: "\\U00FFFFFF"\n{JOB}', "not readable as YAML"),
        (f"on: push\nx: {'a' * 600_000}\n{JOB}", "longer than"),
        (f"on: push\nx: [{'1, ' * 3000}1]\n{JOB}", "more, or more deeply"),
    ],
    ids=range(9),
)
def test_an_odd_file_is_one_line_of_the_report(
    text: str, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(yaml_nodes, "_MAX_NODES", 2000)
    begin = time.process_time()

    report = judged(text)

    assert report.after == text
    (problem,) = report.problems
    assert problem.startswith("ci.yml: ")
    assert words in problem
    assert len(problem) < 1000
    assert time.process_time() - begin < 8


def test_what_nobody_thought_of_is_one_line_as_well() -> None:
    def resolve_pin(*_: str) -> str:
        raise LookupError("never thought of")

    policy = from_section(Section({}, "policy"), "main")
    report = judge.judge("ci.yml", CHECK, policy, COMPOSE, resolve_pin)

    assert report.after == CHECK
    assert report.problems == ["ci.yml: cannot be judged (LookupError); edit it by hand"]


@pytest.mark.parametrize("minutes", ["\u00b2", "9" * 5000, "0200"])
def test_odd_limits_are_limits_or_left_alone(minutes: str) -> None:
    report = judged(f"{CHECK}    timeout-minutes: {minutes}\n")

    assert report.problems == []
    assert ("timeout-minutes: 120" in report.after) == minutes.isdecimal()


def test_an_alias_means_the_nearest_anchor_before_it() -> None:
    text = (
        "on: push\njobs:\n"
        "  a:\n    runs-on: &os ubuntu-latest\n    env: {OS: *os}\n    steps: []\n"
        "  b:\n    runs-on: &os windows-latest\n    env: {OS: *os}\n    steps: []\n"
    )

    report = judged(text)
    free = judged(text.replace("env: {OS: *os}", "env: {OS: any}"))

    assert report.after == text
    assert "does not say exactly what was meant" in report.problems[0]
    assert "&os ${{ fromJSON" in free.after and "&os windows-latest" in free.after
