"""When a lane begins, what ends it, and what is made sure of before it is over."""

from __future__ import annotations

import io
import json
import os
import pwd
import tarfile
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import agents
import pytest

from factory import effects
from factory.core.base import processes, times
from factory.core.base.configuration import Section
from factory.core.base.docker import DockerError
from factory.core.base.github.errors import RefusedError
from factory.core.base.ports import Completed
from factory.core.base.settings import read
from factory.core.jobs import drain
from factory.core.lanes import forge
from factory.core.lanes.collect import CollectError, Start
from factory.core.lanes.reaper import LaneContainer
from factory.core.lanes.settings import LanesSettings
from factory.lanes import (
    bounds,
    capacity,
    claiming,
    control_socket,
    delivery,
    engine,
    reaping,
    results,
    supervisor,
    tasks,
)

NAME = "demo-7-0a1b2c3d"


def known(directory: Path, **values: Any) -> LanesSettings:
    project = {"name": "demo", "repository": "factory/demo", **values.pop("project", {})}
    places = {f"{name}_dir": str(directory / name) for name in ("state", "run", "mirror")}
    users = {"git_user": "", "gateway_user": pwd.getpwuid(os.getuid()).pw_name}
    rooms = dict.fromkeys(("min_free_disk_mib", "min_free_memory_mib"), 0)
    section: dict[str, Any] = {"agents": agents.shipped(), "projects": [project]}
    section |= {**places, **users, **rooms, **values}
    return read(LanesSettings, Section(section, "lanes"))


@pytest.fixture
def lane(tmp_path: Path) -> supervisor.Lane:
    """Return a lane that has its places and is at work."""
    return make(tmp_path)


def make(directory: Path, resume: str = "", **values: Any) -> supervisor.Lane:
    found = known(directory, **values)
    task = tasks.Task(found.lane_projects[0], 7, resume=resume, queue_seconds=0)
    lane = supervisor.Lane(found, task, directory, name=NAME)
    lane.directory.mkdir(parents=True)
    (lane.place / control_socket.SOCKET_DIR).mkdir(parents=True)
    return lane


def empty(directory: Path, **values: Any) -> LanesSettings:
    """Return the settings of a server on which no lane runs."""
    for name in ("state", "run"):
        (directory / name).mkdir()
    return known(directory, **values)


# --- Whether it begins -------------------------------------------------------------------


def test_a_lane_takes_its_place_before_anything_else(tmp_path: Path) -> None:
    found = empty(tmp_path)
    lane = supervisor.Lane(found, tasks.Task(found.lane_projects[0], 7), tmp_path)

    lane._admit()

    assert lane.name.startswith("demo-7-")
    owner = json.loads((lane.place / capacity.OWNER).read_text())
    assert (owner["project"], owner["issue"]) == ("demo", 7)
    assert json.loads((lane.directory / supervisor.STATE).read_text())["state"] == "starting"
    # Another one for the same issue, of which this is in the way.
    task = tasks.Task(found.lane_projects[0], 7, queue_seconds=0)
    with pytest.raises(
        supervisor.NotStartedError, match="works on issue 7 of demo already"
    ) as caught:
        supervisor.Lane(found, task, tmp_path)._admit()
    assert caught.value.code == "issue_taken"


