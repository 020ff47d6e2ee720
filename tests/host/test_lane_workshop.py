"""Going into a lane, and what a project's own check says of one: with real programs, and no engine."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from host.test_lane_supervisor import Handle, known

from factory.core.base.docker import DockerError
from factory.lanes import capacity, engine, supervisor, workshop

NAME = "demo-7-0a1b2c3d"
# It stands for the engine: what would run in the container runs here.
DOCKER = """#!/bin/bash
echo "$*" >>"$(dirname "$0")/asked"
while [[ $1 != factory-lane-* ]]; do shift; done
shift
exec "$@"
"""


@pytest.fixture
def docker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    program = tmp_path / "bin/docker"
    program.parent.mkdir()
    program.write_text(DOCKER)
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    return program.parent / "asked"


def test_who_goes_into_a_lane_is_its_user_and_is_recorded(
    docker: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recording = tmp_path / "shell.log"
    read, write = os.pipe()
    os.write(write, b"echo said-$((40 + 2)); exit 3\n")
    os.close(write)
    before = os.dup(0)
    os.dup2(read, 0)
    try:
        assert workshop.shell(f"factory-lane-{NAME}", recording) == 3
    finally:
        os.dup2(before, 0)
        os.close(before)
        os.close(read)
    assert "said-42" in recording.read_text()
    assert recording.stat().st_mode & 0o777 == 0o600
    assert "--user=10001:10001 --workdir=/work/repository" in docker.read_text()


@pytest.mark.parametrize(
    ("command", "passed", "words"),
    [
        ("true", True, ""),
        ("echo 2 failed >&2; false", False, "2 failed\n"),
        ("exit 7", False, ""),
        ("cd /; test $PWD = /", True, ""),
        # Whatever a lane's test prints is bounded.
        ("yes | head -c 9000000; false", False, None),
    ],
)
@pytest.mark.usefixtures("docker")
def test_a_projects_check_is_judged_by_its_exit_code(
    command: str, passed: bool, words: str | None
) -> None:
    found = workshop.check(f"factory-lane-{NAME}", command, 20)
    assert found[0] is passed
    assert found[1] == words if words is not None else len(found[1]) <= 4000


@pytest.mark.usefixtures("docker")
def test_a_check_that_never_ends_is_none_that_passed() -> None:
    passed, words = workshop.check(f"factory-lane-{NAME}", "sleep 60", 0.3)
    assert not passed
    assert "still running" in words


@pytest.fixture
def played(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, Any]]:
    """Return what was asked of the engine, and what its container says."""
    asked: dict[str, Any] = {"removed": [], "says": b"the agent starts"}

    class Begun(Handle):
        def send(self, content: bytes) -> None:
            asked["sent"] = content

    def start(name: str, creation: dict[str, Any], _seconds: float) -> Handle:
        asked.update(creation, name=name)
        return Begun(None, (0, True, asked["says"]))

    monkeypatch.setattr(engine, "cgroup_parent", lambda *_: "factory-lanes.slice")
    monkeypatch.setattr(engine, "start", start)
    monkeypatch.setattr(engine, "remove", asked["removed"].append)
    yield asked


def test_a_finished_lane_is_gone_into_where_it_left_off(
    played: dict[str, Any], tmp_path: Path
) -> None:
    found = known(tmp_path)
    directory = tmp_path / "state" / NAME
    directory.mkdir(parents=True)
    (tmp_path / "run").mkdir()
    (directory / supervisor.BUNDLE).write_text("a bundle")
    result = {"lane": NAME, "issue": 7, "base": "0" * 40, "onto": ""}

    with workshop.reopened(found, found.lane_projects[0], result, 60) as name:
        (place,) = (tmp_path / "run").iterdir()
        owner = json.loads((place / capacity.OWNER).read_text())
        (seed,) = (mount for mount in played["HostConfig"]["Mounts"] if mount["Target"] == "/seed")
        assert (Path(seed["Source"]) / supervisor.BUNDLE).read_text() == "a bundle"

    assert name == f"factory-lane-{place.name}" != f"factory-lane-{NAME}"
    assert (owner["project"], owner["issue"]) == ("demo", 7)
    assert (played["Cmd"], played["sent"]) == (["sleep", "60"], b"0" * 40 + b" \n")
    # It has what a lane has, and no way to a model.
    assert played["HostConfig"]["NetworkMode"] == "none"
    assert "/run/lane" not in {mount["Target"] for mount in played["HostConfig"]["Mounts"]}
    assert (played["removed"], list((tmp_path / "run").iterdir())) == (["c1"], [])

    played["says"] = b"the earlier lane's work could not be taken up"
    with (
        pytest.raises(DockerError, match="cannot be taken up"),
        workshop.reopened(found, found.lane_projects[0], result, 60),
    ):
        raise AssertionError
    assert (played["removed"], list((tmp_path / "run").iterdir())) == (["c1"] * 2, [])
