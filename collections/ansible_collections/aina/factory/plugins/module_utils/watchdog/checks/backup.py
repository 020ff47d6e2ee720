"""How the last backup ended, and the age of the last good one."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ...base.text import duration
from .. import readings
from ..check import Answer, AtLimit, Check, JudgeContext, Status
from ..facts import HOUR, Fact
from ..limits import Limit
from ..sources import AbsentError, Host, Source, parsed

AGE = Limit("backup_age_hours", "Age of the last good backup.", raise_at=50, clear_at=50)


@dataclass(frozen=True)
class Backup:
    """How the last backup and the last verification ended, and when a snapshot last was good."""

    state: str
    detail: str
    last_success_at: float | None


def read(host: Host) -> Backup | Fact[Backup]:
    """Read ``backup/report.json``, where a backup is declared."""
    if not host.whole.has("backup"):
        raise AbsentError("no backup is declared")
    path = Path(host.policy.data_dir, "backup/report.json")
    if path.exists():
        section = readings.section(parsed(path), "backup")
        state = section.text("state", choices=("ok", "incomplete", "failed"))
        last = readings.time_or_none(section, "last_success_at")
        at = readings.time_or_none(section, "updated_at") or last or 0.0
        found = Backup(state, section.text("detail", ""), last)
        return host.written(found, at, "the backup's report", moments=[last])
    if host.is_new(AGE):
        raise AbsentError("no backup was made yet")
    return Backup("failed", f"{path} does not exist; did the job that makes it ever run?", None)


def judge(backup: Backup, context: JudgeContext) -> Iterator[Answer]:
    """Judge how the last backup ended, and the age of the last good one."""
    if backup.last_success_at is None:
        yield Answer("", Status.PROBLEM, f"none has been good yet: {backup.state} {backup.detail}")
        return
    hours = (context.now - backup.last_success_at) / HOUR
    status, lingers = context.by(AGE, hours)
    detail = f"the last good one was made {duration(hours * HOUR)} ago"
    if backup.state != "ok":
        status, detail = Status.PROBLEM, f"{backup.state}: {backup.detail}; {detail}"
    yield Answer("", status, detail, round(hours, 1), lingers)


SOURCE = Source[Backup]("backup", read)
CHECKS = (
    Check(
        name="backup",
        title="Backup",
        advice="factory backup says what is wrong; docs/operations.md tells of a restore",
        source=SOURCE,
        judge=judge,
        selftest=AtLimit(AGE, lambda hours, now: Backup("ok", "", now - hours * HOUR)),
        raise_after=(1, 1),
        stages=(168,),
    ),
)
