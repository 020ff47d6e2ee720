"""What ended lanes left behind."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ...base import documents, times
from ...base.text import duration
from .. import readings
from ..check import Answer, BadOrGood, Check, JudgeContext, Status, some
from ..facts import HOUR, Fact
from ..sources import AbsentError, Host, Source, parsed


@dataclass(frozen=True)
class Residue:
    """What ended lanes left behind, each as a sentence."""

    checked_at: float
    differences: tuple[str, ...]


def read(host: Host) -> Fact[Residue]:
    """Return what the lanes' reaper found; it looks whenever a lane ends."""
    lanes = Path(host.policy.data_dir, "lanes")
    path = lanes / "residue.json"
    if not path.exists() and not any(lanes.glob("*/result.json")):
        raise AbsentError("no lane has ended yet")
    section = readings.section(parsed(path), "residue")
    checked_at = readings.time(section, "checked_at")
    found = Residue(checked_at, readings.sentences(section, "differences"))
    ended_at = max(map(_ended_at, lanes.glob("*/result.json")), default=0.0)
    if checked_at < ended_at - HOUR:
        ago = duration(ended_at - checked_at)
        raise OSError(f"nobody looked at what lanes left since {ago} before the last one ended")
    return host.written(found, checked_at, "the look at what lanes left")


def _ended_at(path: Path) -> float:
    """Return when a lane ended: what it left is delivered again, and its result written anew."""
    try:
        return times.seconds(str((documents.read(path) or {})["finished_at"]))
    except (KeyError, ValueError):
        return path.stat().st_mtime


def judge(residue: Residue, _context: JudgeContext) -> Iterator[Answer]:
    """Report what ended lanes left behind."""
    found = len(residue.differences)
    if found:
        yield Answer("", Status.PROBLEM, f"ended lanes left: {some(residue.differences)}", found)
    else:
        yield Answer("", Status.OK, "ended lanes left nothing behind", 0)


SOURCE = Source[Residue]("residue", read)
CHECKS = (
    Check(
        name="lane_residue",
        title="Leftovers of lanes",
        advice="factory janitor --dry-run",
        source=SOURCE,
        judge=judge,
        selftest=BadOrGood(lambda bad, now: Residue(now, ("a volume",) if bad else ())),
        value_unit="count",
    ),
)
