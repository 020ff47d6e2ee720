"""Declarations that a role refuses before it asks the host anything: one run, a host for each."""

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
REPOSITORY = {"url": "https://download.example.com", "suite": "noble"}
# Role, what is declared, and what is said against it.
REFUSED: dict[str, tuple[str, dict[str, Any], str]] = {
    "nobody": ("host_baseline", {"host_baseline_ssh_enabled": True}, "administrators is empty"),
    "keyless": (
        "docker_host",
        {"docker_host_engine_source": "repository", "docker_host_repository": REPOSITORY},
        "must hold url, suite and key",
    ),
    "cache": (
        "docker_host",
        {"docker_host_build_cache_reserved_mib": 2, "docker_host_build_cache_max_used_mib": 1},
        "must not exceed docker_host_build_cache_max_used_mib",
    ),
    "undeclared": ("drift", {"drift_state": "present"}, "drift_repository is empty"),
}


@pytest.fixture(scope="module")
def failed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Return what the recap says has failed, by host."""
    root = tmp_path_factory.mktemp("refusals")
    local = {"ansible_connection": "local"}
    hosts = {name: {**local, **values} for name, (_role, values, _words) in REFUSED.items()}
    plays = [
        # A run ends where no host of a play is left.
        {"hosts": f"{name},sound", "gather_facts": False, "roles": [f"aina.factory.{role}"]}
        for name, (role, _values, _words) in REFUSED.items()
    ]
    hosts["sound"] = local
    (root / "hosts.json").write_text(json.dumps({"all": {"hosts": hosts}}))
    (root / "play.json").write_text(json.dumps(plays))
    environment = {
        **os.environ,
        "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"),
        "AINA_RECAP_FILE": str(root / "recap.json"),
        "LC_ALL": "C.UTF-8",
    }
    program = Path(sys.executable).parent / "ansible-playbook"
    # Only what always runs: no module reaches this machine.
    argv: list[str | Path] = [
        program,
        "--inventory",
        root / "hosts.json",
        "--tags",
        "none",
        root / "play.json",
    ]
    done = subprocess.run(argv, env=environment, capture_output=True, text=True, check=False)
    assert (root / "recap.json").exists(), done.stdout + done.stderr
    document = json.loads((root / "recap.json").read_text())
    return {item["host"]: item["what"] for item in document["failed"]}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_meant_is_refused_by_name(failed: dict[str, str], name: str) -> None:
    assert REFUSED[name][2] in failed[name]


def test_what_is_not_declared_is_not_missed(failed: dict[str, str]) -> None:
    assert "sound" not in failed
