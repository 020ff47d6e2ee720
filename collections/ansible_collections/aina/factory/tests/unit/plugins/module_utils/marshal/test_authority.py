"""Whose word counts, and for which head: labels that make an exception, reviews, holds, vetoes."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from factory.core.marshal import authority, parsing
from factory.core.marshal.decide import decide
from factory.core.marshal.settings import Duplicates, MergePolicy
from factory.core.marshal.snapshot import (
    Checks,
    CheckState,
    Command,
    EarlierReason,
    Labelling,
    PullRequest,
    Review,
    SavedState,
    Snapshot,
)

from .test_decide import BRANCH, EVIDENCE, GREEN, NOW, POLICY, PULL, SNAPSHOT, ci, word


def reason(pull: PullRequest, policy: MergePolicy = POLICY, snapshot: Snapshot = SNAPSHOT) -> str:
    plan = decide(policy, replace(snapshot, pulls=(pull,)), NOW)
    return plan.decisions[0].reason.code


NEEDS: dict[str, tuple[dict[str, Any], Snapshot, str]] = {
    "approved-by-human": ({"paths": (".github/x",)}, SNAPSHOT, "guarded_path"),
    "repair": (
        {},
        replace(SNAPSHOT, branch=replace(BRANCH, checks=Checks((ci(CheckState.FAILURE),)))),
        "main_red",
    ),
    "intentional-revert": ({}, SNAPSHOT, "reverts_landed_work"),
}
UPDATED = {"head_oid": "second", "updated_from": ("first", "head")}


@pytest.mark.parametrize("label", NEEDS)
@pytest.mark.parametrize(
    ("given", "evidence", "counts"),
    [
        ({"actor": "ali"}, {}, True),
        ({"actor": "agent"}, {}, False),
        ({"actor": "helper"}, {}, False),
        ({"actor": "HELPER"}, {}, False),
        ({"actor": "robot", "by_person": False}, {}, False),
        ({"actor": ""}, {}, False),
        ({"actor": "ali", "head_oid": "older"}, {}, False),
        ({"actor": "ali", "head_oid": ""}, {}, False),
        # Only the base branch was merged into what the person saw.
        ({"actor": "ali"}, UPDATED, True),
        ({"actor": "ali", "head_oid": "older"}, UPDATED, False),
    ],
)
def test_an_exception_needs_another_persons_word_about_this_head(
    label: str, given: dict[str, Any], evidence: dict[str, Any], counts: bool
) -> None:
    detail, snapshot, code = NEEDS[label]
    pull = replace(PULL, **word(label, **given))
    assert pull.detail is not None
    reverted = ("a",) if label == "intentional-revert" else ()
    pull = replace(
        pull,
        head_oid=evidence.get("head_oid", "head"),
        detail=replace(pull.detail, **detail),
        evidence=replace(EVIDENCE, reverted_paths=reverted, **evidence),
    )

    assert reason(pull, snapshot=snapshot) == ("green" if counts else code)
    # The label alone, of which nobody can say who gave it, is nobody's word.
    unknown = replace(pull, detail=replace(pull.detail or GREEN, labellings={}))
    assert reason(unknown, snapshot=snapshot) == code


def reviewed(*reviews: Review, **changes: Any) -> PullRequest:
    return replace(PULL, detail=replace(GREEN, reviews=reviews, **changes))


YES = Review("ali", True, "APPROVED", "head", may_push=True, is_member=True)
NO = replace(YES, state="CHANGES_REQUESTED")


@pytest.mark.parametrize(
    ("review", "counts"),
    [
        (YES, True),
        (replace(YES, head_oid="older"), False),
        (replace(YES, head_oid=""), False),
        (replace(YES, state="DISMISSED"), False),
        (replace(YES, may_push=False), False),
        (replace(YES, author="helper"), False),
        (replace(YES, author="agent"), False),
        (replace(YES, author=""), False),
        (replace(YES, by_person=False), False),
    ],
)
def test_an_approval_counts_from_another_person_for_this_very_head(
    review: Review, counts: bool
) -> None:
    policy = replace(POLICY, required_approvals=1)
    by_rule = replace(SNAPSHOT, branch=replace(BRANCH, required_approvals=1))
    expected = "green" if counts else "review_required"

    assert reason(reviewed(review), policy) == expected
    approved = replace(reviewed(review), review_decision="APPROVED")
    assert reason(approved, snapshot=by_rule) == expected


@pytest.mark.parametrize(
    ("review", "code"),
    [
        (NO, "changes_requested"),
        (replace(NO, head_oid="older"), "changes_requested"),
        (replace(NO, may_push=False), "changes_requested"),
        (replace(NO, author=""), "changes_requested"),
        (replace(NO, may_push=False, is_member=False), "green"),
        (replace(NO, state="DISMISSED"), "green"),
    ],
)
def test_an_objection_stands_where_no_rule_asks_for_reviews(review: Review, code: str) -> None:
    assert reason(reviewed(review)) == code


def test_reviews_that_were_cut_may_hide_an_objection() -> None:
    assert reason(reviewed(reviews_complete=False)) == "data_incomplete"


ALI, RANA, BOT = ("ali", True), ("rana", True), ("sweeper", False)


@pytest.mark.parametrize(
    ("giver", "remover", "code"),
    [
        (ALI, ALI, "green"),
        (ALI, RANA, "green"),
        (ALI, ("agent", True), "hold_label"),
        (ALI, ("helper", True), "hold_label"),
        (ALI, BOT, "hold_label"),
        (("agent", True), ("agent", True), "green"),
        (BOT, ("helper", True), "green"),
    ],
)
def test_a_persons_hold_is_lifted_by_a_person(
    giver: tuple[str, bool], remover: tuple[str, bool], code: str
) -> None:
    told = Labelling(*remover, at=NOW - 10, removed=True, before=Labelling(*giver, at=NOW - 20))
    pull = replace(PULL, detail=replace(GREEN, labellings={"hold": told}))

    assert reason(pull) == code


@pytest.mark.parametrize(
    ("remover", "closes"),
    [(ALI, False), (("", False), False), (("agent", True), True), (("helper", True), True)],
)
def test_an_agent_keeps_no_duplicate_by_taking_the_label_off(
    remover: tuple[str, bool], closes: bool
) -> None:
    policy = replace(POLICY, duplicates=Duplicates(action="close"), agents=("agent", "helper"))
    told = Labelling(*remover, at=NOW - 10, removed=True)
    twin = replace(PULL, number=8, detail=replace(GREEN, labellings={"duplicate": told}))
    saved = SavedState(remembered={8: EarlierReason("duplicate", NOW - 90_000)}, marked=(8,))
    snapshot = replace(SNAPSHOT, pulls=(PULL, twin), saved=saved)

    decision = decide(policy, snapshot, NOW).of(8)

    assert decision is not None
    assert (decision.verb.value == "close_duplicate") == closes
    assert not decision.marks_duplicate
    # Within the grace an agent's removal only has the label come back.
    young = replace(saved, remembered={8: EarlierReason("duplicate", NOW - 10)})
    again = decide(policy, replace(snapshot, saved=young), NOW).of(8)
    assert again is not None
    assert (again.verb.value, again.marks_duplicate) == ("wait", closes)


def move(after: str, second: int) -> dict[str, str]:
    return {"after": after, "timestamp": f"2026-01-01T00:00:{second:02}Z"}


MOVES = [move("head", 30), move("older", 20), move("first", 10)]


@pytest.mark.parametrize(
    ("moves", "second", "head"),
    [
        (MOVES, 31, "head"),
        (MOVES, 29, "older"),
        (MOVES, 11, "first"),
        # Nobody knows what came first within a second, or before the list begins.
        (MOVES, 30, ""),
        (MOVES, 20, ""),
        (MOVES, 5, ""),
        # The list does not know of the present head yet.
        (MOVES[1:], 31, ""),
        ([], 31, ""),
        # There and back again: what was said between was said of something else.
        ([move("head", 40), *MOVES[1:], move("head", 5)], 25, "older"),
    ],
)
def test_which_head_stood_when_follows_from_the_servers_own_times(
    moves: list[dict[str, str]], second: int, head: str
) -> None:
    at = parsing.moment(move("", second)["timestamp"])

    assert parsing.head_at(moves, "head", at + 0.5) == head


def test_only_the_last_of_a_labels_events_counts() -> None:
    def event(kind: str, login: str, second: int, name: str = "Repair") -> dict[str, Any]:
        return {
            "__typename": kind,
            "createdAt": move("", second)["timestamp"],
            "label": {"name": name},
            "actor": {"login": login, "__typename": "User"},
        }

    events = [event("LabeledEvent", "ali", 1), event("UnlabeledEvent", "agent", 2)]
    lifted = parsing.labellings(events)["repair"]
    again = parsing.labellings([*events, event("LabeledEvent", "agent", 3, "repair")])["repair"]

    assert (lifted.removed, lifted.actor) == (True, "agent")
    assert lifted.before is not None
    assert lifted.before.actor == "ali"
    assert (again.removed, again.actor, again.before) == (False, "agent", None)
    pull = replace(PULL, labels=frozenset({"repair"}), detail=replace(GREEN, labellings={}))
    assert authority.doubt(POLICY, pull, "repair")


HEAD = "a" * 40
COMMENT = {
    "body": f"/land {HEAD}",
    "lastEditedAt": None,
    "isMinimized": False,
    "author": {"login": "owner", "__typename": "User"},
}


@pytest.mark.parametrize(
    ("comment", "read"),
    [
        ({}, [("owner", True, HEAD, "")]),
        (
            {"body": f"/land {HEAD} Intentional-Revert\n"},
            [("owner", True, HEAD, "intentional-revert")],
        ),
        # A part of a commit's name, a quotation, a command among other words: none.
        ({"body": f"/land {HEAD[:12]}"}, []),
        ({"body": f"> /land {HEAD}"}, []),
        ({"body": f"Please do /land {HEAD}"}, []),
        ({"body": f"/land {HEAD}\n/land {HEAD}"}, []),
        ({"lastEditedAt": "2026-12-01T00:00:00Z"}, []),
        ({"isMinimized": True}, []),
        ({"author": None}, [("", False, HEAD, "")]),
    ],
)
def test_a_command_is_a_comment_that_says_nothing_else(
    comment: dict[str, Any], read: list[tuple[str, bool, str, str]]
) -> None:
    found = parsing.commands([None, {**COMMENT, **comment}])

    assert [(c.author, c.by_person, c.head_oid, c.label) for c in found] == read


@pytest.mark.parametrize("label", NEEDS)
@pytest.mark.parametrize(
    ("given", "counts"),
    [
        ({}, True),
        ({"author": "AGENT"}, False),
        ({"by_person": False}, False),
        ({"head_oid": "older"}, False),
        ({"label": "hold"}, False),
    ],
)
def test_a_command_counts_for_the_very_head_and_from_whom_the_policy_names(
    label: str, given: dict[str, Any], counts: bool
) -> None:
    # The account is the author's own, and that of the agents.
    policy = replace(POLICY, commanders=("Owner",), agents=("owner",))
    more, snapshot, code = NEEDS[label]
    evidence = (
        replace(EVIDENCE, reverted_paths=("x",)) if label == "intentional-revert" else EVIDENCE
    )
    command = Command("owner", True, "head", label)
    told = replace(GREEN, **more, commands=(replace(command, **given),))
    pull = replace(PULL, author="owner", author_is_bot=False, detail=told, evidence=evidence)

    assert reason(pull, policy, snapshot) == ("green" if counts else code)


def test_a_command_is_one_approval_whoever_else_approved() -> None:
    policy = replace(POLICY, commanders=("owner",), required_approvals=2)
    command = Command("owner", True, "head")
    by_owner, by_other = (
        Review(name, True, "APPROVED", "head", may_push=True) for name in ("owner", "other")
    )

    for reviews, code in [((by_owner,), "review_required"), ((by_other,), "green")]:
        told = replace(GREEN, commands=(command,), reviews=reviews)
        assert reason(replace(PULL, detail=told), policy) == code
