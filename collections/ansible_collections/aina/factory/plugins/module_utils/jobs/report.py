"""Put declared and actual jobs side by side; pure. Unknown stays ``None``."""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Any

from ..base import times
from . import calendar, layout
from .observe import PauseFile, Unit
from .settings import Job, Jobs

# How a run ends that calls for nobody.
FINE = ("success", "skipped", "replaced")
# A record that is dated further ahead says nothing: the clock went back since.
_AHEAD_SECONDS = 60


@dataclass(frozen=True)
class Actual:
    """What the host has; ``units`` is ``None`` where no systemd could be asked."""

    units: Mapping[str, Unit] | None
    runtime_pauses: Mapping[str, PauseFile]
    last_runs: Mapping[str, Mapping[str, Any]]
    last_successes: Mapping[str, Mapping[str, Any]]
    scheduled: AbstractSet[str] | None = None  # jobs of the cron file, where cron schedules


def report(jobs: Jobs, actual: Actual, now: float) -> dict[str, Any]:
    """Return the document of ``factory jobs --json`` (without ``schema``)."""
    documents = [_job(job, actual, now) for job in jobs.declared]
    return {"jobs": documents, "drift": _undeclared(jobs, actual)}


def _job(job: Job, actual: Actual, now: float) -> dict[str, Any]:
    paused = _pause(job, actual)
    timer = _unit(actual, layout.timer(job.name))
    service = _unit(actual, layout.service(job.name))
    last = actual.last_runs.get(job.name)
    return {
        "name": job.name,
        "description": job.title,
        "state": "paused" if paused else "present",
        "declared_state": job.state,
        "paused": paused,
        "schedule": job.schedule,
        "timezone": job.timezone,
        "running": None if service is None else service.active_state == "activating",
        "running_since": times.iso_or_none(service.started_at)
        if service is not None and service.active_state == "activating"
        else None,
        "interval_seconds": calendar.interval_seconds(job.schedule),
        "next_elapse_at": times.iso_or_none(timer.next_elapse)
        if timer is not None and not paused
        else None,
        "last_run": _run(last),
        "last_success_at": times.iso_or_none(_ended(actual.last_successes.get(job.name))),
        "expect_every_seconds": job.expect_every_seconds,
        "missed": _missed(job, paused is not None, timer, actual, now),
        "review_due": _review_due(paused, now),
        "drift": _drift(job, paused is not None, actual),
    }


def _pause(job: Job, actual: Actual) -> dict[str, Any] | None:
    runtime = actual.runtime_pauses.get(job.name)
    if job.paused is not None:
        pause, origin = job.paused, "declared"
        return {
            "reason": pause.reason,
            "by": pause.by,
            "since": pause.since,
            "review_after": pause.review_after,
            "origin": origin,
        }
    if runtime is None:
        return None
    return {
        "reason": runtime.reason,
        "by": runtime.by,
        "since": runtime.since,
        "review_after": runtime.review_after,
        "origin": "runtime",
    }


def _unit(actual: Actual, name: str) -> Unit | None:
    return None if actual.units is None else actual.units.get(name)


def _run(record: Mapping[str, Any] | None) -> dict[str, Any] | None:
    if record is None:
        return None
    started, ended = record.get("started_at_seconds"), record.get("ended_at_seconds")
    duration = ended - started if isinstance(started, int) and isinstance(ended, int) else None
    return {
        "result": record.get("result", "unknown"),
        "exit_status": record.get("exit_status"),
        "started_at": times.iso_or_none(started),
        "ended_at": times.iso_or_none(ended),
        "duration_seconds": duration,
    }


def _ended(record: Mapping[str, Any] | None) -> Any:
    return None if record is None else record.get("ended_at_seconds")


def _missed(
    job: Job, is_paused: bool, timer: Unit | None, actual: Actual, now: float
) -> bool | None:
    if job.expect_every_seconds is None or is_paused:
        return False
    record = actual.last_successes.get(job.name)
    success = _ended(record)
    if record is not None and (not isinstance(success, int) or success > now + _AHEAD_SECONDS):
        return None
    if isinstance(success, int):
        return now - success > job.expect_every_seconds
    if timer is None or timer.active_since is None:
        return None
    # Never succeeded: it has had its chance once the timer has waited that long.
    return now - timer.active_since > job.expect_every_seconds


def _review_due(pause: Mapping[str, Any] | None, now: float) -> bool:
    if pause is None or pause["review_after"] is None:
        return False
    try:
        review = datetime.datetime.fromisoformat(str(pause["review_after"]))
    except ValueError:
        return True
    if review.tzinfo is None:
        review = review.replace(tzinfo=datetime.UTC)
    return now >= review.timestamp()


def _drift(job: Job, is_paused: bool, actual: Actual) -> list[str] | None:
    """Return codes of what differs from the declaration, ``None`` when it cannot be known."""
    if actual.units is None:
        if actual.scheduled is None:
            return None
        runs = job.name in actual.scheduled
        return [] if runs == job.is_active else ["cron_line_missing" if not runs else "not_paused"]
    found = []
    for kind, name in (("timer", layout.timer(job.name)), ("service", layout.service(job.name))):
        unit = actual.units.get(name)
        if unit is None or not unit.is_loaded:
            found.append(f"{kind}_missing")
        elif not unit.can_start:
            found.append(f"{kind}_{unit.load_state.replace('-', '_')}")
        elif unit.needs_reload:
            found.append(f"{kind}_needs_daemon_reload")
    timer = actual.units.get(layout.timer(job.name))
    if timer is not None and timer.is_loaded:
        if is_paused:
            found += ["timer_active_though_paused"] if timer.is_running else []
            found += ["timer_enabled_though_paused"] if timer.is_enabled else []
        else:
            found += [] if timer.active_state == "active" else ["timer_not_active"]
            found += [] if timer.is_enabled else ["timer_not_enabled"]
    return found


def _undeclared(jobs: Jobs, actual: Actual) -> list[dict[str, str]] | None:
    if actual.units is None:
        return None if actual.scheduled is None else []
    declared = {job.name for job in jobs.declared}
    return [
        {"unit": name, "reason": "undeclared"}
        for name, unit in sorted(actual.units.items())
        if (unit.is_loaded or unit.is_running)
        and (job := layout.job_of(name)) is not None
        and job not in declared
    ]


def table(document: Mapping[str, Any]) -> str:
    """Return the report for people."""
    rows = [("JOB", "STATE", "NEXT", "LAST RUN", "NOTES")]
    for job in document["jobs"]:
        last = job["last_run"]
        ran = f"{last['result']} {last['ended_at']}" if last else "never seen"
        rows.append(
            (
                job["name"],
                "running" if job["running"] else job["state"],
                job["next_elapse_at"] or "-",
                ran,
                _notes(job),
            )
        )
    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    lines = [
        "  ".join([*(row[column].ljust(widths[column]) for column in range(4)), row[4]]).rstrip()
        for row in rows
    ]
    for item in document["drift"] or []:
        lines.append(f"drift: {item['unit']} is {item['reason']}")
    return "\n".join(lines)


def _notes(job: Mapping[str, Any]) -> str:
    notes = []
    if job["paused"]:
        pause = job["paused"]
        notes.append(f"{pause['reason']} ({pause['origin']}, {pause['by']}, {pause['since']})")
    if job["review_due"]:
        notes.append("review is due")
    if job["missed"]:
        notes.append(f"no success within {job['expect_every_seconds']} s")
    notes += job["drift"] if job["drift"] is not None else ["actual state unknown"]
    return "; ".join(notes)
