"""playbooks/work.yml and site.yml with modules that are recorded and end as told; nothing here is touched."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Collection
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]
COLLECTION = "ansible_collections/aina/factory"
# A module that notes that it ran, and fails where its name, or a word of its options, is among those that fail.
MODULE = """#!/usr/bin/python
import json, sys  # WANT_JSON
with open({calls!r}, "a") as calls:
    calls.write({name!r} + "\\n")
asked = open(sys.argv[1]).read()
fails = {fails!r} or any(word in asked for word in {words!r})
print(json.dumps({{"changed": False, "failed": fails, "msg": "{name}: no answer", "changed_paths": [],
                  "waiting": {waits!r}}}))
"""


@pytest.fixture
def collections(tmp_path: Path) -> Path:
    for part in ("host", "images", "plugins", "roles"):
        shutil.copytree(ROOT / "collections" / COLLECTION / part, tmp_path / COLLECTION / part)
    return tmp_path


# Nothing listens there.
DEAD = {"ansible_connection": "ssh", "ansible_host": "127.0.0.1", "ansible_port": 1}


AWAY = {"what": "images: ci", "for": "an answer of docker.io", "remedy": "converge again"}


def play(
    collections: Path,
    failing: set[str],
    *options: str,
    waiting: Collection[str] = (),
    playbook: str = "work.yml",
) -> tuple[int, list[str], dict[str, Any]]:
    """Return the exit status, the modules that ran, and the recap."""
    calls, recap = collections / "calls", collections / "recap.json"
    names = ("sequence", "images", "gh_runners")
    words = sorted(failing - {*names})
    for name in names:
        waits = [AWAY] if name in waiting else []
        text = MODULE.format(
            name=name, calls=str(calls), fails=name in failing, words=words, waits=waits
        )
        (collections / COLLECTION / f"plugins/modules/{name}.py").write_text(text)
    inventory = collections / "hosts.yml"
    variables = {"ansible_connection": "local", "ansible_become": False}
    variables["ansible_python_interpreter"] = sys.executable
    inventory.write_text(json.dumps({"factory": {"hosts": {"dead": DEAD, "vds": variables}}}))
    environment = {
        **os.environ,
        "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"),
        "ANSIBLE_COLLECTIONS_PATH": f"{collections}:{ROOT}/.venv/collections",
        "AINA_RECAP_FILE": str(recap),
        "LC_ALL": "C.UTF-8",
    }
    done = subprocess.run(
        [
            *(Path(sys.executable).parent / "ansible-playbook", "--inventory", inventory),
            *("--extra-vars", '{"ansible_become": false}'),
            *(*options, str(ROOT / "playbooks" / playbook)),
        ],
        env=environment,
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert recap.exists(), done.stdout + done.stderr
    return done.returncode, calls.read_text().split(), json.loads(recap.read_text())


def test_a_part_or_host_that_fails_stops_no_other_and_fails_the_run_at_its_end(
    collections: Path,
) -> None:
    status, ran, recap = play(collections, {"images", "gh_runners"})
    failed: dict[str, list[str]] = {}
    for item in recap["failed"] + recap["unreachable"]:
        failed.setdefault(item["host"], []).append(item["what"])

    assert ran == ["sequence", "images", "sequence", "gh_runners", "sequence"]
    assert (status, recap["outcome"]) == (4, "unreachable")
    assert set(failed) == {"dead", "vds"}
    assert failed["vds"] == [
        "images: no answer",
        "gh_runners: no answer",
        "images: images: no answer",
    ]


def test_what_waits_fails_nothing_and_is_told(collections: Path) -> None:
    status, ran, recap = play(collections, set(), "--limit", "vds", waiting={"images"})

    assert ran == ["sequence", "images", "sequence", "gh_runners", "sequence"]
    assert (status, recap["outcome"]) == (0, "waiting")
    assert recap["waiting"] == [{"host": "vds", **AWAY}]


def test_an_engine_or_a_watchdog_that_fails_stops_no_other_part_of_the_site(
    collections: Path,
) -> None:
    parts = ("--tags", "hardening,watchdog,marshal,docker_host,images", "--limit", "vds")
    failing = {"60-aina-factory-hardening.conf", "docker_daemon", "watchdog.json", "images"}

    status, ran, recap = play(collections, failing, *parts, playbook="site.yml")
    alone = play(collections, {"docker_daemon"}, "--limit", "vds", playbook="docker.yml")

    # Hardening, watchdog, marshal, engine, the images' declaration and build.
    assert ran == [*["sequence"] * 5, "images"]
    assert (status, recap["outcome"]) == (2, "failed")
    assert [item["what"] for item in recap["failed"]] == [
        *["sequence: no answer"] * 3,
        "images: no answer",
        "docker_host: sequence: no answer; hardening: sequence: no answer; "
        "images: images: no answer; watchdog: sequence: no answer",
    ]
    assert (alone[0], len(alone[2]["failed"])) == (2, 2)