def test_a_server_that_is_emptied_of_work_holds_no_lane_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever would wait an hour for a place is told at once."""
    mark = tmp_path / "draining.json"
    mark.write_text("{}")
    monkeypatch.setattr(drain, "MARK", str(mark))
    found = empty(tmp_path)
    task = tasks.Task(found.lane_projects[0], 7, queue_seconds=3600)

    began = time.monotonic()
    with pytest.raises(supervisor.NotStartedError, match="emptied of work") as caught:
        supervisor.Lane(found, task, tmp_path)._admit()

    assert (caught.value.code, time.monotonic() - began < 30) == ("draining", True)
    assert list((tmp_path / "run").iterdir()) == []


def test_a_lane_waits_for_its_place_as_long_as_it_was_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervisor, "_QUEUE_POLL_SECONDS", 0.01)
    found = empty(tmp_path, concurrency_count=1)
    first = supervisor.Lane(found, tasks.Task(found.lane_projects[0], 7), tmp_path)
    first._admit()
    second = tasks.Task(found.lane_projects[0], 8, queue_seconds=0.05)
    with pytest.raises(supervisor.NotStartedError, match=r"all 1 lanes of this server.*; waited"):
        supervisor.Lane(found, second, tmp_path)._admit()

    first._clear()

    supervisor.Lane(found, second, tmp_path)._admit()


def test_without_a_gateway_that_answers_no_lane_begins(
    lane: supervisor.Lane, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "chown", lambda *_: None)
    owner = pwd.getpwuid(os.getuid())

    def silent(*_: str) -> str:
        raise FileNotFoundError("control.sock")

    monkeypatch.setattr(control_socket, "ask", silent)
    with pytest.raises(supervisor.GatewayError, match="systemctl status factory-lane-gateway"):
        lane._open_gateway(owner)
    monkeypatch.setattr(control_socket, "ask", lambda *_: "OSError: credential codex: no such file")
    with pytest.raises(supervisor.GatewayError, match="refuses: OSError: credential codex"):
        lane._open_gateway(owner)
    assert supervisor._REFUSALS[supervisor.GatewayError] == "gateway"


def test_a_lane_that_goes_on_has_the_commits_and_the_memory_of_the_earlier_one(
    tmp_path: Path,
) -> None:
    lane = make(tmp_path, resume="demo-7-99999999")
    earlier = tmp_path / "state/demo-7-99999999"
    earlier.mkdir()
    result = {"base": "0" * 40, "session": "s-1"}
    (earlier / results.RESULT).write_text(json.dumps(result))
    for name in (supervisor.BUNDLE, supervisor.SESSIONS):
        (earlier / name).write_text(name)

    assert lane._seed() == result

    seed = lane.directory / "seed"
    assert {path.name: path.read_text() for path in seed.iterdir()} == {
        "lane.bundle": "lane.bundle",
        "sessions.tar.gz": "sessions.tar.gz",
    }
    # An agent that has forgotten all is called anew.
    again = make(tmp_path / "again", resume="demo-7-99999999")
    (tmp_path / "again/state/demo-7-99999999").mkdir()
    (tmp_path / "again/state/demo-7-99999999/result.json").write_text(json.dumps(result))
    assert again._seed() == {**result, "session": ""}


def test_a_follow_up_of_a_follow_up_goes_into_the_same_branch(tmp_path: Path) -> None:
    lane = make(tmp_path, resume="demo-7-99999999")
    earlier = tmp_path / "state/demo-7-99999999"
    earlier.mkdir()
    # It was cut off itself, and has no pull request of its own.
    follow_up = {"base": "0" * 40, "branch": "", "continues": "lane/7-00000000"}
    (earlier / results.RESULT).write_text(json.dumps(follow_up))

    lane._earlier = lane._seed()
    lane._state("running", **lane._lineage())

    expected = {"resumes": "demo-7-99999999", "continues": "lane/7-00000000"}
    assert lane._lineage() == expected
    lane._state("running")
    state = json.loads((lane.directory / supervisor.STATE).read_text())
    assert {name: state[name] for name in expected} == expected


# --- What ends it ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("silent_seconds", "gateway", "left_seconds", "expected"),
    [
        (0.0, '{"idle_seconds": 0}', 1000.0, ""),
        (0.0, '{"idle_seconds": 0}', -1.0, "timeout"),
        (61.0, '{"idle_seconds": 100}', 1000.0, "idle"),
        # The agent waits for the model, which is at it.
        (61.0, '{"idle_seconds": 5}', 1000.0, ""),
        (61.0, "unknown", 1000.0, "idle"),
    ],
)
def test_time_limits_end_a_lane(
    silent_seconds: float,
    gateway: str,
    left_seconds: float,
    expected: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    lane = make(tmp_path, project={"idle_minutes": 1})
    monkeypatch.setattr(control_socket, "ask", lambda *_: gateway)
    lane._last_sign = time.monotonic() - silent_seconds
    assert lane._due(time.monotonic() + left_seconds) == expected


def test_an_operator_and_a_broken_result_end_a_lane(lane: supervisor.Lane) -> None:
    later = time.monotonic() + 1000
    (lane.place / supervisor.STOP).touch()
    assert lane._due(later) == "an operator"
    lane._broken = "forged"
    assert lane._due(later) == "forged"


class Engine:
    """Containers of lanes that are played; those in ``stuck`` cannot be removed."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *containers: LaneContainer) -> None:
        self.containers, self.stuck, self.rescued = list(containers), False, 0
        self.failures: list[DockerError] = []
        self.seen: dict[str, set[str]] = {"volume": set(), "container": set()}
        self.adopted: list[Handle] = []
        for name in ("lanes", "remove", "rescue", "snapshot", "adopt"):
            monkeypatch.setattr(engine, name, getattr(self, name))

    def lanes(self) -> list[LaneContainer]:
        if self.failures:
            raise self.failures.pop()
        return list(self.containers)

    def adopt(self, _name: str, _seconds: float) -> Handle:
        return self.adopted.pop(0)

    def remove(self, _name: str) -> None:
        if not self.stuck:
            self.containers.clear()

    def rescue(self, _name: str, _limit: int) -> bytes:
        self.rescued += 1
        return b""

    def snapshot(self, _run_dir: Path) -> dict[str, set[str]]:
        return {kind: set(names) for kind, names in self.seen.items()}


