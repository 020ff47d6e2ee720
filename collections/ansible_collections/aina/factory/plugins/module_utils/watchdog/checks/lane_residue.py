"""What ended lanes left behind."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from .. import readings
from ..check import Answer, BadOrGood, Check, JudgeContext, Status, some
from ..sources import AbsentError, Host, Source, parsed


@dataclass(frozen=True)
class Residue:
    """What ended lanes left behind, each as a sentence."""

    checked_at: float
    differences: tuple[str, ...]


def read(host: Host) -> Residue:
    path = Path(host.policy.data_dir, "lanes/residue.json")
    if not path.exists():
        raise AbsentError("no lane has ended yet")
    section = readings.section(parsed(path), "residue")
    return Residue(readings.time(section, "checked_at"), readings.sentences(section, "differences"))


def judge(residue: Residue, _context: JudgeContext) -> Iterator[Answer]:
    """Report what ended lanes left behind."""
    found = len(residue.differences)
    if found:
        yield Answer("", Status.PROBLEM, f"ended lanes left: {some(residue.differences)}", found)
    else:
        yield Answer("", Status.OK, "ended lanes left nothing behind", 0)


SOURCE = Source("residue", read)
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
