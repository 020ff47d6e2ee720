"""What the pinned codex does by itself: the facts that the lane's settings and programs stand on.

Should one change with a new version, the guard that stands on it is named beside it.
"""

from __future__ import annotations

import io
import json
import subprocess
import tarfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from behaviour import COLLECTION

# That the real one works in a lane, every lane of test_lanes.py shows.
pytestmark = pytest.mark.deep

HOST = "lanes-host"
SCRIPT = Path(__file__).parent / "codex.sh"
ISOLATION = [
    *("docker", "run", "--rm", "--interactive", "--init", "--network=none", "--read-only"),
    *("--cap-drop=ALL", "--security-opt=no-new-privileges", "--user=10001:10001", "--memory=2g"),
    *("--tmpfs=/tmp:rw,exec,mode=1777", "--tmpfs=/home/lane:rw,exec,uid=10001,gid=10001"),
    *("--tmpfs=/noexec:rw,noexec,mode=1777", "--tmpfs=/full:rw,size=1m,mode=1777"),
    *("--entrypoint=/bin/bash", "aina-factory/lane:current", "-s"),
]


PARTS = ("events", "errors", "edited", "sessions")


@dataclass(frozen=True)
class Case:
    """How one run of codex ended."""

    status: int
    events: str
    errors: str
    edited: str
    sessions: str
    asked: list[dict[str, Any]]

    @property
    def all_words(self) -> str:
        return self.events + self.errors

    @property
    def kinds(self) -> list[str]:
        found = []
        for line in self.events.splitlines():
            event = json.loads(line)
            found.append(str((event.get("item") or {}).get("type") or event["type"]))
        return found


