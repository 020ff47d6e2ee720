"""What is written by default takes nothing away from a repository that works."""

from __future__ import annotations

import pytest
import yaml

from factory.core.workflows.judge import WorkflowReport
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
        with_step("run: pnpm test\n        env: {KEY: '${{ secrets.KEY }}'}"),
        CHECK.replace("    steps:", "    environment: production\n    steps:"),
    ],
)
def test_a_workflow_that_may_write_keeps_its_rights_and_runs(text: str) -> None:
    report = judged(text)

    assert written(report) == set()
    assert sum("only suggested" in line for line in report.kept) == 3


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
