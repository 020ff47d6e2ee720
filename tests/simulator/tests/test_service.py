"""Identity, limits, faults, scenarios: what surrounds the data."""

from __future__ import annotations

import http.client
import time
from pathlib import Path
from typing import Any

import jwt
import pytest
from simulator import Simulator, scenario
from simulator.client import Client
from simulator.scenario import SCENARIOS, ScenarioError

R = "/repos/factory/demo"
pytestmark = [pytest.mark.slow, pytest.mark.deep]


def reload(client: Client, document: dict[str, Any]) -> None:
    answer = client.control("POST", "/scenario", {"document": document})
    assert "error" not in answer, answer
    client.token = client.simulator.token.value


def test_a_private_repository_is_hidden_from_strangers(simulator: Simulator) -> None:
    nobody = Client(simulator, token="")
    stranger = Client(simulator, simulator.world.add_token(simulator.world.account("eve")).value)
    wrong = Client(simulator, "ghp_wrong")

    assert nobody.rest("GET", R).status == 404
    assert stranger.rest("GET", R).status == 404
    assert wrong.rest("GET", R).status == 401
    assert wrong.graphql_reply("{ viewer { login } }").status == 401


def test_a_writer_is_no_administrator(simulator: Simulator) -> None:
    ali = Client(simulator, simulator.world.add_token(simulator.world.account("ali")).value)

    assert ali.rest("POST", f"{R}/issues/2/comments", {"body": "x"}).status == 201
    assert ali.rest("POST", f"{R}/actions/runners/registration-token").status == 403


def app_jwt(app: dict[str, Any], **claims: Any) -> str:
    now = int(time.time())
    key = Path(app["private_key_file"]).read_text()
    given = {"iat": now - 60, "exp": now + 540, "iss": app["client_id"], **claims}
    return jwt.encode(given, key, algorithm="RS256")


def test_an_app_gets_a_narrowed_token_that_expires(client: Client) -> None:
    app = {"slug": "marshal", "installed_on": "factory"}
    names = [{"name": f"factory/{name}"} for name in ("demo", "other")]
    reload(client, {"repositories": names, "apps": [app]})
    known = client.simulator.addresses()["apps"][0]
    as_app = Client(client.simulator, app_jwt(known))
    number = as_app.rest("GET", f"{R}/installation").body["id"]

    body = {"repositories": ["demo"], "permissions": {"pull_requests": "read"}}
    made = as_app.rest("POST", f"/app/installations/{number}/access_tokens", body)

    assert made.status == 201
    narrowed = Client(client.simulator, made.body["token"])
    assert narrowed.rest("GET", f"{R}/pulls").status == 200
    refused = narrowed.rest("POST", f"{R}/issues", {"title": "x"})
    assert (refused.status, refused.body["message"]) == (
        403,
        "Resource not accessible by integration",
    )
    assert narrowed.rest("GET", "/repos/factory/other/pulls").status == 404
    client.control("POST", "/clock", {"seconds": 3601})
    assert narrowed.rest("GET", f"{R}/pulls").status == 401


def test_a_jwt_that_is_too_long_old_or_foreign_is_refused(client: Client) -> None:
    reload(client, {"repositories": [], "apps": [{"slug": "a"}, {"slug": "b"}]})
    first, second = client.simulator.addresses()["apps"]
    now = int(time.time())
    forged = {**second, "client_id": first["client_id"]}
    tokens = [app_jwt(first, exp=now + 3600), app_jwt(first, exp=now - 1), app_jwt(forged)]

    statuses = [Client(client.simulator, token).rest("GET", "/app").status for token in tokens]

    assert statuses == [401, 401, 401]
    assert Client(client.simulator, app_jwt(first)).rest("GET", "/app").status == 200


def test_points_are_counted_and_run_out(client: Client) -> None:
    reload(
        client, {"repositories": [{"name": "factory/demo"}], "limits": {"core": 2, "graphql": 1}}
    )

    first = client.rest("GET", R)
    assert first.headers["X-RateLimit-Remaining"] == "1"
    client.rest("GET", R)
    empty = client.rest("GET", R)
    client.graphql("{ viewer { login } }")
    by_graphql = client.graphql_reply("{ viewer { login } }")

    assert (empty.status, empty.headers["X-RateLimit-Remaining"]) == (403, "0")
    assert (by_graphql.status, by_graphql.body["errors"][0]["type"]) == (200, "RATE_LIMITED")
    assert client.control("GET", "/counts")["points"] == 3
    client.control("POST", "/clock", {"seconds": 3601})
    assert client.rest("GET", R).status == 200


def test_what_has_not_changed_costs_nothing(client: Client) -> None:
    first = client.rest("GET", f"{R}/pulls")
    again = client.rest("GET", f"{R}/pulls", headers={"If-None-Match": first.headers["ETag"]})

    assert (again.status, again.body) == (304, None)
    assert again.headers["X-RateLimit-Used"] == first.headers["X-RateLimit-Used"]
    client.rest("PATCH", f"{R}/pulls/2", {"title": "Changed"})
    changed = client.rest("GET", f"{R}/pulls", headers={"If-None-Match": first.headers["ETag"]})
    assert changed.status == 200


def test_secondary_limits_bite_when_they_are_enforced(client: Client) -> None:
    demo = {"name": "factory/demo", "issues": [{"title": "x"}]}
    reload(client, {"repositories": [demo], "limits": {"secondary": "enforce"}})

    replies = [client.rest("POST", f"{R}/issues/1/comments", {"body": "x"}) for _ in range(81)]

    assert {reply.status for reply in replies[:80]} == {201}
    assert (replies[80].status, replies[80].headers["Retry-After"]) == (403, "60")


