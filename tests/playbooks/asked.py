"""What playbooks ask of a host: the modules of the collection are recorded instead of run."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[2]
COLLECTION = Path("ansible_collections/aina/factory")
# Notes for which host it ran, and with what.
MODULE = """\
#!/usr/bin/python
import json, sys
WANT_JSON = True
given = json.load(open(sys.argv[1]))
host = given["_ansible_remote_tmp"].rpartition("/")[2]
asked = {{key: value for key, value in given.items() if not key.startswith("_ansible_")}}
with open({calls!r}, "a") as calls:
    calls.write(json.dumps([host, {name!r}, asked]) + "\\n")
print(json.dumps({{"changed": False, "changed_paths": []}}))
"""


@dataclass(frozen=True)
class Step:
    """One module with its options; of a sequence, each of its steps."""

    module: str
    options: Mapping[str, Any]


def plays(playbook: str) -> Iterator[dict[str, Any]]:
    """Yield the plays of a playbook, and of those that it imports."""
    path = ROOT / "playbooks" / playbook
    for play in yaml.safe_load(path.read_text(encoding="utf-8")):
        if "ansible.builtin.import_playbook" in play:
            for imported in plays(play["ansible.builtin.import_playbook"]):
                yield {**imported, "vars": {**imported.get("vars", {}), **play.get("vars", {})}}
        else:
            yield play


def asked(
    place: Path,
    hosts: Mapping[str, tuple[str, Mapping[str, Any]]],
    group_vars: Path | None = ROOT / "inventory/production/group_vars",
) -> dict[str, list[Step]]:
    """Play to each host its playbook, if any, with more variables than ``group_vars`` has.

    In check mode, so that nothing of this machine is changed.
    """
    rest = shutil.ignore_patterns("tests", "__pycache__")
    shutil.copytree(ROOT / "collections" / COLLECTION, place / COLLECTION, ignore=rest)
    calls = place / "calls"
    for module in (place / COLLECTION / "plugins/modules").glob("*.py"):
        module.write_text(MODULE.format(calls=str(calls), name=module.stem))
    if group_vars is not None:
        shutil.copytree(group_vars, place / "group_vars")
    connection = {"ansible_connection": "local", "ansible_python_interpreter": sys.executable}
    inventory = {
        name: {**connection, "ansible_remote_tmp": str(place / "remote" / name), **variables}
        for name, (_playbook, variables) in hosts.items()
    }
    groups = {group: {"hosts": inventory} for group in ("factory", "paperclip")}
    (place / "hosts.json").write_text(json.dumps(groups))
    played = [
        {**play, "hosts": name, "become": False}
        for name, (playbook, _variables) in hosts.items()
        for play in (plays(playbook) if playbook else ())
    ]
    (place / "play.json").write_text(json.dumps(played))
    program = Path(sys.executable).with_name("ansible-playbook")
    done = subprocess.run(
        [program, "--check", "--inventory", place / "hosts.json", place / "play.json"],
        cwd=ROOT,
        env={
            **os.environ,
            "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"),
            "ANSIBLE_ROLES_PATH": str(ROOT / "roles"),
            "ANSIBLE_COLLECTIONS_PATH": f"{place}:{ROOT}/.venv/collections",
            "LC_ALL": "C.UTF-8",
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    found: dict[str, list[Step]] = {}
    for line in calls.read_text(encoding="utf-8").splitlines():
        name, module, options = json.loads(line)
        steps = options["steps"] if module == "sequence" else [{module: options}]
        found.setdefault(name, []).extend(Step(*pair) for step in steps for pair in step.items())
    return found


def entries(steps: Sequence[Step], module: str, option: str) -> list[Any]:
    """Return all entries of a list that a module is given."""
    return [
        entry for step in steps if step.module == module for entry in step.options.get(option) or ()
    ]


def files(steps: Sequence[Step]) -> dict[str, dict[str, Any]]:
    """Return the files, directories and links that shall be there, by their path."""
    kinds = ("directories", "files", "links")
    return {
        entry["path"]: entry for kind in kinds for entry in entries(steps, "managed_files", kind)
    }
