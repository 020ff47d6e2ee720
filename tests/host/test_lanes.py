"""The narrow ways into a lane, and what is kept of what an agent says."""

from __future__ import annotations

import http.server
import json
import socketserver
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from factory import codex_lane, run_lane
from factory.core.base import processes
from factory.core.marshal.settings import LANE_COMMAND
from factory.lanes import engine, transcript


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (["demo", "17"], ["lane", "run", "demo", "17"]),
        (["demo", "17", "--json", "--detach"], ["lane", "--json", "run", "demo", "17", "--detach"]),
        (
            ["demo", "0", "--stdin", "--model", "m"],
            ["lane", "run", "demo", "0", "--stdin", "--model=m"],
        ),
        (["list"], ["lane", "list"]),
        (["logs", "demo-1-0a1b2c3d", "--follow"], ["lane", "logs", "demo-1-0a1b2c3d", "--follow"]),
        (["stop", "demo-1-0a1b2c3d"], ["lane", "stop", "demo-1-0a1b2c3d"]),
        (["shell", "demo-1-0a1b2c3d"], ["lane", "shell", "demo-1-0a1b2c3d"]),
        (["attach", "demo-1-0a1b2c3d"], ["lane", "attach", "demo-1-0a1b2c3d"]),
        (["demo", "17", "--attempts", "3"], ["lane", "run", "demo", "17", "--attempts=3"]),
        (
            [*LANE_COMMAND[1:], "factory/demo", "5"],
            ["lane", "resolve", "factory/demo", "5", "--detach"],
        ),
        (["dispatch", "--json"], ["lane", "--json", "dispatch"]),
        (["dispatch", "--dry-run"], ["lane", "dispatch", "--dry-run"]),
    ],
)
def test_run_lane_says_nothing_but_what_it_knows(given: list[str], expected: list[str]) -> None:
    assert run_lane.words_for(given) == expected


