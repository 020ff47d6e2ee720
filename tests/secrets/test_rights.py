"""What a login may do at GitHub: as the simulator grants it, and as GitHub has answered others."""

from __future__ import annotations

import itertools
import json
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from simulator import Simulator

from factory import effects
from factory.core.base.github import rights
from factory.core.base.github.rights import NEEDED, Rights
from factory.core.base.github.settings import Login
from factory.core.base.ports import (
    Completed,
    Fetch,
    Request,
    Response,
)

REPOSITORY = "example/academy"
SCENARIO: dict[str, Any] = {
    "users": [{"login": "ali"}, {"login": "rana"}],
    "apps": [
        {"slug": "whole", "installed_on": "example"},
        {"slug": "reader", "installed_on": "example", "permissions": {"metadata": "read"}},
        {"slug": "elsewhere", "installed_on": "other"},
    ],
    "repositories": [{"name": REPOSITORY, "collaborators": {"ali": "admin", "rana": "triage"}}],
}
EVERYTHING = rights.together([*NEEDED.values(), {"workflows": "write"}])


@pytest.fixture(scope="module")
def github() -> Iterator[Simulator]:
    with Simulator(SCENARIO) as simulator:
        yield simulator


def reaching(github: Simulator) -> Fetch:
    context = ssl.create_default_context(cafile=github.addresses()["ca_file"])

    def fetch(request: Request, *, timeout_seconds: float = 30.0) -> Response:
        asked = urllib.request.Request(  # noqa: S310 - the simulator's own address
            request.url, request.body, dict(request.headers), method=request.method
        )
        try:
            with urllib.request.urlopen(asked, context=context, timeout=timeout_seconds) as answer:  # noqa: S310
                status, headers, body = answer.status, answer.headers, answer.read()
        except urllib.error.HTTPError as error:
            status, headers, body = error.code, error.headers, error.read()
        return Response(status, {name.lower(): value for name, value in headers.items()}, body)

    return fetch


def of(github: Simulator, needed: Mapping[str, str], login: str = "ali", **token: Any) -> Rights:
    world = github.world
    held = world.add_token(world.account(login), **token)
    url = github.addresses()["api_url"]
    return rights.of_token(held.value, url, REPOSITORY, needed, reaching(github))


def state(github: Simulator) -> str:
    found = github.world.repository(REPOSITORY)
    assert found is not None
    return f"{sorted(found.git.refs)} {sorted(found.issues)} {len(found.scope.runners)}"


@pytest.mark.parametrize("capability", sorted(NEEDED))
def test_a_fine_grained_token_lacks_just_what_it_was_not_given(
    github: Simulator, capability: str
) -> None:
    needed = NEEDED[capability]
    asked = {name: level for name, level in needed.items() if name != "workflows"}
    before = state(github)
    assert of(github, needed, permissions=dict(needed)).missing == ()

    for left_out in asked.keys() - {"metadata"}:
        given = {name: level for name, level in needed.items() if name != left_out}
        assert of(github, needed, permissions=given).missing == (f"{left_out}={asked[left_out]}",)
    for name in (name for name, level in asked.items() if level == "write"):
        given = {**needed, name: "read"}
        assert of(github, needed, permissions=given).missing == (f"{name}=write",)
    assert state(github) == before


def test_what_no_fine_grained_token_can_have_is_said(github: Simulator) -> None:
    verdict = of(github, {"checks": "read"}, permissions={"metadata": "read"})

    assert "no fine-grained token can have checks=read: take a classic one" in str(verdict)


def test_what_nobody_can_ask_is_unknown_and_never_enough(github: Simulator) -> None:
    verdict = of(github, NEEDED["workflows"], permissions=dict(NEEDED["workflows"]))

    assert (verdict.unknown, verdict.enough) == (("workflows=write",), False)
    assert "could not be asked for workflows=write" in str(verdict)


@pytest.mark.parametrize(
    ("login", "scopes", "missing"),
    [
        ("ali", ("repo", "workflow"), ()),
        ("ali", ("repo",), ("the scope workflow",)),
        ("rana", ("repo", "workflow"), ("the user's role admin", "the user's role push")),
    ],
)
def test_a_classic_token_is_judged_by_its_scopes_and_its_users_role(
    github: Simulator, login: str, scopes: tuple[str, ...], missing: tuple[str, ...]
) -> None:
    assert of(github, EVERYTHING, login, scopes=scopes) == Rights("a classic token", missing)


def test_a_token_that_does_not_see_the_repository_is_told_why(github: Simulator) -> None:
    blind = of(github, EVERYTHING, scopes=("read:org", "gist"))
    assert "lacks the scope repo (it has read:org, gist)" in str(blind)
    elsewhere = of(github, EVERYTHING, permissions=EVERYTHING, repositories={"example/other"})
    assert "was not given this repository" in str(elsewhere)
    url = github.addresses()["api_url"]
    cut = rights.of_token("ghp_half", url, REPOSITORY, EVERYTHING, reaching(github))
    assert "is not whole" in str(cut)


