from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from factory.core.marshal import saved_state
from factory.core.marshal.decide import decide
from factory.core.marshal.reasons import Code
from factory.core.marshal.settings import Duplicates, Freeze, MergePolicy, RequiredCheck
from factory.core.marshal.snapshot import (
    Branch,
    CheckRun,
    Checks,
    CheckState,
    Detail,
    EarlierReason,
    GitEvidence,
    Labelling,
    Mergeable,
    PullRequest,
    Refusal,
    SavedState,
    Snapshot,
)

NOW = 1_700_000_000.0


def ci(
    state: CheckState,
    started_at: float = NOW - 100,
    source: str = "a",
    app: str = "github-actions",
    app_id: int = 15368,
) -> CheckRun:
    return CheckRun("ci", state, source, started_at, app, app_id)


def freeze(start: float, end: float) -> Freeze:
    first, last = (datetime.fromtimestamp(at, UTC).isoformat() for at in (start, end))
    return Freeze(reason="release", start=first, end=last)


POLICY = MergePolicy(required_checks=(RequiredCheck(name="ci"),), agents=("helper",))
GREEN = Detail(
    Checks((ci(CheckState.SUCCESS),)),
    ("src/a",),
    head_committed_at=NOW - 200,
)
EVIDENCE = GitEvidence("base", "head", result_tree="tree")
PULL = PullRequest(
    number=7,
    id="PR_7",
    title="Add a thing",
    author="agent",
    author_is_bot=False,
    created_at=NOW - 300,
    is_draft=False,
    is_fork=False,
    head_oid="head",
    head_ref="topic",
    base_ref="main",
    mergeable=Mergeable.MERGEABLE,
    merge_state="CLEAN",
    review_decision="",
    labels=frozenset(),
    rollup="SUCCESS",
    detail=GREEN,
    evidence=EVIDENCE,
)
BRANCH = Branch("main", "base", Checks((ci(CheckState.SUCCESS, NOW - 50),)))
# Green as far as it could be read.
CUT = replace(BRANCH, checks=replace(BRANCH.checks, complete=False))
SNAPSHOT = Snapshot("o/r", BRANCH, (PULL,))


def checked(*checks: CheckRun, complete: bool = True) -> dict[str, Any]:
    return {"detail": replace(GREEN, checks=Checks(checks, complete))}


def word(label: str, actor: str, head_oid: str = "head", by_person: bool = True) -> dict[str, Any]:
    """Return who gave which label when which head stood."""
    given = {label: Labelling(actor, by_person, NOW - 50, head_oid=head_oid)}
    return {"labels": frozenset({label}), "detail": replace(GREEN, labellings=given)}


def labelled(actor: str, by_person: bool, head_oid: str = "head") -> dict[str, Any]:
    given = word("approved-by-human", actor, head_oid, by_person)
    return {**given, "detail": replace(given["detail"], paths=(".github/workflows/ci.yml",))}


