"""Work on the server that somebody planned: a state of its own, and no alarm."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ..base import documents, times
from .facts import HOUR
from .silences import Silence

MARK = "draining.json"
ORIGIN = "planned work"
# What rests while the server is emptied of work, its engine upgraded, or it is booted anew.
QUIET = (
    "container_start:*",
    "engine",
    "image:*",
    "job_missed:*",
    "lane_stuck:*",
    "merge_report:*",
    "merge_waiting:*",
    "reboot",
    "run_gap",
    "runner:*",
    "runner_queue:*",
    "unit_running:docker.*",
    "unit_running:factory-*",
    "unknown:containers*",
    "unknown:engine",
    "unknown:images*",
    "unknown:local_drift",
    "unknown:merge_queues*",
    "unknown:owners*",
    "unknown:runners*",
)


@dataclass(frozen=True)
class PlannedWork:
    """That the server is emptied of work: why, by whom, since when."""

    since: float
    reason: str
    by: str


def read(data_dir: str) -> PlannedWork | None:
    """Return the work that somebody planned; the mark counts by being there."""
    path = Path(data_dir, MARK)
    try:
        written_at = path.stat().st_mtime
    except OSError:
        return None
    mark = documents.read(path) or {}
    try:
        since = times.seconds(str(mark["since"]))
    except (KeyError, ValueError):
        since = written_at
    reason = str(mark.get("reason", "the mark cannot be read"))
    return PlannedWork(since, reason, str(mark.get("by", "unknown")))


def silences(work: PlannedWork | None, longest_hours: float) -> tuple[Silence, ...]:
    """Return what need not be told meanwhile; what lasts longer than planned work does is told."""
    if work is None:
        return ()
    until = work.since + longest_hours * HOUR
    return tuple(Silence(match, until, work.reason, work.by, ORIGIN) for match in QUIET)
