"""What GitHub's answers prove, and what a server that misbehaves never gets to see or to prove."""

from __future__ import annotations

import json
import logging
import ssl
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from simulator import Simulator, tls
from simulator.client import Client

from factory import effects, github
from factory.__main__ import main
from factory.core.base.configuration import ConfigurationError, Section
from factory.core.base.github.transport import graphql_url
from factory.core.base.ports import Completed, Request, Response

HEAD, OTHER, THIRD = "a" * 40, "b" * 40, "c" * 40
SECRET = "ghp_veryverysecret"  # noqa: S105 - opens nothing
PUBLIC = github.Settings()


class GitHub:
    """Answers from a list, and keeps what it was asked."""

    def __init__(self, *answers: Any) -> None:
        self.answers = list(answers)
        self.requests: list[Request] = []

    def __call__(self, request: Request, *, timeout_seconds: float = 30.0) -> Response:
        self.requests.append(request)
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        if isinstance(answer, Response):
            return answer
        return Response(
            200, {}, answer if isinstance(answer, bytes) else json.dumps(answer).encode()
        )


def merged(**changes: Any) -> dict[str, Any]:
    commits = {"nodes": [{"commit": {"oid": OTHER}}]}
    node = {"number": 7, "merged": True, "baseRefName": "main", "headRefOid": HEAD}
    return {**node, "commits": commits, **changes}


def answer(*nodes: Any, default: Any = "main", **others: Any) -> dict[str, Any]:
    first = {"associatedPullRequests": {"nodes": list(nodes)}}
    repository = {"defaultBranchRef": {"name": default}, "c0": first, **others}
    return {"data": {"repository": repository}}


def ask(*answers: Any, heads: tuple[str, ...] = (HEAD,)) -> dict[str, str]:
    asked = github.asker(GitHub(*answers), PUBLIC, SECRET, "example/app")(heads)
    return dict(asked)


def test_a_merged_pull_request_with_this_very_commit_proves_it() -> None:
    detail = "pull request #7 with this commit was merged"

    assert ask(answer(merged())) == {HEAD: detail}
    inner = merged(headRefOid=THIRD, commits={"nodes": [{"commit": {"oid": HEAD}}]})
    assert ask(answer(inner)) == {HEAD: detail}


# what GitHub says; none of it may delete anything
UNPROVEN: dict[str, Any] = {
    "not merged": answer(merged(merged=False)),
    "merged says something else than true": answer(merged(merged="true")),
    "merged into another branch": answer(merged(baseRefName="release")),
    "the default branch is unknown": answer(merged(baseRefName=None), default=None),
    "the pull request held other commits": answer(merged(headRefOid=THIRD)),
    "no pull request": answer(),
    "the node was withheld": answer(None),
    "the commit is unknown": {"data": {"repository": {"defaultBranchRef": {"name": "main"}}}},
    "the commit is null": answer(merged()) | {"data": {"repository": {"c0": None}}},
    "the repository is not visible": {
        "data": {"repository": None},
        "errors": [{"type": "NOT_FOUND"}],
    },
    "rate limited with status 200": {"errors": [{"type": "RATE_LIMITED", "message": "wait"}]},
    "a list": [],
    "text": "merged",
    "half an answer": b'{"data": {"repository"',
    "not even text": b"\xff\xfe\x00",
    "status 401": Response(401, {}, b'{"message": "Bad credentials"}'),
    "status 502 with a page": Response(502, {}, b"<html>"),
    "a redirect": Response(
        302, {"location": "https://example.com"}, json.dumps(answer(merged())).encode()
    ),
    "refused": ConnectionRefusedError("refused"),
    "too slow": TimeoutError("timed out"),
}


@pytest.mark.parametrize("said", UNPROVEN.values(), ids=UNPROVEN.keys())
def test_anything_else_proves_nothing(said: Any) -> None:
    assert ask(said) == {}


def test_what_a_partial_answer_holds_counts_and_its_gap_does_not(
    caplog: pytest.LogCaptureFixture,
) -> None:
    partial = answer(merged(), c1=None) | {"errors": [{"message": "timeout on c1"}]}

    assert set(ask(partial, heads=(HEAD, OTHER))) == {HEAD}
    assert "timeout on c1" in caplog.text