def test_pages_are_linked(client: Client) -> None:
    reply = client.rest("GET", f"{R}/pulls?per_page=2&page=2")

    relations = {part.split('rel="')[1][:-1] for part in reply.headers["Link"].split(", ")}
    assert relations == {"prev", "first", "next", "last"}
    assert len(reply.body) == 2


MERGE = {"method": "PUT", "path": "/repos/*/pulls/*/merge"}


@pytest.mark.parametrize("status", [401, 403, 404, 405, 409, 422, 429, 500, 502, 503, 504])
def test_any_status_can_be_answered_in_place_of_the_work(client: Client, status: int) -> None:
    client.control("POST", "/faults", {**MERGE, "answer": {"status": status}, "times": 1})

    assert client.rest("PUT", f"{R}/pulls/2/merge", {}).status == status
    assert client.rest("GET", f"{R}/pulls/2").body["merged"] is False
    assert client.rest("PUT", f"{R}/pulls/2/merge", {}).status == 200


def test_an_error_can_come_after_the_write_was_done(client: Client) -> None:
    client.control("POST", "/faults", {**MERGE, "answer": {"status": 502}, "when": "after"})

    assert client.rest("PUT", f"{R}/pulls/2/merge", {}).status == 502
    assert client.rest("GET", f"{R}/pulls/2").body["merged"] is True


def test_a_connection_can_be_cut(client: Client) -> None:
    client.control("POST", "/faults", {"path": R, "disconnect": True, "times": 1})

    with pytest.raises((http.client.HTTPException, OSError)):
        client.rest("GET", R)
    assert client.rest("GET", R).status == 200


@pytest.mark.parametrize(
    ("kind", "status", "words"),
    [
        ("primary", 200, "API rate limit exceeded"),
        ("secondary", 403, "secondary rate limit"),
        ("secondary_200", 200, "secondary rate limit"),
    ],
)
def test_rate_limits_can_be_feigned(client: Client, kind: str, status: int, words: str) -> None:
    client.control("POST", "/faults", {"graphql": "viewer", "rate_limit": kind})

    reply = client.graphql_reply("{ viewer { login } }")

    assert reply.status == status
    assert words in str(reply.body)


def test_answers_can_be_partial(client: Client) -> None:
    path = "repository.pullRequests.nodes.*.statusCheckRollup"
    client.control("POST", "/faults", {"graphql": "repository", "partial": [path]})
    query = """{ repository(owner: "factory", name: "demo") { pullRequests(first: 2) { nodes {
      number statusCheckRollup { state } } } } }"""

    body = client.graphql(query)

    nodes = body["data"]["repository"]["pullRequests"]["nodes"]
    assert [node["statusCheckRollup"] for node in nodes] == [None, None]
    assert len(body["errors"]) == 2


def test_an_answer_can_be_slow(client: Client) -> None:
    client.control("POST", "/faults", {"path": R, "latency_seconds": 0.3})
    started = time.monotonic()

    client.rest("GET", R)

    assert time.monotonic() - started >= 0.3


def test_what_was_made_is_seen_later(client: Client) -> None:
    reload(client, {"repositories": [{"name": "factory/demo"}], "consistency_delay_seconds": 2})
    runners = f"{R}/actions/runners"
    body = {"name": "r", "runner_group_id": 1, "labels": ["x"]}
    made = client.rest("POST", f"{runners}/generate-jitconfig", body).body["runner"]["id"]

    assert client.rest("GET", f"{runners}/{made}").status == 404
    assert client.rest("GET", runners).body["total_count"] == 0
    client.control("POST", "/clock", {"seconds": 2})
    assert client.rest("GET", f"{runners}/{made}").status == 200


def test_every_shipped_scenario_is_valid() -> None:
    for path in SCENARIOS.glob("*.yml"):
        scenario.load(path.stem)


@pytest.mark.parametrize(
    ("document", "words"),
    [
        ({"repos": []}, "the document: Additional properties"),
        ({"repositories": [{"name": "demo"}]}, "repositories[0].name: 'demo' does not match"),
        (
            {"repositories": [{"name": "a/b", "pull_requests": [{"head": 1}]}]},
            "repositories[0].pull_requests[0].head: 1 is not of type 'string'",
        ),
    ],
)
def test_a_wrong_key_is_named(document: dict[str, Any], words: str) -> None:
    with pytest.raises(ScenarioError) as caught:
        scenario.check(document, "test")
    assert words in str(caught.value)


def test_a_scenario_that_leads_nowhere_is_refused_and_the_old_world_stays(client: Client) -> None:
    pull = {"head": "a", "from": "nowhere"}
    given = {"document": {"repositories": [{"name": "a/b", "pull_requests": [pull]}]}}

    answer = client.control("POST", "/scenario", given)

    assert "repositories[0].pull_requests[0].from" in answer["error"]
    assert client.rest("GET", R).status == 200


def test_the_same_seed_gives_the_same_world(client: Client) -> None:
    def look() -> list[Any]:
        client.token = client.simulator.token.value
        pulls = client.rest("GET", f"{R}/pulls").body
        return [client.token, [(p["id"], p["head"]["sha"]) for p in pulls]]

    first = look()
    client.control("POST", "/scenario", {"name": "small"})

    assert look() == first


def test_the_readme_explains_every_key() -> None:
    text = (SCENARIOS.parent / "README.md").read_text()
    missing = set()

    def visit(node: Any) -> None:
        for name, inner in node.get("properties", {}).items():
            if f"`{name}`" not in text:
                missing.add(name)
            visit(inner)
        for key in ("items", "additionalProperties"):
            if isinstance(node.get(key), dict):
                visit(node[key])

    visit(scenario.schema())
    for inner in scenario.schema()["$defs"].values():
        visit(inner)

    assert not missing
