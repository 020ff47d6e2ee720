"""Direct entries of declared directories of leftovers."""

from __future__ import annotations

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
    globs: tuple[str, ...]

    def kinds(self, host: Host) -> Sequence[Kind]:
        """Return the kind."""
        return [
            FileKind(
                "temporary",
                self.limits,
                lambda: listed(self.roots, self.globs),
                host.open_files,
                host.device,
            )
        ]


def read(janitor: Section) -> Settings:
    """Read ``temporary``."""
    section = janitor.section("temporary", {})
    found = Settings(
        limits.read(section, max_age_days=10),
        tuple(section.absolute_paths("roots", ())),
        tuple(section.strings("globs", ("*",))),
    )
    section.done()
    return found


def listed(roots: Sequence[str], globs: Sequence[str]) -> list[Found]:
    """List the direct entries of declared directories of leftovers."""
    return [item for root in present(roots) for item in paths.entries(root, globs)]
