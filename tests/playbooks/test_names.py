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
    argv: list[str | Path] = [program, "--verbose", "--inventory", tmp_path / "hosts.json"]
    done = subprocess.run(
        [*argv, "--tags", "none", ROOT / "playbooks/reap.yml"],
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


def test_a_secret_that_nothing_has_decrypted_is_refused(tmp_path: Path) -> None:
    said = judged(tmp_path, {"secret_github_token": "ENC[AES256_GCM,data:x,type:str]"})

    assert "secret_github_token is still encrypted: install the collection community.sops" in said


def test_every_section_is_read_before_anything_is_changed(tmp_path: Path) -> None:
    said = judged(
        tmp_path,
        {
            # The rest is judged beside what only the host knows.
            "janitor_disk_used_high_percent": 60,
            "janitor_docker": {"keep_labls": ["x"], "keep_labels": ["{{ ansible_facts.machine }}"]},
            "gh_actions_runner_version_warn_days": "{{ 10 * 4 }}",
            "lanes_agents": {"codex": {"modle": "x"}},
            "lanes_users": ["Ali B"],
            "lanes_total_cpus": 0,
            "watchdog_heal_mode": "repair",
            "watchdog_heal": {"modus": "repair"},
            "watchdog_limits": {"disk_use_percent": {"raise": 90}},
            "watchdog_silences": [
                {"match": "dskis", "until": "2026-07-14", "reason": "x", "by": "y"}
            ],
        },
    )

    for problem in (
        "janitor_docker.keep_labls is not known; did you mean keep_labels?",
        "gh_actions_runner_version_warn_days is 40; it must lie between 0 and 30",
        "lanes_agents.codex.modle is not known; did you mean model?",
        "lanes_users[0] is 'Ali B'; it must be a user's name",
        "lanes_total_cpus is 0; it must be at least 0.1",
        "watchdog_heal_mode is now mode of watchdog_heal",
        "watchdog_heal.modus is not known; did you mean mode?",
        "watchdog_limits.disk_use_percent is not known; did you mean disk_used_percent?",
    ):
        assert problem in said


def test_values_that_contradict_each_other_are_told(tmp_path: Path) -> None:
    said = judged(
        tmp_path,
        {
            "janitor_disk_used_high_percent": "{{ 6 * 10 }}",
            "janitor_docker": {"keep_labels": ["{{ ansible_facts.machine }}"]},
            "gh_actions_runner_version_warn_days": 28,
            "gh_actions_runner_version_fail_days": 20,
            "watchdog_silences": [
                {"match": "dskis", "until": "2026-07-14", "reason": "x", "by": "y"}
            ],
        },
    )

    for problem in (
        "janitor_disk_used_low_percent is 70; it must be below disk_used_high_percent, which is 60",
        "gh_actions_runner_version_warn_days is 28; it must not exceed",
        "watchdog_silences[0].match is 'dskis'; it must fit a check's name",
    ):
        assert problem in said


def test_what_only_the_host_knows_is_left_to_it(tmp_path: Path) -> None:
    hidden = {
        "janitor_disk_used_high_percent": "{{ ansible_facts.machine | length }}",
        "lanes_agents": {"codex": {"model": "{{ ansible_facts.machine }}"}},
        "watchdog_disks": "{{ ansible_facts.mounts | map(attribute='mount') | list }}",
    }

    assert judged(tmp_path, {**hidden, "factory_projects": [PROJECT]}) == ""


def test_a_projects_own_file_is_read_too(tmp_path: Path) -> None:
    (tmp_path / "projects/demo").mkdir(parents=True)
    file = tmp_path / "projects/demo/lane.yml"
    file.write_text("guarded_paths: [deploy/]\nmodle: x\n")

    said = judged(tmp_path, {"factory_projects": [{**PROJECT, "lanes": {"cpus": 0}}]})

    assert (
        f"{file}: guarded_paths is now guarded_paths of the project itself, in factory_projects"
        in said
    )
    assert f"{file}: modle is not known; did you mean model?" in said
    assert "factory_projects[0].lanes.cpus is 0; it must lie between 0.1 and 256" in said


def test_what_roles_know_and_what_is_the_sites_own_passes(tmp_path: Path) -> None:
    known = {"worktrees_grace_seconds": 5, "factory_projects": [PROJECT], "vault_token": "x"}

    assert judged(tmp_path, {**known, "marshal_state": "present"}) == ""
