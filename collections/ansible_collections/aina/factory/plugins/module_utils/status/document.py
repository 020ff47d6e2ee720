"""The one document about the server: what every view of its state is made from; pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, TypeVar

from ..base import times
from ..watchdog import attribution, causes, trend, work
from ..watchdog.alerts import Track, Transition
from ..watchdog.attribution import Attribution
from ..watchdog.check import UNKNOWN, Finding, Status
from ..watchdog.checks import (
    BY_NAME,
    backup,
    certificates,
    disk_owners,
    disk_trend,
    drift,
    engine,
    images,
    jobs,
    lanes,
    local_drift,
    merge_queues,
    paperclip,
    runners,
    workspaces,
    worktrees,
)
from ..watchdog.checks.disks import SPACE
from ..watchdog.facts import NOT_GATHERED, Fact, Known, Unknown
from ..watchdog.filesystems import DISKS, Filesystem
from ..watchdog.heal import Attempt, Repair
from ..watchdog.messages import Outbox
from ..watchdog.paperclip import Company, Paperclip
from ..watchdog.planned import ORIGIN, PlannedWork
from ..watchdog.settings import WatchdogSettings
from ..watchdog.silences import Silence, covering
from ..watchdog.sources import Facts
from ..watchdog.trend import DiskSample
from ..watchdog.workspaces import Workspaces

T = TypeVar("T")
SCHEMA = 1
_SHOWN_BROKEN = 50
_SHOWN_ATTEMPTS = 30


@dataclass(frozen=True)
class WatchdogReport:
    """Everything that one run of the watchdog brought about."""

    host: str
    facts: Facts
    findings: Sequence[Finding]
    step: Transition
    policy: WatchdogSettings
    silences: Sequence[Silence]
    repairs: Sequence[Repair]
    attempts: Sequence[Attempt]
    outbox: Outbox
    timeline: Sequence[Mapping[str, Any]]
    dead_man_ok_at: float | None
    dead_man_error: str
    seconds: float
    problems: Sequence[str]
    planned: PlannedWork | None = None
    work: Mapping[str, Any] | None = None


def build(report: WatchdogReport) -> dict[str, Any]:
    """Return the document of ``status.json``."""
    facts, now = report.facts, report.facts.now
    return {
        "schema": SCHEMA,
        "generated_at": times.iso_or_none(now),
        "next_expected_at": times.iso_or_none(now + report.policy.interval_seconds),
        "host": report.host,
        "overall": _overall(report),
        "planned": _planned(report),
        "run": {"seconds": round(report.seconds, 3), "problems": list(report.problems)},
        "alerts": [_alert(track, report) for track in report.step.firing],
        "pending": [track.document() for track in report.step.tracks.values() if track.pending],
        "silences": [
            silence.document(now)
            for silence in report.silences
            # Planned work has its own place.
            if silence.origin != ORIGIN
        ],
        "checks": [_check(finding, facts) for finding in report.findings],
        "disk": _disks(facts, report.policy),
        "jobs": _part(facts[jobs.SOURCE], lambda found: list(found["jobs"])),
        "lanes": _part(facts[lanes.SOURCE], lambda found: _each(found, _times)),
        "runners": _part(facts[runners.SOURCE], lambda found: _each(found, _times)),
        "merge_queue": _part(facts[merge_queues.SOURCE], lambda found: _each(found, dict)),
        "board": _board(facts[paperclip.SOURCE]),
        "images": _part(facts[images.SOURCE], lambda found: _each(found, _times)),
        "certificates": _part(facts[certificates.SOURCE], lambda found: _each(found, _times)),
        "drift": _part(facts[drift.SOURCE], lambda found: [_times(found)]),
        "backup": _part(facts[backup.SOURCE], lambda found: [_times(found)]),
        "local_drift": _part(facts[local_drift.SOURCE], lambda found: [asdict(found)]),
        "engine": _part(facts[engine.SOURCE], lambda found: [asdict(found)]),
        "workspaces": _part(facts[workspaces.SOURCE], _workspaces),
        "worktrees": _part(facts[worktrees.SOURCE], lambda found: [asdict(found)]),
        "heals": {
            "mode": report.policy.heal.mode,
            "waiting": [
                {"action": item.action, "target": item.target, "verdict": item.verdict}
                for item in report.repairs
                if item.verdict != "go"
            ][:_SHOWN_BROKEN],
            "recent": [item.document() for item in report.attempts[-_SHOWN_ATTEMPTS:]][::-1],
        },
        "notifications": _notifications(report),
        "dead_man": {
            "configured": bool(report.policy.notify.dead_man_path),
            "last_ok_at": times.iso_or_none(report.dead_man_ok_at),
            "error": report.dead_man_error,
        },
        "work": work.shown(report.work, now),
        "timeline": list(report.timeline)[::-1],
    }


def _overall(report: WatchdogReport) -> str:
    """Return the worst that is known; what is not yet bad for long enough is not "ok" either.

    An alert that only informs (a pause to review), or that planned work brings along, leaves it
    as it is.
    """
    now = report.facts.now
    meant = [silence for silence in report.silences if silence.origin == ORIGIN]
    told = [
        track
        for track in report.step.firing
        if track.severity != "info" and covering(track.key, meant, now) is None
    ]
    if report.problems or any(track.check != UNKNOWN for track in told):
        return "problem"
    # Whoever looks now is not to wait until it has been so often enough for a message.
    doubted = [
        item
        for item in report.findings
        if item.status in (Status.UNKNOWN, Status.PROBLEM)
        and covering(item.raises, meant, now) is None
    ]
    unclear = told or any(
        item.status is Status.UNKNOWN or BY_NAME[item.check].severity != "info" for item in doubted
    )
    return "unknown" if unclear else "ok"


def _planned(report: WatchdogReport) -> dict[str, Any] | None:
    work = report.planned
    if work is None:
        return None
    return {"since": times.iso_or_none(work.since), "reason": work.reason, "by": work.by}


def _alert(track: Track, report: WatchdogReport) -> dict[str, Any]:
    silence = covering(track.key, report.silences, report.facts.now)
    told = silence.document(report.facts.now) if silence is not None else None
    firing = {item.key for item in report.step.firing}
    return {**track.document(), "silenced": told, "cause": causes.of(track.key, firing)}


def _check(finding: Finding, facts: Facts) -> dict[str, Any]:
    check = BY_NAME[finding.check]
    return {
        "check": finding.check,
        "title": check.title,
        "subject": finding.subject,
        "status": finding.status.value,
        "detail": finding.detail,
        "value": finding.value,
        "unit": check.unit,
        "fact_seconds": facts.seconds.get(check.source.name),
    }


def _part(fact: Fact[T], items: Callable[[T], Iterable[Any]]) -> dict[str, Any]:
    """Return a part of the document; what is not known says so instead of being empty."""
    if isinstance(fact, Known):
        return {"state": "known", "reason": "", "items": list(items(fact.value))}
    state = "unknown" if isinstance(fact, Unknown) else "absent"
    return {"state": state, "reason": fact.reason, "items": []}


def _each(
    facts: Mapping[str, Fact[T]], read: Callable[[T], Mapping[str, Any]]
) -> list[dict[str, Any]]:
    return [
        {"name": name, "known": True, "reason": "", **read(fact.value)}
        if isinstance(fact, Known)
        else {"name": name, "known": False, "reason": fact.reason}
        for name, fact in facts.items()
    ]


def _times(value: Any) -> dict[str, Any]:
    """Return a fact's own fields, moments as ISO 8601."""
    return {
        key: times.iso_or_none(item) if key.endswith("_at") or key == "since" else item
        for key, item in asdict(value).items()
    }


