"""What GitHub was seen to answer is taken as it is meant, and never answered by opening something up."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from simulator import Simulator, record

from factory.core.base.github import errors
from factory.core.base.github.remedies import remedy
from factory.core.base.github.transport import Transport
from factory.core.base.ports import Request, Response
from runners.support import REPOSITORY, Site

ROWS = yaml.safe_load(Path(record.__file__).with_name("answers.yml").read_text())
MEANT: dict[str, type[errors.ForgeError]] = {
    "refused": errors.RefusedError,
    "moved": errors.UnusableError,
    "limited": errors.LimitedError,
    "uncertain": errors.UncertainError,
}
OPENING = ("public_repository_reason", "open_fork_policy_reason", "make it public", "allow ")


def path_of(row: dict[str, Any]) -> str:
    return str(row["path"]).format(repository=REPOSITORY, organization="factory")


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row['status']} {row['kind']}")
def test_each_answer_that_was_seen_is_taken_as_it_is_meant(site: Site, row: dict[str, Any]) -> None:
    fault = {"method": row["method"], "path": path_of(row)}
    answer = {key: row[key] for key in ("status", "body", "headers") if key in row}
    played = site.client.control("POST", "/faults", {**fault, "answer": answer})
    assert "error" not in played
    api = site.github_client().api(REPOSITORY)
    transport: Transport = api._transport

    meant = MEANT[row["means"]]

    with pytest.raises(meant) as caught:
        transport.rest(row["method"], path_of(row), {} if row["method"] == "POST" else None)

    assert type(caught.value) is meant
    advice = remedy(caught.value)
    assert advice and not [words for words in OPENING if words in advice]
    # A guard that meets it lets nobody in by it, and does not advise to.
    verdict = site.github_client().judge(site.github_client().settings.instances[0])
    assert not any(words in " ".join(verdict.problems) for words in OPENING)
    if row["path"] == "/repos/{repository}":
        assert not verdict.ok and verdict.unknown


def test_each_kind_of_refusal_has_a_remedy_of_its_own() -> None:
    refused = [row for row in ROWS if row["means"] == "refused"]

    def taken(row: dict[str, Any]) -> str:
        message = row["body"]["message"] + str(row["body"].get("errors", ""))
        return remedy(
            errors.RefusedError(f"{row['method']} {row['path']} {message}", row["status"])
        )

    assert len({taken(row) for row in refused}) >= 8
    assert "see what it says" not in {taken(row) for row in refused}


def test_a_read_of_a_renamed_repository_is_followed_on_the_same_server() -> None:
    def fetch(request: Request, *, timeout_seconds: float = 30.0) -> Response:
        if request.url.endswith("/repos/a/old"):
            place = "https://github.example/repositories/7"
            return Response(301, {"location": place}, b'{"message": "Moved Permanently"}')
        return Response(200, {}, b'{"private": true}')

    transport = Transport(fetch, "https://github.example", lambda: "t", lambda: 0.0)

    assert transport.rest("GET", "/repos/a/old") == {"private": True}


# --- what an owner records ------------------------------------------------------------


def targets() -> list[record.Target]:
    repository = record.Target("private", f"/repos/{REPOSITORY}", REPOSITORY, "{repository}")
    return [repository, record.Target("organization", "/orgs/factory", "factory", "{organization}")]


def test_what_is_recorded_holds_no_secret_and_leaves_no_runner(
    site: Site, simulator: Simulator, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    addresses, output = simulator.addresses(), tmp_path / "recorded.yml"
    argv = ["--private", REPOSITORY, "--public", "actions/runner", "--organization", "factory"]
    argv += ["--api-url", addresses["api_url"], "--ca-file", addresses["ca_file"]]

    code = record.main([*argv, "--output", str(output)], {"GITHUB_TOKEN": simulator.token.value})

    assert code == 0, capsys.readouterr().out
    text = output.read_text()
    secrets = [simulator.token.value]
    for scope in simulator.world.scopes.values():
        secrets += [*scope.tokens, *(runner.secret for runner in scope.runners.values())]
    assert not [secret for secret in secrets if secret in text]
    assert REPOSITORY not in text
    assert site.registered() == {}
    rows = yaml.safe_load(text)
    seen = {(row["kind"].split(",")[0], row["path"], row["status"]) for row in rows}
    approval = "/repos/{repository}/actions/permissions/fork-pr-contributor-approval"
    assert {("private repository", approval, 422), ("public repository", approval, 200)} <= seen
    assert record.main(argv, {}) == 2


def test_a_simulator_that_answers_otherwise_than_what_was_recorded_is_noticed(
    simulator: Simulator, site: Site
) -> None:
    addresses = simulator.addresses()
    send = record.sender(addresses["api_url"], simulator.token.value, addresses["ca_file"])
    rows = list(record.record(targets(), send))
    answers = {row["path"]: row for row in rows if row["method"] == "GET"}
    row = answers["/repos/{repository}/actions/runners?per_page=100"]
    answer = send("GET", path_of(row), None)

    assert record.differences(row, *answer) == []
    assert record.differences({**row, "status": 404}, *answer)
    assert record.differences({**row, "shape": {"runners": []}}, *answer)
    assert record.differences({**row, "shape": {**row["shape"], "total_count": "text"}}, *answer)


def test_the_simulator_answers_as_github_was_recorded_to(simulator: Simulator, site: Site) -> None:
    if not record.RECORDED.exists():
        pytest.skip("nobody has recorded a real GitHub yet: script/record-github")
    addresses = simulator.addresses()
    send = record.sender(addresses["api_url"], simulator.token.value, addresses["ca_file"])
    rows = yaml.safe_load(record.RECORDED.read_text())
    found = [
        words
        for row in rows
        if row["method"] == "GET" and row["kind"].startswith("private")
        for words in record.differences(row, *send("GET", path_of(row), None))
    ]
    assert found == []
