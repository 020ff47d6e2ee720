"""Pull requests behave as GitHub's do, and git agrees."""

from __future__ import annotations

import time
from typing import Any

import pytest
from simulator import Simulator
from simulator.client import Client
from simulator.scenario import check

pytestmark = pytest.mark.deep

R = "/repos/factory/demo"
FIND = """query($n: Int!) { repository(owner: "factory", name: "demo") { pullRequest(number: $n) {
  id state mergeable mergeStateStatus headRefOid baseRefOid mergeCommit { oid parents(first: 2) {
  totalCount } } reviewDecision } } }"""
MERGE = """mutation($id: ID!, $oid: GitObjectID!) { mergePullRequest(input: {pullRequestId: $id,
  expectedHeadOid: $oid, mergeMethod: SQUASH}) { pullRequest { state mergeCommit { oid } } } }"""


def look(client: Client, number: int) -> Any:
    body = client.graphql(FIND, n=number)
    assert "errors" not in body, body
    return body["data"]["repository"]["pullRequest"]


def git(simulator: Simulator, *arguments: str) -> str:
    repository = simulator.world.repository("factory/demo")
    assert repository
    return repository.git.git(*arguments)


def test_states_follow_from_checks_rules_and_git(client: Client) -> None:
    states = {n: look(client, n)["mergeStateStatus"] for n in range(2, 8)}

    assert states == {2: "CLEAN", 3: "BLOCKED", 4: "BLOCKED", 5: "DIRTY", 6: "DRAFT", 7: "CLEAN"}


def test_a_squash_puts_one_commit_with_the_heads_content_on_the_base(
    client: Client, simulator: Simulator
) -> None:
    before = git(simulator, "rev-parse", "main")
    pull = look(client, 2)

    merged = client.graphql(MERGE, id=pull["id"], oid=pull["headRefOid"])

    made = merged["data"]["mergePullRequest"]["pullRequest"]
    assert made["state"] == "MERGED"
    assert git(simulator, "rev-parse", "main") == made["mergeCommit"]["oid"]
    assert git(simulator, "rev-parse", "main~1") == before
    assert git(simulator, "show", "main:green.txt") == "green"
    assert client.rest("GET", f"{R}/issues/1").body["state"] == "closed"


def test_a_merge_and_a_rebase_leave_the_history_that_git_gives(
    client: Client, simulator: Simulator
) -> None:
    client.rest("PUT", f"{R}/pulls/2/merge", {"merge_method": "merge"})
    assert len(git(simulator, "rev-list", "--parents", "-1", "main").split()) == 3

    client.rest("PUT", f"{R}/pulls/7/merge", {"merge_method": "rebase"})
    assert len(git(simulator, "rev-list", "--parents", "-1", "main").split()) == 2
    assert git(simulator, "show", "main:held.txt") == "held"


def test_a_moved_head_is_never_merged(client: Client) -> None:
    pull = look(client, 2)
    files = {"repository": "factory/demo", "branch": "green", "files": {"more.txt": "more"}}
    client.control("POST", "/push", files)

    by_graphql = client.graphql(MERGE, id=pull["id"], oid=pull["headRefOid"])
    by_rest = client.rest("PUT", f"{R}/pulls/2/merge", {"sha": pull["headRefOid"]})

    assert by_graphql["errors"][0]["type"] == "UNPROCESSABLE"
    assert by_rest.status == 409
    assert look(client, 2)["state"] == "OPEN"


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (3, 'Required status check "ci" is failing.'),
        (4, 'Required status check "ci" is in progress.'),
        (5, "Pull Request is not mergeable"),
        (6, "Pull Request is still a draft"),
    ],
)
def test_what_may_not_be_merged_is_refused_with_the_reason(
    client: Client, number: int, words: str
) -> None:
    reply = client.rest("PUT", f"{R}/pulls/{number}/merge", {})

    assert (reply.status, reply.body["message"]) == (405, words)


def test_a_check_that_ends_unblocks(client: Client) -> None:
    body = {"repository": "factory/demo", "number": 4, "name": "ci", "conclusion": "success"}

    client.control("POST", "/check", body)

    assert look(client, 4)["mergeStateStatus"] == "CLEAN"


def test_mergeability_is_unknown_until_it_was_computed_and_again_after_a_landing(
    client: Client,
) -> None:
    body = {"repository": "factory/demo", "merge_delay_seconds": 3}
    client.control("POST", "/settings", body)

    assert look(client, 2)["mergeable"] == "UNKNOWN"
    assert client.rest("GET", f"{R}/pulls/7").body["mergeable"] is None
    client.control("POST", "/clock", {"seconds": 3})
    assert look(client, 2)["mergeable"] == "MERGEABLE"
    client.rest("PUT", f"{R}/pulls/2/merge", {"merge_method": "squash"})
    assert look(client, 7)["mergeable"] == "UNKNOWN"


def test_the_state_is_pessimistic_when_contexts_are_selected_beside_it(client: Client) -> None:
    for conclusion in ("failure", "success"):
        body = {"repository": "factory/demo", "number": 2, "name": "x", "conclusion": conclusion}
        client.control("POST", "/check", body)
    query = """{ repository(owner: "factory", name: "demo") { pullRequest(number: 2) {
      alone: statusCheckRollup { state }
      both: statusCheckRollup { state contexts(first: 10) { totalCount } } } } }"""

    found = client.graphql(query)["data"]["repository"]["pullRequest"]

    assert found["alone"]["state"] == "SUCCESS"
    assert found["both"]["state"] == "FAILURE"
    assert found["both"]["contexts"]["totalCount"] == 3