OWN = LaneContainer("c1", NAME, {}, running=True)


def test_a_lane_whose_engine_was_lost_is_rescued_and_ends_as_interrupted(
    lane: supervisor.Lane, monkeypatch: pytest.MonkeyPatch
) -> None:
    played = Engine(monkeypatch, OWN)
    monkeypatch.setattr(time, "sleep", lambda _seconds: None)
    played.failures = [DockerError("the engine does not answer")] * 3

    lane._last_rites(engine.ContainerHandle("c1"))

    assert (played.rescued, played.containers) == (1, [])
    assert lane._ended_by == "the loss of the engine"


def test_a_container_that_the_engine_cannot_remove_holds_no_lane_up(
    lane: supervisor.Lane,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(supervisor, "_REMOVAL_SECONDS", 0.1)
    played = Engine(monkeypatch, OWN)
    played.stuck = True

    lane._last_rites(engine.ContainerHandle("c1", status=0))

    assert (played.rescued, lane._ended_by) == (0, "")
    assert "the engine does not remove its container; the reaper goes on" in caplog.text


class Handle:
    """A container that is attached to: pieces of its output, each after a pause, and its end."""

    id = "c1"

    def __init__(self, status: int | None, *pieces: tuple[float, bool, bytes]) -> None:
        self.status, self.pieces, self._ended = status, pieces, threading.Event()

    def output(self) -> Iterator[tuple[bool, bytes]]:
        for pause_seconds, is_transcript, piece in self.pieces:
            threading.Event().wait(pause_seconds)
            yield is_transcript, piece
        self._ended.set()

    def wait(self, seconds: float) -> bool:
        return self._ended.wait(seconds)


def frame(kind: str, **result: Any) -> bytes:
    archive = io.BytesIO()
    content = json.dumps(result).encode()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        member = tarfile.TarInfo("result.json")
        member.size = len(content)
        tar.addfile(member, io.BytesIO(content))
    return b"LANE1 %s %d\n" % (kind.encode(), len(archive.getvalue())) + archive.getvalue()


def test_a_lane_goes_on_past_a_restart_of_the_engine(
    lane: supervisor.Lane, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervisor, "_SILENCE_SECONDS", 0.1)
    played = Engine(monkeypatch, OWN)
    whole, last = frame("checkpoint", head="0" * 40), frame("result", head="1" * 40)
    lost = Handle(None, (0, True, b'{"type":"before"}\n'), (0, False, whole + whole[:700]))
    # The rest of the frame of which nobody has seen the middle, and then one from its beginning.
    found = Handle(0, (0, False, whole[900:]), (0.3, True, b'{"type":"after"}\n'), (0, False, last))
    played.adopted.append(found)
    played.failures = [DockerError("the engine does not answer")]
    monkeypatch.setattr(time, "sleep", lambda _seconds: None)
    lane._ends_at = time.monotonic() + 1000

    last_one: object = lane._supervise(lost)  # type: ignore[arg-type]

    assert last_one is found
    assert (lane._ended_by, lane._broken, played.adopted) == ("", "", [])
    assert lane._final is not None
    assert lane._final.result == {"head": "1" * 40}
    events = (lane.directory / supervisor.TRANSCRIPT).read_text().splitlines()
    assert [json.loads(line)["type"] for line in events] == ["before", "after"]


def test_a_new_supervisor_takes_a_lane_over_and_brings_it_to_its_end(
    lane: supervisor.Lane, monkeypatch: pytest.MonkeyPatch
) -> None:
    played, hub = Engine(monkeypatch, OWN), Told()
    monkeypatch.setattr(control_socket, "ask", lambda *_: "ok")
    monkeypatch.setattr(delivery, "github", lambda *_: (lambda: "a-token", hub))
    monkeypatch.setattr(claiming, "take", lambda *_: None)
    bounded: list[str] = []
    monkeypatch.setattr(bounds, "bound", lambda name, _project: bounded.append(name))
    monkeypatch.setattr(supervisor, "_SILENCE_SECONDS", 0.0)
    played.adopted.append(Handle(0, (0, True, b'{"type":"on"}\n'), (0, False, frame("result"))))
    began = times.iso(time.time() - 60)
    state: dict[str, Any] = {"base": "0" * 40, "title": "Say more"}
    state |= {"continues": "lane/7-00000000"}
    state |= {"started_at": began, "deadline": times.iso(time.time() + 600), "adopted_count": 1}
    (lane.directory / supervisor.STATE).write_text(json.dumps(state))
    (lane.directory / supervisor.TRANSCRIPT).write_text('{"type":"before"}\n')
    (lane.place / capacity.OWNER).write_text(json.dumps({"supervisor": "1:1"}))
    owners: list[str] = []
    conclude = supervisor.Lane._conclude

    def concluded(self: supervisor.Lane, *given: Any) -> dict[str, Any]:
        owners.append(json.loads((lane.place / capacity.OWNER).read_text())["supervisor"])
        owners.append(json.loads((lane.directory / supervisor.STATE).read_text())["state"])
        return conclude(self, *given)

    monkeypatch.setattr(supervisor.Lane, "_conclude", concluded)

    result = lane.adopt()

    assert (owners, bounded) == ([processes.identity(), "handing over"], [NAME])
    assert (result["title"], result["continues"]) == ("Say more", "lane/7-00000000")
    assert (result["outcome"], result["started_at"]) == ("failed_turn", began)
    assert 59 < result["duration_seconds"] < 90
    text = (lane.directory / supervisor.TRANSCRIPT).read_text()
    assert [json.loads(line)["type"] for line in text.splitlines()] == ["before", "on"]
    kept = json.loads((lane.directory / results.RESULT).read_text())
    assert (kept["outcome"], kept["base"]) == ("failed_turn", "0" * 40)
    assert (len(hub.said), lane.place.exists()) == (1, False)
    # Of one whose container is gone there is nothing to take over.
    played.containers.clear()
    with pytest.raises(supervisor.NotStartedError, match="no container that runs"):
        lane.adopt()


def test_what_handles_a_lanes_bytes_has_limits_before_it_reads_any(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    asked: list[Sequence[str]] = []
    answers: list[Completed | OSError] = [
        Completed(0, b"", b""),
        Completed(1, b"", b"Unit exists"),
        FileNotFoundError("busctl"),
    ]

    def run(argv: Sequence[str], **_options: Any) -> Completed:
        asked.append(argv)
        answer = answers.pop(0)
        if isinstance(answer, OSError):
            raise answer
        return answer

    monkeypatch.setattr(effects, "run", run)
    project = make(tmp_path, project={"bundle_max_mib": 100, "timeout_minutes": 60}).project

    assert [bounds.bound(NAME, project) for _time in range(3)] == [True, False, False]

    words = " ".join(asked[0])
    assert words.startswith("busctl call --quiet org.freedesktop.systemd1 ")
    assert f" {bounds.unit(NAME)} fail 6 PIDs au 1 {os.getpid()} " in words
    assert f" MemoryMax t {(448 + 400) << 20} MemorySwapMax t 0 TasksMax t 256 " in words
    assert " RuntimeMaxUSec t 10800000000 " in words
    # Who could not be bounded works all the same, and says so.
    assert ["Unit exists" in caplog.text, "busctl" in caplog.text] == [True, True]


def before(**kinds: Iterable[str]) -> Future[dict[str, set[str]]]:
    found: Future[dict[str, set[str]]] = Future()
    found.set_result({kind: set(names) for kind, names in kinds.items()})
    return found


def test_what_a_lane_leaves_is_written_down_until_it_is_gone(
    lane: supervisor.Lane, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervisor, "_RESIDUE_SECONDS", 0.0)
    played = Engine(monkeypatch)
    lane._clear()
    other = Path(lane.settings.run_dir, "demo-8-0a1b2c3d")
    other.mkdir()
    (other / capacity.OWNER).write_text("{}")
    # What was there, what has come meanwhile, and what is another lane's that came.
    played.seen = {"volume": {"old", "left-over"}, "container": {other.name}}

    left = lane._residue(before(volume=["old"], container=[NAME]))

    path = Path(lane.settings.state_dir, supervisor.RESIDUE)
    assert left == [{"kind": "volume", "name": "left-over"}]
    (told,) = json.loads(path.read_text())["differences"]
    assert told["what"] == f"volume left-over of lane {NAME}"
    reaping._review_residue(lane.settings)
    assert json.loads(path.read_text())["differences"] == [told]
    played.seen["volume"] = {"old"}
    reaping._review_residue(lane.settings)
    assert json.loads(path.read_text())["differences"] == []


def test_an_engine_that_does_not_say_what_is_left_is_no_clean_one(
    lane: supervisor.Lane, monkeypatch: pytest.MonkeyPatch
) -> None:
    Engine(monkeypatch)
    seen: Future[dict[str, set[str]]] = Future()
    seen.set_exception(DockerError("the engine does not answer"))
    assert lane._residue(seen) == [{"kind": "unknown", "name": "the engine does not answer"}]


# --- What comes of it --------------------------------------------------------------------


@pytest.mark.parametrize("error", [RefusedError("a 502"), CollectError("git push"), OSError("x")])
def test_work_that_github_does_not_take_stays_and_is_said(
    error: Exception, lane: supervisor.Lane, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise error

    monkeypatch.setattr(delivery, "deliver", refuse)
    result: dict[str, Any] = {"outcome": "changed", "head": "0" * 40}
    lane._deliver(forge.LaneForge(None, "factory/demo"), str, result)  # type: ignore[arg-type]
    assert result == {"outcome": "changed", "head": "0" * 40, "delivery": f"failed: {error}"}


class Told(forge.LaneForge):
    """GitHub as far as an issue is told something."""

    def __init__(self, error: Exception | None = None) -> None:
        self.error = error
        self.said: list[str] = []

    def comment(self, _number: int, body: str) -> None:
        if self.error:
            raise self.error
        self.said.append(body)


def test_what_went_wrong_is_said_on_the_issue(lane: supervisor.Lane) -> None:
    result: dict[str, Any] = {"outcome": "budget", "head": "0" * 40}
    hub = Told()
    lane._tell_issue(hub, {**result, "detail": "x\n```\n@ali [a](http://x)\x1b[2J"})
    (said,) = hub.said
    assert said.startswith(f"{forge.OWN_COMMENT}\nLane `{NAME}` ended as `budget`:")
    # It stands in a block that nothing in it can end.
    block = said.partition("```text\n")[2].partition("\n```")[0]
    assert block == r"x\nQQQ\n@ali [a](http://x)\x1b[2J".replace("Q", "'")
    assert f"factory lane resume {NAME}" in said
    lane._tell_issue(Told(RefusedError("a 403")), {**result, "detail": "x"})


def test_a_conflict_that_is_left_is_no_success() -> None:
    conflict = forge.Conflict(5, "t", "b", "u", "lane/7-0a1b2c3d", "main")
    assigned = tasks.ResolvedTask(Start("0" * 40, "1" * 40), "", conflict=conflict)
    assert supervisor._unresolved(assigned, None) == (
        "the agent ended without having merged main (111111111111) into lane/7-0a1b2c3d"
    )
    assert supervisor._unresolved(tasks.ResolvedTask(Start("0" * 40), ""), None) == ""
