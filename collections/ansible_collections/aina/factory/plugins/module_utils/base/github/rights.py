"""What each capability must be allowed at GitHub, and what a login is allowed there.

GitHub tells a classic token's scopes with every answer. Of a fine-grained token it tells only what a request
would need, so each permission is tried: by a read, or by a write that lacks what it cannot do without. Such a
write is judged after the permission and can make nothing; one that merely looks wrong may be carried out.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import quote

from ..ports import Fetch, Now, Request, Response, Run
from . import login as logins
from .settings import Login

Permissions = Mapping[str, str]

# Capability -> what it asks for in a repository; an App's token is narrowed to just this.
NEEDED: Mapping[str, Permissions] = {
    "lanes": {
        "contents": "write",
        "issues": "write",
        "pull_requests": "write",
        "metadata": "read",
    },
    "marshal": {
        "contents": "write",
        "pull_requests": "write",
        "issues": "write",
        "checks": "read",
        "statuses": "read",
        "metadata": "read",
    },
    "reap": {"contents": "read", "metadata": "read", "pull_requests": "read"},
    "runners": {"administration": "write", "actions": "read", "metadata": "read"},
    # What a pull request that changes workflows needs.
    "workflows": {
        "actions": "read",
        "administration": "read",
        "contents": "write",
        "metadata": "read",
        "pull_requests": "write",
        "workflows": "write",
    },
}
# Capability -> what it makes use of where a login has it, and does without where not.
WISHED: Mapping[str, Permissions] = {
    "marshal": {"actions": "write"},
    "workflows": {"actions_variables": "write"},
}
# GitHub's form for fine-grained tokens does not offer these, though its answers name them.
ONLY_APPS_AND_CLASSIC = frozenset({"checks"})
_LEVELS = ("read", "write")
_GRANTED = (200, 201, 409, 422)
# (permission, level) -> a request that only a holder's login gets past; "" is the repository itself.
_TRIES: Mapping[tuple[str, str], tuple[str, str]] = {
    ("actions", "read"): ("GET", "/actions/runs?per_page=1"),
    ("administration", "read"): ("GET", "/actions/runners?per_page=1"),
    ("administration", "write"): ("POST", "/actions/runners/generate-jitconfig"),
    ("checks", "read"): ("GET", "/commits/HEAD/check-runs?per_page=1"),
    ("contents", "read"): ("GET", "/commits?per_page=1"),
    ("contents", "write"): ("POST", "/git/refs"),
    ("issues", "write"): ("POST", "/issues"),
    ("metadata", "read"): ("GET", ""),
    ("pull_requests", "read"): ("GET", "/pulls?per_page=1"),
    ("pull_requests", "write"): ("POST", "/pulls"),
    ("statuses", "read"): ("GET", "/commits/HEAD/status"),
}
# What of a repository's roles a user must be to use a scope for it.
_ROLES = {
    "administration": "admin",
    "contents": "push",
    "pull_requests": "push",
    "workflows": "push",
}


@dataclass(frozen=True)
class Rights:
    """What a login may do in one repository, measured by what it must."""

    kind: str
    missing: tuple[str, ...] = ()
    # Nobody could say; never counts as allowed.
    unknown: tuple[str, ...] = ()
    # Why it is of no use at all.
    problem: str = ""

    @property
    def enough(self) -> bool:
        return not (self.missing or self.unknown or self.problem)

    def __str__(self) -> str:
        if self.problem:
            return f"{self.kind}: {self.problem}"
        parts = [f"lacks {', '.join(self.missing)}"] if self.missing else []
        beyond = [item for item in self.missing if item.split("=")[0] in ONLY_APPS_AND_CLASSIC]
        if beyond and "fine-grained" in self.kind:
            parts.append(
                f"no fine-grained token can have {', '.join(beyond)}: take a classic one, or a GitHub App"
            )
        parts += [f"could not be asked for {', '.join(self.unknown)}"] if self.unknown else []
        return f"{self.kind}: {'; '.join(parts) or 'may do all that is needed'}"


def together(sets: Iterable[Permissions]) -> dict[str, str]:
    """Return the least permissions that cover all of them."""
    found: dict[str, str] = {}
    for permissions in sets:
        for name, level in permissions.items():
            found[name] = max(found.get(name, level), level, key=_LEVELS.index)
    return dict(sorted(found.items()))


def words(permissions: Permissions) -> list[str]:
    """Return permissions as GitHub writes them in ``X-Accepted-GitHub-Permissions``."""
    return [f"{name}={level}" for name, level in permissions.items()]


def scopes_for(permissions: Permissions) -> list[str]:
    """Return the scopes of a classic token that cover permissions of a repository."""
    return ["repo", *(["workflow"] if "workflows" in permissions else [])]


def of_token(
    token: str, api_url: str, repository: str, needed: Permissions, fetch: Fetch
) -> Rights:
    """Ask GitHub what a token may do in a repository."""
    base = f"{api_url.rstrip('/')}/repos/{quote(repository)}"

    def ask(method: str, path: str) -> Response:
        headers = {
            "Accept": "application/vnd.github+json",
            "Authorization": f"Bearer {token}",
            "Content-Type": "application/json",
            "User-Agent": "aina-factory",
            "X-GitHub-Api-Version": "2022-11-28",
        }
        body = b"{}" if method == "POST" else None
        return fetch(Request(method, f"{base}{path}", headers, body))

    try:
        answer = ask("GET", "")
    except OSError as error:
        return Rights(
            "a token", unknown=tuple(words(needed)), problem=f"GitHub does not answer: {error}"
        )
    told = answer.headers.get("x-oauth-scopes")
    kind = "a fine-grained token" if told is None else "a classic token"
    if token.startswith("ghs_"):
        kind = "an App's token, which ends within an hour"
    problem = _useless(answer, repository, told)
    if problem:
        return Rights(kind, problem=problem)
    if told is not None:
        return _by_scopes(kind, told, json.loads(answer.body), needed)
    return _by_trying(kind, ask, needed)


def _useless(answer: Response, repository: str, scopes: str | None) -> str:
    """Return why the token does not even see the repository; empty when it does."""
    if answer.status == 200:
        return ""
    if answer.status == 401:
        return "GitHub does not know it: it has expired, was withdrawn, or is not whole"
    single_sign_on = answer.headers.get("x-github-sso", "")
    if single_sign_on.startswith("required"):
        place = single_sign_on.partition("url=")[2].split(";")[0][:300]
        return f"the organization wants it authorized for single sign-on{': ' + place if place else ''}"
    if answer.status == 404:
        held = [scope.strip() for scope in (scopes or "").split(",") if scope.strip()]
        if scopes is not None and "repo" not in held:
            return f"it does not see {repository}: it lacks the scope repo (it has {', '.join(held) or 'none'})"
        return (
            f"it does not see {repository}: the name is wrong, the token was not given this repository, its"
            " owner is another, or the organization has not approved it yet"
        )
    if 300 <= answer.status < 400:
        return f"{repository} has moved: write its new name into the inventory"
    return f"GitHub answers {answer.status}: {_said(answer)}"


def _by_scopes(kind: str, told: str, repository: Any, needed: Permissions) -> Rights:
    held = {scope.strip() for scope in told.split(",")}
    public = isinstance(repository, dict) and repository.get("private") is False
    missing = [
        f"the scope {scope}"
        for scope in scopes_for(needed)
        if scope not in held and not (scope == "repo" and public and "public_repo" in held)
    ]
    roles = repository.get("permissions") if isinstance(repository, dict) else None
    if not isinstance(roles, dict):
        return Rights(kind, tuple(missing), unknown=("the user's role in the repository",))
    wanted = {_ROLES[name] for name, level in needed.items() if level == "write" and name in _ROLES}
    missing += [f"the user's role {role}" for role in sorted(wanted) if roles.get(role) is not True]
    return Rights(kind, tuple(missing))


def _by_trying(kind: str, ask: Callable[[str, str], Response], needed: Permissions) -> Rights:
    missing, unknown = [], []
    for name, level in needed.items():
        attempt = _TRIES.get((name, level))
        verdict = _tried(ask, *attempt) if attempt else None
        if verdict is None:
            unknown.append(f"{name}={level}")
        elif not verdict:
            missing.append(f"{name}={level}")
    return Rights(kind, tuple(missing), tuple(unknown))


def _tried(ask: Callable[[str, str], Response], method: str, path: str) -> bool | None:
    """Return whether a request gets past the permission; None when that cannot be said."""
    try:
        answer = ask(method, path)
    except OSError:
        return None
    limited = (
        answer.status == 429
        or "retry-after" in answer.headers
        or answer.headers.get("x-ratelimit-remaining") == "0"
        or "rate limit" in _said(answer).lower()
    )
    if answer.status in _GRANTED:
        return True
    return False if answer.status in (403, 404) and not limited else None


def of_app(
    login: Login,
    api_url: str,
    repository: str,
    needed: Permissions,
    *,
    run: Run,
    fetch: Fetch,
    now: Now,
) -> Rights:
    """Ask GitHub what an App's installation may do; ``login`` names the key as it is on this machine."""
    kind = f"GitHub App {login.app_id}"
    try:
        given = logins.installation(login, api_url, repository, run=run, fetch=fetch, now=now)
    except (OSError, ValueError) as error:
        return Rights(kind, problem=str(error))
    held = given.get("permissions")
    if not isinstance(held, dict):
        return Rights(kind, unknown=tuple(words(needed)))
    ranks = {"read": 0, "write": 1, "admin": 2}
    missing = {
        name: level
        for name, level in needed.items()
        if ranks.get(str(held.get(name)), -1) < ranks[level]
    }
    problem = "its installation is suspended" if given.get("suspended_at") else ""
    return Rights(kind, tuple(words(missing)), problem=problem)


def with_key(login: Login, path: str) -> Login:
    """Return an App's login whose key lies at ``path`` of this machine."""
    return replace(login, app_key_file=path)


def _said(answer: Response) -> str:
    try:
        return str(json.loads(answer.body)["message"])[:300]
    except (ValueError, KeyError, TypeError):
        return answer.body[:200].decode(errors="replace")
