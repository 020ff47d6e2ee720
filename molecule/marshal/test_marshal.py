"""What the host answers once it has a merge policy."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from behaviour import Simulator

GITHUB = Simulator("github.marshal")
LOGIN = "/etc/aina-factory/secrets/github-token"


@pytest.fixture
def token(host: Any) -> Iterator[str]:
    """The token's file, put back afterwards."""
    host.check_output(f"cp --preserve {LOGIN} {LOGIN}.kept")
    yield LOGIN
    host.check_output(f"mv {LOGIN}.kept {LOGIN}")


@pytest.fixture
def landing() -> Iterator[None]:
    """What lands at GitHub is open again afterwards."""
    yield
    GITHUB.ask("POST", "/scenario", {"name": "small"})


def marshal(host: Any, *words: str) -> tuple[int, Any]:
    answer = host.run(" ".join(["factory marshal --json", *words]))
    return answer.rc, json.loads(answer.stdout)


def test_the_policy_is_valid_and_holds_only_projects_that_merge(host: Any) -> None:
    answer = host.run("factory validate --json")
    assert answer.rc == 0
    assert "marshal" in json.loads(answer.stdout)["sections"]

    status, document = marshal(host, "--dry-run --project untouched")
    assert status == 2
    assert "known: demo" in document["error"]


@pytest.mark.deep
def test_a_missing_token_is_named_and_nothing_is_tried(host: Any, token: str) -> None:
    host.check_output(f"rm {token}")
    GITHUB.ask("DELETE", "/log")

    status, document = marshal(host, "--dry-run")

    assert status == 2
    assert token in document["error"]
    assert GITHUB.ask("GET", "/counts")["requests"] == 0


@pytest.mark.deep
def test_a_token_that_others_can_read_is_refused(host: Any, token: str) -> None:
    host.check_output(f"chmod 0644 {token}")

    status, document = marshal(host, "--dry-run")

    assert status == 2
    assert "chmod 0600" in document["error"]


@pytest.mark.usefixtures("landing")
def test_converging_lands_nothing_and_the_real_run_does_what_the_dry_one_says(host: Any) -> None:
    table = host.check_output("factory marshal --dry-run")
    status, planned = marshal(host, "--dry-run")
    assert status == 0
    (project,) = planned["projects"]
    decisions = {
        item["title"]: (item["decision"], item["reason"]["code"], item["reason"]["owner"])
        for item in project["pull_requests"]
    }
    assert decisions == {
        "Add a file": ("merge", "green", "marshal"),
        # One more run before its author is blamed.
        "red": ("retest", "retest", "marshal"),
        "pending": ("wait", "check_pending", "ci"),
        "conflicting": ("wait", "conflict", "author"),
        "draft": ("skip", "draft", "author"),
        "held": ("skip", "hold_label", "admin"),
    }
    assert all(title in table for title in decisions)

    status, done = marshal(host)

    assert status == 0
    assert done["projects"][0]["merged"] == [2]
    state = GITHUB.ask("GET", "/repository?repository=factory/demo")
    merged = [n for n, pull in state["pull_requests"].items() if pull["state"] == "MERGED"]
    assert merged == ["2"]


@pytest.mark.deep
@pytest.mark.usefixtures("landing")
def test_github_understood_every_request(host: Any) -> None:
    host.check_output("factory marshal")

    found = GITHUB.ask("GET", "/contract")

    assert "PUT /repos/{owner}/{repo}/pulls/{number}/merge" in found["routes"]
    assert found["violations"] == []


def test_the_state_is_private(host: Any) -> None:
    assert host.file("/var/lib/aina-factory/marshal").mode == 0o700
