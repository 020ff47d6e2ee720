"""The collection alone, built and installed, is the whole product."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]
BIN = Path(sys.executable).parent


def test_what_is_built_installs_without_a_network_and_its_playbooks_are_found(
    tmp_path: Path,
) -> None:
    (tmp_path / "ansible.cfg").write_text("[defaults]\n")
    environment = {
        **os.environ,
        "ANSIBLE_CONFIG": str(tmp_path / "ansible.cfg"),
        "ANSIBLE_COLLECTIONS_PATH": f"{tmp_path}:{sys.prefix}/collections",
        "LC_ALL": "C.UTF-8",
    }

    def run(*argv: str | Path) -> str:
        done = subprocess.run(argv, env=environment, cwd=tmp_path, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    galaxy = (BIN / "ansible-galaxy", "collection")
    source = ROOT / "collections/ansible_collections/aina/factory"
    run(*galaxy, "build", "--output-path", tmp_path, source)
    (archive,) = tmp_path.glob("*.tar.gz")
    run(*galaxy, "install", "--offline", "--collections-path", tmp_path, archive)

    installed = tmp_path / "ansible_collections/aina/factory"
    assert not [path for path in installed.rglob("*") if not path.exists()], "a link leads nowhere"
    assert (installed / "host/factory/core/worktrees").resolve().is_relative_to(installed)
    inventory = ROOT / "inventory/sandbox"
    shown = run(
        BIN / "ansible-playbook", "aina.factory.site", "--list-tasks", "--inventory", inventory
    )
    assert "aina.factory.host_baseline : " in shown
