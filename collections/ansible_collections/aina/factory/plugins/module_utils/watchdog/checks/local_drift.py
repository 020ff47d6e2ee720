"""What of the host is no longer as the last converge left it, by the hourly look."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from .. import local_drift, proofs, readings
from ..check import Answer, BadOrGood, Check, JudgeContext, differences
from ..facts import Fact, Known, Unknown
from ..sources import AbsentError, Host, Source


@dataclass(frozen=True)
class LocalDrift:
    """What has changed since the last converge, each as a sentence, and why nobody could look."""

    changes: tuple[str, ...]
    error: str = ""


def read(host: Host) -> LocalDrift | Fact[LocalDrift]:
    """Return what the last hourly look found."""
    if not Path(host.policy.state_dir, local_drift.BASELINE).exists():
        raise AbsentError("no converge has recorded how this host is to be")
    document = proofs.read(host)
    if isinstance(document, Unknown):
        return document
    section = readings.section(document.value, "proofs")
    if not section.has("changes"):
        raise OSError("the last proof did not look for changes")
    found = LocalDrift(readings.sentences(section, "changes"), section.text("changes_error", ""))
    return Known(found, document.as_of, document.by)


def judge(drift: LocalDrift, _context: JudgeContext) -> Iterator[Answer]:
    """Report what has changed since the last converge."""
    return differences(
        drift.changes,
        drift.error,
        differs="changed since the last converge",
        same="as the last converge left it",
    )


SOURCE = Source[LocalDrift]("local_drift", read)
CHECKS = (
    Check(
        name="local_drift",
        title="Changed since the last converge",
        advice="script/plan shows what a converge would do; a converge records what stays",
        source=SOURCE,
        judge=judge,
        selftest=BadOrGood(lambda bad, _now: LocalDrift(("file /x is new",) if bad else ())),
        raise_after=(1, 1),
        value_unit="count",
    ),
)
