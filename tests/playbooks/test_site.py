"""What playbooks/site.yml leads to."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[2]
PLAYBOOKS = ROOT / "playbooks"


def roles(playbook: Path) -> Iterator[dict[str, Any]]:
    """Yield the roles of a playbook and of all that it imports, with what each is told."""
    for play in yaml.safe_load(playbook.read_text(encoding="utf-8")):
        if "ansible.builtin.import_playbook" in play:
            yield from roles(playbook.parent / play["ansible.builtin.import_playbook"])
        for role in play.get("roles", ()):
            yield {"role": role} if isinstance(role, str) else role


def test_converging_a_server_deletes_no_worktree() -> None:
    reaping = {"role": "aina.factory.worktrees", "worktrees_run": True, "tags": ["worktrees"]}
    defaults = yaml.safe_load((ROOT / "roles/worktrees/defaults/main.yml").read_text())

    assert [*roles(PLAYBOOKS / "reap.yml")] == [reaping]
    assert defaults["worktrees_run"] is False
    assert {"role": "aina.factory.worktrees", "tags": ["worktrees"]} in roles(
        PLAYBOOKS / "site.yml"
    )
    assert reaping not in roles(PLAYBOOKS / "site.yml")


def test_whatever_has_a_state_is_taken_back_and_what_watches_it_first() -> None:
    converged = {entry["role"] for entry in roles(PLAYBOOKS / "site.yml")}
    back = [
        {**entry, "role": entry["role"].removeprefix("aina.factory.")}
        for entry in roles(PLAYBOOKS / "uninstall.yml")
    ]
    order = [entry["role"] for entry in back]

    assert {f"aina.factory.{role}" for role in order} == converged
    assert all(entry[f"{entry['role']}_state"] == "absent" for entry in back)
    assert max(map(order.index, ("watchdog", "factory_crons"))) < order.index("lanes")
    assert order.index("lanes") < order.index("docker_host") < order.index("factory_command")


def test_a_rotation_reaches_every_role_that_is_given_a_secret() -> None:
    given = {
        path.parts[-3]
        for path in (ROOT / "roles").glob("*/meta/argument_specs.yml")
        if "no_log: true" in path.read_text(encoding="utf-8")
    }
    reached = {
        role["role"].removeprefix("aina.factory.") for role in roles(PLAYBOOKS / "rotate.yml")
    }

    assert given >= {"host_baseline", "watchdog", "paperclip"}
    assert given == reached
