"""Every write, met by every kind of trouble: what the cycle says, and where it all ends."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from sampling import draw
from simulator import Simulator

from factory.core.marshal.cycle import CycleReport
from factory.core.marshal.settings import Duplicates, MergePolicy
from merging.test_processes import change
from merging.test_simulator import NAME, Rig, policy, repository

pytestmark = pytest.mark.slow

# How GitHub may fail once. Those of the first group say that nothing was done.
REFUSALS: dict[str, dict[str, Any]] = {
    str(status): {"answer": {"status": status}} for status in (401, 403, 404, 422)
}
# Said of the repository, not of what was asked: the cycle ends at once.
UNUSABLE: dict[str, dict[str, Any]] = {
    "307": {"answer": {"status": 307, "headers": {"Location": "https://new/place"}}},
}
PASSING: dict[str, dict[str, Any]] = {
    "429": {"answer": {"status": 429, "headers": {"Retry-After": "5"}}},
    "secondary limit": {"rate_limit": "secondary"},
    "500": {"answer": {"status": 500}},
    "503": {"answer": {"status": 503}},
    "502 after": {"answer": {"status": 502}, "when": "after"},
    "504 after": {"answer": {"status": 504}, "when": "after"},
    "cut": {"disconnect": True},
    "cut after": {"disconnect": True, "when": "after"},
}
TROUBLES = {**REFUSALS, **UNUSABLE, **PASSING}
AXIS = "ways in which a write at GitHub fails"


@dataclass(frozen=True)
class Write:
    """A write and the world in which it comes to pass."""

    method: str
    path: str
    pulls: list[dict[str, Any]]
    policy: MergePolicy
    # What a refusal changes for good, for people to see to; and how the cycle then ends.
    lasting: frozenset[str] = frozenset()
    warns: frozenset[str] = frozenset()
    # A refusal that is believed for a while only.
    later: frozenset[str] = frozenset()
    commits: list[dict[str, Any]] = field(default_factory=list)


REFUSED = frozenset(REFUSALS)
UNANSWERED = frozenset(name for name in PASSING if name not in ("429", "secondary limit"))
TWIN = {"files": {"twin.txt": "same\n"}, "checks": [{"name": "ci", "status": "in_progress"}]}
CONFLICT: dict[str, Any] = {
    "pulls": [change(1, files={"same.txt": "three\n"}, **{"from": "main~1"})],
    "policy": policy(),
    "commits": [
        {"message": "Begin", "files": {"same.txt": "one\n"}},
        {"message": "Go on", "files": {"same.txt": "two\n"}},
    ],
}
WRITES = {
    "merge": Write(
        *("PUT", "*/pulls/1/merge", [change(1)], policy()),
        later=REFUSED,
    ),
    "delete the branch": Write(
        *("DELETE", "*/git/refs/heads/change-1", [change(1)], policy()),
        lasting=REFUSED,
        # A branch that is gone already is fine.
        warns=(REFUSED - {"404", "422"}) | UNANSWERED,
    ),
    "retarget a dependant": Write(
        *("PATCH", "*/pulls/2"),
        [change(1), change(2, base="change-1", labels=["hold"], **{"from": "change-1"})],
        policy(),
        lasting=REFUSED,
        warns=REFUSED | UNANSWERED,
    ),
    "comment on a conflict": Write("POST", "*/issues/1/comments", **CONFLICT),
    "label a conflict": Write("POST", "*/issues/1/labels", **CONFLICT),
    "close a duplicate": Write(
        *("PATCH", "*/pulls/2"),
        [change(n, author="helper[bot]", **TWIN) for n in (1, 2)],
        policy(duplicates=Duplicates(action="close", grace_hours=0)),
    ),
    "update a branch": Write(
        *("PUT", "*/pulls/1/update-branch"),
        [change(1, **{"from": "main~1"})],
        policy(mode="strict"),
        commits=[
            {"message": "Begin", "files": {"same.txt": "one\n"}},
            {"message": "Go on", "files": {"same.txt": "two\n"}},
        ],
    ),
}


def document(write: Write) -> dict[str, Any]:
    more = {"commits": write.commits} if write.commits else {}
    return repository(0, ci=[{"name": "ci"}], pull_requests=write.pulls, **more)


def end(simulator: Simulator) -> object:
    found = simulator.world.repository(NAME)
    assert found is not None
    pulls = [
        (
            pull.number,
            pull.state,
            pull.base,
            sorted(label.name for label in pull.labels),
            len(pull.comments),
        )
        for pull in found.pulls
    ]
    branches = sorted(name for name in found.git.refs if name.startswith("refs/heads/"))
    return pulls, branches, len(found.git.log("main", 50))


def rest_of_the_day(rig: Rig) -> None:
    for _ in range(4):
        rig.cycle()
        rig.simulator.world.clock.advance(1200)


@pytest.mark.parametrize("name", sorted(WRITES))
def test_each_trouble_with_a_write_has_its_decision_and_its_end(name: str, tmp_path: Path) -> None:
    write = WRITES[name]
    with Simulator(document(write)) as simulator:
        rest_of_the_day(Rig(simulator, tmp_path / "undisturbed", write.policy))
        wanted = end(simulator)
        for number, trouble in enumerate(draw(AXIS, list(TROUBLES))):
            fault = TROUBLES[trouble]
            simulator.load(document(write))
            rig = Rig(simulator, tmp_path / str(number), write.policy)
            given = {"method": write.method, "path": write.path, "times": 1}
            simulator.add_fault({**given, **fault})
            reports: list[CycleReport] = []
            while not simulator.dispatcher.faults[0].fired:
                assert len(reports) < 4, f"{trouble}: the write never came"
                reports.append(rig.cycle())

            met = reports[-1]
            assert met.failed == (trouble in UNUSABLE), f"{trouble}: {met.stopped}"
            assert met.stopped.startswith("failed") == (trouble in UNUSABLE)
            assert ("moved to https://new/place" in met.stopped) == (trouble == "307")
            if trouble in UNUSABLE:
                said = [r["result"] for r in rig.records if f": {trouble}" in r["result"]]
                assert said, f"{trouble}: the audit log does not say so"
                assert all(result.startswith("failed: ") for result in said)
            assert bool(met.warnings) == (trouble in write.warns), f"{trouble}: {met.warnings}"
            if trouble in write.later:
                assert met.results == {1: "refused_by_github"}
            rest_of_the_day(rig)

            if trouble in write.lasting:
                assert end(simulator) != wanted
                assert "refs/heads/change-1" in str(end(simulator)), trouble
                assert "CLOSED" not in str(end(simulator)), trouble
            else:
                assert end(simulator) == wanted, trouble
