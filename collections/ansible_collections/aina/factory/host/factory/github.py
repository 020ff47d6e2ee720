"""GitHub as the command reaches it."""

from __future__ import annotations

import json
import logging
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from factory import effects
from factory.core.base.configuration import ConfigurationError
from factory.core.base.github.login import token_source
from factory.core.base.github.settings import GitHub
from factory.core.base.ports import Fetch, Request, Run
from factory.core.worktrees.landed import MergedPullRequests

_BATCH = 50
_SECONDS = 30.0
# Of an App's token: what the question about merged pull requests needs.
_PERMISSIONS = {"contents": "read", "metadata": "read", "pull_requests": "read"}
_PUBLIC_HOST = "github.com"
_TOKEN = re.compile(r"[\x21-\x7e]+\Z")
_REMOTE = re.compile(
    r"(?:[a-z+]+://)?(?:[^@/]+@)?(?P<host>[^/:@]+)(?::\d+(?=/))?[:/]"
    r"(?P<name>[^/]+/[^/]+?)(?:\.git)?/?\Z"
)

_log = logging.getLogger(__name__)


def merged_pull_requests(
    address: str, repository: str | None, hub: GitHub
) -> MergedPullRequests | None:
    """Return a function that asks which commits belong to merged pull requests.

    Returns None where GitHub cannot be asked: no token, or the remote is elsewhere. Then a
    hand-edited squash is simply not proven, and its worktree stays. ``address`` is the
    remote's; it says the GitHub owner/name when ``repository`` does not.
    """
    try:
        found = _REMOTE.match(address)
        if found is None or found["host"].lower() != hub.host:
            return None
        fetch = effects.https_fetch(hub.ca_file or None)
        token = _token(hub, repository or found["name"], fetch, effects.run)
        if token is None:
            return None
    except (OSError, ConfigurationError) as error:
        _log.warning("GitHub is not asked for merged pull requests: %s", error)
        return None
    return asker(fetch, hub, token, repository or found["name"])


def asker(fetch: Fetch, hub: GitHub, token: str, repository: str) -> MergedPullRequests:
    """Return the function that asks; ``repository`` is owner/name.

    Whatever goes wrong is logged and proves nothing.
    """
    owner, _slash, name = repository.partition("/")

    def ask(heads: Sequence[str]) -> Mapping[str, str]:
        proven: dict[str, str] = {}
        for start in range(0, len(heads), _BATCH):
            batch = heads[start : start + _BATCH]
            try:
                document = _post(fetch, hub, token, _query(owner, name, batch))
            except (OSError, ValueError) as error:
                _log.warning("GitHub does not say which pull requests were merged: %s", error)
                break
            proven.update(_proven(document, batch))
        return proven

    return ask


def _token(hub: GitHub, repository: str, fetch: Fetch, run: Run) -> str | None:
    """Return the token of the reaper's login; None where nobody has logged in.

    Raises:
        OSError: GitHub gives an App no token, or what was found is none; the message keeps it.
        ConfigurationError: the login's file cannot be used.

    """
    login = hub.login_of("reap")
    if login.method == "gh":
        token, origin = _ambient_token(hub.host, run)
    else:
        source = token_source(
            login, hub.api_url, repository, _PERMISSIONS, run=run, fetch=fetch, now=effects.now
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


def _query(owner: str, name: str, heads: Sequence[str]) -> bytes:
    commits = " ".join(
        f'c{index}: object(oid: "{head}") {{ ... on Commit {{ associatedPullRequests(first: 10)'
        " { nodes { number merged baseRefName headRefOid"
        " commits(last: 100) { nodes { commit { oid } } } } } } }"
        for index, head in enumerate(heads)
    )
    query = (
        "query($owner: String!, $name: String!) { repository(owner: $owner, name: $name)"
        f" {{ defaultBranchRef {{ name }} {commits} }} }}"
    )
    return json.dumps({"query": query, "variables": {"owner": owner, "name": name}}).encode()


def _post(fetch: Fetch, hub: GitHub, token: str, body: bytes) -> Any:
    headers = {
        "Authorization": f"Bearer {token}",
        "Content-Type": "application/json",
        "Accept": "application/json",
        "User-Agent": "aina-factory",
    }
    request = Request("POST", hub.graphql_url, headers, body)
    answer = fetch(request, timeout_seconds=_SECONDS)
    if answer.status != 200:
        raise OSError(f"{hub.graphql_url} answers with status {answer.status}")
    document = json.loads(answer.body)
    for message in _messages(document):
        _log.warning("GitHub answers in part: %s", message)
    return document


def _messages(document: object) -> Iterator[str]:
    errors = document.get("errors") if isinstance(document, dict) else None
    for error in errors if isinstance(errors, list) else []:
        message = error.get("message") if isinstance(error, dict) else None
        yield str(message)[:200]


def _proven(document: object, heads: Sequence[str]) -> dict[str, str]:
    """Return the commits of which the answer proves that a merged pull request held them."""
    repository = _at(document, "data", "repository")
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
