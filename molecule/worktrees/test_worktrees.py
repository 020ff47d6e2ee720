"""What a converge does to lanes, asked of git and of the file system of the host."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from behaviour import converge

SCENARIO = Path(__file__).parent

CHECKOUT = "/srv/repos/example"
AS_AGENT = "setpriv --reuid=agent --regid=agent --init-groups env HOME=/home/agent"
POLICY = "/etc/aina-factory/conf.d/reap.json"
LOCK = "/run/aina-factory/locks/factory-worktrees.lock"


def git(host: Any, words: str) -> str:
    return str(host.check_output(f"{AS_AGENT} git -C {CHECKOUT} {words}"))


def listed(host: Any) -> set[str]:
    lines = git(host, "worktree list --porcelain").splitlines()
    return {line.removeprefix("worktree ") for line in lines if line.startswith("worktree ")}


@pytest.fixture
def lane(host: Any) -> Iterator[str]:
    """Return a lane without work of its own, which may go."""
    path = "/srv/lanes/fresh"
    git(host, f"worktree add --quiet -B fresh {path} main")
    yield path
    host.run(f"{AS_AGENT} git -C {CHECKOUT} worktree remove --force {path}")


@pytest.mark.deep
def test_the_landed_lane_went_and_the_open_one_stayed(host: Any) -> None:
    assert listed(host) == {CHECKOUT, "/srv/lanes/open"}
    assert not host.file("/srv/lanes/landed").exists
    assert host.file("/srv/lanes/open/work.txt").content_string == "work\n"
    assert git(host, "branch --list landed").split() == ["landed"]
    assert git(host, "fsck --no-dangling") == ""


@pytest.mark.deep
def test_check_mode_foretells_and_touches_nothing(host: Any, lane: str) -> None:
    before = listed(host)
    foretold = converge(SCENARIO, "--check", "--diff")
    assert listed(host) == before
    assert host.file(lane).is_directory

    real = converge(SCENARIO, "--diff")

    assert (foretold.returncode, real.returncode) == (0, 0)
    assert foretold.changed == real.changed == [lane]
    assert f"-{lane}" in foretold.output
    assert f"-{lane}" in real.output
    assert not host.file(lane).exists
    assert converge(SCENARIO).changed == []


def test_a_landed_lane_goes_once_nobody_touched_it_for_long_enough(host: Any, lane: str) -> None:
    assert converge(SCENARIO, worktrees_grace_seconds=86400).changed == [POLICY]
    assert host.file(lane).is_directory

    assert converge(SCENARIO).changed == [POLICY, lane]
    assert not host.file(lane).exists
    assert host.file("/srv/lanes/open/work.txt").content_string == "work\n"


def test_the_command_on_the_host_has_the_same_policy(host: Any, lane: str) -> None:
    judged = json.loads(host.check_output("factory reap --dry-run --json --github none"))

    (repository,) = judged["repositories"]
    reapable = {item["path"] for item in repository["worktrees"] if item["verdict"] == "reap"}
    assert lane in reapable


def test_absence_takes_the_policy_away_and_reaps_nothing(host: Any, lane: str) -> None:
    try:
        assert converge(SCENARIO, worktrees_state="absent").changed == [POLICY]
        assert host.file(lane).is_directory
    finally:
        assert converge(SCENARIO).returncode == 0


@pytest.mark.deep
def test_a_process_in_a_lane_saves_it(host: Any, lane: str) -> None:
    unit = "systemd-run --quiet --unit=sitting --property=User=agent"
    host.check_output(f"{unit} --property=WorkingDirectory={lane} sleep 600")
    try:
        assert converge(SCENARIO).changed == []
        assert host.file(lane).is_directory
    finally:
        host.check_output("systemctl stop sitting.service")
    assert converge(SCENARIO).changed == [lane]


def test_it_waits_for_nobody_who_holds_the_lock(host: Any, lane: str) -> None:
    host.check_output(f"systemd-run --quiet --unit=holding flock {LOCK} sleep 600")
    try:
        host.check_output(f"timeout 10 sh -c 'while flock --nonblock {LOCK} true; do :; done'")
        refused = converge(SCENARIO)
    finally:
        host.check_output("systemctl stop holding.service")

    assert refused.returncode != 0
    assert f"another run holds {LOCK}" in refused.output
    assert host.file(lane).is_directory


@pytest.mark.deep
def test_a_missing_checkout_is_told(host: Any) -> None:
    projects = [{"name": "gone", "repository": "example/gone", "path": "/srv/repos/gone"}]

    real = converge(SCENARIO, factory_projects=projects)
    foretold = converge(SCENARIO, "--check", factory_projects=projects)

    assert real.returncode != 0
    assert "/srv/repos/gone" in real.output
    assert foretold.returncode == 0
    assert "/srv/repos/gone does not exist yet" in foretold.output


@pytest.mark.deep
def test_a_policy_that_means_nothing_is_refused(host: Any, lane: str) -> None:
    for wrong in ("nan", -1):
        refused = converge(SCENARIO, worktrees_grace_seconds=wrong)
        assert refused.returncode != 0
        assert "reap.grace_seconds is" in refused.output
    assert host.file(lane).is_directory