OWN = [
    ({}, "merge", "green", "marshal"),
    ({"is_draft": True}, "skip", "draft", "author"),
    ({"title": "WIP: thing"}, "skip", "work_in_progress", "author"),
    ({"title": "Wipe the disk"}, "merge", "green", "marshal"),
    ({"labels": frozenset({"hold"})}, "skip", "hold_label", "admin"),
    ({"is_fork": True}, "skip", "fork", "admin"),
    ({"base_ref": "release"}, "skip", "other_base", "author"),
    ({"labels_complete": False}, "wait", "data_incomplete", "marshal"),
    ({"unreadable": "half"}, "wait", "data_incomplete", "marshal"),
    ({"mergeable": Mergeable.UNREADABLE}, "wait", "data_unknown", "admin"),
    ({"merge_state": "SPARKLING"}, "wait", "data_unknown", "admin"),
    ({"review_decision": "PERHAPS"}, "wait", "data_unknown", "admin"),
    ({"mergeable": Mergeable.CONFLICTING}, "wait", "conflict", "author"),
    ({"merge_state": "DIRTY"}, "wait", "conflict", "author"),
    ({"merge_state": "UNSTABLE"}, "merge", "green", "marshal"),
    ({"merge_state": "BLOCKED"}, "merge", "green", "marshal"),
    ({"mergeable": Mergeable.UNKNOWN}, "merge", "green", "marshal"),
    ({"review_decision": "CHANGES_REQUESTED"}, "wait", "changes_requested", "author"),
    ({"review_decision": "REVIEW_REQUIRED"}, "wait", "review_required", "reviewer"),
    ({"in_merge_queue": True}, "wait", "in_merge_queue", "ci"),
    ({"detail": None}, "wait", "not_examined", "marshal"),
    ({"detail": None, "rollup": "FAILURE"}, "wait", "check_failed", "author"),
    ({"detail": None, "rollup": ""}, "wait", "no_checks", "ci"),
    (
        {"detail": replace(GREEN, paths=(".github/workflows/ci.yml",))},
        "wait",
        "guarded_path",
        "reviewer",
    ),
    (labelled("ali", True), "merge", "green", "marshal"),
    (labelled("agent", True), "wait", "guarded_path", "reviewer"),
    (labelled("helper", True), "wait", "guarded_path", "reviewer"),
    (labelled("Helper", True), "wait", "guarded_path", "reviewer"),
    (labelled("Agent", True), "wait", "guarded_path", "reviewer"),
    # What another head was given, or nobody knows which, is no word about this one.
    (labelled("ali", True, head_oid="older"), "wait", "guarded_path", "reviewer"),
    (labelled("ali", True, head_oid=""), "wait", "guarded_path", "reviewer"),
    (labelled("fixer[bot]", False), "wait", "guarded_path", "reviewer"),
    (labelled("", False), "wait", "guarded_path", "reviewer"),
    ({**labelled("ali", True), "labels": frozenset()}, "wait", "guarded_path", "reviewer"),
    ({"detail": replace(GREEN, paths_complete=False)}, "wait", "data_incomplete", "marshal"),
    ({"evidence": None}, "wait", "evidence_missing", "marshal"),
    ({"evidence": replace(EVIDENCE, head_oid="old")}, "wait", "evidence_missing", "marshal"),
    ({"evidence": replace(EVIDENCE, base_oid="old")}, "wait", "evidence_missing", "marshal"),
    (
        {"evidence": replace(EVIDENCE, reverted_paths=("a",))},
        "wait",
        "reverts_landed_work",
        "author",
    ),
    ({"evidence": replace(EVIDENCE, clean=False)}, "wait", "conflict", "author"),
    ({"evidence": replace(EVIDENCE, empty=True)}, "wait", "empty", "author"),
    (checked(), "wait", "check_missing", "ci"),
    (checked(ci(CheckState.SUCCESS), complete=False), "wait", "data_incomplete", "marshal"),
    (checked(ci(CheckState.PENDING)), "wait", "check_pending", "ci"),
    (checked(ci(CheckState.PENDING, NOW - 30_000)), "wait", "check_overdue", "admin"),
    (checked(ci(CheckState.FAILURE)), "wait", "check_failed", "author"),
    (checked(ci(CheckState.UNKNOWN)), "wait", "check_unreadable", "admin"),
    (checked(ci(CheckState.ACTION_REQUIRED)), "wait", "check_needs_action", "admin"),
    (checked(ci(CheckState.NEUTRAL)), "merge", "green", "marshal"),
    # A re-run supersedes what it re-ran, in both directions; a started one is not green yet.
    (
        checked(ci(CheckState.FAILURE, NOW - 100), ci(CheckState.SUCCESS, NOW - 50)),
        "merge",
        "green",
        "marshal",
    ),
    (
        checked(ci(CheckState.SUCCESS, NOW - 100), ci(CheckState.FAILURE, NOW - 50)),
        "wait",
        "check_failed",
        "author",
    ),
    (
        checked(ci(CheckState.SUCCESS, NOW - 100), ci(CheckState.PENDING, 0)),
        "wait",
        "check_pending",
        "ci",
    ),
    # The same name from two applications: both count.
    (
        checked(ci(CheckState.SUCCESS), ci(CheckState.FAILURE, source="b")),
        "wait",
        "check_failed",
        "author",
    ),
    # An optional check never decides.
    (
        checked(ci(CheckState.SUCCESS), CheckRun("lint", CheckState.FAILURE)),
        "merge",
        "green",
        "marshal",
    ),
]


@pytest.mark.parametrize(("changes", "verb", "code", "owner"), OWN)
def test_each_situation_has_one_decision(
    changes: dict[str, Any], verb: str, code: str, owner: str
) -> None:
    plan = decide(POLICY, replace(SNAPSHOT, pulls=(replace(PULL, **changes),)), NOW)

    (decision,) = plan.decisions
    assert (decision.verb.value, decision.reason.code, decision.reason.owner.value) == (
        verb,
        code,
        owner,
    )