def test_deleting_a_branch_closes_its_dependants(client: Client) -> None:
    push = {"repository": "factory/demo", "branch": "child", "from": "green", "files": {"c": "c"}}
    client.control("POST", "/push", push)
    child = client.control(
        "POST", "/pull_request", {"repository": "factory/demo", "head": "child", "base": "green"}
    )
    client.rest("PUT", f"{R}/pulls/2/merge", {"merge_method": "squash"})

    client.rest("DELETE", f"{R}/git/refs/heads/green")

    assert client.rest("GET", f"{R}/pulls/{child['number']}").body["state"] == "closed"
    again = client.rest("DELETE", f"{R}/git/refs/heads/green")
    assert again.status == 422


def test_the_repositorys_own_setting_retargets_dependants(client: Client) -> None:
    push = {"repository": "factory/demo", "branch": "child", "from": "green", "files": {"c": "c"}}
    client.control("POST", "/push", push)
    body = {"repository": "factory/demo", "head": "child", "base": "green"}
    child = client.control("POST", "/pull_request", body)
    client.rest("PATCH", R, {"delete_branch_on_merge": True})

    client.rest("PUT", f"{R}/pulls/2/merge", {"merge_method": "squash"})

    found = client.rest("GET", f"{R}/pulls/{child['number']}").body
    assert (found["state"], found["base"]["ref"]) == ("open", "main")


def test_an_update_comes_later_and_moves_the_head(client: Client) -> None:
    body = {"repository": "factory/demo", "update_branch_delay_seconds": 5}
    client.control("POST", "/settings", body)
    client.rest("PUT", f"{R}/pulls/2/merge", {"merge_method": "squash"})
    before = look(client, 7)["headRefOid"]

    reply = client.rest("PUT", f"{R}/pulls/7/update-branch", {"expected_head_sha": before})

    assert reply.status == 202
    assert look(client, 7)["headRefOid"] == before
    client.control("POST", "/clock", {"seconds": 5})
    assert look(client, 7)["headRefOid"] != before


def test_a_page_that_is_too_large_and_one_without_a_size_are_errors(client: Client) -> None:
    query = '{ repository(owner: "factory", name: "demo") { pullRequests%s { nodes { number } } } }'

    large = client.graphql(query % "(first: 101)")
    missing = client.graphql(query % "")

    assert large["errors"][0]["type"] == "EXCESSIVE_PAGINATION"
    assert missing["errors"][0]["type"] == "MISSING_PAGINATION_BOUNDARIES"


def test_a_field_that_is_not_known_is_an_error_and_not_a_null(client: Client) -> None:
    body = client.graphql('{ repository(owner: "factory", name: "demo") { stargazerCount } }')

    assert "the simulator does not know Repository.stargazerCount" in body["errors"][0]["message"]


def test_played_ci_judges_the_tree(simulator: Simulator, client: Client) -> None:
    ci = {"name": "ci", "fails_if_together": [["a.txt", "b.txt"]]}
    given = {"name": "factory/demo", "ci": [ci], "pull_requests": [{"head": "a"}, {"head": "b"}]}
    client.control("POST", "/scenario", {"document": {"repositories": [given]}})
    client.token = simulator.token.value
    main = client.rest("GET", f"{R}/git/ref/heads/main").body["object"]["sha"]
    client.rest("POST", f"{R}/git/refs", {"ref": "refs/heads/train/1", "sha": main})

    for head in ("a", "b"):
        client.rest("POST", f"{R}/merges", {"base": "train/1", "head": head})

    runs = client.rest("GET", f"{R}/commits/heads/train/1/check-runs").body["check_runs"]
    assert [run["conclusion"] for run in runs] == ["failure"]
    shown = client.control("GET", "/repository?repository=factory/demo")
    assert shown["ci_runs"] == 5


@pytest.mark.slow
def test_a_thousand_pull_requests_start_quickly_and_cost_what_is_documented() -> None:
    started = time.process_time()
    document = check(
        {"repositories": [{"name": "factory/demo", "generate": {"pull_requests": 1000}}]}, "x"
    )
    with Simulator(document) as simulator:
        assert time.process_time() - started < 8
        client = Client(simulator)
        query = """query($after: String) { rateLimit { cost } repository(owner: "factory",
          name: "demo") { pullRequests(states: OPEN, first: 100, after: $after) { pageInfo {
          hasNextPage endCursor } nodes { number mergeable labels(first: 20) { nodes { name } }
          closingIssuesReferences(first: 5) { nodes { number } } statusCheckRollup { state } } } } }"""
        seen: list[int] = []
        after = None
        while True:
            page = client.graphql(query, after=after)["data"]["repository"]["pullRequests"]
            seen += [node["number"] for node in page["nodes"]]
            if not page["pageInfo"]["hasNextPage"]:
                break
            after = page["pageInfo"]["endCursor"]

        assert seen == list(range(1, 1001))
        counts = simulator.dispatcher.counts()
        assert (counts["graphql_requests"], counts["graphql_points"]) == (10, 20)
