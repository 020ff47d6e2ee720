"""Worktrees: the reaper decides and acts, the janitor reports."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ...base.disk import Removal
from ..host import Host, Reap
from ..model import Candidate, Kind, KindLimits


@dataclass(frozen=True)
class WorktreesSettings:
    """Whether worktrees are reaped."""

    enabled: bool

    def kinds(self, host: Host) -> Sequence[Kind]:
        return [Worktrees(host.reap)] if self.enabled else []


@dataclass
class Worktrees:
    """Worktrees whose work has landed. Age and disk use never make one go.

    One that goes can be had back for a time and frees nothing until then; what went before frees
    its space when that time is over, or when the disk is full.
    """

    reap: Reap
    limits: KindLimits = field(
        default_factory=lambda: KindLimits(max_per_run=100_000, watermark=False)
    )
    name: str = field(default="worktrees", init=False)
    failures: Sequence[str] = field(default=(), init=False)
    _reaped: dict[tuple[str, str], Mapping[str, Any]] | None = field(default=None, init=False)

    def inventory(self) -> Sequence[Candidate]:
        """Ask the reaper for its verdicts; see ``Kind``."""
        verdicts, self.failures = self.reap(True)
        return [
            Candidate(
                kind=self.name,
                target=str(item["path"]),
                bytes=int(item["bytes"] or 0) if item["verdict"] == "free" else 0,
                last_used=None,
                held_by=str(item["reason"]) if item["verdict"] == "keep" else "",
                due="" if item["verdict"] == "keep" else str(item["reason"]),
                handle=item["verdict"],
            )
            for item in verdicts
        ]

    def remove(self, candidate: Candidate) -> Removal:
        """Reap once, at the first call, and report per worktree; see ``Kind``."""
        if self._reaped is None:
            verdicts, self.failures = self.reap(False)
            self._reaped = {(str(item["path"]), str(item["verdict"])): item for item in verdicts}
        item = self._reaped.get((candidate.target, str(candidate.handle)))
        if item is None or not item["reaped"]:
            return Removal(False, 0, self._why(candidate, item))
        return Removal(True, candidate.bytes, "")

    def _why(self, candidate: Candidate, item: Mapping[str, Any] | None) -> str:
        if item is None:  # the verdict is another one now
            item = (self._reaped or {}).get((candidate.target, "keep"))
        return str(item["reason"]) if item else "gone"
