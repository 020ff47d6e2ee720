"""What differs from the declared state, by the last nightly look."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from .. import readings
from ..check import Answer, BadOrGood, Check, JudgeContext, differences
from ..facts import Fact
from ..limits import Limit
from ..sources import AbsentError, Host, Source, parsed

AGE = Limit(
    "drift_age_hours", "Age of the last comparison with the declaration.", raise_at=50, clear_at=50
)


@dataclass(frozen=True)
class Drift:
    """What differs from the declared state, by the last nightly look."""

    checked_at: float
    error: str
    changes: tuple[str, ...]


def read(host: Host) -> Fact[Drift]:
    path = Path(host.policy.data_dir, "drift.json")
    if not path.exists() and not host.whole.has("drift"):
        raise AbsentError("nobody looks for drift here")
    section = readings.section(parsed(path), "drift")
    found = Drift(
        readings.time(section, "checked_at"),
        section.text("error", ""),
        readings.sentences(section, "changes"),
    )
    return host.written(found, found.checked_at, "the look for drift", AGE)


def judge(drift: Drift, _context: JudgeContext) -> Iterator[Answer]:
    """Report what differs from the declared state."""
    return differences(
        drift.changes,
        drift.error,
        differs="differs from the declared state",
        same="as declared",
    )


SOURCE = Source[Drift]("drift", read)
CHECKS = (
    Check(
        name="drift",
        title="Drift from the declared state",
        advice="script/plan, then script/converge",
        source=SOURCE,
        judge=judge,
        selftest=BadOrGood(lambda bad, now: Drift(now, "", ("a file",) if bad else ())),
        raise_after=(1, 1),
        other_limits=(AGE,),
        value_unit="count",
    ),
)
