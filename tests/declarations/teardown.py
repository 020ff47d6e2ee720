"""The playbook that takes everything back: what ``site.yml`` makes, in the opposite order."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

_COLLECTION = Path("collections/ansible_collections/aina/factory")
_PLAYBOOKS, _ROLES = _COLLECTION / "playbooks", _COLLECTION / "roles"
PATH = _PLAYBOOKS / "uninstall.yml"
# What looks at, repairs and starts other parts goes before them: it would raise alerts, or begin work anew.
_FIRST = ("drift.yml", "upkeep.yml", "marshal.yml")
# What makes nothing.
_ONLY_LOOK = ("look.yml",)
_HEAD = """\
---
# The operator's action: take everything back that site.yml has made. Data stays. Written by script/generate:
# the roles of site.yml from the last to the first, but before them what watches and starts the others.
"""
_PLAY = """\
- name: "Take back: {name}"
  hosts: {hosts}
  become: true
  gather_facts: false
  pre_tasks:
    - name: Check what the inventory says
      aina.factory.check_variables:
      tags: [always]
  roles:
"""
_ROLE = """\
    - role: aina.factory.{role}
      {role}_state: absent
      tags: [{role}]
"""


def generated(root: Path) -> Iterator[tuple[Path, str]]:
    """Yield the playbook; nothing in a tree without ``site.yml``."""
    site = root / _PLAYBOOKS / "site.yml"
    if site.is_file():
        imports = {entry["ansible.builtin.import_playbook"]: entry["name"] for entry in _load(site)}
        order = [name for name in _FIRST if name in imports]
        order += [name for name in reversed(imports) if name not in (*_FIRST, *_ONLY_LOOK)]
        plays = [text for name in order for text in _plays(root, name, imports[name])]
        yield PATH, _HEAD + "\n".join(plays)


def _plays(root: Path, playbook: str, name: str) -> Iterator[str]:
    for play in reversed(_load(root / _PLAYBOOKS / playbook)):
        roles = [entry["role"].rpartition(".")[2] for entry in reversed(play.get("roles", []))]
        parts = [_ROLE.format(role=role) for role in roles if _has_state(root, role)]
        if parts:
            yield _PLAY.format(name=name, hosts=play["hosts"]) + "".join(parts)


def _has_state(root: Path, role: str) -> bool:
    """Whether a role can be taken back; hardening, for one, leaves nothing that has a state."""
    specs = yaml.safe_load((root / _ROLES / role / "meta/argument_specs.yml").read_text("utf-8"))
    option = specs["argument_specs"]["main"]["options"].get(f"{role}_state") or {}
    return "absent" in option.get("choices", [])


def _load(path: Path) -> list[dict[str, Any]]:
    return list(yaml.safe_load(path.read_text(encoding="utf-8")))
