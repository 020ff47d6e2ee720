"""Search: what matches, whom it shows what, and how its index lags."""

from __future__ import annotations

from typing import Any

import pytest
from simulator.client import Client

pytestmark = [pytest.mark.slow, pytest.mark.deep]


def found(client: Client, query: str) -> list[int]:
    """Return the numbers that GraphQL finds; REST must find the same."""
    document = """query($q: String!) { search(query: $q, type: ISSUE, first: 50) { issueCount nodes {
      ... on PullRequest { number } ... on Issue { number } } } }"""
    answer = client.graphql(document, q=query)
    assert "errors" not in answer, answer
    numbers = [node["number"] for node in answer["data"]["search"]["nodes"]]
    listed = client.rest("GET", f"/search/issues?q={query.replace(' ', '%20')}").body
    assert [item["number"] for item in listed["items"]] == numbers
    assert answer["data"]["search"]["issueCount"] == listed["total_count"] == len(numbers)
    return numbers


QUERIES = [
    ("repo:factory/demo is:pr is:open sort:created-asc", [2, 3, 4, 5, 6, 7]),
    ("is:issue", [1]),
    ("is:pr label:hold", [7]),
    ("is:pr -label:hold draft:false author:ali head:red", [3]),
    ("is:pr base:nowhere", []),
    ('"small" in:title', [1]),
    ("org:elsewhere", []),
]


@pytest.mark.parametrize(("query", "numbers"), QUERIES)
def test_a_query_finds_what_it_names(client: Client, query: str, numbers: list[int]) -> None:
    assert found(client, query) == numbers


def test_what_the_simulator_cannot_search_for_is_an_error(client: Client) -> None:
    answer = client.rest("GET", "/search/issues?q=is:pr%20review:approved")

    assert answer.status == 422
    assert "does not know review:approved" in answer.body["message"]


def test_a_private_repository_is_found_by_its_people_alone(client: Client) -> None:
    token = "of-a-stranger"  # noqa: S105 - of a simulated user
    users = [{"login": "stranger", "token": token}]
    private: dict[str, Any] = {"name": "factory/demo", "issues": [{"title": "A wish"}]}
    document = {"users": users, "repositories": [{**private, "private": True}]}
    client.control("POST", "/scenario", {"document": document})
    client.token = client.simulator.token.value

    assert found(client, "wish") == [1]
    client.token = token
    assert found(client, "wish") == []


def test_the_index_tells_of_changes_only_later(client: Client) -> None:
    issues = [{"title": "Old", "created_at": "-1d"}]
    document = {
        "search_delay_seconds": 60,
        "repositories": [{"name": "factory/demo", "issues": issues}],
    }
    client.control("POST", "/scenario", {"document": document})
    client.token = client.simulator.token.value
    path = "/repos/factory/demo/issues"
    client.rest("POST", path, {"title": "New"})
    client.rest("PATCH", f"{path}/1", {"state": "closed"})

    assert found(client, "is:open") == [1]
    client.control("POST", "/clock", {"seconds": 61})
    assert found(client, "is:open") == [2]
    assert found(client, "is:closed") == [1]
