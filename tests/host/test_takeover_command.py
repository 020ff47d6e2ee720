"""``factory takeover``: everything foreign, and the way back by one command."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from factory import __main__, effects, jobs
from factory.core.base.ports import Completed
from factory.core.jobs import elsewhere, foreign, observe, takeover
from factory.core.jobs.takeover import Taken
from factory.outcome import Exit

BEFORE = "PATH=/opt/bin:/bin\n0 4 * * * janitor.sh\n@daily rest\n"


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A host on which one line and one script were taken over, and ali has added a line since."""
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(observe, "systemd_is_running", lambda: False)
    monkeypatch.setattr(foreign, "CRONTABS_DIR", str(tmp_path / "crontabs"))
    monkeypatch.setattr(
        foreign, "crontabs", lambda: {"/etc/crontab": "@daily root one\n@hourly root two\n"}
    )
    monkeypatch.setattr(elsewhere, "user_timers", lambda _homes: [])
    monkeypatch.setattr(
        elsewhere, "at_jobs", lambda: [foreign.ForeignCommand("at job 1", "three", "")]
    )
    monkeypatch.setattr(takeover, "RECORD_PATH", str(tmp_path / "taken.json"))
    monkeypatch.setattr(jobs, "LOCK_PATH", tmp_path / "lock")
    (tmp_path / "crontabs").mkdir()
    (tmp_path / "parked").mkdir()
    (tmp_path / "crontabs/ali").write_text("PATH=/opt/bin:/bin\n@daily rest\n@weekly new\n")
    (tmp_path / "copy").write_text(BEFORE)
    (tmp_path / "parked/janitor.sh").write_text("script")
    takeover.record(
        [
            Taken("line", "0 4 * * * janitor.sh", str(tmp_path / "copy"), "ali"),
            Taken("script", str(tmp_path / "janitor.sh"), str(tmp_path / "parked/janitor.sh")),
        ]
    )

    def run(argv: Sequence[str], *, stdin: bytes = b"", **_: Any) -> Completed:
        path = tmp_path / "crontabs" / argv[2]
        if argv[3] == "-l":
            return Completed(0, path.read_bytes(), b"")
        path.write_bytes(stdin)
        return Completed(0, b"", b"")

    monkeypatch.setattr(effects, "run", run)
    return tmp_path


def takeover_command(*words: str) -> int:
    return __main__.main(["takeover", "--json", *words])


def test_everything_that_was_taken_is_given_back_by_one_command(host: Path) -> None:
    assert takeover_command("--undo", "--dry-run") == Exit.DONE
    assert (host / "parked/janitor.sh").exists()

    assert takeover_command("--undo") == Exit.DONE

    assert (host / "crontabs/ali").read_text() == (
        "PATH=/opt/bin:/bin\n0 4 * * * janitor.sh\n@daily rest\n@weekly new\n"
    )
    assert (host / "janitor.sh").read_text() == "script"
    assert takeover.recorded() == []
    assert takeover_command("--undo") == Exit.DONE
    assert (host / "crontabs/ali").read_text().count("janitor.sh") == 1


def test_what_cannot_be_given_back_stays_known(
    host: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (host / "janitor.sh").write_text("another")
    (host / "copy").unlink()

    assert takeover_command("--undo") == Exit.FAILED

    document = json.loads(capsys.readouterr().out)
    assert len(document["problems"]) == len(takeover.recorded()) == 2
    assert (host / "janitor.sh").read_text() == "another"


def test_everything_foreign_is_listed_whole(host: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert takeover_command() == Exit.DONE

    document = json.loads(capsys.readouterr().out)
    assert [item["what"] for item in document["foreign"]] == [
        "@daily root one",
        "@hourly root two",
        "three",
    ]
    assert [item["kind"] for item in document["taken"]] == ["line", "script"]
