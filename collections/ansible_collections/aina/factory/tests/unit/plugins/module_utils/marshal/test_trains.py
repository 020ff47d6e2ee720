from __future__ import annotations

import itertools
from collections.abc import Callable, Collection
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from factory.core.marshal import trains
from factory.core.marshal.checks import ACTIONS
from factory.core.marshal.settings import MergePolicy, RequiredCheck, Train
from factory.core.marshal.snapshot import Branch, CheckRun, Checks, CheckState, TrainRun, TrainState

Red = Callable[[frozenset[int]], bool]


class Line:
    """A queue and CI without a clock: each round answers all that was asked for together."""

    def __init__(self, count: int, red: Red, slots: int = 4) -> None:
        self.policy = MergePolicy(
            required_checks=(RequiredCheck(name="ci"),), mode="train", train=Train(slots=slots)
        )
        self.red = red
        self.waiting = [(number, f"h{number}") for number in range(1, count + 1)]
        self.landed: list[int] = []
        self.rounds = self.runs = 0
        self.saved = TrainState()
        self.checks: dict[str, Checks] = {}

    def on(self, members: Collection[trains.Member]) -> frozenset[int]:
        return frozenset(self.landed) | {number for number, _head in members}

    def turn(self) -> str:
        base = f"c{len(self.landed)}"
        ready = tuple(m for m in self.waiting if m[0] not in self.landed)
        branch = Branch("main", base, required_checks=("ci",))
        step = trains.next_step(self.policy, branch, ready, self.saved, self.checks, 0.0)
        self.saved = step.saved
        if step.verb == "start":
            assert len(step.batches) <= self.policy.train.slots
            self.rounds += 1
            self.runs += len(step.batches)
            runs: list[TrainRun] = []
            for batch in step.batches:
                state = CheckState.FAILURE if self.red(self.on(batch)) else CheckState.SUCCESS
                tip = f"t{self.rounds}.{len(runs)}"
                self.checks[tip] = Checks((CheckRun("ci", state, "app", 0.0, ACTIONS),))
                runs.append(TrainRun(batch, base, tip, tip, 0.0))
            self.saved = replace(self.saved, runs=tuple(runs))
        elif step.verb == "land":
            assert not self.red(self.on(step.members)), "an untested state landed"
            self.landed += [number for number, _head in step.members]
            self.saved = trains.after_landing(self.saved, self.landed)
        return step.verb

    def until(self, done: Callable[[], bool]) -> None:
        for _turn in range(400):
            if done() or self.turn() == "rest":
                return
        raise AssertionError("the train never comes to rest")


def fails_with(*bad: int) -> Red:
    return lambda members: bool(members & set(bad))


def test_two_bad_of_thirty_take_four_rounds_of_ci_whoever_they_are() -> None:
    for pair in itertools.combinations(range(1, 31), 2):
        line = Line(30, fails_with(*pair))
        line.until(lambda: len(line.landed) == 28)  # noqa: B023 - it ends within the turn
        assert len(line.landed) == 28, pair
        assert line.rounds <= 4, pair
        line.until(lambda: False)
        # Each has one more test, alone, before it is blamed.
        assert set(line.saved.bad) == set(pair)
        assert line.rounds <= 6, pair
        assert line.runs <= 18, pair


@pytest.mark.parametrize("slots", [1, 2, 3, 8, 32])
def test_more_slots_take_fewer_rounds(slots: int) -> None:
    most = {1: 12, 2: 8, 3: 5, 8: 4, 32: 4}[slots]
    for pair in [(1, 2), (1, 30), (7, 22), (15, 16), (29, 30)]:
        line = Line(30, fails_with(*pair), slots)
        line.until(lambda: len(line.landed) == 28)  # noqa: B023 - it ends within the turn
        assert len(line.landed) == 28
        assert line.rounds <= most, (pair, line.rounds)


def test_nothing_that_is_red_costs_one_run() -> None:
    line = Line(30, fails_with())

    line.until(lambda: False)

    assert (line.rounds, line.runs, len(line.landed)) == (1, 1, 30)


def test_one_bad_keeps_the_others_for_three_rounds_only() -> None:
    for bad in range(1, 31):
        line = Line(30, fails_with(bad))
        line.until(lambda: len(line.landed) == 29)  # noqa: B023 - it ends within the turn
        assert line.rounds <= 4


# What may be the matter with a tree: some are bad, some only together, and some cure others.
MATTERS = st.tuples(
    st.sets(st.integers(1, 12), max_size=4),
    st.sets(st.tuples(st.integers(1, 12), st.integers(1, 12)), max_size=3),
    st.sets(st.tuples(st.integers(1, 12), st.integers(1, 12)), max_size=2),
)


@settings(max_examples=300, deadline=None)
@given(st.integers(1, 12), st.integers(1, 6), MATTERS)
def test_whatever_is_red_with_whom_the_train_comes_to_rest_and_lands_tested_states_only(
    count: int,
    slots: int,
    matter: tuple[set[int], set[tuple[int, int]], set[tuple[int, int]]],
) -> None:
    bad, together, cures = matter

    def red(members: frozenset[int]) -> bool:
        ill = {b for b in bad & members if not any(c == b and k in members for c, k in cures)}
        return bool(ill) or any(a != b and {a, b} <= members for a, b in together)

    line = Line(count, red, slots)
    line.until(lambda: False)

    left = {n for n, _head in line.waiting} - set(line.landed)
    assert left == set(line.saved.bad)
