"""GitHub as the command reaches it."""

from __future__ import annotations

import json
import os
import re
import subprocess
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence

from ansible_collections.aina.factory.plugins.module_utils.worktrees.git import Git
from ansible_collections.aina.factory.plugins.module_utils.worktrees.landed import (
    MergedPullRequests,
)
from factory import effects

API_URL = "https://api.github.com"
_BATCH = 50
_SECONDS = 30.0
_REMOTE = re.compile(
    r"(?:https?://|ssh://)?(?:[^@/]+@)?github\.com[:/]([^/]+/[^/]+?)(?:\.git)?/?\Z"
)


def merged_pull_requests(
    common_dir: str, remote: str, repository: str | None
) -> MergedPullRequests | None:
    """Return a function that asks which commits belong to merged pull requests.

    Returns None where GitHub cannot be asked: no token, or the remote is elsewhere. Then a
    hand-edited squash is simply not proven, and its worktree stays.
    """
    url = Git(effects.run, common_dir).call("remote", "get-url", remote)
    found = _REMOTE.search(url.stdout.decode(errors="replace").strip())
    if found is None:
        return None
    token = _token()
    if token is None:
        return None
    owner, _, name = (repository or found[1]).partition("/")

    def ask(heads: Sequence[str]) -> Mapping[str, str]:
        proven: dict[str, str] = {}
        for start in range(0, len(heads), _BATCH):
            proven.update(_ask(token, owner, name, heads[start : start + _BATCH]))
        return proven

    return ask


def _token() -> str | None:
    for name in ("GH_TOKEN", "GITHUB_TOKEN"):
        if os.environ.get(name):
            return os.environ[name]
    try:
        done = subprocess.run(
            ["gh", "auth", "token"], capture_output=True, text=True, check=False, timeout=_SECONDS
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() or None if done.returncode == 0 else None


def _ask(token: str, owner: str, name: str, heads: Sequence[str]) -> dict[str, str]:
    commits = " ".join(
        f'c{index}: object(oid: "{head}") {{ ... on Commit {{ associatedPullRequests(first: 10)'
        " { nodes { number merged baseRefName } } } }"
        for index, head in enumerate(heads)
    )
    query = (
        "query($owner: String!, $name: String!) { repository(owner: $owner, name: $name)"
        f" {{ defaultBranchRef {{ name }} {commits} }} }}"
    )
    body = json.dumps({"query": query, "variables": {"owner": owner, "name": name}}).encode()
    request = urllib.request.Request(  # noqa: S310 - the URL is a constant
        f"{API_URL}/graphql",
        data=body,
        headers={"Authorization": f"Bearer {token}", "Content-Type": "application/json"},
    )
    try:
        with urllib.request.urlopen(request, timeout=_SECONDS) as answer:  # noqa: S310
            document = json.load(answer)
    except (urllib.error.URLError, OSError, ValueError):
        return {}  # unknown: nothing is proven
    return _proven(document, heads)


def _proven(document: object, heads: Sequence[str]) -> dict[str, str]:
    try:
        repository = document["data"]["repository"]  # type: ignore[index]
        default = repository["defaultBranchRef"]["name"]
        return {
            head: f"pull request #{node['number']} with this commit was merged"
            for index, head in enumerate(heads)
            for node in (repository.get(f"c{index}") or {})
            .get("associatedPullRequests", {})
            .get("nodes", [])
            if node["merged"] is True and node["baseRefName"] == default
        }
    except (KeyError, TypeError, AttributeError):
        return {}
