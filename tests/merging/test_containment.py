"""Whatever befalls one pull request, all others that are ready land in that very cycle."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from factory.core.base.github.errors import ForgeError, RefusedError, UncertainError
from factory.core.marshal.forge import MovedError, NotMergeableError
from factory.core.marshal.settings import ConflictLane, Duplicates
from factory.core.marshal.snapshot import CheckState, SavedState
from merging.model import Pull, Repository, Runner, independent
from merging.test_cycle import FEW, POLICY

# What GitHub answers to each write about the one, however often it is asked.
ANSWERS: dict[str, ForgeError] = {
    **{str(status): RefusedError(f"said {status}", status) for status in (403, 404, 410, 422, 451)},
    "500": UncertainError("HTTP 500"),
    "cut": UncertainError("the connection was cut"),
    "moved": MovedError("Head branch was modified"),
    "not mergeable": NotMergeableError("Required status check is expected"),
    "base modified": NotMergeableError("Base branch was modified", transient=True),
    "a field error": ForgeError("Something went wrong with this node"),
}
# What is the matter with it before anybody writes.
STATES: dict[str, dict[str, Any]] = {
    "fine": {},
    "unreadable": {"unreadable": True},
    "broken": {"broken": True},
    "never computed": {"never_computed": True},
    "red": {"check": CheckState.FAILURE},
    "silent": {"check": None},
    "unknown": {"check": CheckState.UNKNOWN},
    "draft": {"draft": True},
    "held": {"labels": {"hold"}},
    "guarded": {"changes": {"guarded": "1"}},
    "a fork's": {"fork": True},
    "conflicting": {"changes": {"readme": "mine"}},
    "the same": {"changes": {"file1": "v1"}},
    "bad": {"changes": {"more": "bad"}},
}


@settings(max_examples=2 * FEW, deadline=None)
@given(
    st.sampled_from(["fast", "strict", "train", "native"]),
    st.sampled_from(sorted(STATES)),
    st.sampled_from([None, *sorted(ANSWERS)]),
    st.integers(1, 7),
    st.booleans(),
    st.booleans(),
)
def test_whatever_befalls_one_all_other_ready_ones_land_in_that_cycle(
    mode: str, state: str, answer: str | None, victim: int, protected: bool, unpushable: bool
) -> None:
    policy = replace(
        POLICY,
        mode=mode,
        guarded_paths=("guarded",),
        cycle_budget_seconds=3000,
        duplicates=Duplicates(action="close", grace_hours=0),
        conflict_lane=ConflictLane(command=("lane",), tries=1),
    )
    pulls = {**independent(7), victim: Pull(victim, {f"file{victim}": f"v{victim}"})}
    for key, value in STATES[state].items():
        setattr(pulls[victim], key, value)
    repository = Repository(pulls, policy, protected=protected and mode == "train")
    # Main has moved on, but not for those that are to be up to date.
    repository.trees["c1"], repository.parents["c1"] = {"readme": "1"}, ["c0"]
    repository.main.append("c1")
    if mode != "strict":
        repository.victim, repository.victims_error = victim, ANSWERS.get(answer or "")
        repository.unpushable = {victim} if unpushable and mode == "train" else set()
    for pull in pulls.values():
        if mode == "strict" and pull.number != victim:
            pull.fork_tree = dict(repository.trees["c1"])

    runner = Runner(repository, SavedState())
    report = runner.cycle()

    others = {n for n in pulls if n != victim}
    if mode == "strict":
        # One is up to date at a time.
        assert set(repository.landed) & others, report
        return
    if mode == "native":
        assert others <= set(repository.landed) | set(repository.queue), report
        return
    assert others <= set(repository.landed), (report.stopped, report.results, report.warnings)
    assert not report.failed
