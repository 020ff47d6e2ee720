"""``factory jobs``, ``pause`` and ``resume`` against fake effects and a real directory."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from factory import __main__, effects, jobs
from factory.core.base.ports import Completed
from factory.core.jobs import layout, observe
from factory.outcome import Exit

PAUSE = {"reason": "saving minutes", "by": "ali", "since": "2026-06-30"}
TICK = {"name": "tick", "schedule": "*:0/5", "command": ["/bin/true"]}
REST = {**TICK, "name": "rest", "state": "paused", "paused": PAUSE}


@pytest.fixture
def calls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """A server with two jobs under ``tmp_path``; returns the systemctl calls made."""
    (tmp_path / "conf.d").mkdir()
    (tmp_path / "factory.json").write_text("{}")
    (tmp_path / "conf.d/jobs.json").write_text(json.dumps({"jobs": {"declared": [TICK, REST]}}))
    made: list[list[str]] = []

    def run(argv: Sequence[str], **_: Any) -> Completed:
        made.append(list(argv))
        return Completed(0, b"", b"")

    monkeypatch.setattr(effects, "run", run)
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(observe, "systemd_is_running", lambda: True)
    monkeypatch.setattr(layout, "RUNTIME_PAUSED_DIR", str(tmp_path / "paused"))
    monkeypatch.setattr(layout, "RUNS_DIR", str(tmp_path / "runs"))
    monkeypatch.setattr(layout, "STAMP_DIR", str(tmp_path / "stamps"))
    monkeypatch.setattr(jobs, "LOCK_PATH", tmp_path / "lock")
    return made


def factory(directory: Path, *words: str) -> int:
    command, *rest = words
    return __main__.main([command, "--config", str(directory / "factory.json"), "--json", *rest])


def test_a_pause_is_written_before_the_timer_is_stopped(
    tmp_path: Path, calls: list[list[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    assert factory(tmp_path, "pause", "tick", "--reason", "disk  full", "--by", "ali") == Exit.DONE

    document = json.loads((tmp_path / "paused/tick").read_text())
    assert (document["reason"], document["by"], document["origin"]) == (
        "disk full",
        "ali",
        "runtime",
    )
    assert calls[-1] == ["systemctl", "disable", "--now", "factory-job-tick.timer"]
    assert json.loads(capsys.readouterr().out)["schema"] == 1


def test_a_timer_that_does_not_stop_is_a_failure_but_the_pause_stands(
    tmp_path: Path, calls: list[list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(effects, "run", lambda *_, **__: Completed(1, b"", b"no bus"))

    assert factory(tmp_path, "pause", "tick", "--reason", "x") == Exit.FAILED

    assert (tmp_path / "paused/tick").exists()


def test_resume_ends_a_runtime_pause_and_forgets_the_stamp(
    tmp_path: Path, calls: list[list[str]]
) -> None:
    factory(tmp_path, "pause", "tick", "--reason", "x")
    stamp = tmp_path / "stamps/stamp-factory-job-tick.timer"
    stamp.parent.mkdir()
    stamp.touch()

    assert factory(tmp_path, "resume", "tick") == Exit.DONE

    assert not (tmp_path / "paused/tick").exists()
    assert not stamp.exists()
    assert calls[-1] == ["systemctl", "enable", "--now", "factory-job-tick.timer"]


def test_resuming_what_is_not_paused_does_nothing(tmp_path: Path, calls: list[list[str]]) -> None:
    assert factory(tmp_path, "resume", "tick") == Exit.DONE

    assert calls == []


def test_a_declared_pause_is_not_resumed_on_the_host(
    tmp_path: Path, calls: list[list[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    assert factory(tmp_path, "resume", "rest") == Exit.FAILED

    assert "set its state to present" in json.loads(capsys.readouterr().out)["error"]
    assert calls == []


@pytest.mark.parametrize(
    "words", [("pause", "tock", "--reason", "x"), ("pause", "tick", "--reason", " ")]
)
def test_wrong_usage_is_refused(
    tmp_path: Path, calls: list[list[str]], words: tuple[str, ...]
) -> None:
    assert factory(tmp_path, *words) == Exit.USAGE

    assert calls == []


def test_only_root_pauses(
    tmp_path: Path, calls: list[list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)

    assert factory(tmp_path, "pause", "tick", "--reason", "x") == Exit.USAGE

    assert not (tmp_path / "paused/tick").exists()


def test_a_silent_systemd_leaves_everything_unknown(
    tmp_path: Path,
    calls: list[list[str]],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(effects, "run", lambda *_, **__: Completed(1, b"", b"no bus"))

    assert factory(tmp_path, "jobs") == Exit.FAILED

    document = json.loads(capsys.readouterr().out)
    assert document["drift"] is None
    assert [job["drift"] for job in document["jobs"]] == [None, None]
    assert "no bus" in document["error"]


def test_one_call_asks_for_all_jobs(tmp_path: Path, calls: list[list[str]]) -> None:
    assert factory(tmp_path, "jobs") == Exit.DONE

    assert len(calls) == 1
