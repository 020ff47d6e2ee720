"""Whether a lane may start now, and if not, what it waits for."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from .settings import LaneProject, LanesSettings

MIB = 1 << 20
# Who waited for this would do all of it again.
ISSUE_TAKEN = "issue_taken"


@dataclass(frozen=True)
class Load:
    """What the host has and what runs on it: (project, issue) of each lane."""

    running: Collection[tuple[str, int]]
    free_disk_bytes: int
    available_memory_bytes: int


@dataclass(frozen=True)
class Obstacle:
    """What is in the way of a new lane: a code for programs, and words."""

    code: str
    words: str


def obstacle(
    settings: LanesSettings, project: LaneProject, issue: int, load: Load
) -> Obstacle | None:
    """Return what is in the way of a new lane; ``None`` when nothing is."""
    if (project.name, issue) in load.running:
        return Obstacle(ISSUE_TAKEN, f"a lane works on issue {issue} of {project.name} already")
    if len(load.running) >= settings.concurrency_count:
        return Obstacle(
            "lanes_taken", f"all {settings.concurrency_count} lanes of this server are taken"
        )
    own = sum(name == project.name for name, _issue in load.running)
    if own >= project.concurrency_count:
        words = f"all {project.concurrency_count} lanes of {project.name} are taken"
        return Obstacle("project_taken", words)
    if load.free_disk_bytes < settings.min_free_disk_mib * MIB:
        return Obstacle(
            "disk",
            f"{load.free_disk_bytes // MIB} MiB of disk are free, and lanes.min_free_disk_mib is "
            f"{settings.min_free_disk_mib}; run factory janitor",
        )
    needed = project.limits.memory_mib + settings.min_free_memory_mib
    if load.available_memory_bytes < needed * MIB:
        return Obstacle(
            "memory",
            f"{load.available_memory_bytes // MIB} MiB of memory are available, and a lane of "
            f"{project.name} needs {needed} with lanes.min_free_memory_mib",
        )
    return None