def test_a_failing_batch_keeps_what_earlier_ones_proved() -> None:
    heads = (HEAD, *(f"{number:040x}" for number in range(60)))

    assert set(ask(answer(merged()), OSError("reset"), heads=heads)) == {HEAD}


def test_names_travel_as_variables_and_the_token_in_its_header_alone() -> None:
    server = GitHub(answer())
    settings = github.Settings("https://github.example.com/api/v3")

    github.asker(server, settings, SECRET, 'exa"mple/a}pp')([HEAD])

    request = server.requests[0]
    body = json.loads(request.body or b"")
    assert request.url == "https://github.example.com/api/graphql"
    assert request.headers["Authorization"] == f"Bearer {SECRET}"
    assert body["variables"] == {"owner": 'exa"mple', "name": "a}pp"}
    assert SECRET not in (request.body or b"").decode()


def read(**values: Any) -> github.Settings:
    return github.from_section(Section(values, "github"))


def test_settings_default_to_the_public_server() -> None:
    assert read() == PUBLIC
    assert (PUBLIC.host, graphql_url(PUBLIC.api_url)) == (
        "github.com",
        "https://api.github.com/graphql",
    )
    own = read(api_url="https://GitHub.example.com:8443/api/v3/", token_file="/etc/token")  # noqa: S106 - a path
    assert (own.host, graphql_url(own.api_url)) == (
        "github.example.com",
        "https://GitHub.example.com:8443/api/graphql",
    )


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"api_url": "http://api.github.com"}, "github.api_url is 'http://api.github.com'; it must be"),
    ({"api_url": "https://user@example.com"}, "it must be an https address"),
    ({"api_url": "https://example.com/?a"}, "it must be an https address"),
    ({"api_url": 5}, "github.api_url is 5; it must be a string"),
    ({"token_file": "token"}, "github.token_file is 'token'; it must be an absolute path"),
    ({"ca_file": "ca.pem"}, "github.ca_file is 'ca.pem'; it must be an absolute path"),
    ({"token": SECRET}, "github.token is not known"),
]


@pytest.mark.parametrize(("values", "message"), WRONG)
def test_a_wrong_setting_is_named(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError) as raised:
        read(**values)

    assert message in str(raised.value)


