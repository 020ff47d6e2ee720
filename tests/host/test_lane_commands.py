"""``factory lane``: what is started with which words, and what is said of lanes."""

from __future__ import annotations

import fcntl
import io
import json
import os
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import agents
import pytest

from factory import __main__, configuration, effects
from factory.core.base import docker, processes, times
from factory.core.base.docker import DockerError
from factory.core.base.github.errors import ForgeError, RefusedError, UncertainError
from factory.core.base.ports import Completed
from factory.core.base.settings import read
from factory.core.jobs import drain
from factory.core.lanes import collect, forge
from factory.core.lanes.claims import Claim
from factory.core.lanes.collect import CollectError, Start
from factory.core.lanes.settings import LaneProject, LanesSettings
from factory.lanes import (
    control_socket,
    delivery,
    dispatching,
    engine,
    reaping,
    supervisor,
    tasks,
    workshop,
)
from factory.outcome import Exit

NAME = "demo-7-0a1b2c3d"
DONE = {"outcome": "no_change", "detail": "x", "delivery": ""}


@dataclass
class Server:
    """A server with lanes: its files, the words of units that were started, and its GitHub."""

    root: Path
    capsys: pytest.CaptureFixture[str]
    units: list[list[str]] = field(default_factory=list)
    trouble: str = ""
    issues: dict[str, list[dict[str, Any]] | ForgeError] = field(default_factory=dict)
    branches: list[str] = field(default_factory=list)
    # What was said about pull requests, of which the first branch has number 100.
    remarks: dict[int, list[str]] = field(default_factory=dict)
    unread: set[int] = field(default_factory=set)
    claims: dict[int, Claim] = field(default_factory=dict)
    projects: tuple[str, ...] = ("demo",)

    def __post_init__(self) -> None:
        for name in ("state", "run", "locks"):
            (self.root / name).mkdir()
        self.configure()

    def configure(self, **values: Any) -> None:
        places = {f"{name}_dir": str(self.root / name) for name in ("state", "run", "mirror")}
        rooms = {"min_free_disk_mib": 0, "min_free_memory_mib": 0, "git_user": ""}
        projects = [
            {
                "name": name,
                "repository": f"factory/{name}",
                "memory_mib": 256,
                **dict.fromkeys(("work_mib", "home_mib", "temporary_mib"), 64),
                "models": ["m-2"],
                **values,
            }
            for name in self.projects
        ]
        lanes = {"agents": agents.shipped(), "projects": projects, **places, **rooms}
        document = {"lanes": lanes, "locks": {"directory": str(self.root / "locks")}}
        (self.root / "factory.json").write_text(json.dumps(document))

    def ask(self, *words: str) -> tuple[int, dict[str, Any]]:
        argv = ["lane", "--config", str(self.root / "factory.json"), *words, "--json"]
        code = __main__.main(argv)
        printed = self.capsys.readouterr().out
        return code, json.loads(printed) if printed else {}

    def say(self, *words: str) -> str:
        __main__.main(["lane", "--config", str(self.root / "factory.json"), *words])
        return "".join(self.capsys.readouterr())

    def lane(self, name: str = NAME, **result: Any) -> Path:
        directory = self.root / "state" / name
        directory.mkdir()
        known = {"lane": name, "project": "demo", "issue": 7, "outcome": "changed", "detail": "x"}
        (directory / "result.json").write_text(json.dumps({**known, **result}))
        return directory

    # What stands for the outside.

    def run(self, argv: Sequence[str], **options: Any) -> Completed:
        if argv[0] != "systemd-run":
            return effects.run(argv, **options)
        self.units.append([*argv])
        return Completed(1 if self.trouble else 0, b"", self.trouble.encode())

    def github(self, _settings: object, project: LaneProject) -> Any:
        return lambda: "a-token", Hub(self, project.name)


class Hub(forge.LaneForge):
    """GitHub as far as a dispatch needs it."""

    def __init__(self, server: Server, project: str) -> None:
        self.server, self.project = server, project

    def open_issues(self, label: str) -> list[dict[str, Any]]:
        found = self.server.issues.get(self.project, [])
        if isinstance(found, ForgeError):
            raise found
        return [item for item in found if label in [each["name"] for each in item["labels"]]]

    def open_pulls(self) -> list[tuple[int, str]]:
        return list(enumerate(self.server.branches, 100))

    def review(self, number: int) -> forge.Conflict:
        if number in self.server.unread:
            raise UncertainError("no answer")
        remarks = tuple(self.server.remarks.get(number, ()))
        return forge.Conflict(number, "t", "b", "u", "lane/7-0a1b2c3d", "main", remarks)


