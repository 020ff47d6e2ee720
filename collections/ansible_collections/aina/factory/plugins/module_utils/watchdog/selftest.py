"""Inject every bad fact, and see that its alert is raised, told and cleared; pure.

It runs with the host's own policy: a limit that no value can reach makes it fail, as does
a check without a case.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from ..base import times
from ..base.disk import Disk
from ..base.errors import FactoryError
from . import alerts, checks, messages
from .alerts import Change, Track
from .facts import (
    DAY,
    HOUR,
    Absent,
    Attribution,
    Backup,
    BoardRun,
    Certificate,
    Clock,
    Company,
    DeadMan,
    Delivery,
    Drift,
    Engine,
    Fact,
    Facts,
    FailedUnit,
    Filesystem,
    Healing,
    Image,
    Known,
    Lane,
    Memory,
    Mount,
    Paperclip,
    Pressure,
    Previous,
    Reboot,
    Residue,
    Runner,
    Sample,
    Service,
    Unknown,
    Workspace,
    Workspaces,
    Worktrees,
)
from .limits import Limit
from .policy import Policy

_NOW = 1_800_000_000.0
_GIB = 1 << 30
_MIB = 1 << 20
_MINUTE = 60.0
_MOST_RUNS = 200
_NOTHING: Fact[Any] = Absent("not part of this case")


@dataclass(frozen=True)
class Result:
    """How one check fared; ``problem`` is empty when all went as it should."""

    check: str
    problem: str


@dataclass(frozen=True)
class Case:
    """A fact that is bad and one that is good, by a policy and a moment.

    Where one limit decides, ``make`` gives the fact for any value of the limited quantity.
    """

    bad: Callable[[Policy, float], Any]
    good: Callable[[Policy, float], Any]
    limit: str = ""
    make: Callable[[float, float], Any] | None = None


def run(policy: Policy) -> list[Result]:
    """Return how every check fares under this policy."""
    return [Result(check.name, _problem(check.name, policy)) for check in checks.CHECKS]


def _problem(name: str, policy: Policy) -> str:
    case = CASES.get(name)
    if case is None:
        return "has no case in the self-test"
    fact = checks.BY_NAME[name].fact
    try:
        return (
            _goes_round(name, fact, case.bad, case.good, policy)
            or _stays_quiet(name, fact, case.good, policy)
            or _unknown_is_raised(fact, case.good, policy)
        )
    except Exception as error:
        return f"{type(error).__name__}: {error}"


class _Server:
    """A server of which one fact is known, run after run."""

    def __init__(self, fact: str, policy: Policy) -> None:
        self.fact, self.policy = fact, policy
        self.tracks: Mapping[str, Track] = {}
        self.now = _NOW
        self.told: list[tuple[Change, str]] = []

    def run(self, value: Fact[Any]) -> None:
        self.now += self.policy.interval_seconds
        facts = _facts(self.now, self.fact, value)
        findings = checks.run(facts, self.policy.limits)
        step = alerts.step(self.tracks, findings, self.policy, (), self.now)
        self.tracks = step.tracks
        message = messages.compose(step.edges, self.policy.notify, "selftest", self.now)
        for edge in step.edges:
            if message is None or not message.body or not message.title:
                raise AlertError("it is raised, but no message speaks of it")
            self.told.append((edge.change, edge.track.check))

    def firing(self, check: str) -> bool:
        return any(track.firing and track.check == check for track in self.tracks.values())


class AlertError(FactoryError):
    """The machinery behind the checks does not do its work."""


def _facts(now: float, name: str, value: Fact[Any]) -> Facts:
    fields: dict[str, Any] = {
        field: _NOTHING for field in Facts.__dataclass_fields__ if field not in ("now", "seconds")
    }
    return Facts(now=now, **{**fields, name: value})


def _goes_round(
    name: str,
    fact: str,
    bad: Callable[[Policy, float], Any],
    good: Callable[[Policy, float], Any],
    policy: Policy,
) -> str:
    server = _Server(fact, policy)
    needed = checks.BY_NAME[name].raise_after[0]
    for _number in range(needed - 1):
        server.run(Known(bad(policy, server.now + policy.interval_seconds)))
        if server.firing(name):
            return "is raised too early"
    server.run(Known(bad(policy, server.now + policy.interval_seconds)))
    if not server.firing(name):
        return "is not raised by a fact that should raise it; can its limit be reached?"
    if (Change.RAISED, name) not in server.told:
        return "is raised, but nobody is told"
    for _number in range(_MOST_RUNS):
        server.run(Known(good(policy, server.now + policy.interval_seconds)))
        if not server.firing(name):
            break
    if server.firing(name):
        return "is not cleared by a good fact"
    return "" if (Change.RECOVERED, name) in server.told else "recovers, but nobody is told"


def _stays_quiet(name: str, fact: str, good: Callable[[Policy, float], Any], policy: Policy) -> str:
    server = _Server(fact, policy)
    for _number in range(6):
        server.run(Known(good(policy, server.now + policy.interval_seconds)))
    return "is raised by a good fact" if server.firing(name) else ""


def _unknown_is_raised(fact: str, good: Callable[[Policy, float], Any], policy: Policy) -> str:
    server = _Server(fact, policy)
    server.run(Known(good(policy, server.now + policy.interval_seconds)))
    for _number in range(policy.unknown_runs):
        if server.firing(alerts.UNKNOWN):
            return "is unknown too early"
        server.run(Unknown("the self-test hides it"))
    return "" if server.firing(alerts.UNKNOWN) else "stays unknown, and nobody is told"


def _beyond(limit: Limit) -> float:
    """Return a value on the bad side of a limit."""
    return limit.raise_at if limit.high_is_bad else max(0.0, limit.raise_at)


def _well(limit: Limit) -> float:
    """Return a value on the good side of both thresholds."""
    return limit.clear_at / 2 if limit.high_is_bad else limit.clear_at * 2 + 1


def _limited(name: str, make: Callable[[float, float], Any]) -> Case:
    """Return a case that is driven by one limit: ``make`` takes the value and the moment."""
    return Case(
        lambda policy, now: make(_beyond(policy.limits[name]), now),
        lambda policy, now: make(_well(policy.limits[name]), now),
        name,
        make,
    )


def _flag(make: Callable[[bool, float], Any]) -> Case:
    """Return a case of a fact that is bad or not: ``make`` is told whether it is."""
    return Case(lambda _policy, now: make(True, now), lambda _policy, now: make(False, now))


def _disk(used_percent: float, _now: float, inodes_percent: float = 10) -> Any:
    total = 1000 * _GIB
    used = round(total * min(100, used_percent) / 100)
    disk = Disk("/", total, used, total - used)
    return {"/": Known(Filesystem(disk, 100_000, round(1000 * (100 - inodes_percent)), 1))}


def _history(hours_to_full: float, now: float) -> Any:
    # At nine tenths, growing so that the rest is gone after exactly these hours.
    total, left = 1000 * _GIB, 100 * _GIB
    growth = left / max(hours_to_full, 0.2)
    samples = []
    for quarter in range(49 * 4):
        ago = (49 * 4 - 1 - quarter) / 4
        used = max(0, round(total - left - growth * ago))
        samples.append(Sample(now - ago * HOUR, used, total - used, 0))
    return {"/": tuple(samples)}


def _owners(share: float, now: float, *, deleted_mib: float = 0) -> Any:
    used = 100 * _GIB
    found = Attribution(
        "/", now, used, (), round(deleted_mib * _MIB), (), round(used * share / 100), None, True
    )
    return {"/": found}


def _job(**changes: Any) -> Any:
    job = {
        "name": "job",
        "expect_every_seconds": 3600,
        "paused": None,
        "missed": False,
        "last_success_at": None,
        "last_run": None,
        "running": False,
        "running_since": None,
        "interval_seconds": 900,
        "review_due": False,
        "drift": [],
    }
    return {"jobs": [{**job, **changes}], "drift": [], "failures": {}}


def _ran(result: str) -> Any:
    return {"result": result, "exit_status": "1", "ended_at": times.iso_or_none(_NOW)}


def _pause(due: bool) -> Any:
    pause = {"since": "2026-01-01", "by": "somebody", "reason": "a reason", "review_after": "x"}
    return _job(paused=pause, review_due=due)


def _runner(now: float, **changes: Any) -> Any:
    values: dict[str, Any] = {
        "name": "r",
        "project": "p",
        "mode": "native",
        "state": "idle",
        "since": now,
        "updated_at": now,
        "detail": "",
        "version": "2",
        "version_age_days": 0,
        "consecutive_failures": 0,
        "oldest_queued_seconds": 0,
    }
    return {"r": Known(Runner(**{**values, **changes}))}


def _lane(silent_minutes: float, now: float) -> Any:
    heard = now - silent_minutes * _MINUTE
    return {"l": Known(Lane("l", "p", "1", "running", heard, heard, heard))}


def _queue(now: float, **changes: Any) -> Any:
    nobody = {"count": 0, "oldest_number": None, "oldest_since": None, "oldest_seconds": None}
    values: dict[str, Any] = {
        "state": "ok",
        "detail": "",
        "updated_at": times.iso_or_none(now),
        "halted_since": None,
        "halted_reason": "",
        "main_red_since": None,
        "waiting": dict.fromkeys(("author", "reviewer", "ci", "marshal", "admin"), nobody),
        "pull_requests": [],
    }
    return {"p": Known({**values, **changes})}


def _waiting(hours: float, now: float, owner: str = "ci") -> Any:
    given = {"count": 1, "oldest_number": 7, "oldest_seconds": hours * HOUR}
    queue = _queue(now)["p"].value
    return _queue(now, waiting={**queue["waiting"], owner: given})


def _paperclip(now: float, *, healthy: bool = True, exposed: Any = (), **changes: Any) -> Any:
    values: dict[str, Any] = {
        "name": "c",
        "tasks_open": 1,
        "tasks_in_progress": 0,
        "tasks_blocked": 0,
        "tasks_done": 0,
        "tasks_todo": 1,
        "todo_truncated": False,
        "agents_active": 1,
        "agents_running": 0,
        "agents_paused": 0,
        "agents_error": 0,
        "last_success_at": now,
        "runs": (),
    }
    drift = Known(tuple(changes.pop("codex_drift", ())))
    companies: Fact[tuple[Company, ...]] = Known((Company(**{**values, **changes}),))
    return Paperclip(healthy, "as told", "1", companies, Known(tuple(exposed)), drift)


def _silent(minutes: float, now: float) -> Any:
    return _paperclip(now, runs=(BoardRun("a", now - minutes * _MINUTE, now),))


CASES: Mapping[str, Case] = {
    "disk_space": _limited("disk_used_percent", _disk),
    "disk_inodes": _limited("inodes_used_percent", lambda value, now: _disk(10, now, value)),
    "disk_mount": _flag(lambda bad, _now: {"/d": Known(Mount("/", not bad, "ext4 x"))}),
    "disk_trend": _limited("disk_full_within_hours", _history),
    "disk_owners": _limited("unattributed_percent", _owners),
    "disk_deleted_open": _limited(
        "deleted_open_mib", lambda value, now: _owners(0, now, deleted_mib=value)
    ),
    "engine": _flag(lambda bad, _now: Engine(not bad, "as told")),
    "unit_failed": _flag(lambda bad, now: (FailedUnit("u", True, now, "x"),) if bad else ()),
    "unit_running": _limited(
        "unit_restarts_count",
        lambda value, now: (Service("u", recent_restarts=round(value), counted_since=now),),
    ),
    "job_missed": _flag(lambda bad, _now: _job(missed=bad)),
    "job_failed": _flag(lambda bad, _now: _job(last_run=_ran("exit-code" if bad else "success"))),
    "job_overlapping": _flag(
        lambda bad, now: _job(
            running=True, running_since=times.iso_or_none(now - (901 if bad else 100))
        )
    ),
    "job_review": _flag(lambda bad, _now: _pause(bad)),
    "job_drift": _flag(lambda bad, _now: _job(drift=["timer_not_active"] if bad else [])),
    "runner": _limited(
        "runner_down_minutes",
        lambda value, now: _runner(now, state="starting", since=now - value * _MINUTE),
    ),
    "runner_queue": _limited(
        "runner_queued_minutes",
        lambda value, now: _runner(now, oldest_queued_seconds=value * _MINUTE),
    ),
    "runner_version": _limited(
        "runner_version_days", lambda value, now: _runner(now, version_age_days=value)
    ),
    "lane_stuck": _limited("lane_silent_minutes", _lane),
    "lane_residue": _flag(lambda bad, now: Residue(now, ("a volume",) if bad else ())),
    "merge_report": _flag(
        lambda bad, now: _queue(now, state="problem" if bad else "ok", detail="failed: no token")
    ),
    "merge_halted": _flag(
        lambda bad, now: _queue(now, halted_since=times.iso_or_none(now) if bad else None)
    ),
    "main_red": _limited(
        "main_red_minutes",
        lambda value, now: _queue(now, main_red_since=times.iso_or_none(now - value * _MINUTE)),
    ),
    "merge_waiting": _limited("merge_waiting_hours", _waiting),
    "paperclip": _flag(lambda bad, now: _paperclip(now, healthy=not bad)),
    "paperclip_exposed": _flag(lambda bad, now: _paperclip(now, exposed=("port",) if bad else ())),
    "paperclip_progress": _limited(
        "paperclip_success_hours",
        lambda value, now: _paperclip(now, last_success_at=now - value * HOUR),
    ),
    "paperclip_runs": _limited(
        "paperclip_failed_percent",
        lambda value, now: _paperclip(now, recent_runs=10_000, recent_failed=round(value * 100)),
    ),
    "paperclip_silent": _limited("paperclip_silent_minutes", _silent),
    "paperclip_agents": _limited(
        "paperclip_agents_error_count", lambda value, now: _paperclip(now, agents_error=value)
    ),
    "paperclip_codex": _flag(
        lambda bad, now: _paperclip(now, codex_drift=("home",) if bad else ())
    ),
    "image": _limited(
        "image_age_days",
        lambda value, now: {"i": Known(Image("i", now - value * DAY, None, 1, "ok", ""))},
    ),
    "backup": _limited("backup_age_hours", lambda value, now: Backup("ok", "", now - value * HOUR)),
    "certificate": _limited(
        "certificate_days", lambda value, now: {"c": Known(Certificate("c", now + value * DAY))}
    ),
    "memory": _limited(
        "memory_available_percent",
        lambda value, _now: Memory(10_000, round(100 * min(100, value)), 0, 0),
    ),
    "pressure": _limited("memory_pressure_percent", lambda value, _now: Pressure(value, 0, 0)),
    "reboot": _limited("reboot_required_days", lambda value, now: Reboot(now - value * DAY)),
    "clock": _limited("clock_error_seconds", lambda value, _now: Clock(True, value)),
    "drift": _flag(lambda bad, now: Drift(now, "", ("a file",) if bad else ())),
    "workspace": _flag(
        lambda bad, _now: Workspaces(1, (Workspace("/w", "dangling_gitfile"),) if bad else ())
    ),
    "worktree": _flag(lambda bad, _now: Worktrees(1, ("/w",) if bad else ())),
    "healing": _flag(lambda bad, _now: Healing(("a:b",) if bad else (), ())),
    "delivery": _limited(
        "undelivered_minutes",
        lambda value, now: Delivery(1, now - value * _MINUTE, "refused"),
    ),
    "dead_man": _limited(
        "dead_man_silent_minutes", lambda value, now: DeadMan(now - value * _MINUTE, "refused")
    ),
    "run_gap": _limited("run_gap_minutes", lambda value, now: Previous(now - value * _MINUTE)),
    "configuration": _flag(lambda bad, _now: ("watchdog.x is wrong",) if bad else ()),
}
