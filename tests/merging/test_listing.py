"""A list that cannot be read at once: what lands nevertheless, and where the next look goes on."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from simulator import Simulator

from factory.core.marshal.policy import Duplicates
from merging.test_simulator import Rig, policy, repository

pytestmark = [pytest.mark.slow, pytest.mark.deep]
BROKEN: dict[str, Any] = {"path": "*graphql", "skip": 1, "times": 4, "answer": {"status": 502}}
HOUR = 3601


def listed(simulator: Simulator) -> list[dict[str, Any]]:
    """Return the requests that read the list or the details, in order."""
    return [entry for entry in simulator.dispatcher.log if entry["kind"] == "graphql"]


def test_what_was_seen_lands_and_nothing_is_closed_or_labelled(tmp_path: Path) -> None:
    # The younger of two equal ones, and the conflicting pair, are on the first page.
    twins = [
        {
            "head": f"twin-{n}",
            "author": "helper[bot]",
            "created_at": "-9d",
            "commits": [{"message": "Same", "files": {"twin.txt": "same\n"}}],
            "checks": [{"name": "ci", "status": "in_progress"}],
        }
        for n in (1, 2)
    ]
    document = repository(100, pull_requests=twins)
    document["repositories"][0]["generate"]["conflicting"] = 2
    closing = policy(
        duplicates=Duplicates("close", grace_seconds=0),
        max_merges_per_cycle=3,
        examined_per_cycle=100,
    )
    with Simulator(document) as simulator:
        rig = Rig(simulator, tmp_path, closing)
        simulator.add_fault(BROKEN)

        report = rig.cycle()

        assert report.incomplete.startswith("100 of 102 were listed: GraphQL: 502")
        assert len(report.decisions) == 100
        assert sorted(report.results.values()) == ["merged"] * 3
        paths = {(e["method"], e["route"]) for e in simulator.dispatcher.log if e["kind"] == "rest"}
        assert paths <= {
            ("PUT", "/repos/{owner}/{repo}/pulls/{number}/merge"),
            ("DELETE", "/repos/{owner}/{repo}/git/refs/{ref...}"),
        }
        # Read to its end, the list lets the younger twin be marked.
        whole = rig.cycle()
        assert whole.incomplete == ""
        assert len(whole.decisions) == 99
        assert whole.decisions[2].reason.code == "duplicate"


def test_points_that_run_short_leave_the_list_where_the_next_look_goes_on(tmp_path: Path) -> None:
    # Three points above the floor each hour, for a list of six pages.
    document = {**repository(550), "limits": {"graphql": 503}}
    with Simulator(document) as simulator:
        rig = Rig(simulator, tmp_path, policy(points_floor=500))
        seen: set[int] = set()
        places = []
        for _ in range(4):
            report = rig.cycle()
            seen |= set(report.decisions)
            places.append(rig.memory.list_cursor)
            assert report.gate == "budget"
            assert "the points left are kept for others" in report.incomplete
            assert 1 in report.decisions, "the oldest are always seen"
            assert simulator.dispatcher.counts()["points"] <= 4
            simulator.world.clock.advance(HOUR)

        assert seen == set(range(1, 551))
        assert len(set(places)) == len(places), "every look got further"
        assert set(rig.states.values()) == {"OPEN"}


def test_a_limit_in_the_middle_ends_the_cycle_and_keeps_the_place(tmp_path: Path) -> None:
    with Simulator(repository(350)) as simulator:
        rig = Rig(simulator, tmp_path, policy(max_merges_per_cycle=1))
        simulator.add_fault({"path": "*graphql", "skip": 2, "rate_limit": "secondary_200"})

        cut = rig.cycle()

        assert cut.stopped.startswith("limited: 200 of 350 were listed: ")
        assert cut.stopped.endswith("the next cycle goes on there")
        assert not cut.failed
        assert set(rig.states.values()) == {"OPEN"}
        simulator.dispatcher.faults.clear()
        whole = rig.cycle()
        assert len(whole.decisions) == 350
        assert rig.memory.list_cursor == ""
        assert whole.results == {1: "merged"}


def test_a_place_that_leads_nowhere_costs_one_request(tmp_path: Path) -> None:
    with Simulator(repository(150)) as simulator:
        rig = Rig(simulator, tmp_path, policy())
        rig.memory = replace(rig.memory, list_cursor="bm9uc2Vuc2U=")

        report = rig.cycle(dry_run=True)

        assert report.incomplete == ""
        assert len(report.decisions) == 150
        assert rig.memory.list_cursor == "bm9uc2Vuc2U=", "a dry run remembers nothing"
