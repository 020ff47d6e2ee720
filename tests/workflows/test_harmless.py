"""What is written by default takes nothing away from a repository that works."""

from __future__ import annotations

import re
from typing import Any

import pytest
import yaml

from factory.core.workflows.judge import WorkflowReport
from factory.core.workflows.known_rights import ACTS_ELSEWHERE, ONLY_READS, RIGHTS
from workflows.judging import CHECK, judged

CALLED = """\
on: workflow_call
jobs:
  build:
    runs-on: ubuntu-latest
    steps:
      - run: pnpm test
"""


def written(report: WorkflowReport) -> set[str]:
    """Return which of the three defaults were written."""
    document = yaml.safe_load(report.after)
    push = document[True]["push"] if isinstance(document[True], dict) else None
    found = {key for key in ("permissions", "concurrency") if key in document}
    return found | ({"push"} if push else set())


def with_job(text: str) -> str:
    return CHECK + text


def with_step(text: str) -> str:
    return f"{CHECK}      - {text}\n"


def test_a_workflow_that_only_checks_gets_all_three() -> None:
    report = judged(CHECK, {"lint.yml": CHECK.replace("name: ci", "name: lint")})

    assert written(report) == {"permissions", "concurrency", "push"}
    assert report.kept == []


ALONE = {"permissions", "push"}


@pytest.mark.parametrize(
    ("text", "neighbours", "left"),
    [
        # Who else is in the same group.
        (CHECK.replace("on: [push, pull_request]", "on: [push, workflow_call]"), {}, set()),
        (CHECK, {"other.yml": CHECK}, ALONE),
        (CHECK, {"other.yml": CHECK.replace("name: ci", "name: CI")}, ALONE),
        (
            CHECK,
            {
                "x.yml": CHECK.replace(
                    "name: ci", "name: x\nconcurrency: 'ci-${{ github.head_ref }}'"
                )
            },
            ALONE,
        ),
        (
            with_job("  own:\n    runs-on: x\n    concurrency: '${{ github.workflow }}'\n"),
            {},
            ALONE,
        ),
        (CHECK, {"odd.yml": "name: ci\non: [push\n"}, ALONE),
        # Who waits for its end.
        (
            CHECK,
            {"after.yml": "on: {workflow_run: {workflows: [ci]}}\njobs: {}\n"},
            {"permissions"},
        ),
        # Whose runs all have one ref, or are no runs of new commits.
        *(
            (CHECK.replace("[push, pull_request]", f"[push, pull_request, {event}]"), {}, ALONE)
            for event in (
                "issue_comment",
                "issues",
                "pull_request_target",
                "schedule",
                "workflow_dispatch",
                "workflow_run",
                "release",
            )
        ),
        (
            CHECK.replace(
                "[push, pull_request]",
                "{push: , pull_request: {types: [opened, synchronize, reopened, labeled]}}",
            ),
            {},
            {"permissions"},
        ),
    ],
)
def test_runs_that_somebody_needs_are_put_into_no_group(
    text: str, neighbours: dict[str, str], left: set[str]
) -> None:
    report = judged(text, neighbours)

    assert written(report) == left
    assert any("concurrency" in line and "only suggested" in line for line in report.kept)


@pytest.mark.parametrize(
    ("called", "is_written"),
    [
        (CALLED, True),
        (CALLED.replace("on: w", "permissions: {contents: read}\non: w"), True),
        (CALLED.replace("on: w", "permissions: {packages: write}\non: w"), False),
        (CALLED.replace("on: w", "permissions: write-all\non: w"), False),
        (CALLED.replace("    steps:", "    permissions: {id-token: write}\n    steps:"), False),
        (CALLED.replace("on: w", "concurrency: x\non: w"), False),
        (CALLED.replace("- run: pnpm test", "- run: git push"), False),
        ("on: workflow_call\njobs:\n  again:\n    uses: ./.github/workflows/build.yml\n", False),
        (CALLED + "  next:\n    uses: example/shared/.github/workflows/x.yml@v1\n", False),
        ("on: [workflow_call\n", False),
        (None, False),
    ],
)
def test_a_caller_is_judged_with_what_it_calls(called: str | None, is_written: bool) -> None:
    caller = with_job("  build:\n    uses: ./.github/workflows/build.yml\n")
    neighbours = {} if called is None else {"build.yml": called}

    report = judged(caller, neighbours)

    assert written(report) == ({"permissions", "concurrency"} if is_written else set())
    assert written(judged(CALLED)) == set()


@pytest.mark.parametrize(
    "text",
    [
        with_step("uses: actions/stale@v9"),
        with_step("uses: ./tools/action"),
        with_step("run: git push origin HEAD:main"),
        with_step("run: gh pr comment --body done"),
        with_step("run: ./scripts/release.sh"),
        with_step("run: docker buildx build --push ."),
        with_step("run: curl -s -X POST https://example.com/hook"),
        with_step("run: pnpm test\n        env: {GH_TOKEN: '${{ github.token }}'}"),
        with_step("run: pnpm test\n        env: {GH_TOKEN: '${{ secrets[inputs.which] }}'}"),
    ],
)
def test_a_workflow_that_may_write_keeps_its_rights_and_runs(text: str) -> None:
    report = judged(text)

    assert written(report) == set()
    assert sum("only suggested" in line for line in report.kept) == 3


@pytest.mark.parametrize(
    "text",
    [
        with_step("run: pnpm test\n        env: {KEY: '${{ secrets.KEY }}'}"),
        with_step("uses: docker/login-action@v3"),
        CHECK.replace("    steps:", "    environment: production\n    steps:"),
    ],
)
def test_what_acts_elsewhere_without_the_token_loses_no_right(text: str) -> None:
    assert written(judged(text)) == {"permissions"}


