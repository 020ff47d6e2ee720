"""GitHub's merge queue: groups are built, tested on what they would make, landed or put out."""

from __future__ import annotations

from typing import Any

import pytest
from simulator.client import Client

pytestmark = [pytest.mark.slow, pytest.mark.deep]
NAME = "factory/demo"
ENQUEUE = """mutation($id: ID!, $head: GitObjectID) {
  enqueuePullRequest(input: {pullRequestId: $id, expectedHeadOid: $head}) {
    mergeQueueEntry { id position state headCommit { oid } baseCommit { oid } }
  }
}"""


def begin(client: Client, *heads: str | dict[str, Any], ci: dict[str, Any]) -> None:
    """Load a repository with a queue and enqueue a green pull request per head."""
    rule = {"merge_queue": True, "required_checks": ["ci"], "merge_queue_timeout_minutes": 10}
    green = [{"name": "ci", "conclusion": "success"}]
    pulls = [{"checks": green, **({"head": h} if isinstance(h, str) else h)} for h in heads]
    base = [{"message": "Begin", "files": {"same.txt": "one\n"}}]
    given = {"name": NAME, "commits": base, "rules": [rule], "pull_requests": pulls}
    document = {"repositories": [{**given, "ci": [{"name": "ci", **ci}]}]}
    client.control("POST", "/scenario", {"document": document})
    client.token = client.simulator.token.value
    for number in range(1, len(heads) + 1):
        node = client.rest("GET", f"/repos/{NAME}/pulls/{number}").body["node_id"]
        answer = client.graphql(ENQUEUE, id=node)
        assert "errors" not in answer, answer


def seen(client: Client, seconds: float = 0) -> tuple[dict[str, str], list[int], list[Any]]:
    """Let time pass; return the states, who is queued, and who left without landing."""
    client.control("POST", "/clock", {"seconds": seconds})
    state = client.control("GET", f"/repository?repository={NAME}")
    states = {number: pull["state"] for number, pull in state["pull_requests"].items()}
    return states, state["queue"], state["left_queue"]


def groups(client: Client) -> list[str]:
    refs = client.control("GET", f"/repository?repository={NAME}")["refs"]
    return [name for name in refs if name.startswith("refs/heads/gh-readonly-queue/")]


def test_each_lands_in_order_once_its_own_group_is_green(client: Client) -> None:
    begin(client, "a", "b", ci={"delay_seconds": 60})

    assert seen(client, 59) == ({"1": "OPEN", "2": "OPEN"}, [1, 2], [])
    assert len(groups(client)) == 2
    assert seen(client, 2) == ({"1": "MERGED", "2": "MERGED"}, [], [])
    assert groups(client) == []
    log = client.rest("GET", f"/repos/{NAME}/commits").body
    assert [entry["commit"]["message"].split(" ")[0] for entry in log[:2]] == ["b", "a"]
    # What landed is the very commit that was tested.
    merged = client.rest("GET", f"/repos/{NAME}/pulls/2").body["merge_commit_sha"]
    assert merged == log[0]["sha"]


def test_one_that_fails_together_with_those_before_it_is_put_out_alone(client: Client) -> None:
    ci = {"delay_seconds": 60, "fails_if_together": [["a.txt", "b.txt"]]}
    begin(client, "a", "b", "c", ci=ci)

    states, queue, left = seen(client, 61)
    assert (states, queue) == ({"1": "MERGED", "2": "OPEN", "3": "OPEN"}, [3])
    assert left == [[2, "failed checks"]]
    # The third was tested on top of the second: it is built and tested again without it.
    assert seen(client, 61)[0] == {"1": "MERGED", "2": "OPEN", "3": "MERGED"}


def test_one_that_conflicts_with_those_before_it_is_put_out(client: Client) -> None:
    def rival(name: str) -> dict[str, Any]:
        commits = [{"message": name, "files": {"same.txt": f"{name}\n"}}]
        return {"head": name, "commits": commits}

    begin(client, rival("a"), rival("b"), ci={"delay_seconds": 60})

    states, queue, left = seen(client, 61)
    assert (states, queue, left) == (
        {"1": "MERGED", "2": "OPEN"},
        [],
        [[2, "merge conflict"]],
    )


def test_a_push_to_the_head_leaves_and_a_push_to_the_base_builds_anew(client: Client) -> None:
    begin(client, "a", "b", ci={"delay_seconds": 60})
    client.control("POST", "/push", {"repository": NAME, "branch": "a", "files": {"a2.txt": "x"}})

    assert seen(client)[1:] == ([2], [[1, "head moved"]])
    client.control("POST", "/push", {"repository": NAME, "branch": "main", "files": {"m": "x"}})
    assert seen(client, 59)[0]["2"] == "OPEN"
    assert seen(client, 2)[0]["2"] == "MERGED"


def test_a_workflow_without_the_trigger_is_waited_for_in_vain(client: Client) -> None:
    begin(client, "a", ci={"delay_seconds": 1, "merge_group": False})

    assert seen(client, 599)[1:] == ([1], [])
    assert seen(client, 2) == ({"1": "OPEN"}, [], [[1, "checks timed out"]])


def test_an_entry_tells_its_place_and_the_commits_of_its_group(client: Client) -> None:
    begin(client, "a", "b", ci={"delay_seconds": 60})
    query = """{ repository(owner: "factory", name: "demo") {
      mergeQueue { configuration { checkResponseTimeout } entries(first: 5) {
        totalCount nodes { position state pullRequest { number isInMergeQueue }
          headCommit { oid } baseCommit { oid } enqueuer { login } } } }
      pullRequest(number: 2) { isMergeQueueEnabled mergeQueueEntry { position } } } }"""

    found = client.graphql(query)["data"]["repository"]

    queue = found["mergeQueue"]
    first, second = queue["entries"]["nodes"]
    assert queue["configuration"]["checkResponseTimeout"] == 10
    assert [(e["position"], e["state"], e["pullRequest"]) for e in (first, second)] == [
        (1, "AWAITING_CHECKS", {"number": 1, "isInMergeQueue": True}),
        (2, "AWAITING_CHECKS", {"number": 2, "isInMergeQueue": True}),
    ]
    assert second["baseCommit"]["oid"] == first["headCommit"]["oid"]
    assert found["pullRequest"] == {"isMergeQueueEnabled": True, "mergeQueueEntry": {"position": 2}}


def test_who_is_taken_out_again_does_not_land(client: Client) -> None:
    begin(client, "a", ci={"delay_seconds": 60})
    node = client.rest("GET", f"/repos/{NAME}/pulls/1").body["node_id"]
    dequeue = (
        "mutation($id: ID!) { dequeuePullRequest(input: {id: $id}) { mergeQueueEntry { id } } }"
    )

    assert "errors" not in client.graphql(dequeue, id=node)

    assert seen(client, 100) == ({"1": "OPEN"}, [], [[1, "dequeued"]])
    assert "not in the queue" in str(client.graphql(dequeue, id=node)["errors"])
