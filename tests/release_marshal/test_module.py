"""The Ansible module, run by Ansible itself against the simulated GitHub."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from simulator import Simulator

from release_marshal.test_simulator import NAME, repository

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[2]


def playbook(
    tmp_path: Path, tasks: list[dict[str, Any]], variables: dict[str, Any]
) -> subprocess.CompletedProcess[str]:
    path = tmp_path / "play.yml"
    play = {"hosts": "localhost", "gather_facts": False, "vars": variables, "tasks": tasks}
    path.write_text(yaml.safe_dump([play]))
    return subprocess.run(
        ["ansible-playbook", "-i", "localhost,", "-c", "local", "--diff", str(path)],
        cwd=ROOT,
        env={
            **os.environ,
            "ANSIBLE_COLLECTIONS_PATH": str(ROOT / "collections"),
            "ANSIBLE_PYTHON_INTERPRETER": sys.executable,
        },
        capture_output=True,
        text=True,
        check=False,
    )


def play(tmp_path: Path, arguments: dict[str, Any], checks: list[bool]) -> list[dict[str, Any]]:
    """Run the module once per entry of ``checks`` (check mode or not); return the results."""
    answers = tmp_path / "answers.json"
    names = [f"__run_{index}" for index in range(len(checks))]
    tasks: list[dict[str, Any]] = [
        {
            "name": "Land what is green",
            "aina.factory.pull_request_merge": arguments,
            "check_mode": check,
            "register": name,
            "failed_when": False,
        }
        for name, check in zip(names, checks, strict=True)
    ]
    content = f"{{{{ [{', '.join(names)}] | to_json }}}}"
    copy = {"content": content, "dest": str(answers), "mode": "0600"}
    tasks.append({"name": "Keep the answers", "ansible.builtin.copy": copy})
    done = playbook(tmp_path, tasks, {})
    assert done.returncode == 0, done.stdout + done.stderr
    found: list[dict[str, Any]] = json.loads(answers.read_text())
    return found


def options(simulator: Simulator, tmp_path: Path, **policy: Any) -> dict[str, Any]:
    addresses = simulator.addresses()
    return {
        "project": "demo",
        "repository": NAME,
        "policy": {"required_checks": ["ci"], **policy},
        "github_api_url": addresses["api_url"],
        "ca_path": addresses["ca_file"],
        "state_dir": str(tmp_path / "state"),
        "login": {"method": "token_file", "token_file": addresses["token_file"]},
    }


def test_check_mode_foretells_the_run_and_a_second_run_changes_nothing(tmp_path: Path) -> None:
    with Simulator(repository(2)) as simulator:
        arguments = options(simulator, tmp_path)

        planned, done, again = play(tmp_path, arguments, [True, False, False])

        assert (planned["changed"], done["changed"], again["changed"]) == (True, True, False)
        assert planned["diff"] == done["diff"]
        assert done["diff"]["after"] == {"#1": "merged", "#2": "merged"}
        decisions = [
            [(p["number"], p["decision"]) for p in a["pull_requests"]] for a in (planned, done)
        ]
        assert decisions[0] == decisions[1] == [(1, "merge"), (2, "merge")]
        assert [p["result"] for p in planned["pull_requests"]] == ["", ""]
        assert [p["result"] for p in done["pull_requests"]] == ["merged", "merged"]
        found = simulator.world.repository(NAME)
        assert found is not None
        assert {pull.state for pull in found.pulls} == {"MERGED"}


def test_a_wrong_policy_and_a_lost_connection_say_so_and_land_nothing(tmp_path: Path) -> None:
    with Simulator(repository(1)) as simulator:
        arguments = options(simulator, tmp_path, max_merges="many")
        (wrong,) = play(tmp_path, arguments, [False])
        simulator.add_fault({"path": "*graphql", "disconnect": True})
        (lost,) = play(tmp_path, options(simulator, tmp_path), [False])

        assert "max_merges is not known" in wrong["msg"]
        assert "failed:" in lost["msg"]
        assert not lost["changed"]
        found = simulator.world.repository(NAME)
        assert found is not None
        assert {pull.state for pull in found.pulls} == {"OPEN"}


def test_the_operators_cycle_lands_what_the_inventory_declares(tmp_path: Path) -> None:
    with Simulator(repository(1)) as simulator:
        addresses = simulator.addresses()
        variables = {
            "ansible_become": False,
            "release_marshal_user": "root",
            "release_marshal_github_api_url": addresses["api_url"],
            "release_marshal_ca_path": addresses["ca_file"],
            "release_marshal_state_dir": str(tmp_path / "state"),
            "release_marshal_login_method": "token_file",
            "release_marshal_token_path": addresses["token_file"],
            # As the one list of projects has it, other roles' keys and all.
            "release_marshal_projects": [
                {
                    "name": "demo",
                    "repository": NAME,
                    "path": "/srv/repos/demo",
                    "default_branch": "main",
                    "toolchain": {"node": "22"},
                    "runner": {"mode": "ephemeral", "slots": 2},
                    "merge": {
                        "mode": "fast",
                        "method": "squash",
                        "required_checks": ["ci"],
                        "hold_labels": ["hold"],
                        "max_merges_per_cycle": 10,
                    },
                },
                {"name": "other", "repository": "factory/other", "path": "/srv/repos/other"},
            ],
        }
        role = {"name": "release_marshal", "tasks_from": "merge"}
        tasks = [{"name": "Merge", "ansible.builtin.include_role": role}]

        done = playbook(tmp_path, tasks, variables)

        assert done.returncode == 0, done.stdout + done.stderr
        report = json.loads((tmp_path / "state/demo/report.json").read_text())
        assert report["merged"] == [1]
        assert [path.name for path in (tmp_path / "state").iterdir()] == ["demo"]
