"""The marshal over HTTP, TLS and real git, against the simulated GitHub."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from simulator import Simulator, control

from factory import effects
from factory.__main__ import main
from factory.core.base.github.transport import Transport
from factory.core.marshal import execution, status
from factory.core.marshal.cycle import CycleReport, Dependencies
from factory.core.marshal.github_forge import GithubForge
from factory.core.marshal.mirror import Mirror
from factory.core.marshal.settings import MergePolicy, RequiredCheck
from factory.core.marshal.snapshot import SavedState

pytestmark = pytest.mark.slow
NAME = "factory/demo"


def repository(count: int, **settings: Any) -> dict[str, Any]:
    return {
        "repositories": [
            {
                "name": NAME,
                "rules": [{"branch": "main", "required_checks": ["ci"]}],
                "commits": [{"message": "Begin", "files": {"README.md": "# Demo\n"}}],
                "checks": [{"name": "ci", "conclusion": "success"}],
                **({"generate": {"pull_requests": count}} if count else {}),
                **settings,
            }
        ]
    }


class Rig:
    """One simulator and one marshal; the simulated clock stands in for sleeping."""

    def __init__(self, simulator: Simulator, directory: Path, policy: MergePolicy) -> None:
        self.simulator, self.policy = simulator, policy
        self.saved = SavedState()
        self.records: list[dict[str, Any]] = []
        addresses = simulator.addresses()
        token = simulator.token.value
        fetch = effects.https_fetch(addresses["ca_file"])
        clock = simulator.world.now
        self.transport = Transport(fetch, addresses["api_url"], lambda: token, clock)
        host = addresses["host"]
        self.git = Mirror(
            effects.run,
            directory / "mirror.git",
            f"https://x-access-token:{token}@{host}/{NAME}.git",
            {"GIT_SSL_CAINFO": addresses["ca_file"]},
        )

    def cycle(self, *, dry_run: bool = False) -> CycleReport:
        self.simulator.dispatcher.log.clear()
        dependencies = Dependencies(
            GithubForge(self.transport, NAME, self.policy),
            self.git,
            self.simulator.world.now,
            self.simulator.world.clock.advance,
            self._save,
            self.records.append,
            lambda _argv: "no lanes here",
        )
        return execution.run(self.policy, NAME, "main", self.saved, dependencies, dry_run=dry_run)

    def _save(self, saved: SavedState) -> None:
        self.saved = saved

    @property
    def states(self) -> dict[int, str]:
        found = self.simulator.world.repository(NAME)
        assert found is not None
        return {pull.number: pull.state for pull in found.pulls}


@pytest.fixture
def rig(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Rig]:
    document, policy = request.param
    with Simulator(document) as simulator:
        yield Rig(simulator, tmp_path, policy)


CI = (RequiredCheck(name="ci"),)


def policy(**changes: Any) -> MergePolicy:
    return MergePolicy(**{"required_checks": CI, "max_merges_per_cycle": 30, **changes})


@pytest.mark.parametrize("rig", [(repository(30), policy())], indirect=True)
def test_a_look_at_thirty_costs_two_requests_and_two_points(rig: Rig) -> None:
    report = rig.cycle(dry_run=True)

    counts = rig.simulator.dispatcher.counts()
    assert (counts["requests"], counts["points"]) == (2, 2)
    assert counts["writes"] == 0
    assert len(report.decisions) == 30
    assert {d.reason.code for d in report.decisions.values()} == {"green"}


@pytest.mark.parametrize("rig", [(repository(101), policy())], indirect=True)
def test_a_second_page_of_the_list_costs_one_request_more(rig: Rig) -> None:
    report = rig.cycle(dry_run=True)

    assert rig.simulator.dispatcher.counts()["requests"] == 3
    assert set(report.decisions) == set(range(1, 102))


@pytest.mark.deep
@pytest.mark.parametrize(
    "rig", [(repository(1000), policy(max_merges_per_cycle=10))], indirect=True
)
def test_a_look_at_a_thousand_costs_eleven_requests(rig: Rig) -> None:
    report = rig.cycle(dry_run=True)

    counts = rig.simulator.dispatcher.counts()
    assert counts["requests"] <= 11
    assert counts["points"] <= 21
    assert len(report.decisions) == 1000


@pytest.mark.deep
@pytest.mark.parametrize("rig", [(repository(30, merge_delay_seconds=3), policy())], indirect=True)
def test_thirty_with_lazy_mergeability_land_in_one_cycle(rig: Rig) -> None:
    planned = rig.cycle(dry_run=True)
    report = rig.cycle()

    assert not report.stopped, report.stopped
    assert set(rig.states.values()) == {"MERGED"}
    assert {n: d.verb for n, d in planned.decisions.items()} == {
        n: d.verb for n, d in report.decisions.items()
    }


TRAIN = repository(
    0,
    ci=[{"name": "ci", "delay_seconds": 60, "fails_if_file": ["bad-*"]}],
    pull_requests=[
        {
            "head": f"change-{n}",
            "commits": [
                {
                    "message": f"Change {n}",
                    "files": {("bad-" if n in (9, 21) else "ok-") + str(n): "x\n"},
                }
            ],
            "checks": [{"name": "ci", "conclusion": "success"}],
            "author": "agent",
            "created_at": f"-{100 - n}m",
        }
        for n in range(1, 31)
    ],
)


@pytest.mark.deep
@pytest.mark.parametrize(
    "rig", [(TRAIN, policy(mode="train", cycle_budget_seconds=7200))], indirect=True
)
def test_a_train_of_thirty_with_two_bad_lands_the_rest(rig: Rig) -> None:
    report = rig.cycle()

    left = sorted(n for n, state in rig.states.items() if state == "OPEN")
    assert not report.stopped, report.stopped
    assert left == [9, 21]
    assert rig.saved.train.runs_count <= 18
    found = rig.simulator.world.repository(NAME)
    assert found is not None
    states = found.git.git("rev-list", "--first-parent", "main").split()
    history = [set(found.git.files(oid)) for oid in states]
    assert len(history) == 29
    assert not any(path.startswith("bad-") for files in history for path in files)


def cured(**rule: Any) -> dict[str, Any]:
    """Return three, the first two of which are red together as long as the third is missing."""
    files = {1: {"one.txt": "x\n"}, 2: {"two.txt": "x\n"}, 3: {"three.txt": "x\n"}}
    pulls = [
        {
            "head": f"change-{n}",
            "author": "agent",
            "created_at": f"-{9 - n}h",
            "commits": [{"message": f"Change {n}", "files": files[n]}],
            "checks": [{"name": "ci", "conclusion": "success"}],
        }
        for n in (1, 2, 3)
    ]
    pulls[2]["commits"] = [{"message": "Drop it", "delete": ["old.txt"]}]
    return repository(
        0,
        commits=[
            {"message": "Begin", "files": {"old.txt": "x\n", "x.txt": "x\n"}, "date": "-60d"},
            {"message": "Go on", "files": {"x.txt": "y\n"}, "date": "-1d"},
        ],
        ci=[{"name": "ci", "fails_if_together": [["one.txt", "two.txt", "old.txt"]]}],
        rules=[{"branch": "main", "required_checks": ["ci"], **rule}],
        pull_requests=pulls,
    )


@pytest.mark.deep
@pytest.mark.parametrize(
    ("rule", "landed"), [({}, [1, 2, 3]), ({"require_pull_request": True}, [1, 3])]
)
def test_main_is_never_in_a_state_that_a_train_has_not_tested(
    rule: dict[str, Any], landed: list[int], tmp_path: Path
) -> None:
    with Simulator(cured(**rule)) as simulator:
        rig = Rig(simulator, tmp_path, policy(mode="train"))

        report = rig.cycle()

        assert not report.stopped, report.stopped
        assert [n for n, state in rig.states.items() if state == "MERGED"] == landed
        assert bool(report.warnings) == bool(rule)
        assert all("Changes must be made through a pull request" in w for w in report.warnings)
        found = simulator.world.repository(NAME)
        assert found is not None
        for oid in found.git.git("rev-list", "--first-parent", "main").split():
            files = set(found.git.files(oid))
            if not {"one.txt", "two.txt", "old.txt"} - files:
                # In the past of main, and never its head.
                assert oid != found.git.branch("main")
                assert not found.checks.get(oid)
        left = [name for name in found.git.refs if name.startswith("refs/heads/train/")]
        assert left == []


@pytest.mark.deep
@pytest.mark.parametrize("mode", ["fast", "train"])
def test_a_change_that_the_app_has_no_permission_for_waits_for_an_admin(
    mode: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    permissions = {
        **dict.fromkeys(("contents", "pull_requests", "issues"), "write"),
        **dict.fromkeys(("checks", "statuses", "metadata"), "read"),
    }
    app = {"slug": "marshal", "installed_on": "factory", "permissions": permissions}
    workflow = {
        "head": "workflow",
        "fork": "outsider",
        "author": "outsider",
        "created_at": "-9d",
        "commits": [{"message": "Change CI", "files": {".github/workflows/ci.yml": "on: push\n"}}],
        "checks": [{"name": "ci", "conclusion": "success"}],
        "labels": ["approved-by-human"],
        "labelled_by": "ali",
    }
    pulls = [workflow, *({"head": f"change-{n}", "created_at": f"-{n}h"} for n in (2, 1))]
    document = {**repository(0, ci=[{"name": "ci"}], pull_requests=pulls), "apps": [app]}
    with Simulator({**document, "users": [{"login": "outsider"}]}) as simulator:
        addresses = simulator.addresses()
        (installed,) = addresses["apps"]
        key = installed["private_key_file"]
        login = {"method": "github_app", "app_id": installed["id"], "app_key_file": key}
        merge = {"mode": mode, "forks_allowed": True}
        path = settings_file(tmp_path, addresses, login, {**merge, "required_checks": ["ci"]})

        code = main(["marshal", "--config", path, "--json"])

        (told,) = json.loads(capsys.readouterr().out)["projects"]
        results = {item["number"]: item["result"] for item in told["pull_requests"]}
        assert (code, told["stopped"], told["merged"]) == (0, "", [2, 3])
        assert results[1] == "refused_by_github"
        assert main(["marshal", "--config", path, "--json"]) == 0
        (waiting,) = json.loads(capsys.readouterr().out)["projects"][0]["pull_requests"]
        reason = waiting["reason"]
        assert (reason["code"], reason["owner"]) == ("refused_by_github", "admin")


@pytest.mark.deep
def test_strict_lands_one_at_a_time_and_never_what_fails_together(tmp_path: Path) -> None:
    document = repository(
        0,
        update_branch_delay_seconds=5,
        ci=[{"name": "ci", "delay_seconds": 30, "fails_if_together": [["a.txt", "b.txt"]]}],
        pull_requests=[
            {"head": head, "author": "agent", "checks": [{"name": "ci", "conclusion": "success"}]}
            for head in ("a", "b", "c")
        ],
    )
    with Simulator(document) as simulator:
        rig = Rig(simulator, tmp_path, policy(mode="strict"))
        results = []
        for _ in range(8):
            results.append(rig.cycle().results)
            simulator.world.clock.advance(60)

        # b was brought up to date, turned red on what it would have made, and held nobody up.
        assert rig.states == {1: "MERGED", 2: "OPEN", 3: "MERGED"}
        assert results[0] == {1: "merged"}
        assert all(len([r for r in found.values() if r == "merged"]) <= 1 for found in results)
        assert {2: "updated"} in results
        assert {3: "updated"} in results


@pytest.mark.deep
def test_a_train_smaller_than_the_queue_is_not_forgotten_while_it_is_tested(
    tmp_path: Path,
) -> None:
    document = repository(12, ci=[{"name": "ci", "delay_seconds": 60}])
    wanted = policy(mode="train", examined_per_cycle=5, cycle_budget_seconds=3600)
    with Simulator(document) as simulator:
        rig = Rig(simulator, tmp_path, wanted)

        report = rig.cycle()

        assert not report.stopped, report.stopped
        assert set(rig.states.values()) == {"MERGED"}
        assert rig.saved.train.runs_count <= 3


@pytest.mark.deep
@pytest.mark.parametrize("rig", [("small", policy())], indirect=True)
def test_every_kind_of_pull_request_has_its_reason(rig: Rig) -> None:
    report = rig.cycle(dry_run=True)

    titles = {
        d.number: (d.verb.value, d.reason.code, d.reason.owner.value)
        for d in report.decisions.values()
    }
    found = set(titles.values())
    assert {
        ("merge", "green", "marshal"),
        ("wait", "check_failed", "author"),
        ("wait", "check_pending", "ci"),
        ("wait", "conflict", "author"),
        ("skip", "draft", "author"),
        ("skip", "hold_label", "admin"),
    } <= found


MERGE: dict[str, Any] = {"method": "PUT", "path": "*/merge", "times": 1}
MODIFIED = "Base branch was modified. Review and try the merge again."
# In every run one of each kind: a connection that is cut, a limit, errors beside no data.
FAULTS: list[tuple[dict[str, Any], str, bool]] = [
    ({**MERGE, "disconnect": True, "when": "after"}, "", True),
    ({"path": "*graphql", "rate_limit": "secondary_200"}, "limited", False),
    ({"path": "*graphql", "errors": [{"message": "Something went wrong"}]}, "failed", False),
]
MORE_FAULTS: list[tuple[dict[str, Any], str, bool]] = [
    ({**MERGE, "answer": {"status": 500}}, "", True),
    ({**MERGE, "answer": {"status": 502}, "when": "after"}, "", True),
    ({**MERGE, "rate_limit": "secondary"}, "", True),
    ({**MERGE, "answer": {"status": 405, "message": MODIFIED}}, "", True),
    ({**MERGE, "answer": {"status": 409}}, "", False),
    ({**MERGE, "answer": {"status": 422}}, "", False),
    ({**MERGE, "answer": {"status": 403}}, "", False),
    ({"path": "*graphql", "rate_limit": "primary"}, "limited", False),
    ({"path": "*graphql", "answer": {"status": 502}}, "failed", False),
    ({"path": "*graphql", "answer": {"status": 401}}, "failed", False),
    ({"path": "*graphql", "times": 1, "answer": {"status": 502}}, "", True),
]


def fault_has_its_decision(
    fault: dict[str, Any], stopped: str, lands: bool, tmp_path: Path
) -> None:
    with Simulator(repository(1)) as simulator:
        rig = Rig(simulator, tmp_path, policy())
        simulator.add_fault(fault)

        report = rig.cycle()

        assert simulator.dispatcher.faults[0].fired >= 1
        assert report.stopped.startswith(stopped) if stopped else not report.stopped
        assert rig.states == {1: "MERGED" if lands else "OPEN"}
        simulator.dispatcher.faults.clear()
        simulator.world.clock.advance(4000)
        rig.cycle()
        assert rig.states == {1: "MERGED"}


@pytest.mark.parametrize(("fault", "stopped", "lands"), FAULTS)
def test_each_kind_of_fault_has_its_decision(
    fault: dict[str, Any], stopped: str, lands: bool, tmp_path: Path
) -> None:
    fault_has_its_decision(fault, stopped, lands, tmp_path)


@pytest.mark.deep
@pytest.mark.parametrize(("fault", "stopped", "lands"), MORE_FAULTS)
def test_each_fault_has_its_decision(
    fault: dict[str, Any], stopped: str, lands: bool, tmp_path: Path
) -> None:
    fault_has_its_decision(fault, stopped, lands, tmp_path)


def test_the_command_prints_who_must_act(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with Simulator("small") as simulator:
        addresses = simulator.addresses()
        configuration = tmp_path / "factory.json"
        configuration.write_text(
            json.dumps(
                {
                    "github": {
                        "api_url": addresses["api_url"],
                        "ca_file": addresses["ca_file"],
                        "login": {"method": "token_file", "token_file": addresses["token_file"]},
                    },
                    "marshal": {
                        "state_dir": str(tmp_path / "state"),
                        "projects": [{"name": "demo", "repository": NAME}],
                    },
                }
            )
        )

        assert main(["marshal", "--config", str(configuration), "--dry-run"]) == 0
        table = capsys.readouterr().out
        assert main(["marshal", "--config", str(configuration), "--json", "--once"]) == 0
        document = json.loads(capsys.readouterr().out)

        assert "check_failed: ci" in table
        assert document["projects"][0]["merged"] == [2]
        report = json.loads((tmp_path / "state/demo/report.json").read_text())
        found = status.facts(report, report["time"])
        assert (found["state"], found["open_count"], found["merged"]) == ("ok", 5, [2])
        assert {owner: waits["count"] for owner, waits in found["waiting"].items()} == {
            "author": 2,
            "reviewer": 0,
            "ci": 1,
            "marshal": 1,
            "admin": 1,
        }
        log = (tmp_path / "state/demo/audit.jsonl").read_text()
        assert simulator.token.value not in log
        everything = subprocess.run(
            ["grep", "-rl", simulator.token.value, str(tmp_path)],
            capture_output=True,
            text=True,
            check=False,
        )
        assert everything.stdout == ""


def reported(**changes: Any) -> dict[str, Any]:
    """Return a change and a main of which only another app than Actions says anything."""
    run = {"name": "ci", "conclusion": "success", "app": "other-ci", "workflow": None}
    change = {"head": "change", "author": "agent", "checks": [run]}
    return repository(0, pull_requests=[change], checks=[run], **changes)


@pytest.mark.parametrize(
    ("rule", "settings", "state"),
    [
        pytest.param({}, {}, "OPEN", marks=pytest.mark.deep),
        pytest.param(
            {},
            {"required_checks": (RequiredCheck(name="ci", app="other-ci"),)},
            "MERGED",
            marks=pytest.mark.deep,
        ),
        ({"check_apps": {"ci": "other-ci"}}, {}, "MERGED"),
        ({"check_apps": {"ci": "other-ci"}, "kind": "ruleset"}, {}, "MERGED"),
        pytest.param(
            {"check_apps": {"ci": "third-ci"}, "kind": "ruleset"},
            {},
            "OPEN",
            marks=pytest.mark.deep,
        ),
    ],
)
def test_another_apps_check_counts_where_it_is_bound_to_it(
    rule: dict[str, Any], settings: dict[str, Any], state: str, tmp_path: Path
) -> None:
    rules = [{"branch": "main", "required_checks": ["ci"], **rule}]
    with Simulator(reported(rules=rules)) as simulator:
        rig = Rig(simulator, tmp_path, policy(**settings))

        report = rig.cycle()

        assert rig.states == {1: state}
        if state == "OPEN":
            assert "other-ci" in report.decisions[1].reason.detail
        # The app of a classic rule is asked for once a cycle, and only in doubt.
        asked = [e for e in simulator.dispatcher.log if "branches" in str(e.get("route"))]
        assert len(asked) == (not settings and rule.get("kind") != "ruleset")


@pytest.mark.deep
def test_a_hold_of_any_spelling_holds(tmp_path: Path) -> None:
    held: dict[str, Any] = {
        "head": "a", "author": "agent", "labels": ["Hold"], "labelled_by": "ali",
    }  # fmt: skip
    held["checks"] = [{"name": "ci", "conclusion": "success"}]
    with Simulator(repository(0, pull_requests=[held])) as simulator:
        rig = Rig(simulator, tmp_path, policy())

        assert rig.cycle().decisions[1].reason.code == "hold_label"
        # An agent that takes it off gains nothing.
        one = {"repository": NAME, "number": 1, "labels": []}
        control.label(simulator, {**one, "actor": "agent"})
        assert rig.cycle().decisions[1].reason.code == "hold_label"
        control.label(simulator, {**one, "labels": ["hold"], "actor": "ali"})
        control.label(simulator, {**one, "actor": "ali"})
        assert rig.cycle().results == {1: "merged"}


@pytest.mark.deep
def test_a_commit_status_of_the_right_name_is_not_ci(tmp_path: Path) -> None:
    status = {"context": "ci", "state": "success", "creator": "agent"}
    change = {"head": "change", "author": "agent", "checks": [], "statuses": [status]}
    with Simulator(repository(0, pull_requests=[change])) as simulator:
        rig = Rig(simulator, tmp_path, policy())

        report = rig.cycle()

        assert rig.states == {1: "OPEN"}
        assert "from a commit status" in report.decisions[1].reason.detail


WORDS: dict[str, tuple[dict[str, Any], dict[str, Any], str]] = {
    "label": ({}, {"labels": ["approved-by-human"], "labelled_by": "ali"}, "guarded_path"),
    "review": (
        {"required_approvals": 1, "guarded_paths": ()},
        {"reviews": [{"author": "ali", "state": "APPROVED"}]},
        "review_required",
    ),
}


@pytest.mark.parametrize("kind", ["label", pytest.param("review", marks=pytest.mark.deep)])
def test_a_persons_word_is_given_anew_after_a_push(kind: str, tmp_path: Path) -> None:
    settings, word, code = WORDS[kind]
    change = {
        "head": "change",
        "author": "agent",
        "created_at": "-1h",
        "commits": [{"message": "Change CI", "files": {".github/workflows/ci.yml": "on: push\n"}}],
        "checks": [{"name": "ci", "conclusion": "success"}],
        **word,
    }
    document = repository(0, pull_requests=[change], collaborators={"ali": "write"})
    with Simulator(document) as simulator:
        rig = Rig(simulator, tmp_path, policy(**settings))
        one = {"repository": NAME, "number": 1}
        assert rig.cycle(dry_run=True).decisions[1].reason.code == "green"
        simulator.world.clock.advance(60)
        # What a commit says of its own date proves nothing.
        files = {".github/workflows/other.yml": "on: push\n"}
        pushed = {"branch": "change", "files": files, "author": "agent", "date": "-30d"}
        control.push(simulator, {"repository": NAME, **pushed})
        control.conclude(simulator, {**one, "name": "ci", "conclusion": "success"})
        simulator.world.clock.advance(60)

        stale = rig.cycle()
        assert (rig.states, stale.decisions[1].reason.code) == ({1: "OPEN"}, code)
        if kind == "label":
            for labels in ([], ["approved-by-human"]):
                control.label(simulator, {**one, "labels": labels, "actor": "ali"})
        else:
            control.review(simulator, {**one, "author": "ali", "state": "APPROVED"})
        simulator.world.clock.advance(60)
        simulator.add_fault({"path": "*/activity", "times": 1, "answer": {"status": 404}})
        unknown = rig.cycle()
        if kind == "label":
            assert rig.states == {1: "OPEN"}
            assert "is not known" in unknown.decisions[1].reason.detail
            rig.cycle()

        assert rig.states == {1: "MERGED"}


@pytest.mark.deep
def test_a_persons_objection_stands_without_any_rule_until_taken_back(tmp_path: Path) -> None:
    reviews = [
        {"author": "ali", "state": "CHANGES_REQUESTED"},
        {"author": "ali", "state": "COMMENTED"},
    ]
    change = {"head": "change", "author": "agent", "reviews": reviews}
    change["checks"] = [{"name": "ci", "conclusion": "success"}]
    with Simulator(repository(0, pull_requests=[change])) as simulator:
        rig = Rig(simulator, tmp_path, policy())

        report = rig.cycle()
        assert (rig.states, report.decisions[1].reason.code) == ({1: "OPEN"}, "changes_requested")
        assert report.decisions[1].reason.detail == "ali asked for changes"
        approved = {"number": 1, "author": "ali", "state": "APPROVED"}
        control.review(simulator, {"repository": NAME, **approved})
        rig.cycle()

        assert rig.states == {1: "MERGED"}


def settings_file(
    tmp_path: Path,
    addresses: dict[str, Any],
    login: dict[str, Any],
    merge: dict[str, Any] | None = None,
    agents: list[str] | None = None,
) -> str:
    path = tmp_path / "factory.json"
    github = {"api_url": addresses["api_url"], "ca_file": addresses["ca_file"], "login": login}
    marshal_section = {
        "state_dir": str(tmp_path / "state"),
        "projects": [{"name": "demo", "repository": NAME, "merge": merge or {}}],
    }
    path.write_text(
        json.dumps({"github": github, "agents": agents or [], "marshal": marshal_section})
    )
    return str(path)


@pytest.mark.deep
def test_a_github_app_lands_pull_requests(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    permissions = {
        "contents": "write",
        "pull_requests": "write",
        "issues": "write",
        "checks": "read",
        "statuses": "read",
        "metadata": "read",
    }
    app = {"slug": "marshal", "installed_on": "factory", "permissions": permissions}
    with Simulator({**repository(1), "apps": [app]}) as simulator:
        addresses = simulator.addresses()
        (installed,) = addresses["apps"]
        login = {
            "method": "github_app",
            "app_id": installed["id"],
            "app_key_file": installed["private_key_file"],
        }

        code = main(["marshal", "--config", settings_file(tmp_path, addresses, login), "--json"])

        captured = capsys.readouterr()
        assert code == 0, captured
        assert json.loads(captured.out)["projects"][0]["merged"] == [1]


def project(name: str) -> dict[str, Any]:
    return repository(1, name=f"factory/{name}")["repositories"][0]  # type: ignore[no-any-return]


def two_projects(
    tmp_path: Path, simulator: Simulator, login: dict[str, Any]
) -> tuple[str, Callable[[], dict[str, str]]]:
    """Return a configuration of two projects, and what tells how their one pull request ended."""
    path = Path(settings_file(tmp_path, simulator.addresses(), login))
    document = json.loads(path.read_text())
    names = ("first", "second")
    document["marshal"]["projects"] = [
        {"name": name, "repository": f"factory/{name}"} for name in names
    ]
    path.write_text(json.dumps(document))

    def states() -> dict[str, str]:
        found = {name: simulator.world.repository(f"factory/{name}") for name in names}
        return {name: one.pulls[0].state for name, one in found.items() if one is not None}

    return str(path), states


DAMAGES = [("memory.json", "{"), ("audit.jsonl", "no record\n"), ("mirror.git", "a file")]


@pytest.mark.deep
@pytest.mark.parametrize(("name", "content"), DAMAGES)
def test_a_project_that_is_damaged_is_said_and_the_next_one_is_served(
    name: str, content: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with Simulator({"repositories": [project("first"), project("second")]}) as simulator:
        login = {"method": "token_file", "token_file": simulator.addresses()["token_file"]}
        path, states = two_projects(tmp_path, simulator, login)
        state_dir = tmp_path / "state/first"
        state_dir.mkdir(parents=True)
        (state_dir / name).write_text(content)

        code = main(["marshal", "--config", path, "--json"])

        captured = capsys.readouterr()
        first, second = json.loads(captured.out)["projects"]
        assert (code, first["failed"], second["failed"]) == (1, True, False)
        assert states() == {"first": "OPEN", "second": "MERGED"}
        assert name in first["stopped"]
        assert "Traceback" not in captured.err
        report = json.loads((state_dir / "report.json").read_text())
        assert status.facts(report, report["time"])["state"] == "problem"


def test_an_app_that_is_not_installed_on_one_project_serves_the_next(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    permissions = {
        **dict.fromkeys(("contents", "pull_requests", "issues"), "write"),
        **dict.fromkeys(("checks", "statuses", "metadata"), "read"),
    }
    app = {
        "slug": "marshal",
        "installed_on": "factory",
        "repositories": ["factory/second"],
        "permissions": permissions,
    }
    document = {"repositories": [project("first"), project("second")], "apps": [app]}
    with Simulator(document) as simulator:
        (installed,) = simulator.addresses()["apps"]
        key = installed["private_key_file"]
        login = {"method": "github_app", "app_id": installed["id"], "app_key_file": key}
        path, states = two_projects(tmp_path, simulator, login)

        code = main(["marshal", "--config", path])

        captured = capsys.readouterr()
        assert code == 1
        assert states() == {"first": "OPEN", "second": "MERGED"}
        assert "the App is not installed on factory/first; install it there" in captured.err
        assert "Traceback" not in captured.err


def queueing(*heads: str, **ci: Any) -> dict[str, Any]:
    """Return a repository with a merge queue, on which CI is played for a minute."""
    rule = {"branch": "main", "required_checks": ["ci"], "merge_queue": True}
    return repository(
        0,
        rules=[{**rule, "merge_queue_timeout_minutes": 20}],
        ci=[{"name": "ci", "delay_seconds": 60, **ci}],
        pull_requests=[
            {"head": head, "author": "agent", "checks": [{"name": "ci", "conclusion": "success"}]}
            for head in heads
        ],
    )


def test_native_mode_enters_githubs_queue_once_and_tidies_up_what_it_landed(
    tmp_path: Path,
) -> None:
    with Simulator(queueing("a", "b")) as simulator:
        rig = Rig(simulator, tmp_path, policy(mode="native"))

        first = rig.cycle()
        second = rig.cycle()
        simulator.world.clock.advance(120)
        third = rig.cycle()

        assert first.results == {1: "enqueued", 2: "enqueued"}
        assert {d.reason.code for d in second.decisions.values()} == {"in_merge_queue"}
        assert second.results == {}
        assert not third.stopped, third.stopped
        assert rig.states == {1: "MERGED", 2: "MERGED"}
        found = simulator.world.repository(NAME)
        assert found is not None
        assert [name for name in found.git.refs if name.startswith("refs/heads/")] == [
            "refs/heads/main"
        ]
        assert rig.saved.queued == rig.saved.cleanups == {}


@pytest.mark.deep
def test_who_breaks_others_in_githubs_queue_is_told_and_lands_nothing(tmp_path: Path) -> None:
    document = queueing("a", "b", fails_if_together=[["a.txt", "b.txt"]])
    with Simulator(document) as simulator:
        rig = Rig(simulator, tmp_path, policy(mode="native"))
        rig.cycle()
        simulator.world.clock.advance(200)

        for _ in range(3):
            report = rig.cycle()
            simulator.world.clock.advance(600)

        assert rig.states == {1: "MERGED", 2: "OPEN"}
        reason = report.decisions[2].reason
        assert (reason.code, reason.owner.value) == ("left_merge_queue", "author")


@pytest.mark.deep
def test_a_workflow_that_the_queue_does_not_start_holds_nobody_for_ever(tmp_path: Path) -> None:
    with Simulator(queueing("a", merge_group=False)) as simulator:
        rig = Rig(simulator, tmp_path, policy(mode="native"))
        rig.cycle()
        simulator.world.clock.advance(1300)

        report = rig.cycle()

        assert report.decisions[1].reason.code == "left_merge_queue"
        assert simulator.dispatcher.counts()["writes"] == 0


def test_a_further_branch_has_its_own_queue_and_takes_what_is_labelled_for_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pulls: list[dict[str, Any]] = [
        {"head": "mend", "labels": ["backport release/1"]},
        {"head": "old-one", "base": "release/1", "from": "release/1"},
    ]
    files = {"release.txt": "1\n"}
    document = repository(
        0,
        ci=[{"name": "ci", "branches": ["*", "backport/*"]}],
        branches={"release/1": {"commits": [{"message": "Begin 1", "files": files}]}},
        pull_requests=[
            {**pull, "checks": [{"name": "ci", "conclusion": "success"}]} for pull in pulls
        ],
    )
    with Simulator(document) as simulator:
        token = tmp_path / "token"
        token.write_text(simulator.token.value)
        token.chmod(0o600)
        login = {"method": "token_file", "token_file": str(token)}
        merge = {"required_checks": ["ci"], "branches": ["release/1"]}
        path = settings_file(tmp_path, simulator.addresses(), login, merge)

        merged = []
        for _turn in range(2):
            assert main(["marshal", "--config", path, "--json"]) == 0
            told = json.loads(capsys.readouterr().out)["projects"]
            merged.append({queue["project"]: queue["merged"] for queue in told})
            simulator.world.clock.advance(600)

        assert merged[0] == {"demo": [1], "demo@release/1": [2]}
        assert merged[1] == {"demo": [], "demo@release/1": [3]}
        found = simulator.world.repository(NAME)
        assert found is not None
        backport = found.pulls[2]
        assert (backport.title, backport.base) == ("[release/1] mend (#1)", "release/1")
        assert {"mend.txt", "release.txt", "old-one.txt"} <= set(found.git.files("release/1"))
