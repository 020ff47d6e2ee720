"""What to do about a refusal of GitHub's, by what it said; pure.

A refusal may mean that the login may not, that the plan or the kind of repository has no such
thing, that somebody forbids it, or that nobody knows. Each has its own cure, and none is to open
something up.
"""

from __future__ import annotations

from dataclasses import dataclass

from .errors import ForgeError, LimitedError, RefusedError, UncertainError


@dataclass(frozen=True)
class _Row:
    """Words or a status of the refusal (lower case; "" and 0 are any), and the cure."""

    status: int
    words: str
    cure: str


_ROWS = (
    _Row(403, "saml enforcement", "authorize the token for the organization's single sign-on"),
    _Row(
        403,
        "not accessible by integration",
        "give the App the permission and accept it in the installation",
    ),
    _Row(403, "not accessible by personal access token", "give the token the permission"),
    _Row(403, "admin rights", "the login's account must be an administrator of it"),
    _Row(403, "upgrade to github", "its plan does not have this for a private repository"),
    _Row(403, "repository access blocked", "GitHub itself blocks it; ask its support"),
    _Row(451, "", "GitHub itself blocks it; ask its support"),
    _Row(422, "not allowed for private", "it is no setting of a private repository"),
    _Row(422, "not allowed for public", "it is no setting of a public repository"),
    _Row(401, "", "give a token that is valid; this one has expired, or was revoked"),
    _Row(
        403,
        "/actions/runners",
        "see the login's permission for administration, and whether the organization allows runners of"
        " repositories (Settings, Actions, General, Runners)",
    ),
    _Row(403, "", "see the login's permissions"),
    _Row(404, "", "see that its name is right, and that the login may see it and its settings"),
    _Row(301, "", "configure its new name"),
    _Row(307, "", "configure its new name"),
    _Row(308, "", "configure its new name"),
)


def remedy(error: Exception) -> str:
    """Return what a person does about it; for what passes by itself, that it is asked again."""
    if isinstance(error, RefusedError):
        said = str(error).lower()
        for row in _ROWS:
            if row.status in (0, error.status) and row.words in said:
                return row.cure
        return "see what it says"
    if isinstance(error, LimitedError | UncertainError):
        return "nothing is to be done; it is asked again"
    return "see what it says" if isinstance(error, ForgeError) else "converge the host again"
