"""Which of several equal ones is kept: never one that may not land itself."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from factory.core.marshal.decide import decide
from factory.core.marshal.duplicates import twins
from factory.core.marshal.settings import Duplicates, MergePolicy, RequiredCheck
from factory.core.marshal.snapshot import (
    Checks,
    CheckState,
    Detail,
    EarlierReason,
    GitEvidence,
    PullRequest,
    Snapshot,
)

from .test_decide import BRANCH, EVIDENCE, NOW, PULL, ci

POLICY = MergePolicy(
    required_checks=(RequiredCheck(name="ci"),),
    duplicates=Duplicates(action="close", same_issue=True),
    agents=("agent",),
    authors_denied=("mallory",),
)


def running(state: CheckState = CheckState.PENDING, **detail: Any) -> dict[str, Any]:
    return {"detail": Detail(Checks((ci(state, NOW - 50),)), head_committed_at=NOW - 60, **detail)}


def duplicates(*pulls: PullRequest) -> dict[int, int]:
    """Return whom the plan calls a duplicate, and of whom."""
    plan = decide(POLICY, replace(SNAPSHOT, pulls=pulls), NOW)
    return {d.number: d.duplicate.original for d in plan.decisions if d.duplicate is not None}


MINE = replace(PULL, number=1, **running())
TWIN = replace(MINE, number=2, created_at=NOW - 200)
SNAPSHOT = Snapshot("o/r", BRANCH, ())


def test_the_older_of_two_equal_ones_is_kept() -> None:
    assert duplicates(MINE, TWIN) == {2: 1}
    assert duplicates(replace(MINE, created_at=NOW - 100), TWIN) == {1: 2}


def test_a_persons_is_kept_and_a_green_one_before_any() -> None:
    assert duplicates(MINE, replace(TWIN, author="ali")) == {1: 2}
    green = replace(TWIN, **running(CheckState.SUCCESS))
    assert duplicates(replace(MINE, author="ali"), green) == {}
    assert duplicates(MINE, green) == {1: 2}


@pytest.mark.parametrize(
    "obstacle",
    [
        {"is_fork": True, "author": "outsider"},
        {"is_fork": True},
        {"author": "mallory"},
        {"is_draft": True},
        {"title": "WIP: the same"},
        {"labels": frozenset({"hold"})},
        {"base_ref": "release"},
        {"review_decision": "CHANGES_REQUESTED"},
        {"unreadable": "cut"},
        {"detail": None},
        {"evidence": None},
        {"evidence": replace(EVIDENCE, reverted_paths=("a",))},
        running(CheckState.FAILURE),
        running(CheckState.UNKNOWN),
        running(CheckState.ACTION_REQUIRED),
    ],
)
def test_no_work_is_closed_for_one_that_may_never_land(obstacle: dict[str, Any]) -> None:
    older = replace(TWIN, created_at=NOW - 1000, **obstacle)

    assert 1 not in duplicates(MINE, older)


def test_forks_keep_nothing_even_where_they_may_land() -> None:
    policy = replace(POLICY, forks_allowed=True)
    fork = replace(TWIN, is_fork=True, author="outsider", **running(CheckState.SUCCESS))
    plan = decide(policy, replace(SNAPSHOT, pulls=(MINE, fork)), NOW)

    assert [d.duplicate for d in plan.decisions] == [None, None]


@pytest.mark.parametrize(
    "other",
    [
        {"result_tree": "another"},
        {"base_oid": "older"},
        {"head_oid": "older"},
        {"clean": False, "result_tree": ""},
    ],
)
def test_what_does_not_leave_the_same_result_is_no_duplicate(other: dict[str, Any]) -> None:
    assert duplicates(MINE, replace(TWIN, evidence=replace(EVIDENCE, **other))) == {}


def test_one_issue_is_enough_where_the_policy_says_so_but_not_for_a_fork() -> None:
    issue = running(closing_issues=("o/r#1",))
    mine = replace(MINE, **issue)
    other = replace(TWIN, **issue, evidence=replace(EVIDENCE, result_tree="another"))

    assert duplicates(mine, other) == {2: 1}
    assert duplicates(mine, replace(other, is_fork=True, created_at=1.0)) == {2: 1}
    assert duplicates(mine, replace(other, is_fork=True, author="outsider", created_at=1.0)) == {}


def test_whom_only_a_person_holds_up_may_be_kept() -> None:
    guarded = {
        **running(paths=(".github/workflows/ci.yml",), labellings={}),
        "evidence": EVIDENCE,
    }

    assert duplicates(replace(MINE, **guarded), replace(TWIN, **guarded)) == {2: 1}


def test_what_main_has_already_is_a_duplicate_of_main() -> None:
    empty = GitEvidence("base", "head", result_tree="tree", empty=True)

    assert duplicates(replace(MINE, evidence=empty), replace(TWIN, evidence=empty)) == {1: 0, 2: 0}


def test_twins_far_apart_in_a_long_queue_are_looked_at_together() -> None:
    seen = {n: EarlierReason("check_pending", NOW, change=f"change-{n}") for n in range(1, 200)}
    seen[190] = replace(seen[190], change="change-3")

    assert twins(POLICY, seen) == {3, 190}
    assert twins(replace(POLICY, duplicates=Duplicates()), seen) == set()


def test_many_twins_leave_half_of_a_look_to_all_others() -> None:
    seen = {n: EarlierReason("check_pending", NOW, change=f"change-{n % 50}") for n in range(200)}

    assert len(twins(POLICY, seen)) <= POLICY.examined_per_cycle // 2
