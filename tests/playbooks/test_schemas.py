"""The JSON schemas that editors use hold for what the inventories say and for what roles make of it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from gates.tree import COLLECTION

ROOT = Path(__file__).resolve().parents[2]
INVENTORIES = ("production", "sandbox")
SETTINGS = sorted(
    path.parts[-4] for path in (ROOT / COLLECTION / "roles").glob("*/vars/main/configuration.yml")
)


def schema(name: str) -> dict[str, Any]:
    document: dict[str, Any] = json.loads((ROOT / f"docs/{name}.schema.json").read_text())
    jsonschema.Draft202012Validator.check_schema(document)
    return document


def problems(name: str, document: object) -> list[str]:
    found = jsonschema.Draft202012Validator(schema(name)).iter_errors(document)
    return [f"{error.json_path}: {error.message}" for error in found]


@pytest.mark.parametrize("inventory", INVENTORIES)
def test_an_inventory_keeps_its_schema(inventory: str) -> None:
    paths = sorted((ROOT / "inventory" / inventory / "group_vars").rglob("*.yml"))
    assert paths

    said = {path.name: problems("inventory", yaml.safe_load(path.read_text())) for path in paths}

    assert {name: found for name, found in said.items() if found} == {}


def test_a_schema_objects_to_what_the_reader_objects_to() -> None:
    assert problems("inventory", {"worktrees_grace_seconds": "{{ 2 * 86400 }}"}) == []
    assert problems("inventory", {"worktrees_grace_seconds": "a day"})
    assert problems("configuration", {"reap": {"grace_seconds": -1}})
    assert problems("configuration", {"reap": {"grace": 1}})
    assert problems("configuration", {"github": {"logins": {"lane": {}}}})


@pytest.mark.slow
@pytest.mark.parametrize("inventory", INVENTORIES)
def test_what_roles_write_keeps_its_schema(inventory: str, tmp_path: Path) -> None:
    merged = " | combine(".join(
        ["__factory_command_configuration", *(f"__{role}_settings)" for role in SETTINGS)]
    )
    # Role variables are the play's; only the control node writes.
    task = {
        "name": "Write",
        "ansible.builtin.copy": {"content": "{{ " + merged + " }}", "dest": f"{tmp_path}/x.json"},
        "delegate_to": "localhost",
        "vars": {"ansible_connection": "local", "ansible_python_interpreter": sys.executable},
        "become": False,
        "tags": ["write"],
    }
    roles = [f"aina.factory.{role}" for role in ("factory_command", *SETTINGS)]
    play = {"hosts": "factory", "gather_facts": False, "roles": roles, "tasks": [task]}
    (tmp_path / "play.json").write_text(json.dumps([play]))
    program = Path(sys.executable).parent / "ansible-playbook"
    argv: list[str | Path] = [
        program,
        "--inventory",
        ROOT / "inventory" / inventory,
        "--tags",
        "write",
    ]

    done = subprocess.run(
        [*argv, tmp_path / "play.json"],
        env={**os.environ, "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"), "LC_ALL": "C.UTF-8"},
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stdout + done.stderr
    document = json.loads((tmp_path / "x.json").read_text())
    assert {"projects", "github", "reap"} <= document.keys()
    assert problems("configuration", document) == []