@pytest.fixture
def server(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Server:
    found = Server(tmp_path, capsys)
    monkeypatch.setattr(effects, "run", found.run)
    monkeypatch.setattr(delivery, "github", found.github)
    monkeypatch.setattr(dispatching, "claims_of", lambda *_: found.claims)
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(drain, "MARK", str(tmp_path / "draining.json"))
    monkeypatch.setattr(engine, "lanes", list)
    return found


@pytest.fixture
def lane_tasks(monkeypatch: pytest.MonkeyPatch) -> list[tasks.Task]:
    """Return what lanes were given; each of them ends well and changes nothing."""
    given: list[tasks.Task] = []

    def run(lane: supervisor.Lane) -> dict[str, Any]:
        given.append(lane.task)
        return {"lane": NAME, "outcome": "no_change", "detail": "x", "delivery": ""}

    monkeypatch.setattr(supervisor.Lane, "run", run)
    return given


# --- Starting ----------------------------------------------------------------------------


def test_a_lane_is_waited_for_and_its_result_is_the_answer(
    server: Server, lane_tasks: list[tasks.Task]
) -> None:
    code, document = server.ask("run", "factory/demo", "17", "--model", "m-2")
    assert (code, document["outcome"]) == (Exit.DONE, "no_change")
    (task,) = lane_tasks
    assert (task.project.name, task.issue, task.project.model) == ("demo", 17, "m-2")
    assert not task.is_conflict


def test_a_lane_for_a_conflict_is_one_for_a_pull_request(
    server: Server, lane_tasks: list[tasks.Task]
) -> None:
    server.ask("resolve", "demo", "23")
    assert [(task.issue, task.is_conflict) for task in lane_tasks] == [(23, True)]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["run", "demo", "17", "--model", "m-9"], "demo may use gpt-5.5, m-2"),
        (["run", "demo", "0", "--stdin"], "the prompt on standard input is empty"),
        (["run", "demo", "0"], "issue '0' must be the number of an issue"),
        (["run", "demo", "0", "--stdin", "--detach"], "stays with you"),
        (["run", "other", "17"], "no project 'other' has lanes; known are: demo"),
        (["logs", NAME], f"there is no lane {NAME}"),
        (["stop", NAME], f"lane {NAME} does not run"),
        (["deliver", NAME], f"lane {NAME} has no result"),
        (["resume", "../../etc"], "is no lane such as"),
    ],
)
def test_what_cannot_be_meant_is_said(
    words: list[str], said: str, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b" \n")))
    code, document = server.ask(*words)
    assert code == Exit.USAGE
    assert said in document["error"]


