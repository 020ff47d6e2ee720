"""Session files of agent homes."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass

from ...base import paths
from ...base.configuration import Section
from ...base.paths import Found
from .. import limits
from ..file_kinds import FileKind
from ..host import Host
from ..model import Kind, Limits, present


@dataclass(frozen=True)
class Settings:
    """Where is looked, and when something goes."""

    limits: Limits
    roots: tuple[str, ...]

    def kinds(self, host: Host) -> Sequence[Kind]:
        """Return the kind."""
        return [
            FileKind(
                "codex_sessions",
                self.limits,
                lambda: listed(self.roots),
                host.open_files,
                host.device,
                prune_parents=True,
            )
        ]


def read(janitor: Section) -> Settings:
    """Read ``codex_sessions``."""
    section = janitor.section("codex_sessions", {})
    found = Settings(
        limits.read(section, max_age_days=30, max_total_mib=2048),
        tuple(section.absolute_paths("roots", ())),
    )
    section.done()
    return found


def listed(homes: Sequence[str]) -> list[Found]:
    """List the session files of agent homes; nothing else of a home is ever looked at."""
    found: list[Found] = []
    for home in present(homes):
        for directory in ("sessions", "archived_sessions"):
            if os.path.lexists(f"{home}/{directory}"):
                found += paths.files(f"{home}/{directory}", ("rollout-*",), recursive=True)
    return found
