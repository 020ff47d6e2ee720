"""How the command behaves in a terminal, in a pipe and in a shell that completes."""

from __future__ import annotations

import argparse
import json
import os
import pty
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from factory import VERSION, __main__
from factory.commands import manual, status
from factory.outcome import Exit

ROOT = Path(__file__).resolve().parents[2]
COLLECTION = ROOT / "collections/ansible_collections/aina/factory"
PROGRAM = ROOT / ".venv/bin/factory"


def test_the_version_is_the_collections(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        __main__.main(["--version"])

    assert ended.value.code == 0
    declared = yaml.safe_load((COLLECTION / "galaxy.yml").read_text())["version"]
    assert capsys.readouterr().out == f"factory {declared}\n" == f"factory {VERSION}\n"


def test_whoever_stops_reading_ends_it_quietly() -> None:
    words = f"{PROGRAM} manual | head -n 1; echo ${{PIPESTATUS[0]}}"
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}

    for _turn in range(3):
        done = subprocess.run(
            ["bash", "-c", words], capture_output=True, text=True, check=True, env=environment
        )

        first, code = done.stdout.splitlines()
        assert first.startswith(".TH FACTORY 8")
        assert code in ("0", "141"), "head may read all of it in time"
        assert done.stderr == ""


def test_a_reader_that_is_gone_before_is_no_traceback() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    try:
        done = subprocess.run(
            [PROGRAM, "manual"], stdout=writer, stderr=subprocess.PIPE, check=False
        )
    finally:
        os.close(writer)

    assert (done.returncode, done.stderr) == (141, b"")


@pytest.mark.parametrize(
    ("environment", "is_coloured"),
    [({}, True), ({"NO_COLOR": "1"}, False), ({"NO_COLOR": ""}, True), ({"TERM": "dumb"}, False)],
)
def test_colours_are_left_out_where_nobody_wants_them(
    environment: dict[str, str], is_coloured: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("NO_COLOR", "TERM"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    primary, secondary = pty.openpty()
    with os.fdopen(secondary, "w") as terminal:
        monkeypatch.setattr("sys.stdout", terminal)
        found = status._is_coloured()
    os.close(primary)

    assert found is is_coloured


def _commands() -> dict[str, argparse.ArgumentParser]:
    return manual._subparsers(__main__.build_parser(__main__.ALL))


def test_the_manual_tells_of_every_command_and_option(capsys: pytest.CaptureFixture[str]) -> None:
    assert __main__.main(["manual"]) == Exit.DONE
    page = capsys.readouterr().out.replace("\\-", "-").replace("\\&", "")

    assert set(_commands()) == set(__main__.COMMANDS)
    for name, parser in _commands().items():
        assert f".SS factory {name}\n" in page
        for action in parser._actions:
            if action.help == argparse.SUPPRESS:
                continue
            assert ", ".join(action.option_strings) in page, (name, action)
    done = subprocess.run(
        ["bash", "-c", "command -v groff >/dev/null || exit 77; groff -man -Tutf8 -ww >/dev/null"],
        input=page.encode(),
        capture_output=True,
        check=False,
    )
    assert done.returncode in (0, 77)
    assert done.stderr == b""


@pytest.mark.parametrize(
    ("typed", "among"),
    [
        ([], {"status", "watchdog", "--version"}),
        (["status"], {"--watch", "--json", "--html"}),
        (["lane"], {"list", "run", "--json"}),
        (["images"], {"list", "build", "--refresh"}),
        (["watchdog", "--print"], {"rules", "dashboard", "checks"}),
    ],
)
def test_what_may_follow_is_completed(typed: list[str], among: set[str]) -> None:
    found = manual._words(__main__.build_parser(__main__.ALL), typed)

    assert among <= set(found)


def test_a_shell_completes_by_what_is_printed() -> None:
    script = f"""
    PATH={PROGRAM.parent}:$PATH; source <(factory manual --completion bash)
    COMP_WORDS=(factory sta); COMP_CWORD=1; _factory; echo "${{COMPREPLY[@]}}"
    COMP_WORDS=(factory status --wa); COMP_CWORD=2; _factory; echo "${{COMPREPLY[@]}}"
    """
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=True)

    assert done.stdout.splitlines() == ["status", "--watch"]


def test_json_is_one_document_whatever_happens(capsys: pytest.CaptureFixture[str]) -> None:
    assert __main__.main(["status", "--json", "--config", "/no/such/file"]) == Exit.USAGE

    told: dict[str, Any] = json.loads(capsys.readouterr().out)
    assert "/no/such/file" in told["error"]
