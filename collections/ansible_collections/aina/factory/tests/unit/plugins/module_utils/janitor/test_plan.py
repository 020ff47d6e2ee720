"""What goes and what stays, and why."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from factory.core.base.disk import Disk
from factory.core.janitor.model import Candidate, KindLimits, Watermarks
from factory.core.janitor.plan import decide

NOW = 1_000_000.0
QUIET = Disk("/", 1000, 500, 500)
FULL = Disk("/", 1000, 900, 100)
MARKS = Watermarks(80, 70)


def thing(target: str, age: float | None, size: int = 10, **more: Any) -> Candidate:
    last_used = None if age is None else NOW - age
    return Candidate("k", target, size, last_used, **more)


def reasons(
    candidates: list[Candidate], limits: KindLimits, disk: Disk = QUIET
) -> dict[str, tuple[bool, str]]:
    chosen = decide({"k": candidates}, {"k": limits}, disk, MARKS, NOW)["k"]
    return {decision.candidate.target: (decision.goes, decision.reason) for decision in chosen}


SINGLE = [
    # age, more, disk, goes, reason
    (99, {}, QUIET, False, "within_limits"),
    (100, {}, QUIET, True, "age"),
    (5, {}, FULL, False, "recent"),
    (-50, {}, FULL, False, "recent"),
    (None, {}, FULL, False, "last_use_unknown"),
    (500, {"held_by": "open"}, FULL, False, "open"),
    (0, {"due": "rotate"}, QUIET, True, "rotate"),
    (0, {"due": "rotate", "held_by": "busy"}, QUIET, False, "busy"),
    (50, {}, FULL, True, "watermark"),
    (50, {"counted": False}, FULL, False, "within_limits"),
]


@pytest.mark.parametrize(("age", "more", "disk", "goes", "reason"), SINGLE)
def test_one_thing_is_judged_by_its_limits(
    age: float | None, more: dict[str, Any], disk: Disk, goes: bool, reason: str
) -> None:
    limits = KindLimits(max_age_seconds=100, min_age_seconds=10)

    assert reasons([thing("a", age, **more)], limits, disk)["a"] == (goes, reason)


def test_the_oldest_go_until_the_total_is_small_enough() -> None:
    limits = KindLimits(max_total_bytes=20)

    found = reasons([thing("new", 1), thing("old", 3), thing("mid", 2)], limits)

    assert found == {
        "old": (True, "total_size"),
        "mid": (False, "within_limits"),
        "new": (False, "within_limits"),
    }


def test_a_full_disk_takes_the_oldest_until_the_low_mark() -> None:
    candidates = [thing(str(age), age, 90) for age in (10, 20, 30, 40)]

    found = reasons(candidates, KindLimits(), FULL)

    assert [name for name, (goes, _why) in found.items() if goes] == ["40", "30", "20"]


def test_between_the_marks_nothing_within_limits_goes() -> None:
    found = reasons([thing("a", 50)], KindLimits(), Disk("/", 1000, 750, 250))

    assert found["a"] == (False, "within_limits")


def test_what_age_takes_counts_before_the_marks_do() -> None:
    candidates = [thing("old", 200, 150), thing("young", 50, 150)]

    found = reasons(candidates, KindLimits(max_age_seconds=100), FULL)

    assert found == {"old": (True, "age"), "young": (False, "within_limits")}


def test_a_kind_without_watermark_gives_nothing_up() -> None:
    assert reasons([thing("a", 50)], KindLimits(watermark=False), FULL)["a"][0] is False


def test_a_run_is_bounded() -> None:
    found = reasons([thing(str(n), 100 + n) for n in range(5)], KindLimits(1, max_per_run=2))

    assert [name for name, (goes, _why) in found.items() if goes] == ["4", "3"]
    assert found["0"] == (False, "run_limit")


def test_kinds_give_up_space_in_their_order() -> None:
    inventory = {"cheap": [thing("a", 5, 300)], "dear": [thing("b", 500, 300)]}

    plan = decide(inventory, {"cheap": KindLimits(), "dear": KindLimits()}, FULL, MARKS, NOW)

    assert [plan[kind][0].goes for kind in ("cheap", "dear")] == [True, False]


CANDIDATES = st.lists(
    st.builds(
        Candidate,
        kind=st.just("k"),
        target=st.text("abc", min_size=1, max_size=4),
        bytes=st.integers(0, 400),
        last_used=st.none() | st.floats(NOW - 300, NOW + 50),
        held_by=st.sampled_from(["", "", "open"]),
        counted=st.booleans(),
    ),
    max_size=12,
)


@settings(max_examples=150, deadline=None)
@given(CANDIDATES, st.integers(0, 1000), st.integers(1, 6), st.floats(0, 100))
def test_no_plan_ever_takes_what_is_protected(
    candidates: list[Candidate], used: int, most: int, young: float
) -> None:
    limits = KindLimits(max_age_seconds=200, min_age_seconds=young, max_total_bytes=500)
    limits = KindLimits(**{**vars(limits), "max_per_run": most})

    chosen = decide(
        {"k": candidates}, {"k": limits}, Disk("/", 1000, used, 1000 - used), MARKS, NOW
    )["k"]

    going = [decision.candidate for decision in chosen if decision.goes]
    assert len(chosen) == len(candidates)
    assert len(going) <= most
    for candidate in going:
        assert not candidate.held_by
        assert candidate.last_used is not None
        assert NOW - candidate.last_used >= young