REPOSITORY = [
    # What was seen in full may land though others were not seen.
    ({"complete": False, "incomplete_reason": "page 2"}, {}, "green"),
    ({"archived": True}, {}, "archived"),
    ({"hold_issues": ("#3 hold",)}, {}, "repository_hold"),
    ({"points_remaining": 10}, {}, "budget"),
    ({"evidence_error": "git fetch ended with 128"}, {}, "evidence_missing"),
    ({"saved": SavedState(halted_since=1.0, halted_reason="#1")}, {}, "halted"),
    (
        {"saved": SavedState(main_red_since=1.0), "branch": replace(BRANCH, checks=Checks())},
        {},
        "main_red",
    ),
    ({"branch": replace(BRANCH, checks=Checks((ci(CheckState.FAILURE),)))}, {}, "main_red"),
    ({"branch": replace(BRANCH, checks=Checks())}, {"pending_main_blocks": True}, "main_pending"),
    ({"branch": CUT}, {}, "data_incomplete"),
    ({"branch": CUT}, {"pending_main_blocks": True}, "data_incomplete"),
    ({"branch": CUT}, {"red_main_blocks": False}, "green"),
    ({"branch": CUT, "saved": SavedState(main_red_since=1.0)}, {}, "main_red"),
    ({"branch": replace(BRANCH, rules_known=False)}, {}, "data_incomplete"),
    ({"branch": replace(BRANCH, required_checks=("deploy",))}, {}, "check_missing"),
    ({"branch": replace(BRANCH, required_approvals=1)}, {}, "review_required"),
    ({}, {"required_checks": ()}, "no_required_checks"),
    ({}, {"required_checks": (), "allow_no_checks": True}, "green"),
    (
        {"branch": replace(BRANCH, checks=Checks((ci(CheckState.FAILURE),)))},
        {"required_checks": (), "allow_no_checks": True},
        "main_red",
    ),
    ({}, {"freezes": (freeze(NOW - 1, NOW + 1),)}, "freeze"),
    ({}, {"freezes": (freeze(NOW + 1, NOW + 2),)}, "green"),
    ({}, {"freezes": (replace(freeze(NOW - 1, NOW + 1), branches=("ma*",)),)}, "freeze"),
    ({}, {"freezes": (replace(freeze(NOW - 1, NOW + 1), branches=("release/*",)),)}, "green"),
    ({}, {"authors_denied": ("agent",)}, "author"),
    ({}, {"authors_denied": ("Agent",)}, "author"),
    ({}, {"authors_denied": ("agent[bot]",)}, "green"),
    (
        {"pulls": (replace(PULL, author_is_bot=True),)},
        {"authors_denied": ("agent[bot]",)},
        "author",
    ),
    ({}, {"authors_allowed": ("ali",)}, "author"),
    ({}, {"authors_allowed": ("Agent",)}, "green"),
    ({}, {"authors_allowed": ("agent[bot]",)}, "author"),
    ({}, {"settle_seconds": 1000.0}, "settling"),
    ({}, {"max_merges_per_cycle": 0}, "cap_reached"),
    ({"saved": SavedState(refused={7: Refusal("head", "no", NOW + 1)})}, {}, "refused_by_github"),
    ({"saved": SavedState(refused={7: Refusal("head", "no", NOW)})}, {}, "green"),
    ({"saved": SavedState(refused={7: Refusal("older", "no", NOW + 1)})}, {}, "green"),
    (
        {"saved": SavedState(refused={7: Refusal("head", "no", NOW + 1, Code.LEFT_MERGE_QUEUE)})},
        {},
        "left_merge_queue",
    ),
]


@pytest.mark.parametrize(("snapshot", "policy", "code"), REPOSITORY)
def test_each_repository_rule_has_its_reason(
    snapshot: dict[str, Any], policy: dict[str, Any], code: str
) -> None:
    plan = decide(replace(POLICY, **policy), replace(SNAPSHOT, **snapshot), NOW)

    assert [decision.reason.code for decision in plan.decisions] == [code]


def test_a_check_that_never_reports_is_named_after_its_deadline() -> None:
    late = replace(
        PULL, created_at=0, detail=replace(GREEN, checks=Checks(), head_committed_at=1.0)
    )

    (decision,) = decide(POLICY, replace(SNAPSHOT, pulls=(late,)), NOW).decisions

    assert (decision.reason.code, decision.reason.detail) == ("check_never_reported", "ci")
    assert decision.reason.owner.value == "admin"


def test_a_repair_lands_on_red_main_and_nothing_else() -> None:
    repair = replace(PULL, number=8, **word("repair", "ali"))
    red = replace(BRANCH, checks=Checks((ci(CheckState.FAILURE),)))

    plan = decide(POLICY, replace(SNAPSHOT, branch=red, pulls=(PULL, repair)), NOW)

    assert {d.number: d.verb.value for d in plan.decisions} == {7: "wait", 8: "merge"}


