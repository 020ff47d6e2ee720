"""An empty server, and back to work; through the role, as an operator does it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from behaviour import Run, converge
from sampling import is_deep

SCENARIO = Path(__file__).parent

MARK = "/var/lib/aina-factory/draining.json"
RUNNER = "/var/lib/aina-factory/runners/one.json"
TIMERS = "systemctl list-timers --no-legend --plain 'factory-job-*'"


def drain(**variables: Any) -> Run:
    return converge(SCENARIO, drain_state="present", drain_reason="upgrade", **variables)


@pytest.fixture(autouse=True)
def back_to_work(host: Any) -> Iterator[None]:
    yield
    host.run(f"rm -f {RUNNER}")
    assert not host.file(MARK).exists or converge(SCENARIO).returncode == 0


def test_a_drained_server_runs_and_begins_nothing_and_then_works_as_before(host: Any) -> None:
    before = len(host.check_output(TIMERS).splitlines())
    host.check_output("factory pause words --reason 'mine'")
    host.check_output("systemd-run --quiet --collect --unit=factory-job-long sleep 600")
    # Nothing new begins from here on; what still works ends by itself, or is ended by somebody.
    waiting = host.run("factory drain --reason upgrade --wait-seconds 1")
    assert waiting.rc == 1
    assert "job long runs" in waiting.stderr
    host.run("systemctl stop 'factory-job-*.service'")

    run = drain(drain_wait_seconds=60)

    assert run.returncode == 0, run.output
    assert before > 3
    assert host.check_output(TIMERS) == ""
    assert json.loads(host.check_output(f"cat {MARK}"))["reason"] == "upgrade"
    assert "upgrade (runtime, factory drain" in host.check_output("factory jobs")
    assert host.run("systemctl start factory-job-tick").rc == 0
    assert host.check_output("systemctl show -P ConditionResult factory-job-tick") == "no"
    if is_deep():  # another drain changes nothing of it
        assert drain(drain_wait_seconds=60).changed == []

    ended = converge(SCENARIO)

    assert ended.returncode == 0
    assert not host.file(MARK).exists
    # What somebody else had paused stays paused.
    assert len(host.check_output(TIMERS).splitlines()) == before - 1
    assert "mine (runtime" in host.check_output("factory jobs")
    host.check_output("factory resume words")


@pytest.mark.parametrize(
    ("work", "words"),
    [
        (
            f'mkdir -p $(dirname {RUNNER}) && echo \'{{"state": "busy"}}\' >{RUNNER}',
            "runner one is busy",
        ),
        (f"mkdir -p $(dirname {RUNNER}) && echo 'half' >{RUNNER}", "runner one is unknown"),
    ],
    ids=["busy", "unreadable"],
)
@pytest.mark.deep
def test_work_is_waited_for_and_named_and_never_ended(host: Any, work: str, words: str) -> None:
    host.run("systemctl stop 'factory-job-*.service'")
    host.check_output(work)

    run = drain(drain_wait_seconds=1)

    assert run.returncode != 0
    assert words in " ".join(run.output.split())
    assert host.file(MARK).exists
