"""Search over issues and pull requests, with an index that lags behind.

What is younger than the lag is not found yet, and what was closed within it is still found
as open: GitHub's index lies in just this way.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable
from dataclasses import dataclass

from simulator.http import HttpError
from simulator.model import Issue, Pull, Token
from simulator.pulls import role_of
from simulator.world import World

# No search tells of more.
MOST_RESULTS = 1000
SORTS = {"created": "created_at", "updated": "updated_at", "comments": "comments"}


@dataclass(frozen=True)
class _Seen:
    """An issue as the index knows it."""

    issue: Issue
    open: bool

    def is_(self, word: str) -> bool:
        issue = self.issue
        pull = issue if isinstance(issue, Pull) else None
        answers: dict[str, Callable[[], bool]] = {
            "pr": lambda: pull is not None,
            "issue": lambda: pull is None,
            "open": lambda: self.open,
            "closed": lambda: not self.open,
            "merged": lambda: not self.open and issue.state == "MERGED",
            "unmerged": lambda: pull is not None and issue.state != "MERGED",
            "draft": lambda: pull is not None and pull.draft,
            "private": lambda: issue.repository.private,
            "public": lambda: not issue.repository.private,
        }
        if word not in answers:
            raise HttpError(422, f"Validation Failed: the simulator does not know is:{word}")
        return answers[word]()

    def matches(self, key: str, value: str) -> bool:
        """Say whether one qualifier holds."""
        issue, wanted = self.issue, value.lower()
        pull = issue if isinstance(issue, Pull) else None
        if key in ("is", "type", "state"):
            return self.is_(wanted)
        if key == "repo":
            return issue.repository.full_name.lower() == wanted
        if key in ("org", "user"):
            return issue.repository.owner.login.lower() == wanted
        if key == "author":
            login = issue.author.login.lower()
            return login == wanted or login.removesuffix("[bot]") == wanted.removeprefix("app/")
        if key == "label":
            names = {label.name.lower() for label in issue.labels}
            return bool(names & set(wanted.split(",")))
        if key == "assignee":
            return wanted in {account.login.lower() for account in issue.assignees}
        if key in ("head", "base"):
            return pull is not None and getattr(pull, key).lower() == wanted
        if key == "draft":
            return pull is not None and pull.draft == (wanted == "true")
        if key == "in" and wanted in ("title", "body", "comments"):
            return True
        raise HttpError(422, f"Validation Failed: the simulator does not know {key}:{value}")

    def says(self, word: str) -> bool:
        """Say whether a word stands in title or text."""
        return word.lower() in f"{self.issue.title}\n{self.issue.body}".lower()


def issues(world: World, token: Token, query: str) -> list[Issue]:
    """Return what the index has for a query, as this caller may see it, newest first.

    Raises:
        HttpError: 422, the query says something that is not known.

    """
    wanted, order, descending = _terms(query)
    horizon = world.now() - world.search_delay_seconds
    found = []
    for repository in world.repositories.values():
        if role_of(repository, token) is None:
            continue
        for issue in repository.issues.values():
            if issue.created_at > horizon:
                continue
            still = issue.closed_at is not None and issue.closed_at > horizon
            seen = _Seen(issue, issue.state == "OPEN" or still)
            if all(term(seen) for term in wanted):
                found.append(issue)

    def key(issue: Issue) -> tuple[float, int]:
        value = getattr(issue, order)
        return (len(value) if isinstance(value, list) else value, issue.number)

    return sorted(found, key=key, reverse=descending)[:MOST_RESULTS]


def _term(key: str, value: str | None, *, denied: bool) -> Callable[[_Seen], bool]:
    def holds(seen: _Seen) -> bool:
        found = seen.says(key) if value is None else seen.matches(key, value)
        return found != denied

    return holds


def _terms(query: str) -> tuple[list[Callable[[_Seen], bool]], str, bool]:
    terms: list[Callable[[_Seen], bool]] = []
    order, descending = "created_at", True
    try:
        words = shlex.split(query)
    except ValueError as error:
        raise HttpError(422, f"Validation Failed: {error}") from error
    for word in words:
        # Everything must hold, so brackets change nothing.
        if word in ("(", ")", "AND"):
            continue
        if word in ("OR", "NOT"):
            raise HttpError(422, f"Validation Failed: the simulator does not know {word}")
        denied, text = word.startswith("-"), word.removeprefix("-")
        key, colon, value = text.partition(":")
        if key == "sort" and colon:
            name, _, direction = value.partition("-")
            if name not in SORTS:
                raise HttpError(422, f"Validation Failed: the simulator does not know {word}")
            order, descending = SORTS[name], direction != "asc"
        else:
            terms.append(_term(key, value if colon else None, denied=denied))
    return terms, order, descending
