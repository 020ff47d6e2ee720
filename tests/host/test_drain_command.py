"""``factory drain`` against a played systemd and engine, and a real directory."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from factory import __main__, effects, jobs
from factory.commands import drain
from factory.core.base.ports import Completed, Request, Response
from factory.core.jobs import drain as core
from factory.core.jobs import layout, observe
from factory.outcome import Exit

JOB = {"schedule": "*:0/5", "command": ["/bin/true"]}
PAUSE = {"reason": "saving minutes", "by": "ali", "since": "2026-06-30"}
JOBS = [
    {**JOB, "name": "tick"},
    {**JOB, "name": "words"},
    {**JOB, "name": "watchdog"},
    {**JOB, "name": "rest", "state": "paused", "paused": PAUSE},
]
# Where the mark and the pauses lie on a server.
PLACES = (core.MARK, layout.RUNTIME_PAUSED_DIR)


class Host:
    """A server whose jobs, lanes and engine say what a test lets them say."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.active: set[str] = set()
        self.lanes: list[str] = []
        self.engine_answers = True
        self.ended: list[str] = []

    def run(self, argv: Sequence[str], **_: Any) -> Completed:
        words = list(argv)
        if words[:2] == ["systemctl", "show"]:
            units = [f"Id=factory-job-{n}.service\nActiveState=activating\n" for n in self.active]
            return Completed(0, "\n".join(units).encode(), b"")
        if words[:2] == ["systemctl", "is-active"]:
            return Completed(0, b"active\n", b"")
        if words[1] in ("stop", "kill"):
            self.ended += [unit for unit in words[2:] if unit.startswith("factory-job-")]
        return Completed(0, b"", b"")

    def engine(self, request: Request, *, timeout_seconds: float = 30.0) -> Response:
        if not self.engine_answers:
            raise ConnectionRefusedError("no daemon")
        if request.url.endswith("/version"):
            return Response(200, {}, b'{"ApiVersion": "1.51"}')
        found = [{"Labels": {"lane": name}, "State": "running"} for name in self.lanes]
        ended = {"Labels": {"lane": "six"}, "State": "exited"}
        return Response(200, {}, json.dumps([*found, ended]).encode())

    def factory(self, *words: str) -> int:
        command, *rest = words
        config = str(self.root / "factory.json")
        return __main__.main([command, "--config", config, "--json", *rest])

    def drain(self, seconds: int = 0) -> int:
        return self.factory("drain", "--reason", "upgrade", "--wait-seconds", str(seconds))

    def paused(self) -> dict[str, str]:
        found = (self.root / "paused").glob("[a-z]*")
        return {path.name: json.loads(path.read_text())["reason"] for path in found}


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Host]:
    (tmp_path / "conf.d").mkdir()
    (tmp_path / "factory.json").write_text("{}")
    (tmp_path / "conf.d/jobs.json").write_text(json.dumps({"jobs": {"jobs": JOBS}}))
    made = Host(tmp_path)
    monkeypatch.setattr(effects, "run", made.run)
    monkeypatch.setattr(drain, "fetch_through", lambda _path: made.engine)
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(observe, "systemd_is_running", lambda: True)
    monkeypatch.setattr(layout, "RUNTIME_PAUSED_DIR", str(tmp_path / "paused"))
    monkeypatch.setattr(layout, "STAMP_DIR", str(tmp_path / "stamps"))
    monkeypatch.setattr(jobs, "LOCK_PATH", tmp_path / "lock")
    for name, path in (("MARK", "draining.json"), ("RUNNERS", "runners"), ("LANES", "lanes")):
        monkeypatch.setattr(drain, name, tmp_path / path)
    monkeypatch.setattr(drain, "POLL_SECONDS", 0.01)
    yield made


def told(capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    return dict(json.loads(capsys.readouterr().out))


def test_every_job_but_the_watchdog_is_paused_with_the_reason(host: Host) -> None:
    assert host.drain() == Exit.DONE

    assert host.paused() == {"tick": "upgrade", "words": "upgrade"}
    assert json.loads((host.root / "draining.json").read_text())["reason"] == "upgrade"


def test_a_drain_outlives_a_reboot(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    mark, pauses = (host.root / path.removeprefix("/") for path in PLACES)
    monkeypatch.setattr(drain, "MARK", mark)
    monkeypatch.setattr(layout, "RUNTIME_PAUSED_DIR", str(pauses))
    host.drain()

    for volatile in ("run", "var/run", "tmp", "dev/shm"):
        shutil.rmtree(host.root / volatile, ignore_errors=True)

    assert json.loads(mark.read_text())["reason"] == "upgrade"
    assert {path.name for path in pauses.glob("[a-z]*")} == {"tick", "words"}


def test_the_end_resumes_what_the_drain_has_paused_and_nothing_else(host: Host) -> None:
    host.factory("pause", "words", "--reason", "mine")
    host.drain()

    assert host.factory("drain", "--end") == Exit.DONE

    assert host.paused() == {"words": "mine"}
    assert not (host.root / "draining.json").exists()


def test_a_second_drain_changes_nothing_and_keeps_the_first_reason(
    host: Host, capsys: pytest.CaptureFixture[str]
) -> None:
    host.drain()
    mark = (host.root / "draining.json").read_text()
    capsys.readouterr()

    assert host.factory("drain", "--reason", "again", "--wait-seconds", "0") == Exit.DONE

    assert told(capsys)["changed"] is False
    assert (host.root / "draining.json").read_text() == mark


@pytest.mark.parametrize("kind", ["job", "runner", "unreadable", "lane", "container", "engine"])
def test_what_still_works_is_named_and_never_ended(
    host: Host, capsys: pytest.CaptureFixture[str], kind: str
) -> None:
    document = host.root / "runners/one.json"
    document.parent.mkdir()
    if kind == "job":
        host.active = {"tick"}
    elif kind == "runner":
        document.write_text('{"state": "busy"}')
    elif kind == "unreadable":
        document.write_text("half")
    elif kind == "lane":
        (host.root / "lanes/seven").mkdir(parents=True)
        (host.root / "lanes/seven/state.json").write_text('{"state": "running"}')
    elif kind == "container":
        host.lanes = ["seven"]
    else:
        host.engine_answers = False

    assert host.drain() == Exit.FAILED

    words = {
        "job": "job tick runs",
        "runner": "runner one is busy",
        "unreadable": "runner one is unknown",
        "engine": "lanes: the engine does not say which run: the Docker engine does not answer at"
        " /run/docker.sock (no daemon); see systemctl status docker",
    }
    assert told(capsys)["working"] == [words.get(kind, "lane seven works")]
    assert host.ended == []
    assert (host.root / "draining.json").exists()


def test_it_waits_for_what_works_and_is_done_then(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    host.active = {"tick"}
    monkeypatch.setattr(time, "sleep", lambda _seconds: host.active.clear())

    assert host.drain(60) == Exit.DONE


@pytest.mark.parametrize("words", [("drain",), ("drain", "--reason", "")])
def test_a_drain_without_a_reason_is_refused(host: Host, words: tuple[str, ...]) -> None:
    assert host.factory(*words) == Exit.USAGE

    assert host.paused() == {}
    assert not (host.root / "draining.json").exists()
