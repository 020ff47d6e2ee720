"""Names of lanes, and what a caller may say."""

from __future__ import annotations

import re

from ..base.configuration import ConfigurationError

_ISSUE = re.compile(r"[1-9][0-9]{0,8}\Z")
_BRANCH = re.compile(r"lane/([0-9]+)-[0-9a-f]{8}\Z")
_LANE = re.compile(r"[a-z0-9][a-z0-9-]{0,62}-[0-9]+-[0-9a-f]{8}\Z")


def issue_number(word: str) -> int:
    """Return the number of an issue.

    Raises:
        ConfigurationError: it is none.

    """
    if not _ISSUE.match(word):
        raise ConfigurationError(f"issue {word!r} must be the number of an issue, such as 17")
    return int(word)


def lane_id(project: str, issue: int, token: str) -> str:
    """Return a lane's name; ``token`` are eight hexadecimal digits that nobody else has."""
    return checked(f"{project}-{issue}-{token}")


def is_lane(word: str) -> bool:
    """Whether ``word`` is a lane's name."""
    return _LANE.match(word) is not None


def checked(word: str) -> str:
    """Return ``word`` if it is a lane's name: it becomes part of paths.

    Raises:
        ConfigurationError: it is none.

    """
    if not is_lane(word):
        raise ConfigurationError(
            f"{word!r} is no lane such as demo-17-0a1b2c3d; see factory lane list"
        )
    return word


def issue_of_branch(name: str) -> int | None:
    """Return the issue that a lane's branch belongs to; ``None`` when it is no lane's."""
    found = _BRANCH.match(name)
    return int(found[1]) if found else None


def branch(issue: int, lane: str) -> str:
    """Return the branch that a lane's work is pushed to."""
    return f"lane/{issue}-{lane.rpartition('-')[2]}"