@pytest.mark.parametrize(
    ("slug", "said"),
    [
        ("whole", "may do all that is needed"),
        ("reader", "lacks administration=write, actions=read"),
        ("elsewhere", "the App is not installed on example/academy"),
    ],
)
def test_an_app_is_judged_by_its_installation(github: Simulator, slug: str, said: str) -> None:
    app = next(item for item in github.world.apps.values() if item.slug == slug)
    login = Login(method="github_app", app_id=app.id, app_key_file=app.private_key_file)

    verdict = rights.of_app(
        login,
        github.addresses()["api_url"],
        REPOSITORY,
        NEEDED["runners"],
        run=effects.run,
        fetch=reaching(github),
        now=time.time,
    )

    assert said in str(verdict)


def test_a_key_of_another_app_is_of_no_use(github: Simulator) -> None:
    one, other = itertools.islice(github.world.apps.values(), 2)
    login = Login(method="github_app", app_id=one.id, app_key_file=other.private_key_file)
    url = github.addresses()["api_url"]

    verdict = rights.of_app(
        login, url, REPOSITORY, {}, run=effects.run, fetch=reaching(github), now=time.time
    )

    assert verdict.problem


# --- as GitHub has answered -------------------------------------------------------

PERMISSION_GAP = {"message": "Resource not accessible by personal access token"}
SAML = {
    "message": "Resource protected by organization SAML enforcement. You must grant your personal"
    " token access to this organization."
}
SEEN = {"private": True, "permissions": {"admin": True, "push": True, "pull": True}}


def answering(*answers: tuple[int, Mapping[str, str], Any]) -> Fetch:
    left = iter(answers)

    def fetch(request: Request, *, timeout_seconds: float = 30.0) -> Response:
        status, headers, body = next(left)
        return Response(status, headers, json.dumps(body).encode())

    return fetch


def answered(needed: Mapping[str, str], *answers: tuple[int, Mapping[str, str], Any]) -> Rights:
    return rights.of_token("t", "https://api.github.com", "o/r", needed, answering(*answers))


def test_a_refusal_that_names_a_permission_is_one_and_a_limit_is_none() -> None:
    needed = {"checks": "read"}
    seen: tuple[int, dict[str, str], Any] = (200, {}, SEEN)
    headers = {"x-accepted-github-permissions": "checks=read", "x-ratelimit-remaining": "4999"}
    assert answered(needed, seen, (403, headers, PERMISSION_GAP)).missing == ("checks=read",)

    for limit in (
        (403, {"x-ratelimit-remaining": "0"}, {"message": "API rate limit exceeded"}),
        (403, {"retry-after": "60"}, {"message": "You have exceeded a secondary rate limit."}),
        (502, {}, {"message": "Server Error"}),
    ):
        verdict = answered(needed, seen, limit)
        assert (verdict.missing, verdict.unknown) == ((), ("checks=read",))


def test_a_write_without_what_it_needs_is_judged_after_the_permission() -> None:
    said = {"message": 'Invalid request.\n\n"title" wasn\'t supplied.', "status": "422"}

    assert answered({"issues": "write"}, (200, {}, SEEN), (422, {}, said)).enough


def test_single_sign_on_that_is_required_names_where_to_authorize() -> None:
    place = "https://github.com/orgs/octodocs-test/sso?authorization_request=AZSC"
    verdict = answered({}, (403, {"x-github-sso": f"required; url={place}"}, SAML))
    assert place in str(verdict)

    partial = {"x-github-sso": "partial-results; organizations=21955855"}
    assert answered({}, (200, partial, SEEN)).enough


def test_scopes_are_read_as_github_writes_them() -> None:
    headers = {"x-oauth-scopes": "admin:org, repo, workflow", "x-accepted-oauth-scopes": "repo"}
    assert answered(EVERYTHING, (200, headers, SEEN)).enough
    # A token without any scope has the header, and it is empty.
    assert answered({"contents": "write"}, (200, {"x-oauth-scopes": ""}, SEEN)).missing == (
        "the scope repo",
    )
    public = {**SEEN, "private": False}
    headers = {"x-oauth-scopes": "public_repo"}
    assert answered({"contents": "write"}, (200, headers, public)).enough


def test_a_github_that_does_not_answer_leaves_everything_unknown() -> None:
    def fetch(request: Request, *, timeout_seconds: float = 30.0) -> Response:
        raise OSError("no route to host")

    verdict = rights.of_token("t", "https://api.github.com", "o/r", EVERYTHING, fetch)

    assert not verdict.enough
    assert verdict.unknown
    assert not verdict.missing


def test_a_key_that_cannot_sign_says_so() -> None:
    def run(argv: Any, **_: Any) -> Completed:
        return Completed(1, b"", b"Could not read private key")

    verdict = rights.of_app(
        Login(method="github_app", app_id=1, app_key_file="/k"),
        "https://api.github.com",
        "o/r",
        {},
        run=run,
        fetch=answering(),
        now=time.time,
    )

    assert "cannot sign" in str(verdict)
