"""Every REST exchange keeps to GitHub's published OpenAPI description."""

from __future__ import annotations

from typing import Any

import pytest
from simulator import contract
from simulator.client import Client

R = "/repos/factory/demo"
READS = [
    R,
    "/user/repos",
    "/users/ali",
    f"{R}/commits",
    f"{R}/commits/main",
    f"{R}/commits/main/check-runs",
    f"{R}/commits/main/status",
    f"{R}/commits/main/statuses",
    f"{R}/compare/main...green",
    f"{R}/contents/README.md",
    f"{R}/branches",
    f"{R}/branches/main",
    f"{R}/branches/main/protection",
    f"{R}/rules/branches/main",
    f"{R}/git/ref/heads/main",
    f"{R}/git/matching-refs/heads",
    f"{R}/pulls",
    f"{R}/pulls/2",
    f"{R}/pulls/5",
    f"{R}/pulls/2/files",
    f"{R}/pulls/2/commits",
    f"{R}/pulls/2/reviews",
    f"{R}/issues",
    f"{R}/issues/1",
    f"{R}/issues/7/labels",
    f"{R}/issues/1/comments",
    f"{R}/labels",
    f"{R}/labels/hold",
    f"{R}/releases",
    f"{R}/actions/workflows",
    f"{R}/actions/runs",
    f"{R}/actions/runners",
    f"{R}/actions/runners/downloads",
    f"{R}/actions/permissions",
    f"{R}/actions/permissions/workflow",
    f"{R}/actions/permissions/fork-pr-contributor-approval",
    f"{R}/actions/permissions/fork-pr-workflows-private-repos",
    "/rate_limit",
]


def exchange(client: Client, method: str, path: str, body: Any = None) -> Any:
    reply = client.rest(method, path, body)
    wrong = contract.problems(method, path, body, reply.status, reply.body)
    assert not wrong, "\n".join(wrong)
    return reply


@pytest.mark.slow
def test_every_read_keeps_to_the_description(client: Client) -> None:
    client.rest("POST", f"{R}/pulls/2/reviews", {"event": "APPROVE"})
    client.control("POST", "/job", {"repository": "factory/demo", "steps": [{"run": "true"}]})
    wrong = []
    for path in READS:
        reply = client.rest("GET", path)
        assert reply.status == 200, (path, reply.body)
        wrong += contract.problems("GET", path, None, 200, reply.body)
    assert not wrong, "\n".join(wrong)


@pytest.mark.slow
def test_every_write_keeps_to_the_description(client: Client) -> None:
    sha = client.rest("GET", f"{R}/pulls/2").body["head"]["sha"]
    main = client.rest("GET", f"{R}/git/ref/heads/main").body["object"]["sha"]
    exchange(client, "POST", f"{R}/issues", {"title": "New", "labels": ["hold"]})
    exchange(client, "PATCH", f"{R}/issues/1", {"state": "closed"})
    exchange(client, "POST", f"{R}/issues/2/comments", {"body": "Hello"})
    exchange(client, "POST", f"{R}/issues/2/labels", {"labels": ["duplicate"]})
    exchange(client, "PUT", f"{R}/issues/2/labels", {"labels": ["hold"]})
    exchange(client, "DELETE", f"{R}/issues/2/labels/hold")
    exchange(client, "POST", f"{R}/labels", {"name": "conflict", "color": "ff0000"})
    exchange(client, "POST", f"{R}/statuses/{sha}", {"state": "success", "context": "lint"})
    exchange(client, "POST", f"{R}/pulls/2/reviews", {"event": "APPROVE", "body": "Good"})
    exchange(client, "PATCH", f"{R}/pulls/3", {"state": "closed"})
    exchange(client, "PUT", f"{R}/pulls/2/merge", {"sha": sha, "merge_method": "squash"})
    exchange(client, "PUT", f"{R}/pulls/4/update-branch", {})
    exchange(client, "DELETE", f"{R}/git/refs/heads/green")
    exchange(client, "POST", f"{R}/git/refs", {"ref": "refs/heads/train/1", "sha": main})
    exchange(client, "POST", f"{R}/merges", {"base": "train/1", "head": "held"})
    exchange(client, "PATCH", f"{R}/git/refs/heads/train/1", {"sha": main, "force": True})
    client.control(
        "POST", "/push", {"repository": "factory/demo", "branch": "n", "files": {"n": "n"}}
    )
    exchange(client, "POST", f"{R}/pulls", {"title": "N", "head": "n", "base": "main"})
    exchange(client, "PATCH", R, {"private": False, "delete_branch_on_merge": True})
    permissions = f"{R}/actions/permissions"
    policy = {"approval_policy": "first_time_contributors"}
    exchange(client, "PUT", f"{permissions}/fork-pr-contributor-approval", policy)


@pytest.mark.slow
def test_every_runner_call_keeps_to_the_description(client: Client) -> None:
    runners = f"{R}/actions/runners"
    exchange(client, "POST", f"{runners}/registration-token")
    exchange(client, "POST", f"{runners}/remove-token")
    body = {"name": "r1", "runner_group_id": 1, "labels": ["self-hosted", "demo"]}
    made = exchange(client, "POST", f"{runners}/generate-jitconfig", body).body["runner"]["id"]
    assert exchange(client, "POST", f"{runners}/generate-jitconfig", body).status == 409
    exchange(client, "GET", f"{runners}/{made}")
    exchange(client, "PUT", f"{runners}/{made}/labels", {"labels": ["a", "b"]})
    exchange(client, "DELETE", f"{runners}/{made}/labels/a")
    exchange(client, "DELETE", f"{runners}/{made}")
    assert client.rest("GET", f"{runners}/{made}").status == 404


def test_the_contract_refuses_what_github_would_not_send(client: Client) -> None:
    body = {"sha": None, "merged": "yes", "message": "ok"}

    wrong = contract.problems("PUT", f"{R}/pulls/2/merge", None, 200, body)

    assert any("$.sha" in text for text in wrong)
    assert any("$.merged" in text for text in wrong)
