"""From which app a required check counts."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import pytest

from factory.core.base.configuration import ConfigurationError, Section
from factory.core.base.settings import read
from factory.core.marshal import blockers, checks, parsing
from factory.core.marshal.settings import MergePolicy
from factory.core.marshal.snapshot import Branch, CheckRun, Checks, CheckState, Snapshot

NOW = 1_700_000_000.0
GREEN, RED, RUNS = CheckState.SUCCESS, CheckState.FAILURE, CheckState.PENDING
BRANCH = Branch("main", "base")


def run(app: str, state: CheckState = GREEN, number: int = 7, workflow: str = "ci") -> CheckRun:
    return CheckRun("ci", state, f"{app}/{workflow}", NOW - 50, app, number)


ACTIONS = run("github-actions", number=15368)
OTHER = run("other-ci")
STATUS = CheckRun("ci", GREEN, "status", NOW - 50)
BOT_STATUS = replace(STATUS, app="other-ci")


def settings(*required: Any) -> MergePolicy:
    return read(MergePolicy, Section({"required_checks": list(required)}, "merge"))


PLAIN = settings("ci")
BOUND = settings({"name": "ci", "app": "other-ci"})
BY_RULE = {"required_checks": ("ci",), "check_apps": (("ci", 7),)}


@pytest.mark.parametrize(
    ("policy", "rules", "reported", "code"),
    [
        (PLAIN, {}, [ACTIONS], ""),
        (PLAIN, {}, [STATUS], "check_missing"),
        (PLAIN, {}, [OTHER], "check_missing"),
        (PLAIN, {}, [BOT_STATUS], "check_missing"),
        (settings(), {"required_checks": ("ci",)}, [STATUS], "check_missing"),
        (settings(), {"required_checks": ("ci",)}, [ACTIONS], ""),
        # Whoever reports it beside the right one neither helps nor harms.
        (PLAIN, {}, [ACTIONS, run("other-ci", RED)], ""),
        (PLAIN, {}, [replace(ACTIONS, state=RED), OTHER, STATUS], "check_failed"),
        (PLAIN, {}, [replace(ACTIONS, state=RUNS), OTHER, STATUS], "check_pending"),
        # Two workflows of the right app with a job of this name: both.
        (
            PLAIN,
            {},
            [ACTIONS, replace(ACTIONS, source="github-actions/b", state=RED)],
            "check_failed",
        ),
        (BOUND, {}, [OTHER], ""),
        (BOUND, {}, [BOT_STATUS], ""),
        (BOUND, {}, [STATUS], "check_missing"),
        (BOUND, {}, [ACTIONS], "check_missing"),
        (settings({"name": "ci", "app": "Other-CI[bot]"}), {}, [OTHER], ""),
        (settings({"name": "ci", "app": "*"}), {}, [STATUS], ""),
        (settings({"name": "ci", "app": "*"}), {}, [STATUS, run("other-ci", RED)], "check_failed"),
        (settings(), BY_RULE, [OTHER], ""),
        (settings(), BY_RULE, [ACTIONS], "check_missing"),
        (settings(), BY_RULE, [replace(OTHER, app_id=8)], "check_missing"),
        # A plain name adds nothing to what the rules bind, nor does "any".
        (PLAIN, BY_RULE, [OTHER], ""),
        (settings({"name": "ci", "app": "*"}), BY_RULE, [STATUS], "check_missing"),
        (BOUND, {**BY_RULE, "check_apps": (("ci", 9),)}, [OTHER], ""),
        # Two rules that bind it to two apps want both.
        (
            settings(),
            {**BY_RULE, "check_apps": (("ci", 7), ("ci", 15368))},
            [OTHER],
            "check_missing",
        ),
        (settings(), {**BY_RULE, "check_apps": (("ci", 7), ("ci", 15368))}, [OTHER, ACTIONS], ""),
    ],
)
def test_a_required_check_counts_from_its_app_only(
    policy: MergePolicy, rules: dict[str, Any], reported: list[CheckRun], code: str
) -> None:
    branch = replace(BRANCH, checks=Checks(tuple(reported)), **rules)
    required = checks.required(policy, branch)

    verdict = checks.judge(policy, required, branch.checks, NOW - 60, NOW)

    assert (verdict.reason.code if verdict else "") == code
    # The same for main itself.
    state = {"": "green", "check_failed": "red"}.get(code, "pending")
    assert blockers.main_state(policy, Snapshot("o/r", branch, ())) == state


def test_whoever_waits_for_another_app_is_told_how_to_bind_it() -> None:
    found = Checks((OTHER, STATUS))

    verdict = checks.judge(PLAIN, checks.required(PLAIN, BRANCH), found, NOW - 60, NOW)

    assert verdict is not None
    assert verdict.reason.detail == (
        "ci (from a commit status, other-ci; it counts from github-actions unless "
        "required_checks binds it to another app)"
    )


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ("ci", " is 'ci'; it must be a list of strings or mappings"),
        ([1], "[0].name is 1; it must be a string"),
        ([""], "[0].name is ''; it must be the name of a check"),
        ([{"app": "x"}], "[0].name is missing"),
        (["ci", {"name": "ci", "app": ""}], "[1].app is ''; it must be the slug of an app"),
        ([{"name": "ci", "id": 1}], "[0].id is not known"),
        ([{}], "[0].name is missing"),
    ],
)
def test_a_wrong_binding_is_named(wrong: Any, words: str) -> None:
    with pytest.raises(ConfigurationError, match=re.escape(f"merge.required_checks{words}")):
        read(MergePolicy, Section({"required_checks": wrong}, "merge"))


@pytest.mark.parametrize(
    ("kind", "login", "app"),
    [
        ("User", "ali", ""),
        ("User", "other-ci", ""),
        ("Bot", "other-ci", "other-ci"),
        ("Bot", "Other-CI[bot]", "other-ci"),
        # Any job's own token writes in the name of Actions.
        ("Bot", "github-actions", ""),
        ("Bot", "github-actions[bot]", ""),
    ],
)
def test_a_status_is_an_apps_only_if_its_bot_wrote_it(kind: str, login: str, app: str) -> None:
    node = {"__typename": "StatusContext", "context": "ci", "state": "SUCCESS"}
    found = parsing.check(
        {**node, "createdAt": None, "creator": {"login": login, "__typename": kind}}
    )

    assert found.app == app
    assert parsing.check({**node, "createdAt": None, "creator": None}).app == ""


def test_classic_protection_that_takes_any_app_binds_nothing() -> None:
    rows = [
        {"context": name, "app_id": number} for name, number in [("a", 7), ("b", None), ("c", -1)]
    ]
    wanted = {"required_status_checks": {"contexts": ["a", "b", "c"], "checks": rows}}

    assert parsing.classic_apps({"protection": wanted}) == (("a", 7),)
