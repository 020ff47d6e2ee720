"""What is asked of GitHub, and what its answers mean, over a connection that only notes requests."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from factory.core.base.github.errors import ForgeError, RefusedError, UncertainError, UnusableError
from factory.core.base.github.transport import Transport
from factory.core.base.ports import Request, Response
from factory.core.marshal import github_forge
from factory.core.marshal.forge import MovedError, NotMergeableError
from factory.core.marshal.settings import MergePolicy
from factory.core.marshal.snapshot import Branch, Mergeable, PullRequest, Snapshot

from .test_decide import PULL

API = "https://api.github.com"


class Github:
    """Gives one answer to everything, and keeps what it was asked."""

    def __init__(self, status: int = 200, document: Any = None) -> None:
        self.response = Response(status, {}, json.dumps(document or {}).encode())
        self.asked: list[tuple[str, str, Any]] = []

    def __call__(self, request: Request, *, timeout_seconds: float = 30.0) -> Response:
        body = json.loads(request.body) if request.body else None
        self.asked.append((request.method, request.url.removeprefix(API), body))
        return self.response

    @property
    def forge(self) -> github_forge.GithubForge:
        transport = Transport(self, API, lambda: "t", lambda: 0.0)
        return github_forge.GithubForge(transport, "o/r", MergePolicy())


@pytest.mark.parametrize("method", ["squash", "merge", "rebase"])
def test_a_merge_and_an_update_name_the_head_that_was_judged(method: str) -> None:
    github = Github()

    github.forge.merge(PULL, method)
    github.forge.update_branch(PULL)

    (merge, merged), (update, updated) = [(f"{m} {url}", body) for m, url, body in github.asked]
    assert merge == "PUT /repos/o/r/pulls/7/merge"
    assert (merged.get("sha"), merged["merge_method"]) == ("head", method)
    assert update == "PUT /repos/o/r/pulls/7/update-branch"
    assert updated == {"expected_head_sha": "head"}


def test_githubs_own_queue_is_given_the_head_that_was_judged() -> None:
    github = Github(200, {"data": {}})

    github.forge.enqueue(PULL)

    ((_method, _url, body),) = github.asked
    assert body["variables"] == {"id": "PR_7", "head": "head"}
    assert "expectedHeadOid: $head" in body["query"]


MODIFIED = "Base branch was modified. Review and try the merge again."
MERGES = [
    (409, "Head branch was modified", MovedError),
    (405, MODIFIED, NotMergeableError),
    (405, 'Required status check "deploy" is expected.', NotMergeableError),
    (401, "Bad credentials", UnusableError),
    (403, "Resource not accessible", RefusedError),
    (404, "Not Found", RefusedError),
    (422, "Invalid", RefusedError),
    (500, "Server Error", UncertainError),
]


@pytest.mark.parametrize(("status", "words", "kind"), MERGES)
def test_each_answer_to_a_merge_has_its_meaning(
    status: int, words: str, kind: type[ForgeError]
) -> None:
    with pytest.raises(ForgeError) as caught:
        Github(status, {"message": words}).forge.merge(PULL, "squash")

    assert caught.type is kind
    assert words in str(caught.value)
    if isinstance(caught.value, NotMergeableError):
        assert caught.value.transient == (words == MODIFIED)


@pytest.mark.parametrize("status", [404, 422])
def test_what_is_gone_already_is_as_it_was_wanted(status: int) -> None:
    Github(status).forge.delete_branch("topic")
    Github(status).forge.remove_label(7, "conflict")
    with pytest.raises(RefusedError):
        Github(403).forge.delete_branch("topic")


def examined(pulls: list[PullRequest], wanted: dict[int, str], always: set[int]) -> list[int]:
    snapshot = Snapshot("o/r", Branch("main", "base"), tuple(pulls))
    policy = MergePolicy(examined_per_cycle=3)
    chosen = github_forge._deserving(policy, snapshot, wanted, always)
    return [pull.number for pull in chosen]


def test_who_may_land_first_is_read_in_full_and_whom_nothing_changed_for_last() -> None:
    pulls = [replace(PULL, number=n, created_at=float(n)) for n in range(1, 9)]
    pulls[0] = replace(pulls[0], is_draft=True)
    pulls[1] = replace(pulls[1], labels=frozenset({"hold"}))
    pulls[2] = replace(pulls[2], mergeable=Mergeable.CONFLICTING)

    assert examined(pulls, {}, set()) == [4, 5, 6]
    waiting = {4: pulls[3].fingerprint, 5: "another head"}
    assert examined(pulls, waiting, set()) == [5, 6, 7]
    # A batch under test is always seen, or it would seem to have changed.
    assert examined(pulls, {}, {8, 7}) == [7, 8, 4]


def held(github: Github, **pull: Any) -> Branch:
    """Return what a branch without a rule of its own is held to, with one such pull request."""
    return github.forge._held_to_its_rules(Branch("main", "base"), [replace(PULL, **pull)])


def test_who_is_bound_by_up_to_date_is_told_so_by_a_head_that_is_behind() -> None:
    github = Github()

    assert held(github, merge_state="BEHIND").strict
    assert not held(github).strict
    assert github.asked == []


@pytest.mark.parametrize(
    ("status", "document", "strict", "hidden"),
    [
        (200, {"required_status_checks": {"strict": True}}, True, False),
        (200, {"required_status_checks": {"strict": False}}, False, False),
        (200, {"enforce_admins": {"enabled": False}}, False, False),
        (404, {"message": "Branch not protected"}, False, False),
        (404, {"message": "Not Found"}, True, True),
        (403, {"message": "Resource not accessible"}, True, True),
        (502, {}, True, True),
    ],
)
def test_who_could_pass_the_rules_by_keeps_them_also_unread(
    status: int, document: dict[str, Any], strict: bool, hidden: bool
) -> None:
    found = held(Github(status, document), can_bypass=True)

    assert (found.strict, found.rules_hidden) == (strict, hidden)


@pytest.mark.parametrize(
    ("document", "forbidden"),
    [
        ({"required_pull_request_reviews": {"url": "x"}}, "it requires a pull request"),
        ({"required_signatures": {"enabled": True}}, "it requires signed commits"),
        ({"required_linear_history": {"enabled": True}}, "it requires a linear history"),
        ({"required_linear_history": {"enabled": False}}, ""),
        ({"restrictions": {"users": []}}, "it restricts who pushes"),
        ({}, ""),
    ],
)
def test_a_train_is_pushed_past_no_rule(document: dict[str, Any], forbidden: str) -> None:
    assert held(Github(200, document or {"url": "x"}), can_bypass=True).push_forbidden == forbidden
