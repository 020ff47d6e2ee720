"""Every REST exchange keeps to GitHub's published OpenAPI description."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import jwt
import pytest
from simulator import Simulator, contract, recorded
from simulator.client import Client
from simulator.rest import ROUTES
from simulator.versions import NEWEST

R = "/repos/factory/demo"
ORG_REPOSITORY = {
    "name": "guild/tool",
    "issues": [{"title": "A wish"}],
    "pull_requests": [{"head": "change", "checks": [{"name": "ci", "conclusion": "success"}]}],
    "workflows": [{"name": "release", "inputs": ["tag"], "jobs": [{"steps": [{"run": "true"}]}]}],
    "releases": [{"tag": "v1", "assets": [{"name": "tool.tar", "content": "x"}]}],
}
READS = [
    "/",
    "/meta",
    "/user",
    "/user/repos",
    "/users/ali",
    "/users/factory/repos",
    "/orgs/guild/repos",
    "/orgs/guild/actions/permissions/self-hosted-runners",
    "/orgs/guild/actions/permissions/fork-pr-contributor-approval",
    "/orgs/guild/actions/permissions/fork-pr-workflows-private-repos",
    "/orgs/guild/actions/runners",
    "/orgs/guild/actions/runners/downloads",
    "/orgs/guild/actions/runner-groups",
    "/orgs/guild/actions/runner-groups/1",
    "/search/issues?q=is:pr%20is:open",
    R,
    f"{R}/commits",
    f"{R}/commits/main",
    f"{R}/commits/main/check-runs",
    f"{R}/commits/main/status",
    f"{R}/commits/main/statuses",
    f"{R}/commits/{{head}}/pulls",
    f"{R}/git/commits/{{head}}",
    f"{R}/check-runs/{{check}}",
    f"{R}/compare/main...green",
    f"{R}/contents/README.md",
    f"{R}/branches",
    f"{R}/branches/main",
    f"{R}/branches/main/protection",
    f"{R}/rules/branches/main",
    f"{R}/activity?ref=main&per_page=1",
    f"{R}/git/ref/heads/main",
    f"{R}/git/matching-refs/heads",
    f"{R}/pulls?state=all&sort=created&direction=asc&per_page=5",
    f"{R}/pulls/2",
    f"{R}/pulls/5",
    f"{R}/pulls/2/files",
    f"{R}/pulls/2/commits",
    f"{R}/pulls/2/reviews",
    f"{R}/pulls/2/comments",
    f"{R}/issues",
    f"{R}/issues/1",
    f"{R}/issues/7/labels",
    f"{R}/issues/1/comments",
    f"{R}/labels",
    f"{R}/labels/hold",
    f"{R}/actions/workflows",
    f"{R}/actions/workflows/ci.yml",
    f"{R}/actions/workflows/ci.yml/runs",
    f"{R}/actions/runs",
    f"{R}/actions/runs/{{run}}",
    f"{R}/actions/runs/{{run}}/jobs",
    f"{R}/actions/jobs/{{job}}",
    f"{R}/actions/runners",
    f"{R}/actions/runners/downloads",
    f"{R}/actions/permissions",
    f"{R}/actions/permissions/workflow",
    f"{R}/actions/permissions/fork-pr-workflows-private-repos",
    "/repos/guild/tool/releases",
    "/repos/guild/tool/releases/latest",
    "/repos/guild/tool/releases/tags/v1",
    "/repos/guild/tool/releases/{release}",
    "/repos/guild/tool/releases/{release}/assets",
    "/repos/guild/tool/releases/assets/{asset}",
    "/rate_limit",
]
# Their answers are no JSON, or the description knows them under a server of their own.
WITHOUT_DESCRIPTION = {("GET", "/repos/{owner}/{repo}/actions/jobs/{job}/logs")}


@pytest.fixture
def rich(simulator: Simulator) -> Client:
    """A world that has something of everything."""
    document = {
        "users": [{"login": "guild", "type": "Organization"}, {"login": "ali"}],
        "apps": [
            {"slug": "marshal", "installed_on": "guild"},
            {"slug": "helper", "installed_on": "factory"},
        ],
        "repositories": [*_small()["repositories"], ORG_REPOSITORY],
    }
    client = Client(simulator)
    answer = client.control("POST", "/scenario", {"document": document})
    assert "error" not in answer, answer
    client.token = simulator.token.value
    return client


def _small() -> Any:
    from simulator.scenario import load

    return load("small")


def places(client: Client) -> dict[str, Any]:
    """Return what paths need to name."""
    job = {"repository": "factory/demo", "steps": [{"run": "true"}]}
    queued = client.control("POST", "/job", job)
    head = client.rest("GET", f"{R}/pulls/2").body["head"]["sha"]
    release = client.rest("GET", "/repos/guild/tool/releases/latest").body
    return {
        "head": head,
        "run": queued["run_id"],
        "job": queued["id"],
        "check": client.rest("GET", f"{R}/commits/{head}/check-runs").body["check_runs"][0]["id"],
        "release": release["id"],
        "asset": release["assets"][0]["id"],
    }


def kept(client: Client) -> None:
    """Hold everything that was exchanged so far against the description."""
    exchanges = client.simulator.dispatcher.recorder.everything
    wrong = contract.violations(exchanges)
    assert not wrong, "\n".join(wrong)


def read_all(client: Client, headers: dict[str, str] | None = None) -> None:
    named = places(client)
    client.rest("POST", f"{R}/pulls/2/reviews", {"event": "APPROVE"})
    for path in READS:
        reply = client.rest("GET", path.format(**named), headers=headers)
        assert reply.status == 200, (path, reply.body)
    assert client.rest("GET", f"{R}/actions/jobs/{named['job']}/logs").status == 200


def write_all(client: Client) -> None:
    variables = f"{R}/actions/variables"
    one = {"name": "CI_RUNS_ON", "value": "[]"}
    assert client.rest("POST", variables, one).status == 201
    assert client.rest("PATCH", f"{variables}/CI_RUNS_ON", {"value": "x"}).status == 204
    for path in (variables, f"{variables}/ci_runs_on", f"{R}/actions/organization-variables"):
        assert client.rest("GET", path).status == 200
    assert client.rest("DELETE", f"{variables}/CI_RUNS_ON").status == 204
    assert client.rest("GET", f"{variables}/CI_RUNS_ON").status == 404

    def write(method: str, path: str, body: Any = None, status: int = 0) -> Any:
        reply = client.rest(method, path, body)
        assert reply.status == status if status else reply.status < 300, (path, reply.body)
        return reply.body

    sha = client.rest("GET", f"{R}/pulls/2").body["head"]["sha"]
    main = client.rest("GET", f"{R}/git/ref/heads/main").body["object"]["sha"]
    write("POST", f"{R}/issues", {"title": "New", "labels": ["hold"]})
    write("PATCH", f"{R}/issues/1", {"state": "closed"})
    comment = write("POST", f"{R}/issues/2/comments", {"body": "Hello"})["id"]
    write("PATCH", f"{R}/issues/comments/{comment}", {"body": "Hello again"})
    write("DELETE", f"{R}/issues/comments/{comment}")
    write("POST", f"{R}/issues/2/labels", {"labels": ["duplicate"]})
    write("PUT", f"{R}/issues/2/labels", {"labels": ["hold"]})
    write("DELETE", f"{R}/issues/2/labels/hold")
    write("POST", f"{R}/labels", {"name": "conflict", "color": "ff0000"})
    ended = client.rest("GET", f"{R}/actions/runs?status=completed").body["workflow_runs"]
    write("POST", f"{R}/actions/runs/{ended[0]['id']}/rerun", status=201)
    write("POST", f"{R}/actions/runs/{ended[1]['id']}/rerun-failed-jobs", status=201)
    write("POST", f"{R}/statuses/{sha}", {"state": "success", "context": "lint"})
    write("POST", f"{R}/pulls/2/reviews", {"event": "APPROVE", "body": "Good"})
    write("PATCH", f"{R}/pulls/3", {"state": "closed"})
    write("GET", f"{R}/pulls/2/merge", status=404)
    write("PUT", f"{R}/pulls/2/merge", {"sha": sha, "merge_method": "squash"})
    write("GET", f"{R}/pulls/2/merge", status=204)
    write("PUT", f"{R}/pulls/4/update-branch", {})
    write("DELETE", f"{R}/git/refs/heads/green")
    write("POST", f"{R}/git/refs", {"ref": "refs/heads/train/1", "sha": main})
    write("POST", f"{R}/merges", {"base": "train/1", "head": "held"})
    write("PATCH", f"{R}/git/refs/heads/train/1", {"sha": main, "force": True})
    pushed = {"repository": "factory/demo", "branch": "n", "files": {"n": "n"}}
    client.control("POST", "/push", pushed)
    write("POST", f"{R}/pulls", {"title": "N", "head": "n", "base": "main"})
    permissions = f"{R}/actions/permissions"
    # A private repository has no such setting, and GitHub says so.
    refused = write("GET", f"{permissions}/fork-pr-contributor-approval", status=422)
    assert "not allowed for private repositories" in refused["errors"]
    write("PATCH", R, {"private": False, "delete_branch_on_merge": True})
    write("PUT", permissions, {"enabled": True, "allowed_actions": "all"})
    write("PUT", f"{permissions}/workflow", {"default_workflow_permissions": "read"})
    policy = {"approval_policy": "first_time_contributors"}
    switches = {
        "run_workflows_from_fork_pull_requests": True,
        "send_write_tokens_to_workflows": False,
        "send_secrets_and_variables": False,
        "require_approval_for_fork_pr_workflows": True,
    }
    for place in (permissions, "/orgs/guild/actions/permissions"):
        write("PUT", f"{place}/fork-pr-contributor-approval", policy)
        write("GET", f"{place}/fork-pr-contributor-approval")
        write("PUT", f"{place}/fork-pr-workflows-private-repos", switches)
    run = client.control("POST", "/job", {"repository": "factory/demo", "steps": [{"run": "x"}]})
    write("POST", f"{R}/actions/runs/{run['run_id']}/cancel")
    dispatches = "/repos/guild/tool/actions/workflows/release.yml/dispatches"
    write("POST", dispatches, {"ref": "main", "inputs": {"tag": "v2"}}, status=204)
    write("POST", dispatches, {"ref": "main", "return_run_details": True}, status=200)
    released = "/repos/guild/tool/releases"
    release = write("POST", released, {"tag_name": "v2", "name": "Two", "draft": True})
    write("PATCH", f"{released}/{release['id']}", {"draft": False})
    asset = client.upload(release["upload_url"], "tool.tar", b"content")
    assert asset.status == 201, asset.body
    write("DELETE", f"{released}/assets/{asset.body['id']}")
    write("DELETE", f"{released}/{release['id']}")


def run_all(client: Client, scope: str) -> None:
    runners = f"{scope}/actions/runners"

    def write(method: str, path: str, body: Any = None, status: int = 0) -> Any:
        reply = client.rest(method, f"{runners}{path}", body)
        assert reply.status == status if status else reply.status < 300, (path, reply.body)
        return reply.body

    write("POST", "/registration-token")
    write("POST", "/remove-token")
    body = {"name": "r1", "runner_group_id": 1, "labels": ["self-hosted", "demo"]}
    made = write("POST", "/generate-jitconfig", body)["runner"]["id"]
    write("POST", "/generate-jitconfig", body, status=409)
    write("GET", f"/{made}")
    write("GET", f"/{made}/labels")
    write("POST", f"/{made}/labels", {"labels": ["c"]})
    write("PUT", f"/{made}/labels", {"labels": ["a", "b"]})
    write("DELETE", f"/{made}/labels/a")
    write("DELETE", f"/{made}/labels")
    write("DELETE", f"/{made}")
    write("GET", f"/{made}", status=404)


def authenticate_all(client: Client) -> None:
    apps = {app["slug"]: app for app in client.simulator.addresses()["apps"]}

    def as_app(slug: str) -> Client:
        key = Path(apps[slug]["private_key_file"]).read_text()
        now = int(time.time())
        claims = {"iat": now - 60, "exp": now + 500, "iss": str(apps[slug]["id"])}
        return Client(client.simulator, jwt.encode(claims, key, algorithm="RS256"))

    guild, mine = as_app("marshal"), as_app("helper")
    for path in ("/app", "/app/installations", "/orgs/guild/installation"):
        assert guild.rest("GET", path).status == 200, path
    assert mine.rest("GET", "/users/factory/installation").status == 200
    found = guild.rest("GET", "/repos/guild/tool/installation").body["id"]
    narrowed = {"repositories": ["tool"], "permissions": {"contents": "read"}}
    minted = guild.rest("POST", f"/app/installations/{found}/access_tokens", narrowed)
    assert minted.status == 201
    installed = Client(client.simulator, minted.body["token"])
    assert installed.rest("GET", "/installation/repositories").status == 200
    ours = mine.rest("GET", f"{R}/installation").body["id"]
    reporter = Client(
        client.simulator,
        mine.rest("POST", f"/app/installations/{ours}/access_tokens", {}).body["token"],
    )
    sha = reporter.rest("GET", f"{R}/pulls/2").body["head"]["sha"]
    check = {"name": "own", "head_sha": sha, "status": "in_progress"}
    made = reporter.rest("POST", f"{R}/check-runs", check)
    assert made.status == 201, made.body
    ended = {"conclusion": "success"}
    assert reporter.rest("PATCH", f"{R}/check-runs/{made.body['id']}", ended).status == 200


def ask_everything(client: Client) -> None:
    read_all(client)
    authenticate_all(client)
    run_all(client, "/orgs/guild")
    run_all(client, R)
    group = {"name": "ours", "visibility": "all"}
    assert client.rest("POST", "/orgs/guild/actions/runner-groups", group).status == 201
    write_all(client)


@pytest.mark.slow
def test_every_route_keeps_to_the_description(rich: Client) -> None:
    ask_everything(rich)

    kept(rich)
    exchanged = {(e.method, e.route) for e in rich.simulator.dispatcher.recorder.everything}
    routes = {(route.method, route.template) for route in ROUTES}
    assert routes - exchanged == WITHOUT_DESCRIPTION


@pytest.mark.slow
def test_every_answer_of_the_newest_version_lacks_what_it_dropped(rich: Client) -> None:
    headers = {"X-GitHub-Api-Version": NEWEST}
    read_all(rich, headers)
    dispatches = "/repos/guild/tool/actions/workflows/release.yml/dispatches"
    dispatched = rich.rest("POST", dispatches, {"ref": "main"}, headers)

    assert dispatched.status == 200
    pull = rich.rest("GET", f"{R}/pulls/2", headers=headers)
    assert "merge_commit_sha" not in pull.body
    assert pull.headers["X-GitHub-Api-Version-Selected"] == NEWEST
    assert "merge_commit_sha" in rich.rest("GET", f"{R}/pulls/2").body
    assert "rate" not in rich.rest("GET", "/rate_limit", headers=headers).body
    kept(rich)
    unknown = rich.rest("GET", R, headers={"X-GitHub-Api-Version": "2020-01-01"})
    assert unknown.status == 400


@pytest.mark.slow
def test_the_contract_refuses_what_github_would_not_send(client: Client) -> None:
    body = {"sha": None, "merged": "yes", "message": "ok"}
    pull = client.rest("GET", f"{R}/pulls/2").body

    wrong = contract.problems("PUT", f"{R}/pulls/2/merge", None, 200, body)
    stale = contract.problems("GET", f"{R}/pulls/2", None, 200, pull, version=NEWEST)
    misspelt = contract.problems("GET", f"{R}/pulls", None, 200, [], query=["per-page"])
    absent = contract.problems("GET", f"{R}/pull/2", None, 404, {})

    assert any("$.sha" in text for text in wrong)
    assert any("$.merged" in text for text in wrong)
    assert any("$.merge_commit_sha" in text for text in stale)
    assert any("there is no parameter 'per-page'" in text for text in misspelt)
    assert any("is not in the description" in text for text in absent)


@pytest.mark.slow
def test_what_differs_from_recorded_answers_of_github_is_explained(rich: Client) -> None:
    found = recorded.directories()
    if not found:
        pytest.skip(
            "no recordings here: set AINA_RECORDED to tests/ReplayData of github.com/PyGithub/PyGithub "
            "and package/scenarios of npm's @octokit/fixtures, joined by a colon"
        )
    ask_everything(rich)

    github = recorded.shapes(pair for place in found for pair in recorded.answers(place))
    ours = recorded.shapes(recorded.answered(rich.simulator.dispatcher.recorder.everything))
    differences = set(recorded.differences(github, ours))

    assert len(github) > 80, "these are no recordings of GitHub"
    assert differences - set(recorded.listed()) == set(), "mend the simulator, or say why"
    # With only some of the recordings not every known difference comes up.
    assert len(found) < 2 or set(recorded.listed()) - differences == set(), "these are mended"


def test_a_field_or_a_type_that_github_has_otherwise_is_found() -> None:
    github = recorded.shapes([("GET /x", {"a": 1, "b": [{"c": "x", "d": None}]})] * 2)
    ours = recorded.shapes([("GET /x", {"a": "1", "b": [{"d": "any"}], "more": 1})])

    assert list(recorded.differences(github, ours)) == [
        ("GET /x", ".a", "str, at GitHub int"),
        ("GET /x", ".b[].c", "absent"),
    ]
    assert list(recorded.differences(github, github)) == []


def test_recordings_are_read_as_they_were_written(tmp_path: Path) -> None:
    head = ["https", "GET", "api.github.com", "None"]
    rows = [
        [*head, "/repos/o/r/pulls/1?x=1", "{}", "None", "200", "[]", '{"number": 1}', ""],
        [*head, "/repos/o/r/pulls/2", "{}", "None", "404", "[]", '{"message": ""}', ""],
        [*head, "/nobody/serves/this", "{}", "None", "200", "[]", "{}", ""],
    ]
    (tmp_path / "PullRequest.txt").write_text("\n".join("\n".join(row) for row in rows))
    row = {"method": "get", "path": "/repos/o/r", "status": 200, "response": {"id": 1}}
    (tmp_path / "raw-fixture.json").write_text(json.dumps([row]))

    assert list(recorded.answers(tmp_path)) == [
        ("GET /repos/{owner}/{repo}/pulls/{number}", {"number": 1}),
        ("GET /repos/{owner}/{repo}", {"id": 1}),
    ]
