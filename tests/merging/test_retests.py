"""CI that is asked for again: for whom, how often, and how it ends."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from factory.core.marshal.settings import MergePolicy, RequiredCheck, Retest
from factory.core.marshal.snapshot import CheckState
from merging.model import START, Pull, Repository, Runner, independent

POLICY = MergePolicy(
    required_checks=(RequiredCheck(name="ci"),), max_merges_per_cycle=30, guarded_paths=()
)
HOUR = 3600.0


def red(count: int, **policy: Any) -> Repository:
    """Return that many whose jobs no runner ever had."""
    pulls = independent(count, check=CheckState.FAILURE)
    for number, pull in pulls.items():
        pull.run_id = number
    budget = Retest(**policy.pop("retest", {}))
    repository = Repository(pulls, replace(POLICY, retest=budget, **policy))
    repository.never_began = set(pulls)
    return repository


def codes(runner: Runner) -> dict[int, str]:
    decisions = runner.cycle(dry_run=True).decisions
    return {number: str(decision.reason.code) for number, decision in decisions.items()}


def later(runner: Runner, minutes: float) -> None:
    runner.repository.now_seconds += minutes * 60


def reruns(repository: Repository) -> int:
    return sum(len(pull.reruns) for pull in repository.pulls.values())


def test_what_is_red_for_want_of_ci_is_run_again_oldest_first_and_lands() -> None:
    repository = red(6)
    runner = Runner(repository)

    first = runner.cycle()
    assert {n for n, result in first.results.items() if result == "retested"} == {1, 2, 3, 4}
    for _turn in range(3):
        later(runner, 1)
        runner.cycle()

    assert repository.landed == [1, 2, 3, 4, 5, 6]
    assert reruns(repository) == 6


def test_who_is_red_because_of_the_change_is_run_again_once_and_then_told() -> None:
    repository = red(2)
    repository.never_began.clear()
    repository.pulls[1].at_fault = True
    runner = Runner(repository)
    for _turn in range(50):
        runner.cycle()
        later(runner, 30)

    assert len(repository.pulls[1].reruns) == 1
    assert codes(runner) == {1: "check_failed"}
    assert repository.landed == [2]

    repository.pulls[1].push()
    repository.pulls[1].check_at = repository.now_seconds
    runner.cycle()

    assert len(repository.pulls[1].reruns) == 2


def test_while_no_runner_takes_a_job_one_head_tries_ever_more_seldom() -> None:
    repository = red(8)
    repository.ci_works = False
    runner = Runner(repository)
    for _turn in range(36):
        runner.cycle()
        later(runner, 10)

    # At 0, 10, 30 and then every thirty minutes of six hours; after the first four at once.
    assert reruns(repository) <= 4 + 12
    assert repository.landed == []
    repository.ci_works = True
    for _turn in range(6):
        runner.cycle()
        later(runner, 10)
    assert sorted(repository.landed) == list(range(1, 9))


@pytest.mark.parametrize(
    "budget",
    [
        pytest.param({"runs_per_day": 3}, id="runs"),
        pytest.param({"minutes_per_day": 35, "slots": 1}, id="minutes"),
    ],
)
def test_the_days_budget_is_kept_and_said(budget: dict[str, Any]) -> None:
    repository = red(6, retest=budget)
    repository.ci_seconds = 600
    runner = Runner(repository)
    for _turn in range(10):
        runner.cycle()
        later(runner, 15)

    spent = reruns(repository)
    assert spent == 3
    assert set(codes(runner).values()) == {"retest_budget"}

    later(runner, 24 * 60)
    runner.cycle()

    assert reruns(repository) > spent


@pytest.mark.parametrize(
    ("change", "code"),
    [
        pytest.param({"labels": {"hold"}}, "hold_label", id="held"),
        pytest.param({"draft": True}, "draft", id="draft"),
        pytest.param({"fork": True}, "fork", id="fork"),
        pytest.param({"review": "CHANGES_REQUESTED"}, "changes_requested", id="objection"),
    ],
)
def test_no_ci_is_spent_on_what_could_not_land(change: dict[str, Any], code: str) -> None:
    repository = red(1)
    for key, value in change.items():
        setattr(repository.pulls[1], key, value)
    runner = Runner(repository)
    runner.cycle()

    assert reruns(repository) == 0
    assert codes(runner) == {1: code}


def test_nothing_is_asked_for_where_it_is_switched_off() -> None:
    repository = red(2, retest={"enabled": False})
    runner = Runner(repository)
    runner.cycle()

    assert reruns(repository) == 0
    assert set(codes(runner).values()) == {"check_failed"}


def test_a_silent_head_is_brought_up_to_date_and_so_gets_its_ci() -> None:
    repository = Repository({1: Pull(1, {"a": "1"}, check=None)}, POLICY)
    repository.pulls[1].fork_tree = {"readme": "older"}
    runner = Runner(repository)

    runner.cycle()

    assert repository.writes == ["update 1"]
    assert runner.saved.retests[0].how == "update"


def test_an_expired_green_is_tested_again_once_the_base_has_moved() -> None:
    repository = Repository(independent(1), POLICY)
    pull = repository.pulls[1]
    pull.check_at = START - 40 * 24 * HOUR
    runner = Runner(repository)
    assert codes(runner) == {1: "green"}

    pull.fork_tree = {"readme": "older"}

    assert codes(runner) == {1: "retest"}


def test_a_crash_between_asking_and_knowing_asks_for_nothing_twice() -> None:
    repository = red(1)
    repository.faults[0] = "crash_after"
    runner = Runner(repository)
    runner.until_quiet()

    assert reruns(repository) == 1
    assert repository.landed == [1]


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_whatever_ci_does_each_fault_is_run_once_and_all_others_land(data: st.DataObject) -> None:
    count = data.draw(st.integers(1, 8))
    repository = red(count)
    faults = data.draw(st.sets(st.integers(1, count)))
    for number in faults:
        repository.pulls[number].at_fault = True
    runner = Runner(repository)
    for works in data.draw(st.lists(st.booleans(), max_size=12)):
        repository.ci_works = works
        runner.cycle()
        later(runner, 10)
    repository.ci_works = True
    for _turn in range(3 * count + 8):
        runner.cycle()
        later(runner, 30)

    assert set(repository.landed) == set(repository.pulls) - faults
    for number in faults:
        heads = repository.pulls[number].reruns
        outages = sum(e.outcome == "never_ran" for e in runner.saved.retests if e.number == number)
        assert len(heads) <= 1 + max(outages, len(heads) - 1)
        assert repository.pulls[number].state == "OPEN"
