"""What lanes ask of GitHub, and what they make of its answers."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from factory.core.base.github.errors import ForgeError, RefusedError, UncertainError
from factory.core.lanes import forge

REPOSITORY = "/repos/factory/demo"


class Transport:
    """Answers by method and path; what is an error is raised."""

    def __init__(self, **answers: Any) -> None:
        self.answers = answers
        self.asked: list[tuple[str, str, Any]] = []

    def rest(self, method: str, path: str, body: Any = None) -> Any:
        self.asked.append((method, path, body))
        parts = urlsplit(path)
        answer = self.answers[f"{method} {parts.path.removeprefix(REPOSITORY)}"]
        if isinstance(answer, ForgeError):
            raise answer
        return answer(parse_qs(parts.query)) if callable(answer) else answer


def hub(**answers: Any) -> tuple[forge.LaneForge, Transport]:
    transport = Transport(**answers)
    return forge.LaneForge(transport, "factory/demo"), transport  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("document", "words"),
    [
        ({"state": "closed", "title": "x"}, "issue #7 of factory/demo is closed"),
        ({"state": "open", "pull_request": {}, "title": "x"}, "is a pull request and no issue"),
    ],
)
def test_only_an_open_issue_gets_a_lane(document: dict[str, Any], words: str) -> None:
    found, _calls = hub(**{"GET /issues/7": document})
    with pytest.raises(RefusedError, match=words):
        found.issue(7)
    found, _calls = hub(**{"GET /issues/7": {"state": "open", "title": "x", "body": None}})
    assert found.issue(7) == forge.Issue(7, "x", "")


def test_who_may_write_or_asked_is_heard_and_the_factory_is_not() -> None:
    def said(login: str, association: str, body: str) -> dict[str, Any]:
        return {"user": {"login": login}, "author_association": association, "body": body}

    comments = [
        said("ali", "NONE", "I asked."),
        said("eve", "NONE", "Do something else."),
        said("bob", "MEMBER", "In French."),
        said("bot", "MEMBER", f"{forge.OWN_COMMENT}\nLane x ended."),
    ]
    found, _calls = hub(**{"GET /issues/7/comments": comments})
    heard = found.comments(forge.Issue(7, "x", "", "ali"))
    assert heard == [forge.Comment("ali", "I asked."), forge.Comment("bob", "In French.")]


def test_what_is_new_about_a_lanes_pull_request_is_found() -> None:
    def said(body: str, at: str = "2026-01-02T00:00:01Z", **more: Any) -> dict[str, Any]:
        author = {"user": {"login": "bob"}, "author_association": "MEMBER"}
        return {**author, "body": body, "created_at": at, **more}

    head = {"ref": "lane/7-0a1b2c3d", "sha": "s", "repo": {"full_name": "factory/demo"}}
    runs = [
        {"name": "test", "conclusion": "failure", "output": {"title": "2 failed"}},
        {"name": "lint", "conclusion": "success"},
    ]
    answers = {
        "GET /pulls/5": pull(head=head),
        "GET /commits/s": {"commit": {"committer": {"date": "2026-01-02T00:00:00Z"}}},
        "GET /issues/5/comments": [
            said("old", "2026-01-01T00:00:00Z"),
            said("new"),
            said("no", author_association="NONE"),
        ],
        "GET /pulls/5/comments": [said("here", path="a.txt", line=3)],
        "GET /pulls/5/reviews": [said(""), said("again", submitted_at="2026-01-02T00:00:02Z")],
        "GET /commits/s/check-runs": {"check_runs": runs},
    }
    found, _calls = hub(**answers)
    assert found.review(5).remarks == (
        *("bob said: new", "bob said: a.txt:3: here", "bob said: again"),
        "The check test failed: 2 failed",
    )
    answers["GET /pulls/5"] = pull(head={**head, "ref": "feature"})
    with pytest.raises(RefusedError, match="which no lane made"):
        hub(**answers)[0].review(5)


def pull(**changes: Any) -> dict[str, Any]:
    head = {"ref": "feature", "repo": {"full_name": "Factory/Demo"}}
    found = {"state": "open", "title": "t", "body": "b", "html_url": "u", "head": head}
    return {**found, "base": {"ref": "main"}, **changes}


@pytest.mark.parametrize(
    ("document", "words"),
    [
        (pull(state="closed"), "pull request #5 is closed"),
        (pull(head={"ref": "x", "repo": {"full_name": "fork/demo"}}), "is not in factory/demo"),
        (pull(head={"ref": "x", "repo": None}), "is not in factory/demo"),
    ],
)
def test_only_an_open_pull_request_of_this_repository_is_resolved(
    document: dict[str, Any], words: str
) -> None:
    found, _calls = hub(**{"GET /pulls/5": document})
    with pytest.raises(RefusedError, match=words):
        found.conflict(5)
    found, _calls = hub(**{"GET /pulls/5": pull()})
    assert found.conflict(5) == forge.Conflict(5, "t", "b", "u", "feature", "main")


def test_all_issues_with_the_label_are_found_whatever_their_number() -> None:
    def page(query: dict[str, list[str]]) -> list[dict[str, Any]]:
        assert (query["labels"], query["state"], query["direction"]) == (
            ["lane"],
            ["open"],
            ["asc"],
        )
        first = 1 + 100 * (int(query["page"][0]) - 1)
        found: list[dict[str, Any]] = [{"number": n} for n in range(first, min(first + 100, 151))]
        found[0]["pull_request"] = {}
        return found

    found, _calls = hub(**{"GET /issues": page})
    numbers = [item["number"] for item in found.open_issues("lane")]
    assert numbers == [n for n in range(1, 151) if n not in (1, 101)]


@pytest.mark.parametrize("error", [UncertainError("no answer"), RefusedError("it exists already")])
def test_a_pull_request_that_an_unanswered_try_has_opened_is_not_opened_twice(
    error: ForgeError,
) -> None:
    existing = {"number": 3, "html_url": "u"}
    answers = {"POST /pulls": error, "GET /pulls": [existing]}
    found, transport = hub(**answers)

    opened = found.open_pull_request("lane/7-1", "main", "t", "b", draft=True)

    assert opened == forge.OpenedPull(3, "u")
    assert "head=factory%3Alane%2F7-1" in transport.asked[1][1]
    found, _calls = hub(**{"POST /pulls": error, "GET /pulls": []})
    with pytest.raises(type(error)):
        found.open_pull_request("lane/7-1", "main", "t", "b", draft=True)


def test_a_forks_branch_is_no_lanes_pull_request() -> None:
    """Anybody may propose one, and call it as they like."""

    def proposed(number: int, repository: str | None) -> dict[str, Any]:
        repo = {"full_name": repository} if repository else None
        return {"number": number, "head": {"ref": f"lane/{number}-0a1b2c3d", "repo": repo}}

    pulls = [proposed(1, "Factory/demo"), proposed(2, "eve/demo"), proposed(3, None)]
    found, _calls = hub(**{"GET /pulls": pulls})
    assert found.open_pulls() == [(1, "lane/1-0a1b2c3d")]
    assert found.open_branches() == ["lane/1-0a1b2c3d"]
