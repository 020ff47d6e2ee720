"""The agents of lanes that are shipped, as the role hands them to the command."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

ENGINES = (
    Path(__file__).resolve().parents[1]
    / "collections/ansible_collections/aina/factory/images/engines"
)


def shipped(**changes: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Return what the files say, with keys of agents and of their routes changed."""
    found = {file.stem: yaml.safe_load(file.read_text()) for file in sorted(ENGINES.glob("*.yml"))}
    for name, change in changes.items():
        known = found.get(name, {})
        route = {**known.get("route", {}), **change.get("route", {})}
        found[name] = {**known, **change, **({"route": route} if route else {})}
    return found
