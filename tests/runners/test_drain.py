"""``factory runner drain``: what it says is so when it says it."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from factory import __main__
from factory.commands import runner
from factory.core.runners import state
from factory.core.runners.state import Condition, State
from factory.outcome import Exit
from runners.support import RUNNERS, Site, until
from runners.test_loop import PlayedEngine, Slot, engine, slot

pytestmark = pytest.mark.slow
__all__ = ["engine", "slot"]
Factory = Callable[..., int]


@pytest.fixture
def factory(site: Site, slot: Slot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Factory:
    monkeypatch.setattr(runner, "Places", lambda: site.places)
    monkeypatch.setattr(runner, "_DRAIN_POLL_SECONDS", 0.05)
    monkeypatch.setattr(runner, "_WITHDRAW_SECONDS", 1.0)
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    directory = tmp_path / "etc"
    (directory / "conf.d").mkdir(parents=True)
    (directory / "factory.json").write_text(json.dumps({"github": site.github}))
    (directory / "conf.d/runners.json").write_text(json.dumps({"runners": site.section}))

    def run(*words: str) -> int:
        return __main__.main(["runner", "--config", str(directory / "factory.json"), *words])

    return run


def test_no_job_is_taken_after_the_answer_and_the_reason_is_shown(
    site: Site, slot: Slot, factory: Factory, capsys: pytest.CaptureFixture[str]
) -> None:
    slot.start().idle()

    assert factory("drain", "pool", "--reason", "bad kernel") == Exit.DONE
    number = site.queue("true")

    assert "takes no other job: bad kernel\n" in capsys.readouterr().out
    assert site.registered() == {}
    until(lambda: slot.is_in("stopped"), "the drain")
    factory("list")
    assert "it is drained: bad kernel" in capsys.readouterr().out
    assert (site.job(number)["status"], slot.state.consecutive_failures) == ("queued", 0)


def test_a_job_at_hand_is_named_and_the_next_runner_is_withdrawn(
    site: Site,
    slot: Slot,
    engine: PlayedEngine,
    factory: Factory,
    capsys: pytest.CaptureFixture[str],
) -> None:
    slot.start().idle()
    number = site.hold()
    until(engine.ready, "the next runner")

    assert factory("drain", "pool-1", "--reason", "x") == Exit.DONE
    waiting = site.queue("true")

    assert "still busy: pool-1" in capsys.readouterr().out
    until(lambda: slot.is_in("busy") and "it is drained: x" in slot.state.detail, "the reason")
    site.let_go()
    assert site.done(number)["log"] == "whole\n"
    until(lambda: slot.is_in("stopped"), "the drain")
    assert site.job(waiting)["status"] == "queued"


def test_what_github_does_not_confirm_is_not_said(
    site: Site, slot: Slot, factory: Factory, capsys: pytest.CaptureFixture[str]
) -> None:
    slot.start().idle()
    fault = {"path": f"{RUNNERS}*", "answer": {"status": 502}}
    site.client.control("POST", "/faults", fault)

    assert factory("drain", "pool", "--reason", "x") == Exit.FAILED

    assert "may get one more job" in capsys.readouterr().err
    site.client.control("DELETE", "/faults")
    until(lambda: slot.is_in("stopped"), "the drain")


def test_while_github_is_silent_only_a_stopped_slot_counts_as_closed(
    site: Site, slot: Slot, factory: Factory, capsys: pytest.CaptureFixture[str]
) -> None:
    site.client.control("POST", "/faults", {"path": f"{RUNNERS}*", "answer": {"status": 502}})
    found = {}
    for condition in (Condition.BACKOFF, Condition.FAILED, Condition.OUTDATED, Condition.STOPPED):
        state.write(site.places.state, State("pool-1", "ephemeral", "", condition, ""))
        found[condition] = factory("drain", "pool-1", "--reason", "x")

    assert [condition for condition, code in found.items() if code == Exit.DONE] == ["stopped"]
    assert "may get one more job" in capsys.readouterr().err
