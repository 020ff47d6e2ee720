"""Archived files of the systemd journal."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ...base import paths
from ...base.disk import Removal
from ...base.ports import Run
from .. import programs
from ..host import Host
from ..limits import Limited
from ..model import Candidate, Kind, KindLimits, SkipError

_JOURNALS = ("*.journal", "*.journal~")


@dataclass(frozen=True)
class JournalSettings(Limited):
    """When archived files go."""

    def kinds(self, host: Host) -> Sequence[Kind]:
        return [Journal(self.limits, host.run, host.device)]


@dataclass
class Journal:
    """Archived files of the systemd journal beyond its size or age."""

    limits: KindLimits
    run: Run
    watched_device: int
    directory: str = "/var/log/journal"
    name: str = field(default="journal", init=False)

    def inventory(self) -> Sequence[Candidate]:
        """List the archived journal files, and the active ones as held; see ``Kind``."""
        if not Path(self.directory).is_dir():
            raise SkipError("not_present")
        found = paths.files(self.directory, _JOURNALS, recursive=True)
        return [
            Candidate(
                kind=self.name,
                target=item.path,
                bytes=item.bytes,
                last_used=item.last_used,
                held_by="" if "@" in item.parts[-1] else "active",
                counted=item.device == self.watched_device,
                handle=item,
            )
            for item in found
        ]

    def remove(self, candidate: Candidate) -> Removal:
        """Let journald's own tool drop everything up to this file; see ``Kind``.

        Files go oldest first, so what is left when this one has gone is known in advance.
        """
        if not os.path.lexists(candidate.target):
            return Removal(True, candidate.bytes, "")
        directory = str(Path(candidate.target).parent)
        found = paths.files(directory, _JOURNALS, recursive=False)
        stays = max(sum(item.bytes for item in found) - candidate.bytes, 1)
        argv = ["journalctl", f"--vacuum-size={stays}", f"--directory={directory}"]
        programs.check(programs.call(self.run, argv), argv)
        if os.path.lexists(candidate.target):
            return Removal(False, 0, "kept_by_journald")
        return Removal(True, candidate.bytes, "")


DEFAULT = JournalSettings(max_age_days=30, max_total_mib=1024)
