"""What ``factory marshal`` makes of its words, settings and locks, before it asks anybody anything."""

from __future__ import annotations

import json
import threading
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from factory import locks, run_lane
from factory.__main__ import build_parser, main
from factory.core.marshal import execution as marshal_cycle
from factory.core.marshal import saved_state
from factory.core.marshal.cycle import CycleReport
from factory.core.marshal.settings import LANE_COMMAND
from factory.core.marshal.snapshot import SavedState

WRONG: list[tuple[dict[str, Any], str]] = [
    ({"ca_file": "/nowhere/ca.pem"}, "github.ca_file /nowhere/ca.pem: "),
    ({"ca_file": "/dev/null"}, "github.ca_file /dev/null: "),
    (
        {"login": {"method": "token_file", "token_file": "/nowhere/token"}},
        "/nowhere/token: No such",
    ),
    ({"login": {"method": "github_app"}}, "github.login.app_id is 0; it must be the App's number"),
    ({"login": {"method": "password"}}, "github.login.method is 'password'"),
    ({"api_url": "http://github.example.com/api/v3"}, "must be an https address"),
]


@pytest.mark.parametrize(("changes", "words"), WRONG)
def test_a_wrong_setting_is_named(
    changes: dict[str, Any], words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    section = {
        "state_dir": str(tmp_path / "state"),
        "projects": [{"name": "demo", "repository": "o/demo"}],
    }
    github = {"api_url": "https://github.example.com/api/v3", **changes}
    path = tmp_path / "factory.json"
    path.write_text(json.dumps({"marshal": section, "github": github}))

    assert main(["marshal", "--config", str(path), "--json", "--dry-run"]) == 2

    assert words in json.loads(capsys.readouterr().out)["error"]


@pytest.fixture
def cycles(monkeypatch: pytest.MonkeyPatch) -> dict[str, SavedState]:
    """Have every cycle end at once; return with which state each repository had one."""
    found: dict[str, SavedState] = {}

    def run(
        policy: Any, repository: str, branch: str, saved: SavedState, *_: Any, **__: Any
    ) -> Any:
        found[repository] = saved
        if repository == "o/broken":
            raise OSError("no space left on device")
        return CycleReport(repository, policy.mode)

    monkeypatch.setattr(marshal_cycle, "run", run)
    return found


@pytest.fixture
def config(tmp_path: Path) -> str:
    """A configuration of two projects, the first of which is called broken."""
    token = tmp_path / "token"
    token.touch(0o600)
    token.write_text("t")
    section = {
        "state_dir": str(tmp_path / "state"),
        "projects": [{"name": name, "repository": f"o/{name}"} for name in ("broken", "demo")],
    }
    github = {"login": {"method": "token_file", "token_file": str(token)}}
    path = tmp_path / "factory.json"
    path.write_text(json.dumps({"marshal": section, "github": github}))
    return str(path)


def marshal(capsys: pytest.CaptureFixture[str], config: str, *words: str) -> tuple[int, Any]:
    code = main(["marshal", "--config", config, "--json", *words])
    return code, json.loads(capsys.readouterr().out)


def test_one_project_that_fails_is_said_and_the_next_one_has_its_cycle(
    config: str, cycles: dict[str, SavedState], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    code, document = marshal(capsys, config)

    assert code == 1
    assert list(cycles) == ["o/broken", "o/demo"]
    broken, demo = document["projects"]
    assert (broken["failed"], demo["failed"]) == (True, False)
    assert broken["stopped"] == "failed: no space left on device"
    written = [json.loads(path.read_text()) for path in tmp_path.glob("state/*/report.json")]
    reports = {report["project"]: report["stopped"] for report in written}
    assert reports == {"broken": broken["stopped"], "demo": ""}


def test_one_project_alone_is_chosen_by_its_name(
    config: str, cycles: dict[str, SavedState], capsys: pytest.CaptureFixture[str]
) -> None:
    assert marshal(capsys, config, "--project", "demo")[0] == 0
    assert list(cycles) == ["o/demo"]

    code, document = marshal(capsys, config, "--project", "other")

    assert code == 2
    assert document["error"].endswith("known: broken, demo")
    assert list(cycles) == ["o/demo"]


def test_a_halted_project_goes_on_once_somebody_says_so(
    config: str, cycles: dict[str, SavedState], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    halted = SavedState(halted_since=8.0, halted_reason="#9: landed as c1", landed_count=3)
    saved = tmp_path / "state/demo/memory.json"
    saved.parent.mkdir(parents=True)
    saved.write_text(json.dumps(saved_state.to_document(halted)))

    marshal(capsys, config, "--project", "demo")
    assert cycles["o/demo"] == halted
    marshal(capsys, config, "--project", "demo", "--resume")

    assert cycles["o/demo"] == SavedState(landed_count=3)


def test_a_second_run_at_once_says_who_holds_the_lock(
    config: str, cycles: dict[str, SavedState], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    with locks.exclusive(tmp_path / "state/demo/lock"):
        code, document = marshal(capsys, config, "--project", "demo")
        assert code == 75
        assert str(tmp_path / "state/demo/lock") in document["error"]
        assert cycles == {}

    assert marshal(capsys, config, "--project", "demo")[0] == 0


def test_who_only_looks_waits_for_the_run_at_hand(
    config: str, cycles: dict[str, SavedState], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    with ExitStack() as run_at_hand:
        run_at_hand.enter_context(locks.exclusive(tmp_path / "state/demo/lock"))
        ending = threading.Timer(0.3, run_at_hand.close)
        ending.start()

        code, document = marshal(capsys, config, "--project", "demo", "--dry-run")

        ending.join()
    assert (code, document.get("dry_run")) == (0, True)
    assert list(cycles) == ["o/demo"]


def test_a_conflict_starts_a_lane_of_the_server_itself_which_does_not_keep_the_marshal() -> None:
    program, *words = LANE_COMMAND

    # What the marshal says is what the other end understands: a conflict, and no issue.
    given = build_parser("lane").parse_args(run_lane.words_for([*words, "o/demo", "5"]))

    assert program == "/usr/local/bin/run-lane"
    assert (given.command, given.verb, given.project, given.issue) == (
        *("lane", "resolve"),
        *("o/demo", "5"),
    )
    assert given.detach