def _board(fact: Fact[Paperclip]) -> dict[str, Any]:
    part = _part(fact, lambda board: [_company(item) for item in _companies(board)])
    if isinstance(fact, Known):
        part["healthy"], part["detail"] = fact.value.healthy, fact.value.detail
        if not isinstance(fact.value.companies, Known):
            part["reason"] = fact.value.companies.reason
    else:
        part["healthy"], part["detail"] = None, fact.reason
    return part


def _companies(board: Paperclip) -> tuple[Company, ...]:
    return board.companies.value if isinstance(board.companies, Known) else ()


def _company(company: Company) -> dict[str, Any]:
    return {
        **asdict(company),
        "last_success_at": times.iso_or_none(company.last_success_at),
        "runs": [_times(run) for run in company.runs],
    }


def _workspaces(found: Workspaces) -> list[dict[str, Any]]:
    reasons: dict[str, int] = {}
    for workspace in found.broken:
        reasons[workspace.reason] = reasons.get(workspace.reason, 0) + 1
    shown = [{"path": item.path, "reason": item.reason} for item in found.broken[:_SHOWN_BROKEN]]
    missing = list(found.missing)
    return [{"count": found.count, "reasons": reasons, "broken": shown, "missing": missing}]


def _notifications(report: WatchdogReport) -> dict[str, Any]:
    delivery = report.outbox.delivery()
    return {
        "configured": report.policy.notify.is_heard,
        "waiting": delivery.waiting,
        "oldest_at": times.iso_or_none(delivery.oldest_at),
        "error": delivery.error,
        "dropped": delivery.dropped,
    }


