"""What the first task of every playbook says of an inventory; no connection is opened."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]
PROJECT = {"name": "demo", "repository": "example/demo", "path": "/srv/repos/demo"}
UNREACHABLE = {"ansible_connection": "ssh", "ansible_host": "127.0.0.1", "ansible_port": 1}


def judged(tmp_path: Path, variables: dict[str, Any]) -> str:
    """Return what is said of one host with these variables."""
    hosts = {"factory": {"hosts": {"vds": {**UNREACHABLE, **variables}}}}
    (tmp_path / "hosts.json").write_text(json.dumps(hosts))
    program = Path(sys.executable).parent / "ansible-playbook"
    argv: list[str | Path] = [program, "--inventory", tmp_path / "hosts.json", "--tags", "none"]
    done = subprocess.run(
        [*argv, ROOT / "playbooks/reap.yml"],
        env={**os.environ, "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"), "LC_ALL": "C.UTF-8"},
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stdout if done.returncode else ""


def test_every_wrong_name_and_value_is_told_at_once(tmp_path: Path) -> None:
    said = judged(
        tmp_path,
        {
            "worktrees_grace_secs": 5,
            "factory_command_reap": {},
            "release_marshal_user": "ali",
            "factory_projects": [{**PROJECT, "name": "{{ 'De' ~ 'mo' }}"}],
            "factory_github": {"login": {"method": "token_file"}},
        },
    )

    for problem in (
        "factory_command_reap is now worktrees_grace_seconds",
        "release_marshal_user is now marshal_user",
        "worktrees_grace_secs is not known; did you mean worktrees_grace_seconds?",
        "factory_projects[0].name is 'Demo'; it must be lower-case",
        "factory_github.login.token_file is ''; it must name a file",
    ):
        assert problem in said


def test_what_roles_know_and_what_is_the_sites_own_passes(tmp_path: Path) -> None:
    known = {"worktrees_grace_seconds": 5, "factory_projects": [PROJECT], "vault_token": "x"}

    assert judged(tmp_path, {**known, "marshal_state": "present"}) == ""
