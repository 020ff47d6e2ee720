"""The locks of this server: where they lie, and the one that several commands take."""

from __future__ import annotations

from pathlib import Path

from factory.core.base.configuration import Section
from factory.core.base.locks import DIRECTORY, exclusive, patience

__all__ = ["WORKTREES", "directory_of", "exclusive", "patience"]

# Taken by everything that makes or deletes worktrees on this server.
WORKTREES = "factory-worktrees.lock"


def directory_of(whole: Section) -> Path:
    """Return where the locks lie (key ``locks.directory``)."""
    return Path(whole.section("locks", {}).absolute_path("directory", str(DIRECTORY)))
