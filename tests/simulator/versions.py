"""The versions of the REST interface that a request may ask for, and what sets them apart."""

from __future__ import annotations

from typing import Any

from simulator.http import Answer, HttpError, Incoming

HEADER = "x-github-api-version"
OLDEST, NEWEST = "2022-11-28", "2026-03-10"
# Fields that answers of the newest version have no more, wherever they stood.
REMOVED = frozenset(
    {"merge_commit_sha", "assignee", "has_downloads", "use_squash_pr_title_as_default"}
)
REMOVED_AT_THE_TOP = frozenset({"rate", "authorizations_url", "hub_url"})


def of(request: Incoming) -> str:
    """Return the version that a request asks for.

    Raises:
        HttpError: 400, there is no such version.

    """
    wanted = request.headers.get(HEADER, OLDEST)
    if wanted not in (OLDEST, NEWEST):
        raise HttpError(400, f"The API version {wanted!r} is not supported.")
    return wanted


def shaped(answer: Answer, version: str) -> Answer:
    """Give an answer the shape of the version; errors have one shape."""
    if version == NEWEST and answer.status < 400:
        if isinstance(answer.body, dict):
            top = {k: v for k, v in answer.body.items() if k not in REMOVED_AT_THE_TOP}
            answer.body = _without(top)
        else:
            answer.body = _without(answer.body)
    answer.headers["X-GitHub-Api-Version-Selected"] = version
    return answer


def _without(value: Any) -> Any:
    if isinstance(value, dict):
        kept = {name: _without(inner) for name, inner in value.items() if name not in REMOVED}
        link = kept.get("pull_request")
        if isinstance(link, dict) and link.get("merged_at", "") is None:
            del link["merged_at"]
        return kept
    if isinstance(value, list):
        return [_without(inner) for inner in value]
    return value
