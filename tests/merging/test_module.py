"""The Ansible module against the simulated GitHub: by itself, and in the operator's play."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible.module_utils.testing import patch_module_args
from simulator import Simulator

from ansible_collections.aina.factory.plugins.modules import pull_request_merge
from factory import locks
from merging.test_simulator import NAME, repository

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[2]


def run(
    arguments: dict[str, Any], capsys: pytest.CaptureFixture[str], *, check: bool = False
) -> dict[str, Any]:
    """Run the module once; return its answer."""
    capsys.readouterr()
    with (
        patch_module_args({**arguments, "_ansible_check_mode": check}),
        pytest.raises(SystemExit),
    ):
        pull_request_merge.main()
    answer: dict[str, Any] = json.loads(capsys.readouterr().out)
    return answer


def options(simulator: Simulator, tmp_path: Path, **policy: Any) -> dict[str, Any]:
    addresses = simulator.addresses()
    return {
        "project": "demo",
        "repository": NAME,
        "policy": {"required_checks": ["ci"], **policy},
        "github": {
            "api_url": addresses["api_url"],
            "ca_file": addresses["ca_file"],
            "login": {"method": "token_file", "token_file": addresses["token_file"]},
        },
        "state_dir": str(tmp_path / "state"),
    }


def test_check_mode_foretells_the_run_and_a_second_run_changes_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with Simulator(repository(2)) as simulator:
        arguments = options(simulator, tmp_path)

        planned = run(arguments, capsys, check=True)
        done, again = run(arguments, capsys), run(arguments, capsys)

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


def test_a_wrong_policy_a_held_lock_and_a_lost_connection_say_so_and_land_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with Simulator(repository(1)) as simulator:
        arguments = options(simulator, tmp_path)
        wrong = run(options(simulator, tmp_path, max_merges="many"), capsys)
        with locks.exclusive(tmp_path / "state/demo/lock"):
            held = run(arguments, capsys)
        simulator.add_fault({"path": "*graphql", "disconnect": True})
        lost = run(arguments, capsys)

        assert "max_merges is not known" in wrong["msg"]
        assert f"{tmp_path}/state/demo/lock" in held.get("msg", "")
        assert lost.get("msg", "").startswith("failed:")
        assert [answer.get("failed") for answer in (wrong, held, lost)] == [True] * 3
        found = simulator.world.repository(NAME)
        assert found is not None
        assert {pull.state for pull in found.pulls} == {"OPEN"}


def test_the_operators_cycle_lands_what_the_inventory_declares(tmp_path: Path) -> None:
    with Simulator(repository(1)) as simulator:
        addresses = simulator.addresses()
        variables = {
            "ansible_become": False,
            "marshal_user": "root",
            "marshal_state_dir": str(tmp_path / "state"),
            "factory_github": {
                "api_url": addresses["api_url"],
                "ca_file": addresses["ca_file"],
                "login": {"method": "token_file", "token_file": addresses["token_file"]},
            },
            # As the one list of projects has it, other roles' keys and all.
            "factory_projects": [
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
        role = {"name": "aina.factory.marshal", "tasks_from": "merge"}
        tasks = [{"name": "Merge", "ansible.builtin.include_role": role}]

        play = {"hosts": "localhost", "gather_facts": False, "vars": variables, "tasks": tasks}
        (tmp_path / "play.yml").write_text(yaml.safe_dump([play]))

        done = subprocess.run(
            ["ansible-playbook", "-i", "localhost,", "-c", "local", str(tmp_path / "play.yml")],
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

        assert done.returncode == 0, done.stdout + done.stderr
        report = json.loads((tmp_path / "state/demo/report.json").read_text())
        assert report["merged"] == [1]
        assert [path.name for path in (tmp_path / "state").iterdir()] == ["demo"]
