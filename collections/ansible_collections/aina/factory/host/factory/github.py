"""GitHub as the command reaches it."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from factory import effects
from factory.core.base.configuration import Section
from factory.core.base.github.errors import ForgeError
from factory.core.base.github.transport import PartialError, Transport
from factory.core.base.ports import Fetch, Run
from factory.core.worktrees.landed import MergedPullRequests

_BATCH = 50
_SECONDS = 30.0
_PUBLIC_HOST = "github.com"
_API_URL = re.compile(r"https://[^/?#@\s]+(/[^?#\s]*)?\Z")
_TOKEN = re.compile(r"[\x21-\x7e]+\Z")
_REMOTE = re.compile(
    r"(?:[a-z+]+://)?(?:[^@/]+@)?(?P<host>[^/:@]+)(?::\d+(?=/))?[:/]"
    r"(?P<name>[^/]+/[^/]+?)(?:\.git)?/?\Z"
)

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Settings:
    """Where GitHub is and who asks.

    ``api_url`` is the address of the REST interface, as GitHub names it; ``token_file``
    holds a token (without it the environment and ``gh`` are asked); ``ca_file`` holds
    certificates that are trusted beside the system's.
    """

    api_url: str = "https://api.github.com"
    token_file: str | None = None
    ca_file: str | None = None

    @property
    def host(self) -> str:
        """The host that remotes name: ``github.com`` or an Enterprise server."""
        host = urlsplit(self.api_url).hostname or ""
        return _PUBLIC_HOST if host == f"api.{_PUBLIC_HOST}" else host


def from_section(section: Section) -> Settings:
    """Read the section ``github`` of the configuration.

    Raises:
        ConfigurationError: a value is wrong or a key is unknown.

    """
    rule = "be an https address such as https://github.example.com/api/v3"
    api_url = section.matching("api_url", _API_URL, rule, Settings.api_url)
    files = {
        key: section.absolute_path(key) if section.has(key) else None
        for key in ("token_file", "ca_file")
    }
    section.done()
    return Settings(api_url.rstrip("/"), files["token_file"], files["ca_file"])


def merged_pull_requests(
    address: str, repository: str | None, settings: Settings
) -> MergedPullRequests | None:
    """Return a function that asks which commits belong to merged pull requests.

    Returns None where GitHub cannot be asked: no token, or the remote is elsewhere. Then a
    hand-edited squash is simply not proven, and its worktree stays. ``address`` is the
    remote's; it says the GitHub owner/name when ``repository`` does not.
    """
    try:
        found = _REMOTE.match(address)
        if found is None or found["host"].lower() != settings.host:
            return None
        token = _token(settings, effects.run)
        if token is None:
            return None
        fetch = effects.https_fetch(settings.ca_file)
    except OSError as error:
        _log.warning("GitHub is not asked for merged pull requests: %s", error)
        return None
    return asker(fetch, settings, token, repository or found["name"])


def asker(fetch: Fetch, settings: Settings, token: str, repository: str) -> MergedPullRequests:
    """Return the function that asks; ``repository`` is owner/name.

    Whatever goes wrong is logged and proves nothing.
    """
    owner, _slash, name = repository.partition("/")
    transport = Transport(fetch, settings.api_url, lambda: token, effects.now)

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


def _token(settings: Settings, run: Run) -> str | None:
    """Return the token of the file, of the environment or of ``gh``.

    Raises:
        OSError: the file cannot be read, or what was found is no token; the message keeps it.

    """
    if settings.token_file is not None:
        token = Path(settings.token_file).read_text(encoding="ascii", errors="replace").strip()
        origin = settings.token_file
    else:
        token, origin = _ambient_token(settings.host, run)
    if not token and settings.token_file is None:
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
