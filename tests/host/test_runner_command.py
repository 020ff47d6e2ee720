"""``factory runner`` as an operator types it; systemd and GitHub are not asked."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from factory import __main__, effects
from factory.commands import runner
from factory.core.base import documents, times
from factory.core.runners import state
from factory.core.runners.layout import Places
from factory.core.runners.state import Condition, State
from factory.outcome import Exit

POOL = {"name": "demo", "target": "example/demo", "slots": 2}
NATIVE = {"name": "host", "mode": "native", "target": "example/demo"}
SECTION = {"prefix": "box", "instances": [POOL, NATIVE]}
Factory = Callable[..., int]


@pytest.fixture
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Places:
    made = Places(state=tmp_path / "state")
    monkeypatch.setattr(runner, "Places", lambda: made)
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    return made


@pytest.fixture
def factory(tmp_path: Path, places: Places) -> Factory:
    (tmp_path / "conf.d").mkdir()
    (tmp_path / "factory.json").write_text("{}")
    (tmp_path / "conf.d/runners.json").write_text(json.dumps({"runners": SECTION}))

    def run(*words: str) -> int:
        config = str(tmp_path / "factory.json")
        return __main__.main(["runner", "--config", config, *words])

    return run


def slot(places: Places, name: str, condition: Condition, detail: str = "") -> None:
    now = times.iso(effects.now())
    told = State(name, "ephemeral", "demo", condition, now, detail, updated_at=now)
    state.write(places.state, told)


def drained(places: Places, name: str) -> dict[str, Any] | None:
    return documents.read(places.drained(name))


def test_the_list_shows_every_slot_with_its_state_and_why(
    factory: Factory, places: Places, capsys: pytest.CaptureFixture[str]
) -> None:
    slot(places, "demo-1", Condition.FAILED, "GitHub refuses: 403")
    slot(places, "demo-2", Condition.BUSY, "build")

    assert factory("list") == Exit.DONE

    _head, first, second = capsys.readouterr().out.splitlines()
    assert first.split()[:3] == ["demo-1", "ephemeral", "failed"]
    assert first.endswith("GitHub refuses: 403")
    assert second.split()[:3] == ["demo-2", "ephemeral", "busy"]


def test_a_drain_is_written_with_its_reason_and_resume_takes_it_back(
    factory: Factory, places: Places
) -> None:
    slot(places, "demo-1", Condition.STOPPED)
    slot(places, "demo-2", Condition.STOPPED)

    assert factory("drain", "demo", "--reason", "bad  image") == Exit.DONE
    assert (drained(places, "demo") or {})["reason"] == "bad image"

    assert factory("resume", "demo") == Exit.DONE
    assert drained(places, "demo") is None


def test_a_drain_waits_and_names_the_slots_that_still_have_a_job(
    factory: Factory,
    places: Places,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(runner, "_DRAIN_POLL_SECONDS", 0.01)
    busy = ["demo-2"]
    monkeypatch.setattr(runner, "_withdraw", lambda _github, _target, _slots: (busy, {}))

    assert factory("drain", "demo", "--reason", "x", "--wait-seconds", "0.05") == Exit.FAILED
    assert "still has one: demo-2" in capsys.readouterr().err

    busy.clear()
    assert factory("drain", "demo", "--reason", "x", "--wait-seconds", "0.05") == Exit.DONE


@pytest.mark.parametrize(
    "words",
    [
        ("drain", "none", "--reason", "x"),
        ("drain", "demo", "--reason", " "),
        ("resume", "demo-3"),
        ("loop", "host"),
    ],
)
def test_wrong_usage_is_refused_and_drains_nothing(
    factory: Factory, places: Places, words: tuple[str, ...]
) -> None:
    assert factory(*words) == Exit.USAGE

    assert not places.state.exists()


@pytest.mark.parametrize("verb", ["heal", "network", "drain", "resume"])
def test_only_root_changes_runners(
    factory: Factory, places: Places, monkeypatch: pytest.MonkeyPatch, verb: str
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    more = {"drain": ["demo", "--reason", "x"], "resume": ["demo"]}.get(verb, [])

    assert factory(verb, *more) == Exit.USAGE

    assert not places.state.exists()