def test_the_command_validates_the_section(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "github.json"
    file.write_text(json.dumps({"github": {"api_url": "ftp://example.com"}}))

    assert main(["validate", "--fragment", str(file)]) == 2
    assert "configuration.github.api_url is 'ftp://example.com'" in capsys.readouterr().err
    file.write_text(json.dumps({"github": {"token_file": "/etc/token"}}))
    assert main(["validate", "--fragment", str(file)]) == 0


NAMES = ("GH_TOKEN", "GITHUB_TOKEN", "GH_ENTERPRISE_TOKEN", "GITHUB_ENTERPRISE_TOKEN")


@pytest.fixture(autouse=True)
def without_tokens(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in NAMES:
        monkeypatch.delenv(name, raising=False)


# the remote's address, whether the public GitHub is asked about it
REMOTES = [
    ("https://github.com/example/app.git", True),
    ("https://github.com/example/app/", True),
    ("git@github.com:example/app.git", True),
    ("ssh://git@github.com:22/example/app", True),
    ("ssh://git@GitHub.com/example/app.git", True),
    ("https://github.com.example.com/example/app.git", False),
    ("https://example.com/github.com/app.git", False),
    ("https://notgithub.com/example/app", False),
    ("https://github.com@example.com/example/app", False),
    ("/srv/git/github.com/app.git", False),
    ("https://github.com/app", False),
]


@pytest.mark.parametrize(("url", "asked"), REMOTES)
def test_only_a_remote_on_that_server_is_asked_about(
    url: str, asked: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GH_TOKEN", SECRET)

    lookup = github.merged_pull_requests(url, None, PUBLIC)

    assert (lookup is not None) is asked


def no_gh(argv: Any, **_: Any) -> Completed:
    assert list(argv)[:3] == ["gh", "auth", "token"]
    return Completed(1, b"", b"not logged in")


def test_a_token_for_the_public_server_is_not_shown_to_another(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("GITHUB_TOKEN", SECRET)
    own = github.Settings("https://github.example.com/api/v3")

    assert github._token(PUBLIC, no_gh) == SECRET
    assert github._token(own, no_gh) is None
    monkeypatch.setenv("GH_ENTERPRISE_TOKEN", "theirs")
    assert github._token(own, no_gh) == "theirs"


@pytest.mark.parametrize("content", [f"{SECRET}\nsecond", f"{SECRET}\r\nX: y", "", f"{SECRET}é"])
def test_a_file_without_one_token_is_reported_without_its_content(
    content: str,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    file = tmp_path / "token"
    file.write_text(content)
    settings = github.Settings(token_file=str(file))

    assert github.merged_pull_requests("https://github.com/example/app", None, settings) is None
    assert f"{file} does not hold one token on one line" in caplog.text
    assert SECRET not in caplog.text


@pytest.mark.parametrize("key", ["token_file", "ca_file"])
def test_a_missing_file_is_named_and_nothing_is_asked(
    key: str,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("GH_TOKEN", SECRET)
    settings = github.Settings(**{key: str(tmp_path / "missing")})

    assert github.merged_pull_requests("https://github.com/example/app", None, settings) is None
    assert "No such file" in caplog.text


class Redirecting(BaseHTTPRequestHandler):
    """Sends everything on to /elsewhere, and keeps the paths that it was asked for."""

    paths: list[str]

    def do_POST(self) -> None:
        self.paths.append(self.path)
        self.send_response(303)
        self.send_header("Location", "/elsewhere")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        return


@pytest.fixture
def redirecting(tmp_path: Path) -> Iterator[tuple[str, str, list[str]]]:
    ca_file, context = tls.make(tmp_path, ["127.0.0.1"])
    paths: list[str] = []
    handler = type("Handler", (Redirecting,), {"paths": paths})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    assert isinstance(context, ssl.SSLContext)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    yield f"https://127.0.0.1:{server.server_address[1]}", str(ca_file), paths
    server.shutdown()
    server.server_close()


def test_credentials_follow_no_redirect(redirecting: tuple[str, str, list[str]]) -> None:
    url, ca_file, paths = redirecting
    request = Request("POST", f"{url}/graphql", {"Authorization": f"Bearer {SECRET}"}, b"{}")

    answered = effects.https_fetch(ca_file)(request)

    assert (answered.status, answered.headers["location"]) == (303, "/elsewhere")
    assert paths == ["/graphql"]


def test_an_unknown_certificate_is_refused(redirecting: tuple[str, str, list[str]]) -> None:
    url, _, paths = redirecting

    with pytest.raises(OSError, match="CERTIFICATE_VERIFY_FAILED"):
        effects.https_fetch()(Request("GET", url))

    assert paths == []


def test_no_error_of_the_effect_quotes_a_header_or_goes_in_the_clear() -> None:
    fetch = effects.https_fetch()
    for url in ("http://127.0.0.1:9/", "file:///etc/hostname", "https://127.0.0.1:9/"):
        bad = Request("GET", url, {"Authorization": f"Bearer {SECRET}\nX: y"})
        with pytest.raises(OSError) as raised:
            fetch(bad, timeout_seconds=2)
        assert SECRET not in str(raised.value)


def test_a_proxy_of_the_environment_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)

    with pytest.raises(OSError, match="refused"):
        effects.https_fetch()(Request("GET", "https://github.example.com/"), timeout_seconds=5)


def test_a_server_that_behaves_like_github_is_understood(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    with Simulator("small") as simulator:
        client = Client(simulator)
        pulls = client.rest("GET", "/repos/factory/demo/pulls?state=open").body
        heads = {pull["head"]["ref"]: pull["head"]["sha"] for pull in pulls}
        number = next(pull["number"] for pull in pulls if pull["head"]["ref"] == "green")
        done = client.rest(
            "PUT", f"/repos/factory/demo/pulls/{number}/merge", {"merge_method": "squash"}
        )
        assert done.status == 200, done.body
        settings = read(
            api_url=simulator.addresses()["api_url"],
            ca_file=str(simulator.ca_file),
            token_file=str(simulator.token_file),
        )
        address = f"{simulator.addresses()['git_url']}/factory/demo.git"
        lookup = github.merged_pull_requests(address, None, settings)
        assert lookup is not None
        assert dict(lookup([heads["green"], heads["red"], "f" * 40])) == {
            heads["green"]: f"pull request #{number} with this commit was merged"
        }
        assert caplog.text == ""
