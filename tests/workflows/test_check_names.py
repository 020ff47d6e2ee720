"""Under which names jobs report, as rules of a branch require them."""

from __future__ import annotations

import pytest

from factory.core.workflows import check_names, semantics
from factory.core.workflows.check_names import may_be
from workflows.judging import COMPOSE, judged

STEPS = "    runs-on: ubuntu-latest\n    steps: [{run: pnpm test}]\n"
MATRIX = "    strategy: {matrix: {os: [linux, mac], node: [20, 22]}}\n"
CALLED = f"on: workflow_call\njobs:\n  build:\n    name: Build it\n{STEPS}  lint:\n{STEPS}"
CHAIN = "on: workflow_call\njobs:\n  next: {uses: ./.github/workflows/called.yml}\n"


def workflow(job: str) -> str:
    return f"name: ci\non: [push, pull_request]\njobs:\n  test:\n{job}"


def names(job: str) -> list[check_names.Name]:
    neighbours = semantics.neighbours(
        {"ci.yml": workflow(job), "called.yml": CALLED, "chain.yml": CHAIN}, COMPOSE
    )
    document = neighbours.documents["ci.yml"]
    assert document is not None
    return check_names.check_names(document, neighbours.without("ci.yml"))


@pytest.mark.parametrize(
    ("job", "reported", "others"),
    [
        (STEPS, ["test"], ["ci", "ci / test", "test (1)", ""]),
        (f"    name: Unit tests\n{STEPS}", ["Unit tests"], ["test", "Unit"]),
        (MATRIX + STEPS, ["test (linux, 20)", "test (mac, 22)"], ["tests (linux, 20)", "test ("]),
        (f"    name: Unit\n{MATRIX}{STEPS}", ["Unit (linux, 20)"], ["test (linux, 20)"]),
        (
            f"    name: on ${{{{ matrix.os }}}} with ${{{{matrix.node}}}}\n{MATRIX}{STEPS}",
            ["on linux with 20", "on mac with 22"],
            ["on windows with 20", "on linux with 20 (linux, 20)", "test"],
        ),
        (
            "    name: ${{ matrix.is.name }} tests\n    strategy: {matrix: {is: [{name: big}, {name: small}]}}\n"
            + STEPS,
            ["big tests", "small tests"],
            ["other tests"],
        ),
        (
            "    name: test ${{ matrix.x }}!\n    strategy: {matrix: '${{ fromJSON(needs.a.outputs.b) }}'}\n"
            + STEPS,
            ["test anything!", "test !"],
            ["test anything", "a test !"],
        ),
        (f"    name: ${{{{ github.ref_name }}}}\n{STEPS}", ["whatever"], []),
        (
            "    uses: ./.github/workflows/called.yml\n",
            ["test / Build it", "test / lint"],
            ["test", "Build it", "test / build"],
        ),
        (
            "    name: All\n    uses: ./.github/workflows/chain.yml\n",
            ["All / next / Build it", "All / next / lint"],
            ["All / lint", "All / next"],
        ),
        (
            f"{MATRIX}    uses: ./.github/workflows/called.yml\n",
            ["test (linux, 20) / lint"],
            ["test (linux, 20)"],
        ),
        (
            "    uses: example/shared/.github/workflows/x.yml@v1\n",
            ["test / anything"],
            ["test", "tests / anything"],
        ),
    ],
)
def test_a_required_check_is_known_by_the_name_that_it_gets(
    job: str, reported: list[str], others: list[str]
) -> None:
    found = names(job)

    for check in reported:
        assert any(may_be(name, check) for name in found), check
    for check in others:
        assert not any(may_be(name, check) for name in found), check


def test_what_may_be_a_required_check_gets_no_filter() -> None:
    ignore = {"paths_ignore": ["*.md"]}
    computed = workflow(f"    name: ${{{{ vars.NAME }}}}\n{STEPS}")

    sure = judged(workflow(MATRIX + STEPS), triggers=ignore, required_checks=["test (mac, 22)"])
    maybe = judged(computed, triggers=ignore, required_checks=["anything"])
    free = judged(computed, triggers=ignore)

    for report in (sure, maybe):
        assert "paths-ignore" not in report.after
    assert any(
        "'test (mac, 22)' is a required check" in line or "may be" in line for line in sure.kept
    )
    assert any("may be the required 'anything'" in line for line in maybe.kept)
    assert "paths-ignore" in free.after


def test_a_web_of_calls_ends() -> None:
    calls = "".join(f"  j{n}: {{uses: ./.github/workflows/w{n}.yml}}\n" for n in range(14))
    web = {f"w{n}.yml": f"on: workflow_call\njobs:\n{calls}" for n in range(14)}
    deep = {
        f"w{n}.yml": "on: workflow_call\njobs:\n"
        + "".join(f"  j{m}: {{uses: ./.github/workflows/w{n + 1}.yml}}\n" for m in range(14))
        for n in range(8)
    }
    deep["w8.yml"] = "on: workflow_call\njobs: {}\n"
    for files in (web, deep):
        report = judged(
            workflow("    uses: ./.github/workflows/w0.yml\n"), files, required_checks=["x"]
        )
        assert report.problems == []
