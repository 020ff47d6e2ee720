"""Typed answers to "why is this pull request not merged, and who must act"."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Owner(StrEnum):
    """Who must act next."""

    AUTHOR = "author"
    REVIEWER = "reviewer"
    CI = "ci"
    MARSHAL = "marshal"
    ADMIN = "admin"


class Verb(StrEnum):
    """The one decision about a pull request in this cycle."""

    MERGE = "merge"
    WAIT = "wait"
    UPDATE = "update"
    SKIP = "skip"
    CLOSE_DUPLICATE = "close_duplicate"


@dataclass(frozen=True)
class Reason:
    """Why a pull request stands where it stands.

    ``code`` is stable; ``since`` is when this code was first seen, seconds since the epoch.
    """

    code: str
    detail: str
    owner: Owner
    since: float = 0.0

    def document(self) -> dict[str, object]:
        """Return the JSON form."""
        return {
            "code": self.code,
            "detail": self.detail,
            "owner": self.owner.value,
            "since": self.since,
        }


@dataclass(frozen=True)
class Verdict:
    """A verb with its reason, before it is bound to a pull request."""

    verb: Verb
    reason: Reason


def wait(code: str, detail: str, owner: Owner) -> Verdict:
    """Return a verdict that may pass without the pull request being changed by policy."""
    return Verdict(Verb.WAIT, Reason(code, detail, owner))


def skip(code: str, detail: str, owner: Owner) -> Verdict:
    """Return a verdict that somebody decided: draft, hold, author or fork rule."""
    return Verdict(Verb.SKIP, Reason(code, detail, owner))
