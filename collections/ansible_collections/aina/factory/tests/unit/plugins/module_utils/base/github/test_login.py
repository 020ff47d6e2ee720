"""A token from a file, or from the gh client: found where it is declared, or said what is wrong."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from factory.core.base.configuration import ConfigurationError
from factory.core.base.github.login import token_source
from factory.core.base.github.settings import Login
from factory.core.base.ports import Completed


def nothing(*_: Any, **__: Any) -> Any:
    pytest.fail("a token in a file needs no program and no network")


def source(path: Path) -> Any:
    login = Login(method="token_file", token_file=str(path))
    return token_source(
        login, "https://api.github.com", "o/r", {}, run=nothing, fetch=nothing, now=lambda: 0.0
    )


def test_a_program_that_runs_for_long_notices_another_token(tmp_path: Path) -> None:
    path = tmp_path / "token"
    path.touch(0o600)
    path.write_text("old")
    token = source(path)
    before = token()

    path.write_text("new")

    assert (before, token()) == ("old", "new")


def test_a_token_that_cannot_be_had_is_said_at_once(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="No such file"):
        source(tmp_path / "token")


@pytest.mark.parametrize(
    ("content", "mode", "words"),
    [("t\n", 0o644, "is open to others; chmod 0600 it"), (" \n", 0o600, "is empty")],
)
def test_a_file_that_others_may_read_or_that_holds_no_token_is_refused(
    content: str, mode: int, words: str, tmp_path: Path
) -> None:
    path = tmp_path / "token"
    path.write_text(content)
    path.chmod(mode)

    with pytest.raises(ConfigurationError, match=f"{path} {words}"):
        source(path)


def ask_gh(api_url: str, answer: Completed) -> tuple[str, list[str | bytes]]:
    """Return the token that the gh client gives, and how it was called."""
    called: list[str | bytes] = []

    def run(argv: Sequence[str | bytes], **_: Any) -> Completed:
        called.extend(argv)
        return answer

    token = token_source(
        Login(method="gh"), api_url, "o/r", {}, run=run, fetch=nothing, now=lambda: 0.0
    )
    return token(), called


@pytest.mark.parametrize(
    ("api_url", "host"),
    [
        ("https://api.github.com", "github.com"),
        ("https://git.example.com:8443/api/v3", "git.example.com:8443"),
        ("https://api.acme.ghe.com", "acme.ghe.com"),
    ],
)
def test_the_gh_client_is_asked_for_the_very_host(api_url: str, host: str) -> None:
    token, called = ask_gh(api_url, Completed(0, b"secret\n", b""))

    assert token == "secret"  # noqa: S105 - opens nothing
    assert called == ["gh", "auth", "token", "--hostname", host]


@pytest.mark.parametrize("answer", [Completed(1, b"", b"no oauth token"), Completed(0, b"", b"")])
def test_a_gh_client_without_a_login_is_named_with_what_to_do(answer: Completed) -> None:
    with pytest.raises(ConfigurationError, match=r"no token for github\.com; run gh auth login"):
        ask_gh("https://api.github.com", answer)
