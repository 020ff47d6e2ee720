"""Every misbehaviour of GitHub, one by one, with the decision it must lead to."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from simulator import Simulator
from simulator.faults import make_partial
from simulator.http import Answer, Incoming

from factory.core.marshal.reasons import Verb
from merging.test_simulator import NAME, Rig, policy, repository

pytestmark = pytest.mark.slow


@pytest.mark.deep
def test_a_list_answered_in_part_once_is_asked_for_again(tmp_path: Path) -> None:
    with Simulator(repository(2)) as simulator:
        rig = Rig(simulator, tmp_path, policy())
        blank = "repository.pullRequests.nodes.0.labels"
        simulator.add_fault({"path": "*graphql", "times": 1, "partial": [blank]})

        report = rig.cycle()

        assert simulator.dispatcher.faults[0].fired == 1
        assert not report.stopped
        assert rig.states == {1: "MERGED", 2: "MERGED"}


@pytest.mark.parametrize("field", [pytest.param("rollup", marks=pytest.mark.deep), "labels"])
def test_of_a_list_that_stays_partial_the_whole_rows_land(field: str, tmp_path: Path) -> None:
    with Simulator(repository(3)) as simulator:
        rig = Rig(simulator, tmp_path, policy())
        blank = f"repository.pullRequests.nodes.1.{field}"
        simulator.add_fault({"path": "*graphql", "partial": [blank]})

        report = rig.cycle()

        assert not report.failed
        assert report.incomplete == ""
        assert report.decisions[2].reason.code == "data_incomplete"
        assert report.decisions[2].reason.detail.startswith("Something went wrong")
        assert rig.states == {1: "MERGED", 2: "OPEN", 3: "MERGED"}


@pytest.mark.deep
def test_a_row_that_did_not_come_at_all_leaves_the_list_incomplete(tmp_path: Path) -> None:
    with Simulator(repository(3)) as simulator:
        rig = Rig(simulator, tmp_path, policy())
        simulator.add_fault({"path": "*graphql", "partial": ["repository.pullRequests.nodes.0"]})

        report = rig.cycle()

        assert report.incomplete == "2 of 3 were listed"
        assert rig.states == {1: "OPEN", 2: "MERGED", 3: "MERGED"}


@pytest.mark.parametrize(
    "field",
    [
        pytest.param("ref", marks=pytest.mark.deep),
        "ref.target.statusCheckRollup",
        pytest.param("pullRequests", marks=pytest.mark.deep),
    ],
)
def test_a_partial_answer_about_the_repository_itself_lands_nothing(
    field: str, tmp_path: Path
) -> None:
    with Simulator(repository(2)) as simulator:
        rig = Rig(simulator, tmp_path, policy())
        simulator.add_fault({"path": "*graphql", "partial": [f"repository.{field}"]})

        report = rig.cycle()

        assert report.failed
        assert report.stopped.startswith("failed")
        assert simulator.dispatcher.counts()["writes"] == 0
        assert rig.states == {1: "OPEN", 2: "OPEN"}


@pytest.mark.deep
def test_who_stays_unreadable_in_the_full_look_holds_up_nobody(tmp_path: Path) -> None:
    with Simulator(repository(4)) as simulator:
        rig = Rig(simulator, tmp_path, policy())
        genuine = simulator._https.answerer

        def forbid(request: Incoming) -> Answer:
            answer = genuine(request)
            data = answer.body.get("data", {}) if isinstance(answer.body, dict) else {}
            numbers = [node.get("number") for node in data.get("nodes", [])]
            if 2 in numbers:
                answer.body = make_partial(answer.body, [f"nodes.{numbers.index(2)}.checked"])
            return answer

        simulator._https.answerer = forbid

        rig.cycle(dry_run=True)
        # The list, all in full, and once more the one by itself.
        assert simulator.dispatcher.counts()["requests"] == 3
        report = rig.cycle()

        assert report.decisions[2].reason.code == "data_incomplete"
        assert rig.states == {1: "MERGED", 2: "OPEN", 3: "MERGED", 4: "MERGED"}


@pytest.mark.deep
@pytest.mark.parametrize("blank", ["nodes.0.checked", "nodes.0.files", "nodes.0"])
def test_only_what_was_read_in_part_waits(blank: str, tmp_path: Path) -> None:
    with Simulator(repository(2)) as simulator:
        rig = Rig(simulator, tmp_path, policy())
        # The look at both, then the look at the first alone, are cut; the second alone is whole.
        simulator.add_fault(
            {"path": "*graphql", "graphql": "nodes", "times": 2, "partial": [blank]}
        )

        report = rig.cycle()

        assert {n: d.reason.code for n, d in report.decisions.items()} == {
            1: "data_incomplete",
            2: "green",
        }
        assert rig.states == {1: "OPEN", 2: "MERGED"}
        assert rig.cycle().results == {1: "merged"}


@pytest.mark.parametrize(
    "blank",
    [
        "repository.p0.checked",
        pytest.param("repository.p0", marks=pytest.mark.deep),
        pytest.param("repository.ref", marks=pytest.mark.deep),
        "repository.ref.target",
    ],
)
def test_a_partial_last_look_merges_nothing(blank: str, tmp_path: Path) -> None:
    with Simulator(repository(1)) as simulator:
        rig = Rig(simulator, tmp_path, policy())
        simulator.add_fault({"path": "*graphql", "skip": 2, "times": 1, "partial": [blank]})

        report = rig.cycle()

        assert simulator.dispatcher.faults[0].fired == 1
        assert report.failed
        assert simulator.dispatcher.counts()["writes"] == 0
        assert rig.states == {1: "OPEN"}
        assert rig.cycle().results == {1: "merged"}


FAULTS: list[tuple[dict[str, Any], str, str, str]] = [
    ({"path": "*graphql", "answer": {"status": 403}}, "failed: GraphQL: 403", "", "OPEN"),
    ({"path": "*graphql", "answer": {"status": 504}}, "failed", "", "OPEN"),
    ({"path": "*graphql", "disconnect": True}, "failed", "", "OPEN"),
    (
        {
            "method": "PUT",
            "path": "*/merge",
            "times": 1,
            "answer": {"status": 405, "message": 'Required status check "deploy" is expected.'},
        },
        "",
        "refused_by_github",
        "OPEN",
    ),
    (
        {
            "method": "PUT",
            "path": "*/merge",
            "times": 1,
            "answer": {
                "status": 405,
                "message": "You're not authorized to push to this branch.",
            },
        },
        "",
        "refused_by_github",
        "OPEN",
    ),
    ({"path": "*graphql", "answer": {"status": 404}}, "failed: GraphQL: 404", "", "OPEN"),
    ({"path": "*graphql", "answer": {"status": 429}}, "limited", "", "OPEN"),
    (
        {"method": "PUT", "path": "*/merge", "times": 1, "answer": {"status": 404}},
        "",
        "refused_by_github",
        "OPEN",
    ),
    (
        {"method": "PUT", "path": "*/merge", "times": 1, "answer": {"status": 429}},
        "",
        "merged",
        "MERGED",
    ),
    (
        {
            "method": "PUT",
            "path": "*/merge",
            "times": 1,
            "answer": {"status": 429, "headers": {"Retry-After": "900"}},
        },
        "limited",
        "",
        "OPEN",
    ),
    (
        {"method": "DELETE", "path": "*/git/refs/*", "times": 1, "answer": {"status": 404}},
        "",
        "merged",
        "MERGED",
    ),
]


@pytest.mark.deep
@pytest.mark.parametrize(("fault", "stopped", "result", "state"), FAULTS)
def test_not_found_and_too_many_requests(
    fault: dict[str, Any], stopped: str, result: str, state: str, tmp_path: Path
) -> None:
    with Simulator(repository(1)) as simulator:
        rig = Rig(simulator, tmp_path, policy())
        simulator.add_fault(fault)

        report = rig.cycle()

        assert simulator.dispatcher.faults[0].fired >= 1
        assert report.stopped.startswith(stopped) if stopped else not report.stopped
        assert report.results.get(1, "") == result
        assert rig.states == {1: state}
        simulator.dispatcher.faults.clear()
        simulator.world.clock.advance(4000)
        rig.cycle()
        assert rig.states == {1: "MERGED"}


def test_a_token_that_could_bypass_the_rules_does_not_and_says_so(tmp_path: Path) -> None:
    rules = [{"branch": "main", "required_checks": ["ci"], "enforce_admins": False}]
    document = repository(2, rules=rules)
    document["repositories"][0]["generate"]["failing"] = 1
    with Simulator(document) as simulator:
        rig = Rig(simulator, tmp_path, policy(required_checks=()))

        report = rig.cycle()

        assert rig.states == {1: "OPEN", 2: "MERGED"}
        assert report.decisions[1].verb is Verb.RETEST
        assert ["could bypass" in warning for warning in report.warnings] == [True]


RERUNS = [
    (["failure", "success"], "green"),
    (["success", "failure"], "check_failed"),
    (["success", None], "check_pending"),
]


@pytest.mark.deep
@pytest.mark.parametrize(("runs", "code"), RERUNS)
def test_the_newest_run_of_a_check_counts(
    runs: list[str | None], code: str, tmp_path: Path
) -> None:
    checks = [
        {
            "name": "ci",
            "started_at": f"-{9 - number}m",
            **({"conclusion": conclusion} if conclusion else {"status": "in_progress"}),
        }
        for number, conclusion in enumerate(runs)
    ]
    document = repository(0, pull_requests=[{"head": "change", "checks": checks}])
    with Simulator(document) as simulator:
        report = Rig(simulator, tmp_path, policy()).cycle(dry_run=True)

        assert report.decisions[1].reason.code == code


@pytest.mark.deep
def test_a_merge_answered_too_late_is_found_out_and_not_repeated(tmp_path: Path) -> None:
    with Simulator(repository(1)) as simulator:
        rig = Rig(simulator, tmp_path, policy())
        rig.transport.timeout_seconds = 3.0
        # The answer comes after the client gave up; the work is done all the same.
        slow = {"method": "PUT", "path": "*/merge", "times": 1, "latency_seconds": 4}
        simulator.add_fault(slow)

        report = rig.cycle()

        assert report.results == {1: "merged"}
        found = simulator.world.repository(NAME)
        assert found is not None
        assert len(found.git.log("main", 10)) == 2


@pytest.mark.deep
def test_an_answer_that_never_comes_in_time_lands_nothing(tmp_path: Path) -> None:
    with Simulator(repository(1)) as simulator:
        rig = Rig(simulator, tmp_path, policy())
        rig.transport.timeout_seconds = 0.3
        simulator.add_fault({"path": "*graphql", "latency_seconds": 1})

        report = rig.cycle()

        assert report.failed
        assert "no answer" in report.stopped
        assert rig.states == {1: "OPEN"}


@pytest.mark.deep
def test_a_pull_request_that_is_not_visible_yet_has_its_turn_later(tmp_path: Path) -> None:
    with Simulator(repository(1)) as simulator:
        found = simulator.world.repository(NAME)
        assert found is not None
        newest = found.pulls[0]
        newest.visible_from = simulator.world.now() + 300
        rig = Rig(simulator, tmp_path, policy())

        assert rig.cycle().decisions == {}
        simulator.world.clock.advance(301)
        assert rig.cycle().results == {1: "merged"}


GUARDED = [
    ("ali", "merge", "green"),
    ("agent", "wait", "guarded_path"),  # the author
    ("fixer[bot]", "wait", "guarded_path"),
]


@pytest.mark.deep
@pytest.mark.parametrize(("giver", "verb", "code"), GUARDED)
def test_guarded_paths_need_the_label_of_another_person(
    giver: str, verb: str, code: str, tmp_path: Path
) -> None:
    pull = {
        "head": "change",
        "author": "agent",
        "labels": ["approved-by-human"],
        "labelled_by": giver,
        "commits": [{"message": "Change CI", "files": {".github/workflows/ci.yml": "on: push\n"}}],
        "checks": [{"name": "ci", "conclusion": "success"}],
    }
    with Simulator(repository(0, pull_requests=[pull])) as simulator:
        rig = Rig(simulator, tmp_path, policy())

        report = rig.cycle()

        (decision,) = report.decisions.values()
        assert (decision.verb.value, decision.reason.code) == (verb, code)
        assert rig.states == {1: "MERGED" if verb == "merge" else "OPEN"}


@pytest.mark.deep
def test_a_label_whose_giver_cannot_be_read_approves_nothing(tmp_path: Path) -> None:
    pull = {
        "head": "change",
        "author": "agent",
        "labels": ["approved-by-human"],
        "labelled_by": "ali",
        "commits": [{"message": "Change CI", "files": {".github/workflows/ci.yml": "on: push\n"}}],
        "checks": [{"name": "ci", "conclusion": "success"}],
    }
    with Simulator(repository(0, pull_requests=[pull])) as simulator:
        rig = Rig(simulator, tmp_path, policy())
        fault = {"path": "*graphql", "graphql": "nodes", "partial": ["nodes.0.timelineItems"]}
        simulator.add_fault(fault)

        report = rig.cycle()

        assert report.decisions[1].reason.code == "data_incomplete"
        assert rig.states == {1: "OPEN"}
