"""The watched disk, and what letting one thing go has freed of it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Disk:
    """The watched filesystem, counted as ``df`` does: reserved blocks are nobody's."""

    path: str
    total_bytes: int
    used_bytes: int
    available_bytes: int

    @property
    def used_percent(self) -> float:
        """The used share of what unprivileged programs could ever use."""
        reachable = self.used_bytes + self.available_bytes
        return round(100.0 * self.used_bytes / reachable, 1) if reachable else 100.0


@dataclass(frozen=True)
class Removal:
    """What came of carrying out one decision."""

    removed: bool
    bytes: int
    reason: str