@pytest.mark.parametrize(
    "given",
    [
        ["demo", "17", "--config", "/tmp/mine"],
        ["demo", "17", "--config=/tmp/mine"],
        ["demo", "17", "--conf=/tmp/mine"],
        ["demo", "17", "--std"],
        ["demo"],
        ["gateway", "x", "y"],
        ["stop", "demo-1-0a1b2c3d", "--detach"],
        ["dispatch", "demo"],
        ["resolve", "demo"],
        ["--", "--config", "/tmp/mine"],
        ["--", "demo", "--config=/tmp/mine"],
        ["--", "--config=/tmp/mine"],
        ["demo", "-7"],
        [],
    ],
)
def test_run_lane_refuses_everything_else(given: list[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        run_lane.words_for(given)
    assert ended.value.code == 2


SEED = [
    *("exec", "--json", "--dangerously-bypass-approvals-and-sandbox", "--model", "gpt-5.5"),
    *("-c", "model_reasoning_effort=high", "--skip-git-repo-check", "-"),
]


def test_the_words_of_an_existing_dispatcher_are_understood() -> None:
    given = codex_lane.arguments_for(SEED)
    assert (given.model, given.json) == ("gpt-5.5", True)


@pytest.mark.parametrize(
    "words",
    [
        ["exec", "do it"],
        ["exec", "-c", "mcp_servers.x.command=sh", "-"],
        ["login"],
        ["exec", "--trust", "-"],
    ],
)
def test_what_a_lane_cannot_honour_is_refused(words: list[str]) -> None:
    with pytest.raises(SystemExit):
        codex_lane.arguments_for(words)


def test_a_directory_belongs_to_the_nearest_project(tmp_path: Path) -> None:
    for name in ("outer/inner", "lanes"):
        (tmp_path / name).mkdir(parents=True)
    projects: list[dict[str, Any]] = [
        {"name": "outer", "path": f"{tmp_path}/outer", "worktree_roots": [f"{tmp_path}/lanes"]},
        {"name": "inner", "path": f"{tmp_path}/outer/inner"},
    ]
    for known in (projects, projects[::-1]):
        assert codex_lane.project_at(f"{tmp_path}/outer/inner", known) == "inner"
        assert codex_lane.project_at(f"{tmp_path}/outer", known) == "outer"
        assert codex_lane.project_at(f"{tmp_path}/lanes", known) == "outer"
        assert codex_lane.project_at(str(tmp_path), known) == ""


@pytest.mark.parametrize(("named", "expected"), [("demo", 0), ("", 2)])
def test_a_caller_outside_of_every_checkout_names_its_project(
    named: str, expected: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[list[str]] = []

    def run(argv: list[str], **_: Any) -> Any:
        calls.append(argv)
        return subprocess.CompletedProcess(argv, 0)

    configuration = tmp_path / "factory.json"
    configuration.write_text("{}")
    monkeypatch.setattr(codex_lane, "_CONFIGURATION", str(configuration))
    monkeypatch.setattr(subprocess, "run", run)
    monkeypatch.setattr(sys, "argv", ["codex-lane", *SEED])
    monkeypatch.setenv("FACTORY_LANE_PROJECT", named)

    assert codex_lane.main() == expected

    words = ["demo", "0", "--stdin", "--events", "--model=gpt-5.5"]
    assert calls == ([["/usr/local/bin/run-lane", *words]] if named else [])


def test_a_transcript_is_bounded_and_keeps_no_secret(tmp_path: Path) -> None:
    path = tmp_path / "transcript.jsonl"
    with transcript.Writer(path, 400) as writer:
        writer.write(b'{"type": "turn.started"}')
        writer.write(b"a key: sk-abcdefghijklmnopqrstuvwxyz and ghp_" + b"a" * 36)
        for _ in range(100):
            writer.write(b"x" * 50)

    text = path.read_text()
    events = [json.loads(line) for line in text.splitlines()]
    assert "sk-abc" not in text
    assert "ghp_" not in text
    assert events[0] == {"type": "turn.started"}
    assert events[-1]["what"].startswith("the transcript is full")
    assert path.stat().st_size < 500


def test_an_event_that_is_nested_too_deeply_is_plain_text(tmp_path: Path) -> None:
    path = tmp_path / "transcript.jsonl"
    with transcript.Writer(path, 1 << 20) as writer:
        writer.write(b'{"a":' + b"[" * 200_000)
        writer.write(b'{"type": "turn.started"}')

    assert [event["type"] for event in transcript.events(path)] == ["stderr", "turn.started"]


def test_a_transcript_that_cannot_be_written_stops_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with (
        Path("/dev/full").open("wb", buffering=0) as full,
        transcript.Writer(tmp_path / "transcript.jsonl", 1000) as writer,
    ):
        monkeypatch.setattr(writer, "_file", full)
        assert [bool(writer.write(b"x")) for _ in range(2)] == [True, False]


def test_an_endless_line_comes_in_pieces() -> None:
    lines = transcript.Lines()
    pieces = [*lines.feed(b"x" * (3 << 20) + b"y"), *lines.end()]
    assert [len(piece) for piece in pieces] == [1 << 20, 1 << 20, 1 << 20, 1]


@pytest.mark.parametrize("size", [1, 3, 100])
def test_a_transcript_is_cut_into_lines_wherever_its_pieces_end(size: int) -> None:
    content, lines = b"one\r\n\ntwo\nthree", transcript.Lines()
    found: list[bytes] = []
    for start in range(0, len(content), size):
        found += lines.feed(content[start : start + size])
    assert [*found, *lines.end()] == [b"one", b"", b"two", b"three"]


@pytest.mark.parametrize(
    ("event", "words"),
    [
        (
            {
                "type": "item.started",
                "item": {"type": "command_execution", "command": "make\ntest"},
            },
            "▸ make test",
        ),
        # Of agents whose events nobody here knows.
        (
            {
                "type": "assistant",
                "message": {"model": "m", "content": [{"input": {"command": "make test"}}]},
            },
            "· assistant make test",
        ),
        (
            {"type": "user", "message": {"content": [{"type": "x", "content": "3 passed"}]}},
            "· user 3 passed",
        ),
        ({"type": "system", "tools": ["Bash"], "cwd": "/work"}, "· system"),
        (
            {"type": "end", "a": {"b": [[{"text": "  "}], {"text": "x" * 200}]}},
            "· end " + "x" * 160,
        ),
        ({"no": "type"}, ""),
    ],
)
def test_every_agents_events_are_a_line_each(event: dict[str, Any], words: str) -> None:
    assert transcript.describe(event) == words


def test_an_event_without_end_to_its_depth_is_still_a_line() -> None:
    event: dict[str, Any] = {"text": "deep"}
    for _level in range(5000):
        event = {"in": event}
    assert transcript.describe({"type": "odd", "in": event}) == "· odd"


def test_a_lane_ends_when_its_container_does_whatever_becomes_of_that(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The engine that is played here says when a container has ended, and never removes it."""
    has_ended, is_over = threading.Event(), threading.Event()

    class Engine(http.server.BaseHTTPRequestHandler):
        def address_string(self) -> str:
            return ""

        def log_message(self, *_: object) -> None:
            pass

        def do_POST(self) -> None:
            self.send_response(200)
            self.end_headers()
            (has_ended if "condition=next-exit" in self.path else is_over).wait(60)
            self.wfile.write(b'{"StatusCode": 7}')

    path = tmp_path / "engine.sock"
    monkeypatch.setattr(engine, "SOCKET", str(path))
    with socketserver.ThreadingUnixStreamServer(str(path), Engine) as server:
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        box = engine.ContainerHandle("0a1b2c3d")
        box.watch(60)
        before = box.wait(0.05)
        has_ended.set()
        after = box.wait(30)
        is_over.set()
        server.shutdown()

    assert (before, after, box.status) == (False, True, 7)


def test_a_process_is_known_by_more_than_its_number() -> None:
    own = processes.identity()
    number = own.partition(":")[0]
    assert processes.alive(own)
    assert not processes.alive(f"{number}:1")
    assert not processes.alive("")
    assert not processes.alive("x:1")
