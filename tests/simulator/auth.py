"""Who is calling: user tokens, App tokens, and the App's own JWT."""

from __future__ import annotations

import base64
import binascii
from typing import Any

import jwt

from simulator.http import HttpError, Incoming
from simulator.model import App, Repository, Token
from simulator.pulls import role_of
from simulator.world import World

LEVELS = {"read": 1, "write": 2, "admin": 3}
# What a user must be in the repository to hold a permission at "write".
WRITE_ROLES = {"administration": 3, "issues": 1, "pull_requests": 1}
ROLE_RANKS = {"read": 0, "triage": 1, "write": 2, "maintain": 2, "admin": 3}
JWT_MAXIMUM_SECONDS = 600
CLOCK_TOLERANCE_SECONDS = 60


def presented(request: Incoming) -> str | None:
    """Return the secret in the Authorization header."""
    header = request.headers.get("authorization", "")
    scheme, _, value = header.partition(" ")
    if scheme.lower() in {"bearer", "token"}:
        return value.strip()
    if scheme.lower() == "basic":
        try:
            user, _, password = base64.b64decode(value).decode().partition(":")
        except (binascii.Error, UnicodeDecodeError) as error:
            raise HttpError(401, "Bad credentials") from error
        return password or user
    return None


def identify(world: World, request: Incoming) -> Token | None:
    """Return the caller's token, or None for a caller without one.

    Raises:
        HttpError: 401, the token is unknown or has expired.

    """
    value = presented(request)
    if value is None:
        return None
    token = world.tokens.get(value)
    if token is None:
        raise HttpError(401, "Bad credentials")
    if token.expires_at is not None and token.expires_at <= world.now():
        raise HttpError(401, "Bad credentials")
    return token


def identify_app(world: World, request: Incoming) -> App:
    """Return the App whose key signed the request's JWT.

    Raises:
        HttpError: 401, with the reason that GitHub gives.

    """
    value = presented(request) or ""
    try:
        claims: dict[str, Any] = jwt.decode(value, options={"verify_signature": False})
    except jwt.PyJWTError as error:
        raise HttpError(401, "A JSON web token could not be decoded") from error
    issuer = str(claims.get("iss", ""))
    app = next((a for a in world.apps.values() if issuer in {str(a.id), a.client_id}), None)
    if app is None:
        raise HttpError(401, "Integration not found")
    # The simulated clock decides, so the library checks the signature alone.
    unchecked = {"verify_exp": False, "verify_iat": False, "verify_nbf": False}
    try:
        jwt.decode(value, app.public_key, algorithms=["RS256"], options=unchecked)  # type: ignore[arg-type]
    except jwt.PyJWTError as error:
        raise HttpError(401, "A JSON web token could not be decoded") from error
    _check_times(world.now(), claims)
    return app


def _check_times(now: float, claims: dict[str, Any]) -> None:
    issued, expires = claims.get("iat"), claims.get("exp")
    if not isinstance(issued, int | float) or issued > now + CLOCK_TOLERANCE_SECONDS:
        raise HttpError(
            401,
            "'Issued at' claim ('iat') must be an Integer representing the time that the assertion"
            " was issued.",
        )
    if not isinstance(expires, int | float) or expires <= now:
        raise HttpError(
            401,
            "'Expiration time' claim ('exp') must be a numeric value representing the future time"
            " at which the assertion expires.",
        )
    if expires > now + JWT_MAXIMUM_SECONDS + CLOCK_TOLERANCE_SECONDS:
        raise HttpError(401, "'Expiration time' claim ('exp') is too far in the future")


def allowed(repository: Repository, token: Token | None, permission: str, level: str) -> bool:
    """Say whether a caller may do something in a repository that it can see."""
    if token is None:
        return not repository.private and level == "read" and permission != "administration"
    if token.permissions is not None:
        granted = token.permissions.get(permission, "")
        return LEVELS.get(granted, 0) >= LEVELS[level]
    rank = ROLE_RANKS[role_of(repository, token) or "read"]
    if permission == "administration":
        return rank >= ROLE_RANKS["admin"]
    if level == "read":
        return True
    return rank >= WRITE_ROLES.get(permission, ROLE_RANKS["write"])


def told(token: Token | None, permission: tuple[str, str] | None) -> dict[str, str]:
    """Return the headers by which GitHub tells what a caller holds, or what a request needs."""
    if token is None:
        return {}
    if token.permissions is None:
        accepted = "repo" if permission else ""
        return {"X-OAuth-Scopes": ", ".join(token.scopes), "X-Accepted-OAuth-Scopes": accepted}
    return {"X-Accepted-GitHub-Permissions": "=".join(permission)} if permission else {}


def require(repository: Repository, token: Token | None, permission: str, level: str) -> None:
    """Refuse what the caller may not do, as GitHub words it for its kind.

    Raises:
        HttpError: 404 for a repository it cannot see, 403 otherwise.

    """
    hidden = repository.private if token is None else role_of(repository, token) is None
    if token is not None and token.permissions is None and "repo" not in token.scopes:
        hidden = hidden or repository.private
    if hidden:
        raise HttpError(404, "Not Found")
    if allowed(repository, token, permission, level):
        return
    if token is None:
        raise HttpError(401, "Requires authentication")
    if token.permissions is not None:
        kind = "integration" if token.installation else "personal access token"
        raise HttpError(403, f"Resource not accessible by {kind}")
    if permission == "administration":
        raise HttpError(403, "Must have admin rights to Repository.")
    raise HttpError(403, "Must have write access to Repository.")
