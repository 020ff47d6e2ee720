from __future__ import annotations

import json
from typing import Any

import pytest

from factory.core.base.github.errors import (
    LimitedError,
    RefusedError,
    UncertainError,
    UnusableError,
)
from factory.core.base.github.transport import PartialError, Transport
from factory.core.base.ports import Request, Response

API = "https://github.example.com/api/v3"
NEW = f"{API}/repositories/1/pulls"
MOVED = [301, 302, 307, 308]


class Github:
    """Answers by address; an address without an answer is said to be gone."""

    def __init__(self, answers: dict[str, Response]) -> None:
        self.answers = answers
        self.asked: list[tuple[str, str]] = []

    def __call__(self, request: Request, *, timeout_seconds: float = 30.0) -> Response:
        self.asked.append((request.method, request.url))
        return self.answers.get(request.url, Response(404, {}, b"{}"))


def answer(status: int, document: Any, **headers: str) -> Response:
    return Response(status, headers, json.dumps(document).encode())


def transport(github: Github) -> Transport:
    return Transport(github, API, lambda: "t", lambda: 0.0)


@pytest.mark.parametrize("status", MOVED)
@pytest.mark.parametrize("method", ["PUT", "POST", "PATCH", "DELETE"])
def test_a_write_that_is_redirected_was_not_done_and_says_where_the_repository_is(
    method: str, status: int
) -> None:
    moved = answer(status, {"message": "Moved"}, location=NEW)
    github = Github({f"{API}/repos/o/r/pulls": moved, NEW: answer(200, {"merged": True})})

    with pytest.raises(UnusableError, match=f"{status}: the repository has moved to {NEW}"):
        transport(github).rest(method, "/repos/o/r/pulls", {})

    assert github.asked == [(method, f"{API}/repos/o/r/pulls")]


@pytest.mark.parametrize("status", MOVED)
def test_a_read_follows_a_redirect_on_the_same_host(status: int) -> None:
    moved = answer(status, {}, location="/api/v3/repositories/1/pulls")
    github = Github({f"{API}/repos/o/r/pulls": moved, NEW: answer(200, ["found"])})

    assert transport(github).rest("GET", "/repos/o/r/pulls") == ["found"]


@pytest.mark.parametrize(
    "place",
    [
        "https://elsewhere.example.com/api/v3/repositories/1/pulls",
        "http://github.example.com/api/v3/repositories/1/pulls",
        "https://github.example.com:8443/repositories/1/pulls",
        "https://[",
        "",
    ],
)
def test_no_other_host_is_shown_the_token(place: str) -> None:
    headers = {"location": place} if place else {}
    github = Github({f"{API}/repos/o/r/pulls": answer(301, {}, **headers)})

    with pytest.raises(UnusableError, match="has moved"):
        transport(github).rest("GET", "/repos/o/r/pulls")

    assert len(github.asked) == 1


def test_a_redirect_that_leads_in_a_circle_ends() -> None:
    here = f"{API}/repos/o/r/pulls"
    github = Github({here: answer(302, {}, location=here)})

    with pytest.raises(UnusableError):
        transport(github).rest("GET", "/repos/o/r/pulls")

    assert len(github.asked) == 4


@pytest.mark.parametrize(
    ("status", "error"), [(307, UnusableError), (401, UnusableError), (403, RefusedError)]
)
def test_a_query_is_not_answered_by_a_redirect_or_a_refusal(
    status: int, error: type[Exception]
) -> None:
    github = Github({f"{API.removesuffix('/v3')}/graphql": answer(status, {"data": {}})})

    with pytest.raises(error) as caught:
        transport(github).graphql("query { a }", {})

    assert caught.type is error


LIMITS: list[tuple[Response, float]] = [
    (answer(429, {"message": "Too many requests"}), 60.0),
    (answer(403, {"message": "Slow down"}, **{"retry-after": "7"}), 7.0),
    (answer(403, {"message": "You have exceeded a secondary rate limit"}), 60.0),
    (
        answer(403, {}, **{"x-ratelimit-remaining": "0", "x-ratelimit-reset": "1090"}),
        90.0,
    ),
    (answer(200, {"errors": [{"type": "RATE_LIMITED", "message": "used up"}]}), 60.0),
    (answer(200, {"errors": [{"message": "exceeded a secondary rate limit"}]}), 60.0),
]


@pytest.mark.parametrize(("limit", "seconds"), LIMITS)
def test_a_rate_limit_is_told_from_a_refusal_and_says_when_to_ask_again(
    limit: Response, seconds: float
) -> None:
    github = Github({f"{API.removesuffix('/v3')}/graphql": limit})

    with pytest.raises(LimitedError) as caught:
        Transport(github, API, lambda: "t", lambda: 1000.0).graphql("query { a }", {})

    assert caught.value.retry_after_seconds == seconds


@pytest.mark.parametrize("status", [500, 502, 504])
def test_an_error_of_the_server_leaves_open_whether_it_was_done(status: int) -> None:
    github = Github({f"{API}/repos/o/r/pulls": answer(status, {"message": "no"})})

    with pytest.raises(UncertainError, match=f"{status} no"):
        transport(github).rest("POST", "/repos/o/r/pulls", {})


def test_a_request_without_an_answer_leaves_open_whether_it_was_done() -> None:
    def nobody(*_: object, **__: object) -> Response:
        raise TimeoutError("timed out")

    with pytest.raises(UncertainError, match=r"PUT .*: no answer: timed out"):
        Transport(nobody, API, lambda: "t", lambda: 0.0).rest("PUT", "/repos/o/r/pulls/1/merge")


def test_a_token_that_cannot_be_had_is_an_unanswered_request() -> None:
    def no_token() -> str:
        raise ConnectionError("GitHub App: 500")

    with pytest.raises(UncertainError, match="no token: GitHub App: 500"):
        Transport(Github({}), API, no_token, lambda: 0.0).rest("GET", "/user")


def partial(*paths: list[Any] | None) -> PartialError:
    errors = [{"message": f"error {n}", "path": path} for n, path in enumerate(paths)]
    return PartialError("partly", {"nodes": []}, errors)


def test_errors_below_a_place_are_told_by_the_row_that_they_belong_to() -> None:
    error = partial(["nodes", 3, "checked"], ["nodes", 0], ["nodes", 3, "files", "nodes", 1])

    assert error.below("nodes") == {3: "error 0", 0: "error 1"}


@pytest.mark.parametrize("path", [None, [], ["nodes"], ["rateLimit"], ["repository", "nodes", 0]])
def test_an_error_that_belongs_to_no_row_is_raised(path: list[Any] | None) -> None:
    error = partial(["nodes", 0], path)

    with pytest.raises(PartialError):
        error.below("nodes")
