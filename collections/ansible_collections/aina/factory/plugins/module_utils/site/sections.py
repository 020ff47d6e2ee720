"""Which class declares which section of the configuration."""

from __future__ import annotations

import importlib
from collections.abc import Mapping

# Section -> module of the core and class. They are imported when they are asked for.
SECTIONS: Mapping[str, tuple[str, str]] = {
    "janitor": ("janitor.settings", "Janitor"),
    "reap": ("worktrees.settings", "Reap"),
}


def declared(section: str) -> type:
    """Return the class that declares a section."""
    module, name = SECTIONS[section]
    core = __name__.rpartition(".site.")[0]
    found: type = getattr(importlib.import_module(f"{core}.{module}"), name)
    return found
