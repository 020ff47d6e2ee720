"""Package files that apt downloaded and installed."""

from __future__ import annotations

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

_ARCHIVES = "/var/cache/apt/archives"


@dataclass(frozen=True)
class AptCacheSettings(Limited):
    """When the cache goes."""

    def kinds(self, host: Host) -> Sequence[Kind]:
        return [AptCache(self.limits, host.run, host.device)]


@dataclass
class AptCache:
    """Package files that apt downloaded and installed."""

    limits: KindLimits
    run: Run
    watched_device: int
    directory: str = _ARCHIVES
    name: str = field(default="apt_cache", init=False)

    def inventory(self) -> Sequence[Candidate]:
        """List the cache as one thing; see ``Kind``."""
        if not Path(self.directory).is_dir():
            raise SkipError("not_present")
        found = self._packages()
        total = sum(item.bytes for item in found)
        if not total:
            return []
        return [
            Candidate(
                kind=self.name,
                target=self.directory,
                bytes=total,
                last_used=max(item.last_used for item in found),
                counted=found[0].device == self.watched_device,
            )
        ]

    def _packages(self) -> list[paths.PathEntry]:
        return paths.files(self.directory, ("*.deb",), recursive=True)

    def remove(self, candidate: Candidate) -> Removal:
        """Let apt empty its cache under its own lock; see ``Kind``."""
        argv = ["apt-get", "clean"]
        done = programs.call(self.run, argv)
        if not done.ok and b"lock" in done.stderr:
            return Removal(False, 0, "locked")
        programs.check(done, argv)
        left = sum(item.bytes for item in self._packages())
        return Removal(True, max(candidate.bytes - left, 0), "")


DEFAULT = AptCacheSettings(max_age_days=1)
