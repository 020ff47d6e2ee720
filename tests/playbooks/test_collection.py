"""The collection alone, built and installed, is the whole product."""

from __future__ import annotations

from pathlib import Path

import galaxy
import pytest

pytestmark = pytest.mark.slow


def test_what_is_built_installs_without_a_network_and_its_playbooks_are_found(
    tmp_path: Path,
) -> None:
    site = galaxy.install(tmp_path)

    installed = site.installed
    assert not [path for path in installed.rglob("*") if not path.exists()], "a link leads nowhere"
    assert (installed / "host/factory/core/worktrees").resolve().is_relative_to(installed)
    inventory = galaxy.ROOT / "inventory/sandbox"
    shown = site.run(
        "ansible-playbook", "aina.factory.site", "--list-tasks", "--inventory", inventory
    )
    assert "aina.factory.host_baseline : " in shown
