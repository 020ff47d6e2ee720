"""What the reaper makes of lanes that nobody watches, and keeps of those that are finished."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

import agents
import pytest

from factory.core.base import processes
from factory.core.base.configuration import Section
from factory.core.base.github.errors import UncertainError
from factory.core.base.settings import read
from factory.core.lanes import reaper
from factory.core.lanes.settings import LanesSettings
from factory.lanes import delivery, engine, reaping

LOST, DELIVERED, REFUSED = (f"demo-{number}-0a1b2c3d" for number in (1, 2, 3))


def known(directory: Path, **values: Any) -> LanesSettings:
    project = {"name": "demo", "repository": "factory/demo"}
    places = {f"{name}_dir": str(directory / name) for name in ("state", "run", "mirror")}
    section = {"agents": agents.shipped(), "projects": [project], "git_user": ""}
    return read(LanesSettings, Section({**section, **places, **values}, "lanes"))


def finished(directory: Path, name: str, size_bytes: int, **result: Any) -> None:
    place = directory / "state" / name
    place.mkdir(parents=True)
    text = json.dumps({"lane": name, "project": "demo", "detail": "it ended", **result})
    (place / "result.json").write_text(text)
    (place / "lane.bundle").write_bytes(b"x" * size_bytes)


def test_undelivered_work_is_given_up_last_and_never_silently(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(engine, "lanes", list)
    monkeypatch.setattr(engine, "snapshot", lambda _run_dir: {"container": set()})
    finished(tmp_path, LOST, 3 << 19, outcome="interrupted", head="0" * 40, pull_request=None)
    finished(tmp_path, DELIVERED, 1 << 19, outcome="changed", pull_request={"number": 1})
    finished(tmp_path, REFUSED, 1 << 12, outcome="broken", head="")

    enough = reaping.reap(known(tmp_path, keep_total_mib=2), tmp_path, dry_run=False)
    first = reaping.reap(known(tmp_path, keep_total_mib=1), tmp_path, dry_run=True)
    assert (tmp_path / "state" / LOST / "lane.bundle").exists()
    reaping.reap(known(tmp_path, keep_total_mib=1), tmp_path, dry_run=False)

    # What was delivered is at GitHub.
    assert (enough["expired"], enough["given_up"]) == ([DELIVERED], [])
    assert (first["expired"], first["given_up"]) == ([LOST], [LOST])
    left = {path.relative_to(tmp_path / "state").as_posix() for path in tmp_path.glob("state/*/*")}
    assert left == {f"{LOST}/result.json", f"{REFUSED}/result.json", f"{REFUSED}/lane.bundle"}
    result = json.loads((tmp_path / "state" / LOST / "result.json").read_text())
    assert (result["outcome"], result["head"]) == ("interrupted", "")
    assert result["detail"].startswith("it ended; its work was given up")
    assert "given up" in caplog.text
    residue = json.loads((tmp_path / "state/residue.json").read_text())
    assert residue["differences"][0]["what"].startswith(f"1.5 MiB of lane {LOST}, given up")
    # It is told for a day.
    residue["differences"][0]["since"] = "2020-01-01T00:00:00Z"
    (tmp_path / "state/residue.json").write_text(json.dumps(residue))
    again = reaping.reap(known(tmp_path, keep_total_mib=1), tmp_path, dry_run=False)
    assert again["expired"] == []
    assert json.loads((tmp_path / "state/residue.json").read_text())["differences"] == []


def test_work_that_github_did_not_take_is_delivered_until_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "lanes", list)
    monkeypatch.setattr(engine, "snapshot", lambda _run_dir: {"container": set()})
    monkeypatch.setattr(delivery, "github", lambda *_: (lambda: "a-token", None))
    answers: list[Exception | None] = [UncertainError("a 502")] * 6 + [None]
    asked: list[str] = []

    def deliver(
        _settings: object, _project: object, _hub: object, _token: str, result: Any
    ) -> None:
        asked.append(result["lane"])
        error = answers.pop(0)
        if error is not None:
            raise error
        result |= {"pull_request": {"number": 12, "url": "u"}, "delivery": "done"}

    monkeypatch.setattr(delivery, "deliver", deliver)
    work = {"outcome": "changed", "head": "0" * 40, "pull_request": None}
    finished(tmp_path, LOST, 1, **work, delivery="failed: a 502")
    # Not whole: a person decides.
    finished(tmp_path, REFUSED, 1, **{**work, "outcome": "budget"}, delivery="")
    path = tmp_path / "state" / LOST / "result.json"

    def again(waited_seconds: float) -> tuple[list[str], list[str]]:
        at = time.time() - waited_seconds
        os.utime(path, (at, at))
        done = reaping.reap(known(tmp_path), tmp_path, dry_run=False)
        residue = tmp_path / "state/residue.json"
        told = json.loads(residue.read_text())["differences"] if residue.exists() else []
        return done["delivered"], [item["what"] for item in told]

    assert again(30) == ([], [])
    assert asked == []
    told: list[str] = []
    for attempt in range(6):
        assert told == []
        told = again(61 * 2**attempt)[1]
        assert len(asked) == attempt + 1
    assert told == [f"lane {LOST}: GitHub does not take its work: a 502"]
    assert again(61) == ([], told)
    assert again(3601) == ([LOST], [])
    assert (json.loads(path.read_text())["delivery"], set(asked)) == ("done", {LOST})


def test_work_that_went_on_in_a_delivered_lane_is_not_delivered_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "lanes", list)
    asked: list[str] = []
    monkeypatch.setattr(delivery, "github", lambda *_: (lambda: "a-token", None))
    monkeypatch.setattr(delivery, "deliver", lambda *given: asked.append(given[-1]["lane"]))
    work = {"outcome": "changed", "head": "0" * 40}
    finished(tmp_path, LOST, 1, **work, pull_request=None, delivery="failed: a 502")
    finished(tmp_path, REFUSED, 1, **work, pull_request=None, delivery="failed: a 502")
    finished(tmp_path, DELIVERED, 1, **work, pull_request={"number": 1}, resumes=LOST)
    for path in tmp_path.glob("state/*/result.json"):
        os.utime(path, (1.0, 1.0))

    done = reaping.reap(known(tmp_path, keep_days=1e6), tmp_path, dry_run=False)

    assert (done["delivered"], asked) == ([REFUSED], [REFUSED])


def test_a_lane_whose_supervisor_died_is_watched_again_some_times_and_then_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    directory, place = tmp_path / "state" / LOST, tmp_path / "run" / LOST
    for path in (directory, place):
        path.mkdir(parents=True)
    state = {"project": "demo", "issue": 1, "base": "0" * 40, "supervisor": "1:1"}
    (directory / "state.json").write_text(json.dumps(state))
    owner = place / "owner.json"
    owner.write_text(json.dumps({"supervisor": "1:1"}))
    labels = {"lane.supervisor": "1:1", "lane.deadline": f"{time.time() + 60:.0f}"}
    containers = [reaper.LaneContainer("c1", LOST, labels, running=True)]
    monkeypatch.setattr(engine, "lanes", lambda: list(containers))
    monkeypatch.setattr(engine, "snapshot", lambda _run_dir: {"container": set()})
    monkeypatch.setattr(engine, "rescue", lambda *_: b"")
    monkeypatch.setattr(engine, "remove", lambda _container: containers.clear())
    monkeypatch.setattr(reaping, "_ADOPTION_SECONDS", 0.2)
    adopted: list[str] = []

    def adopt(lane: str) -> str:
        adopted.append(lane)
        return "" if len(adopted) < 3 else "no systemd"

    def done() -> tuple[list[str], int]:
        found = reaping.reap(known(tmp_path), tmp_path, dry_run=False, adopt=adopt)
        return [step["verb"] for step in found["steps"]], len(found["failures"])

    # The first one does watch it: then there is nothing to do.
    monkeypatch.setattr(processes, "alive", lambda name: name == "2:2")
    owner.write_text(json.dumps({"supervisor": "2:2"}))
    assert done() == ([], 0)
    owner.write_text(json.dumps({"supervisor": "1:1"}))
    # Nobody says that he watches it, or nobody could be started; that is a failure, and tried again.
    assert [done() for _try in range(3)] == [(["adopt"], 1)] * 3
    assert (adopted, directory.joinpath("result.json").exists()) == ([LOST] * 3, False)
    assert done()[0][0] == "end"
    assert json.loads((directory / "result.json").read_text())["outcome"] == "interrupted"


def test_what_a_lane_was_about_survives_its_supervisor(tmp_path: Path) -> None:
    directory = tmp_path / "state" / LOST
    directory.mkdir(parents=True)
    conflict = {"number": 1, "branch": "lane/1-00000000", "base_branch": "main", "url": "u"}
    state = {"project": "demo", "issue": 1, "is_conflict": True, "title": "Say more"}
    state |= {"resumes": DELIVERED, "continues": "lane/1-00000000"}
    (directory / "state.json").write_text(json.dumps({**state, "conflict": conflict}))

    step = reaper.ReapStep("finish", LOST, "its supervisor is gone")
    reaping._finish(known(tmp_path), tmp_path, step)

    result = json.loads((directory / "result.json").read_text())
    assert (result["outcome"], result["title"]) == ("interrupted", "Say more")
    assert (result["conflict"], result["is_conflict"]) == (conflict, True)
    assert (result["resumes"], result["continues"]) == (DELIVERED, "lane/1-00000000")


@pytest.mark.parametrize(
    ("frame", "words"),
    [
        (b"", "; its container gave nothing more than it had handed over before"),
        (b"LANE1 result 0\n", "; not handed over: its result does not say where its work stands"),
    ],
)
def test_what_a_dying_lane_does_not_give_is_said(
    frame: bytes, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    directory = tmp_path / "state" / LOST
    directory.mkdir(parents=True)
    (directory / "state.json").write_text(json.dumps({"project": "demo", "issue": 1}))
    monkeypatch.setattr(engine, "rescue", lambda _container, _limit: frame)
    monkeypatch.setattr(engine, "remove", lambda _container: None)

    step = reaper.ReapStep("end", LOST, "its supervisor is gone", "c1")
    reaping._carry_out(known(tmp_path), tmp_path, step)

    result = json.loads((directory / "result.json").read_text())
    assert result["outcome"] == "interrupted"
    assert words in result["detail"]