def _disks(facts: Facts, policy: WatchdogSettings) -> list[dict[str, Any]]:
    disks, histories, measured = facts[DISKS], facts[disk_trend.SOURCE], facts[disk_owners.SOURCE]
    if not isinstance(disks, Known):
        return []
    samples = histories.value if isinstance(histories, Known) else {}
    owners = measured.value if isinstance(measured, Known) else {}
    limit = policy.limits.get(SPACE.name, SPACE)
    return [
        {
            **_disk(path, fact, samples.get(path, ()), owners.get(path, NOT_GATHERED), facts.now),
            "raise_percent": limit.raise_at,
            "clear_percent": limit.clear_at,
        }
        for path, fact in disks.value.items()
    ]


def _disk(
    path: str,
    fact: Fact[Filesystem],
    history: Sequence[DiskSample],
    found: Fact[Any],
    now: float,
) -> dict[str, Any]:
    if not isinstance(fact, Known):
        return {"path": path, "known": False, "reason": fact.reason}
    growth = trend.of(history, now)
    disk = fact.value.disk
    return {
        "path": path,
        "known": True,
        "reason": "",
        "total_bytes": disk.total_bytes,
        "used_bytes": disk.used_bytes,
        "available_bytes": disk.available_bytes,
        "used_percent": disk.used_percent,
        "inodes_used_percent": fact.value.inodes_used_percent,
        "growth_bytes_per_hour": growth.growth_bytes_per_hour,
        "full_in_hours": growth.hours_to_full,
        "history": [[round(at), round(used)] for at, used in trend.hourly(history)],
        "owners": _owners(found),
    }


def _owners(fact: Fact[Any]) -> dict[str, Any] | None:
    if not isinstance(fact, Known):
        return None
    found: Attribution = fact.value
    by_path = {owner.path: owner for owner in found.owners}
    buckets = []
    for name, count in attribution.buckets(found):
        owner = by_path.get(name)
        growth = owner.growth_bytes if owner else None
        if name == attribution.UNATTRIBUTED:
            growth = found.unattributed_growth_bytes
        buckets.append(
            {
                "name": name,
                "bytes": count,
                "growth_bytes": growth,
                "stale": owner.stale if owner else False,
                "measured": owner is None or owner.bytes is not None,
            }
        )
    return {
        "measured_at": times.iso_or_none(found.measured_at),
        "used_bytes": found.used_bytes,
        "seconds": round(found.seconds, 1),
        "complete": found.complete,
        "explained_percent": found.explained_percent,
        "buckets": buckets,
        "deleted_open": [{"holder": name, "bytes": count} for name, count in found.deleted_open],
    }
