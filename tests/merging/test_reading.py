"""What needs more than one page or another program: contexts, issues, the gh client."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest
from simulator import Simulator

from factory.__main__ import main
from factory.core.marshal.settings import Duplicates
from merging.test_simulator import NAME, Rig, policy, repository, settings_file

pytestmark = pytest.mark.slow


def crowded(last: str) -> dict[str, Any]:
    checks = [{"name": f"optional {n}", "conclusion": "success"} for n in range(130)]
    return {"head": "crowded", "checks": [*checks, {"name": "ci", "conclusion": last}]}


@pytest.mark.parametrize(
    ("last", "state"),
    [("success", "MERGED"), pytest.param("failure", "OPEN", marks=pytest.mark.deep)],
)
def test_the_required_check_on_the_second_page_counts(
    last: str, state: str, tmp_path: Path
) -> None:
    with Simulator(repository(0, pull_requests=[crowded(last)])) as simulator:
        rig = Rig(simulator, tmp_path, policy())

        report = rig.cycle()

        assert rig.states == {1: state}
        code = {"success": "green", "failure": "check_failed"}[last]
        assert report.decisions[1].reason.code == code


@pytest.mark.deep
def test_a_second_page_that_cannot_be_read_is_not_green(tmp_path: Path) -> None:
    with Simulator(repository(0, pull_requests=[crowded("success")])) as simulator:
        rig = Rig(simulator, tmp_path, policy())
        simulator.add_fault({"path": "*graphql", "graphql": "node", "answer": {"status": 502}})

        report = rig.cycle()

        assert report.decisions[1].reason.code == "data_incomplete"
        assert rig.states == {1: "OPEN"}


BASE = [
    pytest.param("success", 0, "", "MERGED", marks=pytest.mark.deep),
    ("failure", 0, "main_red", "OPEN"),
    # Nobody knows what the second page says.
    pytest.param("success", 1, "data_incomplete", "OPEN", marks=pytest.mark.deep),
    pytest.param("failure", 1, "data_incomplete", "OPEN", marks=pytest.mark.deep),
]


@pytest.mark.parametrize(("last", "faults", "code", "state"), BASE)
def test_the_base_branchs_second_page_of_checks_counts(
    last: str, faults: int, code: str, state: str, tmp_path: Path
) -> None:
    checks = crowded(last)["checks"]
    with Simulator(repository(1, checks=checks)) as simulator:
        rig = Rig(simulator, tmp_path, policy())
        if faults:
            # The list, then what the first page of the base branch left out.
            simulator.add_fault(
                {"path": "*graphql", "skip": 1, "times": 1, "answer": {"status": 502}}
            )

        report = rig.cycle()

        assert rig.states == {1: state}
        assert report.decisions[1].reason.code == (code or "green")
        simulator.dispatcher.faults.clear()
        rig.cycle()
        assert rig.states == {1: "MERGED" if last == "success" else "OPEN"}


def same_issue(author: str) -> dict[str, Any]:
    pulls = [
        {
            "head": f"attempt-{n}",
            "author": "lane-agent" if n == 1 else author,
            "body": "Fixes #1",
            "created_at": f"-{10 - n}h",
            "commits": [{"message": f"Try {n}", "files": {f"attempt-{n}.txt": "x\n"}}],
            "checks": [{"name": "ci", "status": "in_progress"}],
        }
        for n in (1, 2)
    ]
    return repository(0, issues=[{"title": "A wish"}], pull_requests=pulls)


def closing(*, same_issue: bool) -> Any:
    found = Duplicates(action="close", same_issue=same_issue, grace_hours=1)
    return policy(duplicates=found, agents=("lane-agent",))


@pytest.mark.deep
def test_of_two_for_one_issue_the_younger_is_closed_after_the_grace(tmp_path: Path) -> None:
    with Simulator(same_issue("lane-agent")) as simulator:
        rig = Rig(simulator, tmp_path, closing(same_issue=True))

        first = rig.cycle()
        assert {n: d.reason.code for n, d in first.decisions.items()} == {
            2: "check_pending",
            3: "duplicate",
        }
        assert rig.states == {2: "OPEN", 3: "OPEN"}
        simulator.world.clock.advance(4000)
        rig.cycle()

        assert rig.states == {2: "OPEN", 3: "CLOSED"}
        found = simulator.world.repository(NAME)
        assert found is not None
        (words,) = [comment.body for comment in found.issues[3].comments]
        assert "#2" in words
        assert "gh pr reopen 3" in words


@pytest.mark.deep
@pytest.mark.parametrize(("author", "configured"), [("ali", True), ("lane-agent", False)])
def test_one_issue_closes_neither_a_persons_nor_without_the_policy(
    author: str, configured: bool, tmp_path: Path
) -> None:
    with Simulator(same_issue(author)) as simulator:
        rig = Rig(simulator, tmp_path, closing(same_issue=configured))
        for _ in range(3):
            rig.cycle()
            simulator.world.clock.advance(4000)

        assert rig.states[3] == "OPEN"
        if not configured:
            assert rig.states[2] == "OPEN"


def gh_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, token: str) -> None:
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    monkeypatch.setenv("GH_CONFIG_DIR", str(tmp_path / "gh"))
    for name in ("GH_TOKEN", "GITHUB_TOKEN", "GH_ENTERPRISE_TOKEN", "GITHUB_ENTERPRISE_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    if token:
        monkeypatch.setenv("GH_ENTERPRISE_TOKEN", token)


@pytest.mark.deep
def test_the_token_of_the_gh_client_lands_pull_requests(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with Simulator(repository(1)) as simulator:
        gh_environment(monkeypatch, tmp_path, simulator.token.value)
        path = settings_file(tmp_path, simulator.addresses(), {"method": "gh"})

        code = main(["marshal", "--config", path, "--json"])

        captured = capsys.readouterr()
        assert code == 0, captured
        assert json.loads(captured.out)["projects"][0]["merged"] == [1]
        assert simulator.token.value not in captured.out + captured.err


@pytest.mark.deep
def test_a_gh_client_without_login_is_a_usage_error_that_names_the_host(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with Simulator(repository(1)) as simulator:
        gh_environment(monkeypatch, tmp_path, "")
        addresses = simulator.addresses()
        path = settings_file(tmp_path, addresses, {"method": "gh"})

        assert main(["marshal", "--config", path, "--json"]) == 2

        error = json.loads(capsys.readouterr().out)["error"]
        assert f"gh has no token for {addresses['host']}" in error
        assert "gh auth login" in error


LANE = """#!/bin/sh
printf '%s\\n' "$*" >> "$(dirname "$0")/asked"
exit "$(cat "$(dirname "$0")/status" 2>/dev/null || echo 0)"
"""


def test_the_configured_command_is_asked_to_resolve_a_conflict(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = tmp_path / "lane"
    command.write_text(LANE)
    command.chmod(0o755)
    with Simulator("small") as simulator:
        addresses = simulator.addresses()
        login = {"method": "token_file", "token_file": addresses["token_file"]}
        merge = {
            "conflict_lane": {"command": [str(command), "run"], "tries": 1, "max_per_day": 2},
        }
        path = settings_file(tmp_path, addresses, login, merge, ["ali"])

        assert main(["marshal", "--config", path, "--json", "--dry-run"]) == 0
        assert not (tmp_path / "asked").exists()
        (tmp_path / "status").write_text("3")
        results = []
        for _ in range(3):
            capsys.readouterr()
            assert main(["marshal", "--config", path, "--json", "--once"]) == 0
            (project,) = json.loads(capsys.readouterr().out)["projects"]
            rows = project["pull_requests"]
            found = [p for p in rows if p["reason"]["code"] == "conflict"]
            results.append([(p["number"], p["result"]) for p in found])
            (tmp_path / "status").write_text("0")

        (number,) = [number for number, _result in results[0]]
        assert (tmp_path / "asked").read_text().splitlines() == [f"run {NAME} {number}"] * 2
        assert "lane: exit status 3" in results[0][0][1]
        assert results[1:] == [[(number, "lane_asked")], [(number, "")]]
