from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from ansible_collections.aina.factory.plugins.callback.recap import CallbackModule

KEY_PATH = "/etc/aina-factory/secrets/codex-key"
WAITS = {"what": "gateway.service", "for": KEY_PATH, "remedy": "put it there"}


class Screen:
    """What the run prints."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def display(self, text: str, color: str = "") -> None:
        self.lines += text.splitlines()

    def banner(self, text: str) -> None:
        self.lines.append(f"# {text}")

    def under(self, title: str) -> list[str]:
        start = self.lines.index(f"# {title}") + 1
        ends = [n for n, line in enumerate(self.lines) if n >= start and line[:2] in ("", "# ")]
        return self.lines[start : min(ends, default=len(self.lines))]


class Play:
    """A run whose tasks end as the test says."""

    def __init__(self, recap_file: Path, *, check_mode: bool = False) -> None:
        self.screen, self.file, self.check_mode = Screen(), recap_file, check_mode
        made: Any = CallbackModule()
        made._display = self.screen
        options = {"slowest_count": 10, "slow_seconds": 1.0, "file": str(recap_file)}
        made.get_option = options.__getitem__
        self.recap = made

    def task(self, ends: str, action: str = "aina.factory.sequence", **values: Any) -> None:
        task = SimpleNamespace(
            get_name=lambda: "prepare | Do it", action=action, check_mode=self.check_mode
        )
        host = SimpleNamespace(get_name=lambda: "vds")
        self.recap.v2_playbook_on_task_start(task, False)
        result = SimpleNamespace(task=task, host=host, result=values)
        getattr(self.recap, f"v2_runner_on_{ends}")(result)

    def end(self) -> dict[str, Any]:
        self.recap.v2_playbook_on_stats(None)
        document: dict[str, Any] = json.loads(self.file.read_text())
        return document


@pytest.fixture
def play(tmp_path: Path) -> Play:
    return Play(tmp_path / "recap.json")


@pytest.fixture
def plan(tmp_path: Path) -> Play:
    return Play(tmp_path / "recap.json", check_mode=True)


def test_a_run_that_changes_nothing_says_so(play: Play) -> None:
    play.task("ok", changed=False, actions=[])

    assert play.end()["changes"] == []
    assert play.screen.under("CHANGED") == ["nothing"]


@pytest.mark.parametrize("changed", [True, False])
def test_what_a_failed_task_had_changed_is_named(play: Play, changed: bool) -> None:
    play.task("failed", changed=changed, actions=["/etc/a", "enable ufw"], msg="step 9: refused")

    document = play.end()

    assert document["changes"][0]["what"] == ["/etc/a", "enable ufw"]
    (line,) = play.screen.under("CHANGED")
    assert line.startswith("vds: prepare | Do it: /etc/a, enable ufw: then it failed")
    assert play.screen.under("FAILED") == ["vds: prepare | Do it: step 9: refused"]
    assert document["failed"][0]["what"] == "step 9: refused"


def test_of_a_failed_task_that_tells_nothing_nothing_is_known(play: Play) -> None:
    play.task("failed", "ansible.builtin.user", msg="MODULE FAILURE\nsee stderr")

    assert play.end()["changes"] == []
    assert play.screen.under("CHANGED") == [
        "vds: prepare | Do it: it failed, and whatever else it did is not known"
    ]
    assert play.screen.under("FAILED") == ["vds: prepare | Do it: MODULE FAILURE see stderr"]


@pytest.mark.parametrize("ends", ["failed", "unreachable"])
def test_a_run_that_was_cut_off_never_says_nothing(play: Play, plan: Play, ends: str) -> None:
    for run, title in ((play, "CHANGED"), (plan, "WOULD CHANGE")):
        run.task(ends, "ansible.builtin.assert", msg="no")
        run.end()

        (line,) = run.screen.under(title)
        assert line.startswith("unknown: ")


def test_hosts_that_were_not_reached_are_named(play: Play) -> None:
    play.task("ok", changed=True, actions=["install git"])
    play.task("unreachable", msg="Connection timed out")

    document = play.end()

    assert play.screen.under("CHANGED") == ["vds: prepare | Do it: install git"]
    (line,) = play.screen.under("UNREACHABLE, NOTHING IS KNOWN OF")
    assert line.endswith("Connection timed out")
    assert len(document["unreachable"]) == 1


def test_a_task_over_many_items_tells_what_failed_and_what_was_done(play: Play) -> None:
    results = [
        {"changed": True, "path": "/a"},
        {"changed": False, "path": "/b", "failed": True, "msg": "no room"},
    ]
    play.task("failed", "ansible.builtin.file", results=results, msg="One or more items failed")

    document = play.end()

    assert document["changes"][0]["what"] == ["/a"]
    assert document["failed"][0]["what"] == "no room"


def test_a_prediction_that_fails_has_changed_nothing_and_knows_nothing(plan: Play) -> None:
    plan.task("failed", changed=False, actions=[], msg="apt would remove x")

    assert plan.end()["changes"] == []
    assert plan.screen.under("WOULD CHANGE")[0].startswith("unknown: ")


def test_what_waits_is_named_with_the_remedy(play: Play) -> None:
    play.task("ok", changed=True, actions=["enable x"], changed_paths=[KEY_PATH], waiting=[WAITS])

    document = play.end()

    assert play.screen.under("WAITING") == [
        f"vds: gateway.service waits for {KEY_PATH}: put it there"
    ]
    assert document["waiting"] == [{"host": "vds", **WAITS}]


def test_a_plan_does_not_wait_for_what_an_earlier_task_brings(plan: Play) -> None:
    other = {**WAITS, "for": "/etc/other"}
    plan.task("ok", changed=True, changed_paths=[KEY_PATH])
    plan.task("ok", changed=True, actions=["start gateway.service"], waiting=[WAITS, other])

    assert [item["for"] for item in plan.end()["waiting"]] == ["/etc/other"]


def test_what_was_to_go_and_stays_is_named(play: Play) -> None:
    play.task("ok", changed=True, actions=["remove restic"], kept=["package docker.io"])

    document = play.end()

    assert play.screen.under("KEPT, SEE THE WARNINGS ABOVE") == [
        "vds: prepare | Do it: package docker.io"
    ]
    assert document["kept"][0]["what"] == ["package docker.io"]


def test_module_calls_are_counted_and_the_slowest_tasks_named(
    play: Play, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = iter([0.0, 5.0, 5.0, 5.1, 5.1])
    monkeypatch.setattr("time.monotonic", lambda: next(clock))
    play.recap._task_started = play.recap._started = 0.0
    play.task("ok", changed=False)
    play.task("ok", "ansible.builtin.assert", changed=False)

    document = play.end()

    assert document["module_calls"] == {"vds": 1}
    assert any("1 module calls on vds" in line for line in play.screen.lines)


def test_what_changes_the_way_in_is_told_with_what_became_of_it(play: Play, plan: Play) -> None:
    at_risk = ["ufw enable"]
    play.task("ok", changed=True, at_risk=at_risk, confirmation="confirmed by a new login")
    plan.task("ok", changed=True, at_risk=at_risk)

    (done,), (planned,) = (part.end()["consequences"] for part in (play, plan))

    assert done["why"] == "confirmed by a new login"
    assert planned["why"] == "taken back unless a new login confirms it"