def test_nobody_but_root_starts_a_lane(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    for words in (["run", "demo", "17"], ["run", "demo", "17", "--detach"], ["dispatch"]):
        assert "use run-lane, which may do just that" in server.say(*words)


def test_a_lane_that_did_not_start_says_why_to_programs(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_lane: supervisor.Lane) -> None:
        raise supervisor.NotStartedError("memory", "20 MiB of memory are available")

    monkeypatch.setattr(supervisor.Lane, "run", refuse)
    code, document = server.ask("run", "demo", "17")
    assert code == Exit.FAILED
    assert (document["outcome"], document["reason"]) == ("refused", "memory")
    assert document["error"].startswith("20 MiB of memory")


@pytest.mark.parametrize(
    ("outcome", "delivery_", "code"),
    [("changed", "done", 0), ("changed", "failed: 502", 1), ("oom", "", 1), ("incomplete", "", 1)],
)
def test_only_what_is_done_and_delivered_is_a_success(
    outcome: str, delivery_: str, code: int, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    result = {"lane": NAME, "outcome": outcome, "detail": "x", "delivery": delivery_}
    monkeypatch.setattr(supervisor.Lane, "run", lambda _lane: result)
    assert server.ask("run", "demo", "17")[0] == code


def test_a_detached_lane_is_a_unit_and_one_issue_has_one(server: Server) -> None:
    code, document = server.ask("run", "demo", "17", "--detach", "--queue-seconds", "5")
    assert (code, document["detached"]) == (Exit.DONE, True)
    (unit,) = server.units
    assert "--unit=factory-lane-demo-17" in unit
    assert unit[-5:] == ["run", "demo", "17", "--queue-seconds=5.0", "--model=gpt-5.5"]
    server.trouble = "Unit factory-lane-demo-17.service was already loaded"
    code, document = server.ask("run", "demo", "17", "--detach")
    assert (code, document["reason"]) == (Exit.FAILED, "detach")


def test_a_server_that_is_emptied_of_work_starts_no_detached_lane(server: Server) -> None:
    Path(drain.MARK).touch()
    code, document = server.ask("resolve", "demo", "17", "--detach")
    assert (code, document["reason"], server.units) == (Exit.FAILED, "draining", [])


@pytest.mark.parametrize(
    ("session", "issue", "text"),
    [
        ("s-1", 7, "Go on where you were cut off. Commit your work."),
        ("", 7, ""),
        # Without an issue what it was told is all that there is.
        ("", 0, "do it"),
    ],
)
def test_a_lane_goes_on_with_what_it_was_about(
    session: str, issue: int, text: str, server: Server, lane_tasks: list[tasks.Task]
) -> None:
    directory = server.lane(session=session, issue=issue, is_conflict=True)
    (directory / "prompt.md").write_text("do it")
    server.ask("resume", NAME)
    (task,) = lane_tasks
    assert (task.resume, task.issue, task.text) == (NAME, issue, text)
    assert task.is_conflict


def test_leftovers_of_a_dead_supervisor_are_reaped_before_a_lane_starts(
    server: Server, lane_tasks: list[tasks.Task], monkeypatch: pytest.MonkeyPatch
) -> None:
    reaped: list[bool] = []
    monkeypatch.setattr(reaping, "reap", lambda *_, **__: reaped.append(True))
    place = server.root / "run" / NAME
    place.mkdir()
    (place / "owner.json").write_text(json.dumps({"supervisor": processes.identity()}))
    server.ask("run", "demo", "17")
    assert (reaped, len(lane_tasks)) == ([], 1)
    (place / "owner.json").write_text(json.dumps({"supervisor": "1:1"}))
    server.ask("run", "demo", "17")
    assert (reaped, len(lane_tasks)) == ([True], 2)


def test_the_reaper_has_a_lane_watched_again_by_a_unit_of_its_own(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        *(reaping, "reap"), lambda *_, adopt, **__: {"changed": [adopt(NAME), adopt(NAME)]}
    )
    with suppress(KeyError):
        server.ask("reap")
    assert server.units[0][3:4] == [f"--unit=factory-lane-adopt-{NAME}"]
    assert server.units[0][-2:] == ["adopt", NAME]
    monkeypatch.setattr(supervisor.Lane, "adopt", lambda lane: {"lane": lane.name, **DONE})
    assert server.ask("adopt", NAME)[0] == Exit.USAGE
    directory = server.root / "state" / NAME
    directory.mkdir()
    state = {"project": "demo", "issue": 7, "resumes": "demo-7-99999999"}
    (directory / "state.json").write_text(json.dumps(state))
    code, document = server.ask("adopt", NAME)
    assert (code, document["lane"]) == (Exit.DONE, NAME)


# --- What an agent is to do --------------------------------------------------------------


class Repository(collect.LaneMirror):
    """A mirror that holds ``commits``, where a pull request conflicts in ``paths``."""

    def __init__(self, commits: set[str], paths: Sequence[str] = ()) -> None:
        self.commits, self.paths = commits, list(paths)

    def update(self, _branch: str) -> Start:
        return Start("c" * 40)

    def update_pull(self, _number: int, _base_branch: str) -> Start:
        return Start("a" * 40, "b" * 40)

    def has(self, commit: str) -> bool:
        return commit in self.commits

    def conflicts(self, _start: Start) -> list[str]:
        return self.paths


class Words(forge.LaneForge):
    """GitHub as far as a lane's task needs it."""

    def __init__(self, *branches: str, remarks: tuple[str, ...] = ()) -> None:
        self.branches, self.remarks = branches, remarks

    def review(self, number: int) -> forge.Conflict:
        return forge.Conflict(number, "t", "b", "u", "lane/7-0a1b2c3d", "main", self.remarks)

    def issue(self, number: int) -> forge.Issue:
        return forge.Issue(number, "Say more", "Please.")

    def comments(self, _issue: forge.Issue) -> list[forge.Comment]:
        return [forge.Comment("ali", "In French.")]

    def open_branches(self) -> list[str]:
        return list(self.branches)

    def conflict(self, number: int) -> forge.Conflict:
        return forge.Conflict(number, "Say more", "Please.", "u", "feature", "main")


def find(
    server: Server,
    task: dict[str, Any],
    mirror: Repository,
    earlier: dict[str, Any] | None = None,
    branches: Sequence[str] = (),
    remarks: tuple[str, ...] = (),
) -> tasks.ResolvedTask:
    known = read(LanesSettings, configuration.load(server.root / "factory.json").section("lanes"))
    with ThreadPoolExecutor() as pool:
        given = tasks.Task(known.lane_projects[0], **task)
        return tasks.find(
            given,
            pool,
            Words(*branches, remarks=remarks),
            lambda: mirror,
            server.root,
            earlier or {},
        )


def test_an_issue_is_worked_on_from_the_newest_commit(server: Server) -> None:
    found = find(server, {"issue": 7}, Repository(set()))
    assert (found.start, found.title) == (Start("c" * 40), "Say more")
    assert '<issue number="7">\n<title>Say more</title>\nPlease.' in found.prompt
    assert "<comment>\nali said:\nIn French.\n</comment>" in found.prompt


def test_an_issue_that_has_a_pull_request_gets_no_second_one(server: Server) -> None:
    branches = ["lane/17-0a1b2c3d", "lane/7-0a1b2c3d"]
    with pytest.raises(tasks.ProposedError, match="branch lane/7-0a1b2c3d is the open pull"):
        find(server, {"issue": 7}, Repository(set()), branches=branches)
    # Who goes on in that one does so.
    earlier = {"base": "d" * 40}
    resumed = {"issue": 7, "resume": NAME}
    assert find(server, resumed, Repository({"d" * 40}), earlier, branches).prompt


def test_what_is_done_and_waits_for_github_is_not_done_again(server: Server) -> None:
    server.lane(head="0" * 40, pull_request=None, delivery="failed: a 502")
    code, document = server.ask("run", "demo", "7")
    assert (code, document["reason"]) == (Exit.FAILED, "undelivered")
    assert f"factory lane deliver {NAME}" in document["error"]


def test_a_conflict_is_worked_on_from_the_pull_request_with_main_to_merge(server: Server) -> None:
    task = {"issue": 23, "is_conflict": True}
    found = find(server, task, Repository(set(), ["a.txt"]))
    assert found.start == Start("a" * 40, "b" * 40)
    assert f"git merge {'b' * 40}" in found.prompt
    assert "- a.txt" in found.prompt
    with pytest.raises(RefusedError, match="#23 has no conflict with main"):
        find(server, task, Repository(set()))


def test_a_lane_goes_on_where_the_earlier_one_began(server: Server) -> None:
    earlier = {"base": "d" * 40}
    assert find(server, {"issue": 7}, Repository({"d" * 40}), earlier).start == Start("d" * 40)
    with pytest.raises(CollectError, match="is not in the repository any more; begin again"):
        find(server, {"issue": 7}, Repository(set()), earlier)


# --- Dispatching -------------------------------------------------------------------------


def wish(number: int, *labels: str) -> dict[str, Any]:
    return {"number": number, "title": "x", "labels": [{"name": name} for name in labels]}


def decided(document: dict[str, Any]) -> dict[int, str]:
    return {item["issue"]: item["verb"] for item in document["issues"]}


def test_a_dispatch_starts_what_has_the_label_and_says_of_each_why(server: Server) -> None:
    server.issues["demo"] = [wish(1, "lane"), wish(2), wish(3, "lane", "hold"), wish(4, "lane")]
    server.branches = ["lane/4-0a1b2c3d", "feature"]

    code, planned = server.ask("dispatch", "--dry-run")
    assert (code, planned["started"], server.units) == (Exit.DONE, 0, [])
    code, document = server.ask("dispatch")

    assert decided(planned) == decided(document) == {1: "start", 3: "skip", 4: "skip"}
    assert (code, document["started"], document["changed"]) == (Exit.DONE, 1, True)
    assert [unit[-4:-1] for unit in server.units] == [["run", "demo", "1"]]
    words = {item["issue"]: item["why"] for item in document["issues"]}
    assert words[4] == "a lane's pull request for it is open"


def test_a_dispatch_knows_what_became_of_an_issues_lanes(server: Server) -> None:
    server.issues["demo"] = [wish(1, "lane"), wish(2, "lane"), wish(3, "lane")]
    now = times.iso(time.time())
    server.lane("demo-1-0a1b2c3d", issue=1, outcome="oom", finished_at=now)
    for token in ("0a1b2c3d", "0a1b2c3e"):
        finished = {"outcome": "idle", "finished_at": "2020-01-01T00:00:00Z"}
        server.lane(f"demo-2-{token}", issue=2, **finished)
    # A pull request of the same number is none of its lanes.
    server.lane("demo-3-0a1b2c3d", issue=3, is_conflict=True, finished_at=now)
    assert decided(server.ask("dispatch")[1]) == {1: "wait", 2: "skip", 3: "start"}


def test_a_dispatch_goes_on_where_a_lane_was_cut_off(server: Server) -> None:
    server.issues["demo"] = [wish(number, "lane") for number in (1, 2, 3)]
    now, head = times.iso(time.time()), "0" * 40
    cut = {"outcome": "interrupted", "finished_at": now, "head": head}
    # What a restart ended is none of an issue's own tries, however many there were.
    for token in ("0a1b2c3d", "0a1b2c3e", "0a1b2c3f"):
        server.lane(f"demo-1-{token}", issue=1, **cut)
    waits = {"outcome": "changed", "delivery": "failed: a 502", "head": head}
    server.lane("demo-2-0a1b2c3d", issue=2, finished_at=now, **waits)
    server.lane("demo-3-0a1b2c3d", issue=3, **{**cut, "head": ""})

    document = server.ask("dispatch")[1]

    assert decided(document) == {1: "start", 2: "wait", 3: "start"}
    words = sorted(unit[-4:-1] if "run" in unit else unit[-3:-1] for unit in server.units)
    assert words[0][0] == "resume"
    assert words[0][1].startswith("demo-1-")
    assert words[1] == ["run", "demo", "3"]


def test_what_was_said_about_a_pull_request_goes_back_to_an_agent_some_rounds(
    server: Server,
) -> None:
    server.branches = ["lane/1-0a1b2c3d", "feature", "lane/2-0a1b2c3d"]
    server.remarks = {100: ["bob said: In French."], 101: ["bob said: x"]}
    for rounds in range(3):
        document = server.ask("dispatch")[1]
        assert [(item["pull_request"], item["round"]) for item in document["reviews"]] == [
            (100, rounds + 1)
        ]
        assert server.units[-1][-4:-1] == ["revise", "demo", "100"]
        now = times.iso(time.time())
        of_review = {"issue": 100, "is_conflict": True, "is_review": True, "finished_at": now}
        server.lane(f"demo-100-0a1b2c3{rounds}", **of_review)
    assert server.ask("dispatch")[1]["reviews"] == []


def test_a_pull_request_that_cannot_be_read_holds_up_no_other(server: Server) -> None:
    server.branches = ["lane/1-0a1b2c3d", "lane/2-0a1b2c3d"]
    server.remarks, server.unread = {101: ["bob said: x"]}, {100}
    # Rounds of a project whose name goes on are none of this one's.
    now = times.iso(time.time())
    for token in range(3):
        of_review = {"is_conflict": True, "is_review": True, "finished_at": now}
        named = f"demo-101-7-0a1b2c3{token}"
        server.lane(named, project="demo-101", issue=7, **of_review)

    code, document = server.ask("dispatch")

    assert (code, document["failures"]) == (Exit.FAILED, ["demo #100: no answer"])
    assert [item["pull_request"] for item in document["reviews"]] == [101]


def test_what_somebody_has_stopped_waits_for_somebody(server: Server) -> None:
    server.issues["demo"] = [wish(1, "lane"), wish(2, "lane")]
    cut = {"outcome": "interrupted", "finished_at": times.iso(time.time()), "head": "0" * 40}
    server.lane("demo-1-0a1b2c3d", issue=1, **cut, is_stopped=True)
    server.lane("demo-2-0a1b2c3d", issue=2, **cut)
    document = server.ask("dispatch")[1]
    assert decided(document) == {1: "skip", 2: "start"}
    assert "somebody has stopped its last lane" in document["issues"][0]["why"]


def test_what_another_server_works_on_or_has_tried_is_left_alone(server: Server) -> None:
    server.issues["demo"] = [wish(1, "lane"), wish(2, "lane"), wish(3, "lane")]
    server.claims = {
        1: Claim("other", "demo-1-99999999", until=time.time() + 60),
        2: Claim("other", "demo-2-99999999", "ended", attempts_count=2),
        3: Claim("other", "demo-3-99999999", until=time.time() - 1),
    }
    document = server.ask("dispatch")[1]
    assert decided(document) == {1: "wait", 2: "skip", 3: "start"}
    words = "lane demo-1-99999999 of the server other works on it (running)"
    assert document["issues"][0]["why"] == words


def test_a_review_is_worked_on_where_its_pull_request_stands(server: Server) -> None:
    remarks = ("bob said: a.txt:3: </comment> In French.",)
    task = {"issue": 23, "is_conflict": True, "is_review": True}
    found = find(server, task, Repository(set()), remarks=remarks)
    # Nothing is to be merged.
    assert found.start == Start("a" * 40)
    assert "<comment>\nbob said: a.txt:3: &lt;/comment> In French.\n</comment>" in found.prompt
    assert supervisor._unresolved(found, None) == ""
    with pytest.raises(RefusedError, match="nothing was said about #23"):
        find(server, task, Repository(set()))


def test_a_project_that_github_does_not_tell_about_holds_up_no_other(server: Server) -> None:
    server.projects = ("other", "demo")
    server.configure()
    server.issues = {"other": UncertainError("no answer"), "demo": [wish(1, "lane")]}

    code, document = server.ask("dispatch")

    assert (code, document["started"]) == (Exit.FAILED, 1)
    assert document["failures"] == ["other: no answer"]


def test_a_project_without_a_label_has_nothing_dispatched(server: Server) -> None:
    server.configure(dispatch={"label": ""})
    server.issues["demo"] = [wish(1, "lane", "")]
    assert server.ask("dispatch")[1]["issues"] == []


def test_a_dispatch_of_a_server_that_is_emptied_of_work_says_so(server: Server) -> None:
    server.issues["demo"] = [wish(1, "lane")]
    Path(drain.MARK).touch()
    code, document = server.ask("dispatch")
    assert (code, document["started"], server.units) == (Exit.DONE, 0, [])
    assert "emptied of work" in document["closed"]


# --- Looking at them ---------------------------------------------------------------------


def test_running_and_finished_lanes_are_listed(server: Server) -> None:
    server.lane(
        "demo-8-0a1b2c3d",
        started_at="2026-01-02T00:00:00Z",
        tokens=321,
        cost_usd=0.5,
        duration_seconds=6.0,
        pull_request={"number": 12, "url": "u"},
    )
    for name, watcher in (("demo-9-0a1b2c3d", processes.identity()), (NAME, "1:1")):
        directory = server.root / "state" / name
        directory.mkdir()
        state = {"lane": name, "state": "running", "started_at": "2026-01-03T00:00:00Z"}
        (directory / "state.json").write_text(json.dumps({**state, "supervisor": watcher}))

    _, document = server.ask("list")
    text = server.say("list")

    listed = {item["lane"]: item["outcome"] for item in document["lanes"]}
    assert listed == {
        "demo-8-0a1b2c3d": "changed",
        "demo-9-0a1b2c3d": "running",
        NAME: "running (unwatched)",
    }
    (row,) = [line for line in text.splitlines() if line.startswith("demo-8-")]
    assert row.split() == [
        *("demo-8-0a1b2c3d", "changed", "321", "0.5", "6.0", "2026-01-02T00:00:00Z"),
        *("#12", "in", "review"),
    ]


def test_what_an_agent_does_is_shown_while_it_does_it(server: Server) -> None:
    directory = server.root / "state" / NAME
    directory.mkdir()
    path = directory / "transcript.jsonl"
    path.write_text('{"type":"lane","what":"the agent starts"}\n{"type":"lane","wh')

    def go_on() -> None:
        with path.open("a") as file:
            file.write('at":"the agent ended with 0"}\n')
        (directory / "result.json").write_text("{}")

    assert server.say("logs", NAME) == "· the agent starts\n\n"
    threading.Timer(0.1, go_on).start()
    assert server.say("logs", "-f", NAME).splitlines()[:2] == [
        "· the agent starts",
        "· the agent ended with 0",
    ]


def test_a_log_shows_what_commands_printed_and_a_terminal_obeys_none_of_it(
    server: Server,
) -> None:
    directory = server.lane()
    item = {"type": "command_execution", "command": "make\x1b]0;x\x07", "exit_code": 2}
    lines = "".join(f"line {number}\x1b[2J\n" for number in range(30))
    events = [
        {"type": "item.started", "item": item},
        {"type": "item.completed", "item": {**item, "aggregated_output": lines}},
        {"type": "stderr", "text": "\x9b31m\u202eevil"},
    ]
    (directory / "transcript.jsonl").write_text("\n".join(map(json.dumps, events)) + "\n")

    shown = server.say("logs", NAME)

    assert not {"\x1b", "\x9b", "\u202e"} & set(shown)
    assert "▸ make" in shown
    assert "    (10 lines before)\n    line 10" in shown
    assert "    line 29\\x1b[2J\n    exit 2\n" in shown


def test_a_lane_that_is_stopped_is_waited_for(server: Server) -> None:
    place = server.root / "run" / NAME
    place.mkdir()

    def end() -> None:
        while not (place / "stop").exists():
            time.sleep(0.01)
        (place / "stop").unlink()
        place.rmdir()

    threading.Thread(target=end, daemon=True).start()
    assert server.ask("stop", NAME)[1]["changed"] is True


def test_lanes_that_wait_and_what_running_ones_cost_are_listed(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    status = json.dumps({"tokens": 321, "cost_usd": 0.5})
    monkeypatch.setattr(control_socket, "ask", lambda *_: status)
    directory = server.root / "state" / NAME
    directory.mkdir()
    state = {"lane": NAME, "state": "waiting", "supervisor": processes.identity()}
    (directory / "state.json").write_text(json.dumps(state))
    waits = {"project": "demo", "issue": 8, "why": "all 4 lanes are taken"}
    for number, owner in ((1, processes.identity()), (2, "1:1")):
        path = server.root / f"run/queued-{number}.json"
        path.write_text(json.dumps({**waits, "supervisor": owner}))
    server.lane("demo-9-0a1b2c3d", outcome="budget", detail="all is used")

    text = server.say("list")

    rows = {line.split()[0]: line for line in text.splitlines()[1:]}
    assert set(rows) == {NAME, "demo-8", "demo-9-0a1b2c3d"}
    assert rows[NAME].split()[1:4] == ["waiting", "321", "0.5"]
    assert rows["demo-8"].split()[1] == "queued"
    assert rows["demo-8"].endswith("all 4 lanes are taken")
    assert "needs a person: all is used" in rows["demo-9-0a1b2c3d"]


def test_of_several_tries_the_first_that_passes_the_projects_check_is_delivered(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.configure(check_command="make test")
    names = [f"demo-7-0a1b2c3{n}" for n in range(4)]
    asked: list[str] = []
    delivered: list[str] = []
    passing = {names[2]}
    outcomes = dict(zip(names, ["changed", "budget", "changed", "changed"], strict=True))

    def run(lane: supervisor.Lane) -> dict[str, Any]:
        assert lane.is_trial
        name = names[len(asked)]
        asked.append(name)
        result: dict[str, Any] = {
            "lane": name,
            "issue": 7,
            "outcome": outcomes[name],
            "delivery": "",
        }
        result |= {"head": "0" * 40, "project": "demo", "detail": "x", "is_passed_over": True}
        server.lane(name, **result)
        return result

    @contextmanager
    def reopened(_known: object, _project: object, result: Any, _seconds: float) -> Iterator[str]:
        yield result["lane"]

    def deliver(*given: Any) -> None:
        delivered.append(given[-1]["lane"])
        given[-1].update(pull_request={"number": 12, "url": "u"}, delivery="done")

    monkeypatch.setattr(supervisor.Lane, "run", run)
    monkeypatch.setattr(workshop, "reopened", reopened)
    monkeypatch.setattr(workshop, "check", lambda name, *_: (name in passing, "2 failed"))
    monkeypatch.setattr(delivery, "deliver", deliver)

    code, document = server.ask("run", "demo", "7", "--attempts", "4")

    assert (code, document["lane"], delivered) == (Exit.DONE, names[2], [names[2]])
    assert [words.partition(": ")[2] for words in document["tried"]] == [
        *("changed, not passed: 2 failed", "budget", "changed, passed"),
    ]
    kept = json.loads((server.root / "state" / names[0] / "result.json").read_text())
    assert kept["is_passed_over"] is True

    names[:] = ["demo-7-1a1b2c30", "demo-7-1a1b2c31"]
    passing.clear()
    asked.clear()
    outcomes.update(dict.fromkeys(names, "changed"))
    code, document = server.ask("run", "demo", "7", "--attempts", "2")
    assert (code, document["outcome"], len(delivered)) == (Exit.FAILED, "unchosen", 1)
    server.configure()
    assert "no check_command" in server.ask("run", "demo", "7", "--attempts", "2")[1]["error"]


def test_a_dispatch_notes_which_pull_requests_are_open_no_more(server: Server) -> None:
    server.branches = ["lane/1-0a1b2c3d"]
    now = times.iso(time.time())
    for name, number in (("demo-1-0a1b2c3d", 100), ("demo-2-0a1b2c3d", 101)):
        server.lane(name, issue=1, pull_request={"number": number, "url": "u"}, finished_at=now)
    path = server.root / "state/demo-2-0a1b2c3d/result.json"
    os.utime(path, (1.0, 1.0))
    server.ask("dispatch", "--dry-run")
    assert {item["state"] for item in server.ask("list")[1]["lanes"]} == {"in review"}
    server.ask("dispatch")
    states = {item["lane"]: item["state"] for item in server.ask("list")[1]["lanes"]}
    assert states == {"demo-1-0a1b2c3d": "in review", "demo-2-0a1b2c3d": "done"}
    # When it ended is when its result was written.
    assert path.stat().st_mtime == 1.0


# --- Afterwards --------------------------------------------------------------------------


def test_work_that_github_did_not_take_is_delivered_again_and_once(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    directory = server.lane(head="0" * 40, pull_request=None, delivery="failed: a 502")
    answers: list[ForgeError | None] = [UncertainError("a 502"), None]

    def deliver(
        _settings: object, _project: object, _hub: object, _token: str, result: Any
    ) -> None:
        error = answers.pop(0)
        if error is not None:
            raise error
        result |= {"pull_request": {"number": 12, "url": "u"}, "delivery": "done"}

    monkeypatch.setattr(delivery, "deliver", deliver)

    assert server.ask("deliver", NAME)[0] == Exit.FAILED
    assert json.loads((directory / "result.json").read_text())["pull_request"] is None
    code, document = server.ask("deliver", NAME)
    assert (code, document["changed"], document["pull_request"]["number"]) == (Exit.DONE, True, 12)
    assert json.loads((directory / "result.json").read_text())["delivery"] == "done"
    assert server.ask("deliver", NAME)[1]["changed"] is False


def test_a_lane_without_work_has_nothing_to_deliver(server: Server) -> None:
    server.lane(head="", outcome="no_change")
    code, document = server.ask("deliver", NAME)
    assert (code, document["error"]) == (
        Exit.USAGE,
        f"lane {NAME} has no work to deliver: no_change",
    )


def test_a_second_reaper_is_refused_and_an_engine_that_is_silent_is_a_failure(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    with (server.root / "locks" / reaping.LOCK).open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        assert server.ask("reap")[0] == Exit.LOCKED

    def silent() -> None:
        raise DockerError("the engine does not answer")

    monkeypatch.setattr(engine, "lanes", silent)
    code, document = server.ask("reap", "--dry-run")
    assert (code, document["error"]) == (Exit.FAILED, "the engine does not answer")


def test_the_store_is_filled_by_root_with_what_is_locked_and_none_of_it_is_run(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[list[str]] = []
    files = {"pnpm-lock.yaml": "lock"}
    monkeypatch.setattr(docker.Client, "ask", lambda _self, *words, **_: calls.append([*words]))
    monkeypatch.setattr(collect.LaneMirror, "show", lambda _self, _branch, name: files.get(name))

    assert server.ask("store")[1]["projects"] == {"demo": "fetched"}

    (argv,) = calls
    assert {"--user=0:0", "--cap-drop=ALL"} < set(argv)
    assert "pnpm fetch --ignore-scripts --store-dir /store" in argv[-1]
    files.clear()
    assert server.ask("store")[1]["projects"] == {"demo": "no pnpm-lock.yaml"}
    assert len(calls) == 1