@pytest.fixture(scope="module")
def cases() -> dict[str, Case]:
    argv = ["docker", "exec", "--interactive", HOST, *ISOLATION]
    done = subprocess.run(
        argv, input=SCRIPT.read_bytes(), capture_output=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr.decode(errors="replace")
    files: dict[str, str] = {}
    with tarfile.open(fileobj=io.BytesIO(done.stdout)) as archive:
        for member in archive:
            stream = archive.extractfile(member)
            if stream is not None:
                files[member.name.removeprefix("./")] = stream.read().decode(errors="replace")
    asked = [json.loads(line) for line in files.pop("asked").splitlines()]
    found = {}
    for name in sorted({path.partition("/")[0] for path in files}):
        parts = {part: files.get(f"{name}/{part}", "") for part in PARTS}
        own = [line for line in asked if line["name"] == name]
        found[name] = Case(int(files[f"{name}/status"]), asked=own, **parts)
    return found


def test_with_the_lanes_own_settings_it_works(cases: dict[str, Case]) -> None:
    case = cases["baseline"]
    assert (case.status, case.edited) == (0, "edited\n"), case
    assert [line["url"] for line in case.asked] == ["/v1/responses"] * 2
    assert case.sessions != ""
    assert "Refusing" not in case.errors


def test_a_home_that_cannot_be_written_is_refused(cases: dict[str, Case]) -> None:
    """So the template is copied to memory."""
    case = cases["baked"]
    assert case.status == 1
    assert "Read-only file system" in case.all_words
    assert case.asked == []


def test_a_home_that_is_not_there_is_refused(cases: dict[str, Case]) -> None:
    """So a lane whose template is missing fails instead of running without its settings."""
    case = cases["missing"]
    assert case.status == 1
    assert "does not exist" in case.all_words
    assert case.asked == []


def test_a_home_below_tmp_loses_its_helpers(cases: dict[str, Case]) -> None:
    """So it is below /home/lane."""
    case = cases["temporary"]
    assert (case.status, case.edited) == (0, "edited\n")
    assert "Refusing to create helper binaries under temporary dir" in case.all_words


def test_a_home_from_which_nothing_may_be_run_is_enough(cases: dict[str, Case]) -> None:
    case = cases["noexec"]
    assert (case.status, case.edited) == (0, "edited\n"), case


@pytest.mark.parametrize(
    ("name", "told"),
    [("sandbox", "No permissions to create a new namespace"), ("landlock", "requires bubblewrap")],
)
def test_its_own_sandbox_cannot_work_here_and_it_says_all_is_well(
    cases: dict[str, Case], name: str, told: str
) -> None:
    """So the container is the sandbox, and no outcome is the exit status alone."""
    case = cases[name]
    assert (case.status, case.edited) == (0, ""), case
    assert "turn.completed" in case.kinds
    # The model hears of it always; a command that ends at once is not always among the events.
    assert told in case.asked[-1]["input"]


def test_without_a_model_it_ends_soon_or_never(cases: dict[str, Case]) -> None:
    """So unbounded_connection_retries is off, and a lane has its time limits besides."""
    assert cases["nobody"].status == 1
    assert "turn.failed" in cases["nobody"].kinds
    assert cases["forever"].status == 124
    assert "turn.failed" not in cases["forever"].kinds


def test_a_missing_key_fails_the_turn(cases: dict[str, Case]) -> None:
    case = cases["key"]
    assert case.status == 1
    assert "Missing environment variable" in case.all_words


@pytest.mark.parametrize(
    ("status", "least", "most"),
    [(400, 1, 1), (429, 1, 1), (401, 1, 3), (403, 1, 3), (503, 2, 9)],
)
def test_a_refusal_ends_a_turn_and_400_and_429_at_once(
    cases: dict[str, Case], status: int, least: int, most: int
) -> None:
    """So what the gateway stops, it stops with these two."""
    case = cases[f"s{status}"]
    assert case.status == 1
    assert "turn.failed" in case.kinds
    assert least <= len(case.asked) <= most, case.asked


def test_the_chat_protocol_is_refused_with_the_settings(cases: dict[str, Case]) -> None:
    case = cases["chat"]
    assert case.status == 1
    assert "chat" in case.errors
    assert case.asked == []


def test_the_provider_that_is_built_in_tries_more_than_the_one_way(cases: dict[str, Case]) -> None:
    """So the lane's provider is one of its own."""
    assert {line["method"] for line in cases["builtin"].asked} - {"POST"} != set()


def test_a_key_from_a_command_asks_for_more_than_the_one_path(cases: dict[str, Case]) -> None:
    """So the lane has none, and the gateway adds it."""
    case = cases["command"]
    assert case.status == 0
    assert {line["key"] for line in case.asked if line["method"] == "POST"} == {
        "Bearer from-a-file"
    }


def test_a_full_home_loses_its_memory_and_still_says_all_is_well(cases: dict[str, Case]) -> None:
    """So the home has room (home_mib), and the transcript is what it prints."""
    case = cases["full"]
    assert (case.status, case.edited) == (0, "edited\n")
    assert "No space left on device" in case.all_words
    assert "turn.completed" in case.kinds


def test_it_dies_of_a_reader_that_goes(cases: dict[str, Case]) -> None:
    """So what it prints is read to its end, whatever becomes of it."""
    case = cases["reader"]
    assert case.status != 0
    assert "Broken pipe" in case.errors


def test_without_memory_there_is_nothing_to_resume(cases: dict[str, Case]) -> None:
    """So a lane does not run with --ephemeral."""
    case = cases["ephemeral"]
    assert (case.status, case.sessions) == (0, "")


def test_it_is_told_the_baked_words_and_the_repositorys(cases: dict[str, Case]) -> None:
    words = cases["baseline"].asked[0]["input"]
    (first, *_) = COLLECTION.joinpath("images/lane/AGENTS.md").read_text().split("\n")
    assert json.dumps(first)[1:-1] in words
    assert "words of the repository" in words


def test_an_override_replaces_the_baked_words(cases: dict[str, Case]) -> None:
    """So no image may hold one: its smoke test looks."""
    words = cases["override"].asked[0]["input"]
    (first, *_) = COLLECTION.joinpath("images/lane/AGENTS.md").read_text().split("\n")
    assert "instead of it" in words
    assert json.dumps(first)[1:-1] not in words
