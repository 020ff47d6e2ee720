"""playbooks/work.yml with modules that are recorded and end as told; nothing of this machine is touched."""

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
# A module that notes that it ran, and fails where its name is among those that fail.
MODULE = """#!/usr/bin/python
import json
with open({calls!r}, "a") as calls:
    calls.write({name!r} + "\\n")
print(json.dumps({{"changed": False, "failed": {fails!r}, "msg": "{name}: no answer", "changed_paths": [],
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
    collections: Path, failing: set[str], *options: str, waiting: Collection[str] = ()
) -> tuple[int, list[str], dict[str, Any]]:
    """Return the exit status, the modules that ran, and the recap."""
    calls, recap = collections / "calls", collections / "recap.json"
    for name in ("sequence", "images", "gh_runners"):
        waits = [AWAY] if name in waiting else []
        text = MODULE.format(name=name, calls=str(calls), fails=name in failing, waits=waits)
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
            *(*options, str(ROOT / "playbooks/work.yml")),
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
