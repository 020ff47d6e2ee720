"""What this host has left for lanes."""

from __future__ import annotations

import os
from pathlib import Path

from factory.core.base import documents
from factory.core.jobs import drain
from factory.core.lanes.admission import Load, Obstacle
from factory.core.lanes.settings import Settings

OWNER = "owner.json"
DRAINING = "draining"


def draining() -> Obstacle | None:
    """Return why nothing may begin at all; ``None`` when the server works as usual.

    The mark counts by being there: one that cannot be read says no less.
    """
    if not Path(drain.MARK).exists():
        return None
    words = f"the server is emptied of work ({drain.MARK}); factory drain --end ends that"
    return Obstacle(DRAINING, words)


def load(settings: Settings) -> Load:
    """Return which lanes there are, and the disk and memory that are free."""
    running: list[tuple[str, int]] = []
    for index, path in enumerate(Path(settings.run_dir).glob(f"*/{OWNER}")):
        owner = documents.read(path) or {}
        # Lanes without an issue are never each other's.
        number = int(owner.get("issue") or 0) or -1 - index
        running.append((str(owner.get("project")), number))
    statistics = os.statvfs(settings.state_dir)
    return Load(
        running=running,
        free_disk_bytes=statistics.f_bavail * statistics.f_frsize,
        available_memory_bytes=_available_memory_bytes(),
    )


def _available_memory_bytes() -> int:
    for line in Path("/proc/meminfo").read_text(encoding="ascii").splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024
    return 0
