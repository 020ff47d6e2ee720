"""Which issues get a lane, which wait, which are left alone."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import agents
import pytest

from factory.core.base.configuration import Section
from factory.core.base.settings import read
from factory.core.lanes import admission, dispatch
from factory.core.lanes.dispatch import LabelledIssue, ObservedProject, Past
from factory.core.lanes.settings import LanesSettings

NOW, HOUR = 1_000_000.0, 3600.0
ROOM = admission.Load((), 1 << 40, 1 << 40)


def settings(*names: str, **values: Any) -> LanesSettings:
    projects = [{"name": name, "repository": f"factory/{name}", **values} for name in names]
    section = {"agents": agents.shipped(), "projects": projects, "concurrency_count": 3}
    return read(LanesSettings, Section(section, "lanes"))


def wishes(*numbers: int, labels: frozenset[str] = frozenset({"lane"})) -> list[LabelledIssue]:
    return [LabelledIssue(number, f"Issue {number}", labels) for number in numbers]


def one(
    wish: LabelledIssue,
    *,
    proposed: tuple[int, ...] = (),
    past: Past | None = None,
    load: admission.Load = ROOM,
) -> dispatch.DispatchDecision:
    known = settings("demo")
    seen = ObservedProject(
        known.lane_projects[0], [wish], proposed, {wish.number: past} if past else {}
    )
    (decision,) = dispatch.plan(known, [seen], load, NOW)
    return decision


def test_an_open_issue_with_the_label_gets_a_lane() -> None:
    decision = one(*wishes(7))
    assert (decision.verb, decision.project, decision.issue) == ("start", "demo", 7)


@pytest.mark.parametrize(
    ("labels", "proposed", "past", "verb", "words"),
    [
        ({"lane", "hold"}, (), None, "skip", "it has the label hold"),
        ({"lane"}, (7,), None, "skip", "a lane's pull request for it is open"),
        ({"lane"}, (8,), None, "start", ""),
        ({"lane"}, (), Past((NOW - HOUR,), "oom"), "wait", "its last lane ended as oom"),
        ({"lane"}, (), Past((NOW - 7 * HOUR,), "oom"), "start", ""),
        ({"lane"}, (), Past((1.0, 2.0), "idle"), "skip", "2 lanes ended without solving it"),
    ],
)
def test_what_was_before_decides_first(
    labels: set[str], proposed: tuple[int, ...], past: Past | None, verb: str, words: str
) -> None:
    decision = one(LabelledIssue(7, "x", frozenset(labels)), proposed=proposed, past=past)
    assert decision.verb == verb
    assert words in decision.why


@pytest.mark.parametrize(
    ("load", "words"),
    [
        (replace(ROOM, running=[("demo", 7)]), "works on issue 7"),
        (replace(ROOM, running=[("a", 1), ("b", 2), ("c", 3)]), "all 3 lanes of this server"),
        (replace(ROOM, available_memory_bytes=1 << 30), "MiB of memory are available"),
    ],
)
def test_without_room_it_waits_and_says_for_what(load: admission.Load, words: str) -> None:
    decision = one(*wishes(7), load=load)
    assert decision.verb == "wait"
    assert words in decision.why


def test_projects_take_turns_and_each_start_takes_its_room() -> None:
    known = settings("one", "two", concurrency_count=3)
    seen = [ObservedProject(project, wishes(1, 2, 3), (), {}) for project in known.lane_projects]
    found = {(d.project, d.issue): d.verb for d in dispatch.plan(known, seen, ROOM, NOW)}
    assert found == {
        ("one", 1): "start",
        ("two", 1): "start",
        ("one", 2): "start",
        ("two", 2): "wait",
        ("one", 3): "wait",
        ("two", 3): "wait",
    }


def test_a_start_takes_the_memory_that_it_may_use() -> None:
    known = settings("demo")
    seen = [ObservedProject(known.lane_projects[0], wishes(1, 2), (), {})]
    load = replace(ROOM, available_memory_bytes=7000 * admission.MIB)
    assert [d.verb for d in dispatch.plan(known, seen, load, NOW)] == ["start", "wait"]


def test_of_the_projects_that_has_its_turn_which_has_least_and_waited_longest() -> None:
    known = settings("one", "two", "three", concurrency_count=2)

    def ended(at: float) -> dict[int, Past]:
        return {99: Past((at,), "changed")}

    pasts = [ended(NOW - 10), ended(NOW - 20), {}]
    seen = [
        ObservedProject(project, wishes(1, 2), (), past)
        for project, past in zip(known.lane_projects, pasts, strict=True)
    ]

    def started(*running: tuple[str, int]) -> list[str]:
        plan = dispatch.plan(known, seen, replace(ROOM, running=running), NOW)
        return [decision.project for decision in plan if decision.verb == "start"]

    # One place is left: the last of three projects gets it, and then the one that waited longer.
    assert started(("two", 8), ("one", 9)) == ["three"]
    assert started(("three", 8), ("three", 9)) == ["two"]


def test_what_is_urgent_comes_first_and_the_oldest_of_it() -> None:
    known = settings("demo", dispatch={"priority_labels": ["fire", "urgent"]}, concurrency_count=3)
    labels = {1: "", 2: "urgent", 3: "fire", 4: "urgent"}
    asked = [LabelledIssue(n, "x", frozenset({"lane", label})) for n, label in labels.items()]
    seen = [ObservedProject(known.lane_projects[0], asked, (), {})]
    found = {d.issue: d.verb for d in dispatch.plan(known, seen, ROOM, NOW)}
    assert found == {1: "wait", 2: "start", 3: "start", 4: "start"}
