"""The list of open pull requests, page by page, and where a look that was cut goes on."""

from __future__ import annotations

from typing import Any

import pytest

from factory.core.base.github.errors import ForgeError, LimitedError, UncertainError
from factory.core.marshal.listing import Listing


def node(number: int) -> dict[str, Any]:
    names = ("id", "title", "headRefOid", "headRefName", "baseRefName")
    numbers = ("changedFiles", "additions", "deletions")
    flags = ("isDraft", "isCrossRepository", "isInMergeQueue", "viewerCanMergeAsAdmin")
    return {
        **dict.fromkeys(names, f"x{number}"),
        **dict.fromkeys(numbers, 1),
        **dict.fromkeys(flags, False),
        **{"number": number, "createdAt": None, "reviewDecision": None, "author": None},
        **{"mergeable": "MERGEABLE", "mergeStateStatus": "CLEAN", "labels": None, "rollup": None},
    }


class Github:
    """Lists so many pull requests; a cursor is the number of the last one before it."""

    def __init__(self, count: int) -> None:
        self.count = count
        self.asked: list[tuple[int, str | None]] = []
        # From this request on every one fails.
        self.fails_from, self.error = 99, ForgeError()
        self.affordable_count = 99

    def __call__(self, size: int, cursor: str | None, head: bool) -> dict[str, Any]:
        self.asked.append((size, cursor))
        if len(self.asked) > self.fails_from:
            raise self.error
        begin = int(cursor or 0) + 1
        end = min(begin + size, self.count + 1)
        page = {"hasNextPage": end <= self.count, "endCursor": str(end - 1)}
        nodes = [node(number) for number in range(begin, end)]
        found = {"pullRequests": {"nodes": nodes, "pageInfo": page, "totalCount": self.count}}
        return {"repository": found}

    def look(self, resume_at: str = "") -> Listing:
        listing = Listing(self, lambda: len(self.asked) < self.affordable_count)
        listing.read(resume_at)
        return listing


def numbers(*pages: int) -> set[int]:
    return {number for page in pages for number in range(page * 100 + 1, page * 100 + 101)}


def test_a_look_reads_the_list_to_its_end_a_hundred_at_a_time() -> None:
    github = Github(250)

    found = github.look()

    assert set(found.pulls) == set(range(1, 251))
    assert (found.problem, found.resume_at) == ("", "")
    assert github.asked == [(100, None), (100, "100"), (100, "200")]


def test_few_points_keep_the_place_and_the_next_look_reads_the_oldest_and_goes_on_there() -> None:
    github = Github(500)
    github.affordable_count = 2

    first = github.look()
    github.asked.clear()
    second = github.look(first.resume_at)

    assert set(first.pulls) == numbers(0, 1)
    assert first.problem == "200 of 500 were listed: the points left are kept for others"
    assert set(second.pulls) == numbers(0, 2)
    assert second.resume_at == "300"
    github.affordable_count = 99
    assert set(github.look(second.resume_at).pulls) == numbers(0, 1, 2, 3, 4)


@pytest.mark.parametrize(
    ("error", "limited"), [(UncertainError("502"), False), (LimitedError("rate limit", 60.0), True)]
)
def test_where_github_breaks_off_the_place_is_kept(error: ForgeError, limited: bool) -> None:
    github = Github(300)
    github.fails_from, github.error = 2, error

    found = github.look()

    assert set(found.pulls) == numbers(0, 1)
    assert found.problem == f"200 of 300 were listed: {error}"
    assert (found.resume_at, found.limited) == ("200", limited)


def test_a_place_that_leads_nowhere_any_more_is_forgotten() -> None:
    github = Github(250)

    found = github.look("nonsense")

    assert set(found.pulls) == set(range(1, 251))
    assert (found.problem, found.resume_at) == ("", "")


def test_an_oldest_page_that_cannot_be_read_is_no_empty_list() -> None:
    github = Github(3)
    github.fails_from, github.error = 0, UncertainError("502")

    with pytest.raises(UncertainError):
        github.look()

    assert [size for size, _cursor in github.asked] == [100, 50, 25, 10]
