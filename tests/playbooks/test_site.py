"""What playbooks/site.yml leads to."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import yaml

PLAYBOOKS = Path(__file__).resolve().parents[2] / "playbooks"


def roles(playbook: Path) -> Iterator[str]:
    """Yield the roles of a playbook and of all that it imports."""
    for play in yaml.safe_load(playbook.read_text(encoding="utf-8")):
        if "ansible.builtin.import_playbook" in play:
            yield from roles(playbook.parent / play["ansible.builtin.import_playbook"])
        for role in play.get("roles", ()):
            yield role if isinstance(role, str) else role["role"]


def test_converging_a_server_deletes_no_worktree() -> None:
    assert [*roles(PLAYBOOKS / "reap.yml")] == ["aina.factory.worktrees"]

    assert "aina.factory.worktrees" not in roles(PLAYBOOKS / "site.yml")
    assert "aina.factory.janitor" in roles(PLAYBOOKS / "site.yml")
