"""What a run shows on the screen, what it writes down, and the document for programs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jsonschema
import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]
SCHEMA = json.loads((ROOT / "docs/recap.schema.json").read_text(encoding="utf-8"))
SECRET = "Xq7-not-for-anybody"  # noqa: S105 - opens nothing
LINES_COUNT = 300
TEXT = "".join(f"line {number}\n" for number in range(LINES_COUNT))
TASKS: list[dict[str, Any]] = [
    {"name": "Wait", "ansible.builtin.command": "sleep 2", "changed_when": False},
    {
        "name": "Write",
        "ansible.builtin.copy": {
            "dest": "{{ place }}/made",
            "content": f"{TEXT}rest:https://ali:{SECRET}@backup.example.com/\n",
            "mode": "0600",
        },
    },
    {
        "name": "Hide",
        "ansible.builtin.copy": {"dest": "{{ place }}/key", "content": SECRET, "mode": "0600"},
        "no_log": True,
    },
    {"name": "Say", "ansible.builtin.debug": {"msg": "nobody outside watches"}},
    {"name": "Break", "ansible.builtin.command": "false", "ignore_errors": False},
]


@dataclass(frozen=True)
class Ran:
    """A finished run: what it printed, what it wrote down, and its document."""

    status: int
    lines: list[str]
    details: Path | None
    recap: dict[str, Any]


def play(place: Path, *options: str) -> Ran:
    local = {"ansible_connection": "local", "ansible_python_interpreter": sys.executable}
    dead = {"ansible_host": "127.0.0.1", "ansible_port": 1}
    hosts = {"vds": local, "dead": dead}
    (place / "hosts.json").write_text(
        json.dumps({"all": {"hosts": hosts, "vars": {"place": str(place)}}})
    )
    plays = [{"name": "Play", "hosts": "all", "gather_facts": False, "tasks": TASKS}]
    (place / "play.json").write_text(json.dumps(plays))
    done = subprocess.run(
        [
            str(Path(sys.executable).with_name("ansible-playbook")),
            *("--inventory", str(place / "hosts.json"), *options, str(place / "play.json")),
        ],
        env={
            **os.environ,
            "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"),
            "AINA_RECAP_FILE": str(place / "recap.json"),
            "AINA_DETAILS_DIR": str(place / "runs"),
            "AINA_PROGRESS_SECONDS": "1",
            "LC_ALL": "C.UTF-8",
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    recap = json.loads((place / "recap.json").read_text(encoding="utf-8"))
    found = list((place / "runs").glob("*")) if (place / "runs").exists() else []
    return Ran(done.returncode, done.stdout.splitlines(), found[0] if found else None, recap)


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Ran:
    return play(tmp_path_factory.mktemp("screen"))


def test_a_run_is_one_screen_whose_last_line_names_everything(ran: Ran) -> None:
    assert len(ran.lines) < 50, "\n".join(ran.lines)
    assert ran.details is not None
    assert ran.lines[-1].endswith(str(ran.details))
    assert ran.recap["details"] == str(ran.details)
    assert f"+line {LINES_COUNT - 1}" in ran.details.read_text(encoding="utf-8").splitlines()


def test_what_is_written_down_is_for_its_owner_alone_and_without_secrets(ran: Ran) -> None:
    assert ran.details is not None
    assert ran.details.stat().st_mode & 0o777 == 0o600
    assert ran.details.parent.stat().st_mode & 0o777 == 0o700
    text = ran.details.read_text(encoding="utf-8")
    assert "rest:https://ali:…@backup" in text
    assert SECRET not in text + "\n".join(ran.lines) + json.dumps(ran.recap)


def test_who_waits_is_told_what_for(ran: Ran) -> None:
    (line,) = [line for line in ran.lines if "vds: Wait " in line]
    assert line.startswith("  … ")
    assert " s, " in line


def test_what_fails_is_said_at_once_and_at_the_end(ran: Ran) -> None:
    told = [line for line in ran.lines if "Break" in line and "…" not in line]

    assert told[0].startswith("vds: Break: failed: ")
    assert ran.lines.index(told[0]) < ran.lines.index(told[-1])
    assert any(line.startswith("dead: Wait: the host does not answer") for line in ran.lines)
    assert "vds: Say: nobody outside watches" in ran.lines


def test_the_worst_of_all_hosts_is_the_outcome_and_the_exit_status(ran: Ran) -> None:
    assert (ran.status, ran.recap["outcome"]) == (4, "unreachable")
    assert any(
        line.startswith("not converged everywhere: vds failed; dead did not") for line in ran.lines
    )


def test_the_document_is_as_its_schema_says(ran: Ran) -> None:
    jsonschema.validate(ran.recap, SCHEMA)
    assert {item["task"] for item in ran.recap["changes"]} == {"Write", "Hide"}


def test_verbose_shows_everything_and_writes_nothing(tmp_path: Path) -> None:
    verbose = play(tmp_path, "--verbose", "--limit", "vds")

    assert f"+line {LINES_COUNT - 1}" in verbose.lines
    assert verbose.details is None
    assert verbose.recap["details"] is None
