"""Which class declares which section of the configuration."""

from __future__ import annotations

import importlib
from collections.abc import Mapping

# Section -> module of the core and class. They are imported when they are asked for.
SECTIONS: Mapping[str, tuple[str, str]] = {
    "backup": ("backup.settings", "BackupSettings"),
    "drift": ("drift.settings", "DriftSettings"),
    "images": ("images.settings", "ImagesSettings"),
    "janitor": ("janitor.settings", "Janitor"),
    "jobs": ("jobs.settings", "Jobs"),
    "lanes": ("lanes.settings", "LanesSettings"),
    "locks": ("base.locks", "LocksSettings"),
    "marshal": ("marshal.settings", "MarshalSettings"),
    "paperclip": ("paperclip.settings", "PaperclipSettings"),
    "reap": ("worktrees.settings", "Reap"),
    "runners": ("runners.settings", "RunnersSettings"),
    "watchdog": ("watchdog.policy", "WatchdogSection"),
}


def declared(name: str) -> type:
    """Return the class that declares a section."""
    module, name = SECTIONS[name]
    core = __name__.rpartition(".site.")[0]
    found: type = getattr(importlib.import_module(f"{core}.{module}"), name)
    return found
