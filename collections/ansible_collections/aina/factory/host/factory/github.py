"""GitHub as the command reaches it."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Mapping, Sequence
from typing import Any

from factory import effects
from factory.core.base.configuration import ConfigurationError
from factory.core.base.github.errors import ForgeError
from factory.core.base.github.login import token_source
from factory.core.base.github.rights import NEEDED
from factory.core.base.github.settings import GitHub
from factory.core.base.github.transport import PartialError, Transport
from factory.core.base.ports import Fetch, Run
from factory.core.worktrees.landed import MergedPullRequests

_BATCH = 50
_SECONDS = 30.0
_PUBLIC_HOST = "github.com"
_TOKEN = re.compile(r"[\x21-\x7e]+\Z")
_REMOTE = re.compile(
    r"(?:[a-z+]+://)?(?:[^@/]+@)?(?P<host>[^/:@]+)(?::\d+(?=/))?[:/]"
    r"(?P<name>[^/]+/[^/]+?)(?:\.git)?/?\Z"
)

_log = logging.getLogger(__name__)


def merged_pull_requests(
    address: str, repository: str | None, server: GitHub
) -> MergedPullRequests | None:
    """Return a function that asks which commits belong to merged pull requests.

    Returns None where GitHub cannot be asked: no token, or the remote is elsewhere. Then a
    hand-edited squash is simply not proven, and its worktree stays. ``address`` is the
    remote's; it says the GitHub owner/name when ``repository`` does not.
    """
    try:
        found = _REMOTE.match(address)
        if found is None or found["host"].lower() != server.host:
            return None
        fetch = effects.https_fetch(server.ca_file or None)
        token = _token(server, repository or found["name"], fetch, effects.run)
        if token is None:
            return None
    except (OSError, ConfigurationError) as error:
        _log.warning("GitHub is not asked for merged pull requests: %s", error)
        return None
    return asker(fetch, server, token, repository or found["name"])


def asker(fetch: Fetch, server: GitHub, token: str, repository: str) -> MergedPullRequests:
    """Return the function that asks; ``repository`` is owner/name.

    Whatever goes wrong is logged and proves nothing.
    """
    owner, _slash, name = repository.partition("/")
    transport = Transport(fetch, server.api_url, lambda: token, effects.now)

    def ask(heads: Sequence[str]) -> Mapping[str, str]:
        proven: dict[str, str] = {}
        for start in range(0, len(heads), _BATCH):
            batch = heads[start : start + _BATCH]
            try:
                data = transport.graphql(_query(batch), {"owner": owner, "name": name})
            except PartialError as error:
                _log.warning("GitHub answers in part: %s", error)
                data = error.data or {}
            except ForgeError as error:
                _log.warning("GitHub does not say which pull requests were merged: %s", error)
                break
            proven.update(_proven(data, batch))
        return proven

    return ask


def _token(server: GitHub, repository: str, fetch: Fetch, run: Run) -> str | None:
    """Return the token of the reaper's login; None where nobody has logged in.

    Raises:
        OSError: GitHub gives an App no token, or what was found is none; the message keeps it.
        ConfigurationError: the login's file cannot be used.

    """
    login = server.login_of("reap")
    if login.method == "gh":
        token, origin = _ambient_token(server.host, run)
    else:
        source = token_source(
            login, server.api_url, repository, NEEDED["reap"], run=run, fetch=fetch, now=effects.now
        )
        token, origin = source(), login.path
    if not token and login.method == "gh":
        return None
    if not _TOKEN.match(token):
        raise OSError(f"{origin} does not hold one token on one line")
    return token


def _ambient_token(host: str, run: Run) -> tuple[str, str]:
    # As gh does: a token for github.com is never shown to another server.
    public = ("GH_TOKEN", "GITHUB_TOKEN")
    enterprise = ("GH_ENTERPRISE_TOKEN", "GITHUB_ENTERPRISE_TOKEN")
    for name in public if host == _PUBLIC_HOST else enterprise:
        if os.environ.get(name):
            return os.environ[name].strip(), name
    origin = "gh auth token"
    try:
        done = run([*origin.split(), "--hostname", host], timeout_seconds=_SECONDS)
    except (OSError, TimeoutError):
        return "", origin
    return (done.stdout.decode(errors="replace").strip() if done.ok else ""), origin


def _query(heads: Sequence[str]) -> str:
    commits = " ".join(
        f'c{index}: object(oid: "{head}") {{ ... on Commit {{ associatedPullRequests(first: 10)'
        " { nodes { number merged baseRefName headRefOid"
        " commits(last: 100) { nodes { commit { oid } } } } } } }"
        for index, head in enumerate(heads)
    )
    return (
        "query($owner: String!, $name: String!) { repository(owner: $owner, name: $name)"
        f" {{ defaultBranchRef {{ name }} {commits} }} }}"
    )


def _proven(data: object, heads: Sequence[str]) -> dict[str, str]:
    """Return the commits of which the answer proves that a merged pull request held them."""
    repository = _at(data, "repository")
    default = _at(repository, "defaultBranchRef", "name")
    proven: dict[str, str] = {}
    for index, head in enumerate(heads):
        for node in _at(repository, f"c{index}", "associatedPullRequests", "nodes") or ():
            if _at(node, "merged") is not True or not default:
                continue
            held = {_at(item, "commit", "oid") for item in _at(node, "commits", "nodes") or ()}
            if _at(node, "baseRefName") == default and head in {_at(node, "headRefOid"), *held}:
                number = _at(node, "number")
                proven[head] = f"pull request #{number} with this commit was merged"
    return proven


def _at(value: Any, *keys: str) -> Any:
    """Return a nested value, or None where any part of the answer is missing."""
    for key in keys:
        value = value.get(key) if isinstance(value, dict) else None
    return value
