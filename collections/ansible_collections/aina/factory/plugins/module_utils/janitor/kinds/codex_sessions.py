"""Session files of agent homes."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass

from ...base import paths
from ...base.paths import PathEntry
from ..file_kinds import FileKind
from ..host import Host
from ..limits import Rooted
from ..model import Kind, present


@dataclass(frozen=True)
class CodexSessionsSettings(Rooted):
    """Where is looked, and when something goes."""

    def kinds(self, host: Host) -> Sequence[Kind]:
        return [
            FileKind(
                "codex_sessions",
                self.limits,
                lambda: listed(self.roots),
                host.presence,
                host.device,
                prune_parents=True,
            )
        ]


def listed(homes: Sequence[str]) -> list[PathEntry]:
    """List the session files of agent homes; nothing else of a home is ever looked at."""
    found: list[PathEntry] = []
    for home in present(homes):
        for directory in ("sessions", "archived_sessions"):
            if os.path.lexists(f"{home}/{directory}"):
                found += paths.files(f"{home}/{directory}", ("rollout-*",), recursive=True)
    return found


DEFAULT = CodexSessionsSettings(max_age_days=30, min_age_hours=24, max_total_mib=2048)
