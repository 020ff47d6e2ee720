"""The list of all open pull requests, oldest first, page by page, and where it had to be left."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias

from ..base.github.errors import LimitedError, UncertainError
from ..base.github.transport import PartialError
from . import parsing
from .snapshot import PullRequest

PAGE_SIZES = (100, 50, 25, 10)
MALFORMED = (KeyError, TypeError, ValueError, AttributeError)

# Ask for (page size, cursor or None, whether the repository's own facts are wanted too).
AskPage: TypeAlias = "Callable[[int, str | None, bool], dict[str, Any]]"


@dataclass
class Listing:
    """What was read so far. ``problem`` says why the list could not be read to its end."""

    ask: AskPage
    affordable: Callable[[], bool]
    head: dict[str, Any] = field(default_factory=dict)
    pulls: dict[int, PullRequest] = field(default_factory=dict)
    total_count: int = 0
    problem: str = ""
    resume_at: str = ""
    limited: bool = False
    _size: int = 0

    def read(self, resume_at: str) -> None:
        """Read the oldest page, then on from ``resume_at``, then what lies between.

        Raises:
            ForgeError: not even the oldest page could be read.

        """
        second = self._page(None)
        if second is None:
            return
        if resume_at and not self._read_on(resume_at):
            moved_on = self.resume_at != resume_at
            if moved_on or self.limited or not self.affordable():
                return
            # That place leads nowhere any more: one page after the other.
        self.problem, self.resume_at = "", ""
        self._read_on(second)

    def _read_on(self, cursor: str) -> bool:
        """Read from ``cursor`` to the end; say whether it was reached."""
        place: str | None = cursor
        while place is not None and len(self.pulls) < self.total_count:
            if not self.affordable():
                return self._cut(place, "the points left are kept for others")
            try:
                place = self._page(place)
            except LimitedError as error:
                self.limited = True
                return self._cut(place or cursor, str(error))
            except (UncertainError, PartialError, *MALFORMED) as error:
                return self._cut(place or cursor, str(error))
        return True

    def _cut(self, place: str, why: str) -> bool:
        self.resume_at = place
        self.problem = f"{len(self.pulls)} of {self.total_count} were listed: {why}"
        return False

    def _page(self, cursor: str | None) -> str | None:
        """Read one page, in smaller pieces if need be; return where the next one begins."""
        trusted = self._size + 1 == len(PAGE_SIZES)
        while True:
            try:
                found, broken = self._answer(cursor, trusted)
                page = found["pullRequests"]
                rows = [
                    row
                    for index, node in enumerate(page["nodes"])
                    if (row := _row(node, broken.get(index, ""))) is not None
                ]
                more, end = page["pageInfo"]["hasNextPage"], page["pageInfo"]["endCursor"]
                self.total_count = page["totalCount"]
            except (UncertainError, PartialError, *MALFORMED) as error:
                if self._size + 1 < len(PAGE_SIZES):
                    self._size += 1
                    # A page that was too large is whole now; what stays is about its rows.
                    trusted = isinstance(error, PartialError)
                    continue
                if self.head or isinstance(error, (UncertainError, PartialError)):
                    raise
                raise UncertainError(f"the list could not be read: {error!r}") from error
            self.head = self.head or found
            self.pulls.update((row.number, row) for row in rows)
            return end if more else None

    def _answer(
        self, cursor: str | None, trusted: bool
    ) -> tuple[dict[str, Any], dict[str | int, str]]:
        """Ask for a page; return it and, if it is ``trusted`` so far, which rows it lacks parts of."""
        try:
            return self.ask(PAGE_SIZES[self._size], cursor, not self.head)["repository"], {}
        except PartialError as error:
            if not trusted or error.data is None:
                raise
            return error.data["repository"], error.below("repository", "pullRequests", "nodes")


def _row(node: Mapping[str, Any] | None, unreadable: str) -> PullRequest | None:
    """Read one row; None for one of which not even its number came: the list lacks it then."""
    try:
        return None if node is None else replace(parsing.thin(node), unreadable=unreadable)
    except MALFORMED:
        if unreadable:
            return None
        raise
