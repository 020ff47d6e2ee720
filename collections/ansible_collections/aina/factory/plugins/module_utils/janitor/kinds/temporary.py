"""Direct entries of declared directories of leftovers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ...base import paths
from ...base.paths import PathEntry
from ...base.settings import setting
from ..file_kinds import FileKind
from ..host import Host
from ..limits import Rooted
from ..model import Kind, present


@dataclass(frozen=True)
class TemporarySettings(Rooted):
    """Where is looked, and when something goes."""

    globs: tuple[str, ...] = setting(("*",), "Names to take into account.", adds=False)

    def kinds(self, host: Host) -> Sequence[Kind]:
        return [
            FileKind(
                "temporary",
                self.limits,
                lambda: listed(self.roots, self.globs),
                host.presence,
                host.device,
            )
        ]


def listed(roots: Sequence[str], globs: Sequence[str]) -> list[PathEntry]:
    """List the direct entries of declared directories of leftovers."""
    return [item for root in present(roots) for item in paths.entries(root, globs)]


DEFAULT = TemporarySettings(max_age_days=10, min_age_hours=24)