@pytest.mark.parametrize(
    ("action", "told"),
    [
        ("actions/stale@v9", "contents: read, issues: write, pull-requests: write"),
        ("Softprops/Action-GH-Release@v2", "contents: write"),
        ("dorny/paths-filter@v3", "contents: read, pull-requests: read"),
        ("./tools/ship", "contents: read, id-token: write"),
        ("nobody/knows@v1", "contents: read"),
    ],
)
def test_the_rights_that_an_action_is_known_to_use_are_suggested(action: str, told: str) -> None:
    ship = {
        "runs": {
            "using": "composite",
            "steps": [{"uses": "aws-actions/configure-aws-credentials@v4"}],
        }
    }

    report = judged(with_step(f"uses: {action}"), actions={"./tools/ship": ship})

    assert written(report) == set()
    assert any(f"permissions {told} is only suggested" in line for line in report.kept)


@pytest.mark.parametrize(
    ("steps", "inputs", "is_written"),
    [
        ([{"run": "pnpm install", "shell": "bash"}, {"uses": "actions/setup-node@v4"}], {}, True),
        ([{"uses": "./tools/own"}], {}, False),
        ([{"run": "git push", "shell": "bash"}], {}, False),
        (
            [{"run": "x", "env": {"TOKEN": "${{ inputs.token }}"}}],
            {"token": {"default": "${{ github.token }}"}},
            False,
        ),
        (None, {}, False),
    ],
)
def test_the_repositorys_own_actions_are_judged_by_their_steps(
    steps: Any, inputs: dict[str, Any], is_written: bool
) -> None:
    own = {"inputs": inputs, "runs": {"using": "composite" if steps else "node20", "steps": steps}}

    report = judged(with_step("uses: ./tools/own"), actions={"./tools/own": own})

    assert written(report) == ({"permissions", "concurrency", "push"} if is_written else set())


def test_what_is_known_of_an_action_is_known_once() -> None:
    assert not ONLY_READS & ACTS_ELSEWHERE
    assert not (ONLY_READS | ACTS_ELSEWHERE) & RIGHTS.keys()
    assert len(ONLY_READS | ACTS_ELSEWHERE | RIGHTS.keys()) >= 140
    for name in (*ONLY_READS, *ACTS_ELSEWHERE, *RIGHTS):
        assert name == name.lower()
    rights = {right for rights in RIGHTS.values() for right in rights}
    assert all(re.fullmatch("[a-z-]+: (read|write)", right) for right in rights)


SHARED = "example/shared/.github/workflows/check.yml@v1"
AGAIN = CALLED.replace(
    "    runs-on: ubuntu-latest\n    steps:\n      - run: pnpm test\n",
    "    uses: ./.github/workflows/inner.yml\n",
)
INNER = "example/shared/.github/workflows/inner.yml@v1"


@pytest.mark.parametrize(
    ("remote", "is_written"),
    [
        ({SHARED: CALLED}, True),
        ({SHARED: AGAIN, INNER: CALLED}, True),
        ({SHARED: AGAIN, INNER: CALLED.replace("- run: pnpm test", "- run: git push")}, False),
        # A file of the same name here is another.
        ({SHARED: AGAIN}, False),
        ({SHARED: AGAIN, INNER: AGAIN}, False),
        ({SHARED: CALLED.replace("on: w", "permissions: {packages: write}\non: w")}, False),
        ({SHARED: CALLED.replace("on: w", "concurrency: x\non: w")}, False),
        ({}, False),
    ],
)
def test_a_workflow_elsewhere_is_judged_where_it_could_be_read(
    remote: dict[str, str], is_written: bool
) -> None:
    caller = with_job(f"  shared:\n    uses: {SHARED}\n")

    report = judged(caller, {"inner.yml": CALLED}, remote=remote)

    assert written(report) == ({"permissions", "concurrency"} if is_written else set())


PULL_REQUEST = "{push: , pull_request: {%s}}"


@pytest.mark.parametrize(
    "text",
    [
        CHECK.replace("    steps:", "    if: startsWith(github.ref, 'refs/tags/')\n    steps:"),
        CHECK.replace("    steps:", "    if: github.ref_name != 'x'\n    steps:"),
        CHECK.replace("    steps:", "    if: github.event_name == 'push'\n    steps:"),
        with_step('run: test "$GITHUB_REF_TYPE" = branch || pnpm all'),
        with_step("run: git describe --tags"),
        *(
            CHECK.replace("[push, pull_request]", PULL_REQUEST % filters)
            for filters in (
                "types: [labeled]",
                "types: [opened, reopened]",
                "branches: [main]",
                "paths: ['src/**']",
                "paths-ignore: ['docs/**']",
            )
        ),
    ],
)
def test_pushes_that_no_pull_request_covers_go_on(text: str) -> None:
    report = judged(text)

    assert "push" not in written(report)
    assert any("push only with branches" in line for line in report.kept)


@pytest.mark.parametrize(
    "filters", ["types: [synchronize, reopened, opened]", "paths-ignore: ['*.md']"]
)
def test_pull_requests_that_cover_all_pushes_limit_them(filters: str) -> None:
    text = CHECK.replace("on: [push, pull_request]", f"on:\n  push:\n  pull_request: {{{filters}}}")

    report = judged(text, triggers={"paths_ignore": ["*.md"]})

    assert yaml.safe_load(report.after)[True]["push"] == {"branches": ["main"]}


def test_a_group_that_is_not_one_per_workflow_and_ref_is_only_suggested() -> None:
    for group in ("ci", "${{ github.ref }}", "${{ github.workflow }}"):
        assert written(judged(CHECK, concurrency={"group": group})) == ALONE
    assert "permissions" not in written(judged(CHECK, permissions={"packages": "read"}))