def test_a_waiting_one_never_blocks_those_behind_it() -> None:
    stuck = replace(PULL, number=1, created_at=1.0, labels=frozenset({"hold"}))
    plan = decide(POLICY, replace(SNAPSHOT, pulls=(PULL, stuck)), NOW)

    assert [(d.number, d.verb.value) for d in plan.decisions] == [(1, "skip"), (7, "merge")]


def test_strict_lands_one_at_a_time_and_updates_the_head_of_the_queue_only() -> None:
    pulls = [replace(PULL, number=n, created_at=float(n)) for n in (1, 2, 3)]
    behind = [replace(pull, evidence=replace(EVIDENCE, behind_count=1)) for pull in pulls]
    strict = replace(POLICY, mode="strict")

    ready = decide(strict, replace(SNAPSHOT, pulls=tuple(pulls)), NOW)
    late = decide(strict, replace(SNAPSHOT, pulls=tuple(behind)), NOW)

    assert [d.reason.code for d in ready.decisions] == ["green", "behind_queue", "behind_queue"]
    assert [d.verb.value for d in late.decisions] == ["update", "wait", "wait"]


def test_nothing_is_closed_or_labelled_for_a_list_that_was_cut() -> None:
    closing = replace(
        POLICY, duplicates=Duplicates(action="close", grace_hours=0), agents=("agent",)
    )
    waiting = replace(PULL, **checked(ci(CheckState.PENDING)))
    pulls = (
        replace(waiting, number=1),
        replace(waiting, number=2, labels=frozenset({"duplicate"})),
        replace(PULL, number=3, mergeable=Mergeable.CONFLICTING, evidence=None),
    )
    saved = SavedState(remembered={2: EarlierReason("duplicate", NOW - 10)}, marked=(2,))
    whole = replace(SNAPSHOT, pulls=pulls, saved=saved)

    read, cut = (decide(closing, replace(whole, complete=end), NOW) for end in (True, False))

    assert [d.verb.value for d in read.decisions] == ["wait", "close_duplicate", "wait"]
    assert [d.conflict_label for d in read.decisions] == ["", "", "add"]
    assert not cut.acts


def test_a_reason_keeps_since_when_it_holds() -> None:
    held = replace(PULL, is_draft=True)
    saved = SavedState(remembered={7: EarlierReason("draft", 5.0)})

    (decision,) = decide(POLICY, replace(SNAPSHOT, pulls=(held,), saved=saved), NOW).decisions

    assert decision.reason.since == 5.0


def test_a_dependant_waits_for_its_parent() -> None:
    child = replace(PULL, number=9, base_ref="topic", head_ref="child")

    plan = decide(POLICY, replace(SNAPSHOT, pulls=(PULL, child)), NOW)

    assert plan.of(9) is not None
    assert [d.reason.detail for d in plan.decisions if d.number == 9] == ["lands after #7"]


FAILED = replace(GREEN, checks=Checks((ci(CheckState.FAILURE),)))


def history(*looks: PullRequest) -> list[tuple[str, float]]:
    """Look again and again, a hundred seconds apart; return what was said and since when."""
    saved = SavedState()
    said: list[tuple[str, float]] = []
    for turn, pull in enumerate(looks):
        now = NOW + 100 * turn
        snapshot = replace(SNAPSHOT, pulls=(pull,), saved=saved)
        plan = decide(POLICY, snapshot, now)
        saved = SavedState(remembered=saved_state.earlier_reasons(plan, snapshot, now))
        (decision,) = plan.decisions
        said.append((decision.reason.code, decision.reason.since - NOW))
    return said


def test_what_cannot_be_read_for_a_while_interrupts_no_waiting_time() -> None:
    failing = replace(PULL, detail=FAILED)
    cut = replace(failing, unreadable="the answer was cut")

    said = history(failing, cut, replace(cut, detail=None), failing, PULL, failing)

    assert said == [
        ("check_failed", 0),
        ("data_incomplete", 100),
        ("data_incomplete", 100),
        ("check_failed", 0),
        ("green", 400),
        ("check_failed", 500),
    ]


def test_one_that_was_not_examined_again_keeps_its_reason_until_it_changes() -> None:
    never = replace(PULL, created_at=0, detail=replace(GREEN, checks=Checks(), head_committed_at=1))
    unseen = replace(never, detail=None)

    said = history(never, unseen, replace(unseen, head_oid="other"), never)

    assert said == [
        ("check_never_reported", 0),
        ("check_never_reported", 0),
        ("not_examined", 200),
        ("check_never_reported", 0),
    ]
