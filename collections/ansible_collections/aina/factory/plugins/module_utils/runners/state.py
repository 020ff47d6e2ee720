"""What the runners tell about themselves: one document per instance or slot, and what follows from all."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Any

SCHEMA = 1
_UNPRINTABLE = re.compile(r"[^\x20-\x7e\u00a0-\uffff]")
_TEXT_MAX = 300


class Condition(StrEnum):
    """How a runner is."""

    STARTING = "starting"
    IDLE = "idle"
    BUSY = "busy"
    BACKOFF = "backoff"
    STOPPED = "stopped"
    FAILED = "failed"
    OUTDATED = "outdated"
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class State:
    """The document of one native instance or one ephemeral slot; times in ISO 8601, UTC."""

    instance: str
    mode: str
    project: str
    state: Condition
    since: str
    detail: str = ""
    runner_id: int | None = None
    runner_name: str | None = None
    version: str | None = None
    version_age_days: float | None = None
    consecutive_failures: int = 0
    last_exit_code: int | None = None
    last_job: Mapping[str, str | None] | None = None
    oldest_queued_seconds: float | None = None
    ghosts_count: int = 0
    jobs_count: int = 0
    image_id: str | None = None
    updated_at: str = ""
    schema: int = SCHEMA

    def changed(self, now: float, state: Condition, detail: str = "", **more: Any) -> State:
        """Return the next state; ``since`` moves only when the condition does."""
        since = self.since if state is self.state else iso(now)
        detail = printable(detail)
        return replace(self, state=state, since=since, detail=detail, updated_at=iso(now), **more)


def iso(moment: float) -> str:
    """Return a time as the documents write it."""
    return datetime.fromtimestamp(int(moment), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def moment(text: str | None) -> float | None:
    """Return seconds since the epoch; None for what is no time."""
    try:
        return datetime.fromisoformat(str(text)).timestamp()
    except ValueError:
        return None


def printable(text: str) -> str:
    """Return foreign words on one line without anything that moves a cursor."""
    return _UNPRINTABLE.sub("?", text)[:_TEXT_MAX]


def write(directory: Path, state: State) -> None:
    """Replace the document of an instance; readers see the old or the new one."""
    replace_json(directory / f"{state.instance}.json", asdict(state))


def replace_json(path: Path, document: Mapping[str, Any], mode: int = 0o644) -> None:
    """Replace a JSON file atomically."""
    path.parent.mkdir(parents=True, exist_ok=True)
    candidate = path.with_name(f".{path.name}.{os.getpid()}")
    candidate.write_text(json.dumps(document, sort_keys=True) + "\n", encoding="utf-8")
    candidate.chmod(mode)
    candidate.replace(path)


def read_json(path: Path) -> dict[str, Any] | None:
    """Return a JSON mapping; None when there is none that can be read."""
    try:
        document = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return None
    return document if isinstance(document, dict) else None


def read(directory: Path, instance: str) -> State | None:
    """Return an instance's last state; None when there is none that can be understood."""
    return from_document(read_json(directory / f"{instance}.json"))


def from_document(document: Mapping[str, Any] | None) -> State | None:
    """Return the state that a document describes; None for what is no such document."""
    if document is None or document.get("schema") != SCHEMA:
        return None
    known = {name: value for name, value in document.items() if name in State.__dataclass_fields__}
    try:
        return State(**{**known, "state": Condition(known["state"])})
    except (KeyError, TypeError, ValueError):
        return None


def documents(directory: Path) -> dict[str, dict[str, Any] | None]:
    """Return all documents by instance; None for one that cannot be read."""
    try:
        paths = sorted(directory.glob("*.json"))
    except OSError:
        return {}
    return {path.stem: read_json(path) for path in paths}


# --- what follows from all of them --------------------------------------------


@dataclass(frozen=True)
class Thresholds:
    """From when on something is a problem."""

    stale_seconds: float = 900.0
    version_warn_days: float = 20.0
    version_fail_days: float = 30.0
    queued_seconds: float = 1800.0


@dataclass(frozen=True)
class Problem:
    """Something that somebody should know; ``severity`` is warning, critical or unknown."""

    instance: str
    severity: str
    code: str
    detail: str


@dataclass(frozen=True)
class Facts:
    """All runners of this host at one glance."""

    runners: tuple[Mapping[str, Any], ...]
    counts: Mapping[str, int]
    problems: tuple[Problem, ...] = field(default_factory=tuple)


def facts(
    found: Mapping[str, Mapping[str, Any] | None], now: float, thresholds: Thresholds = Thresholds()
) -> Facts:
    """Return what the documents say; one that is old or unreadable says nothing, which is a problem."""
    states = {name: from_document(document) for name, document in found.items()}
    counts = dict.fromkeys((condition.value for condition in Condition), 0)
    problems: list[Problem] = []
    shown: list[Mapping[str, Any]] = []
    for name, state in sorted(states.items()):
        if state is None:
            counts[Condition.UNKNOWN] += 1
            problems.append(Problem(name, "unknown", "unreadable", "its state cannot be read"))
            continue
        judged = list(_judge(state, now, thresholds))
        stale = any(problem.code == "stale" for problem in judged)
        counts[Condition.UNKNOWN if stale else state.state] += 1
        problems += judged
        shown.append({**asdict(state), "state": "unknown" if stale else state.state.value})
    return Facts(tuple(shown), counts, tuple(problems))


def _judge(state: State, now: float, limits: Thresholds) -> Iterable[Problem]:
    def problem(severity: str, code: str, detail: str) -> Problem:
        return Problem(state.instance, severity, code, detail)

    updated = moment(state.updated_at)
    if updated is None or now - updated > limits.stale_seconds:
        yield problem("unknown", "stale", f"nothing heard of it since {state.updated_at or 'ever'}")
        return
    if state.state in (Condition.FAILED, Condition.OUTDATED):
        yield problem("critical", str(state.state), state.detail)
    elif state.state is Condition.UNKNOWN:
        yield problem("unknown", "unknown", state.detail)
    elif state.state is Condition.BACKOFF:
        yield problem("warning", "backoff", state.detail)
    age = state.version_age_days
    if age is not None and age >= limits.version_warn_days:
        severity = "critical" if age >= limits.version_fail_days else "warning"
        yield problem(
            severity,
            "version_age",
            f"its version {state.version} has been outdated for {age:.0f} days; GitHub allows"
            f" {limits.version_fail_days:.0f}",
        )
    queued = state.oldest_queued_seconds
    if queued is not None and queued > limits.queued_seconds:
        yield problem("warning", "queue", f"a job has been waiting for {queued / 60:.0f} minutes")


def metrics(found: Facts, now: float) -> str:
    """Return the facts as a text file of the node exporter."""
    lines = ["# TYPE factory_runners gauge"]
    lines += [f'factory_runners{{state="{name}"}} {count}' for name, count in found.counts.items()]
    series: dict[str, list[str]] = {}
    for runner in found.runners:
        labels = f'{{instance="{runner["instance"]}",mode="{runner["mode"]}"}}'
        last_job = moment((runner["last_job"] or {}).get("finished_at"))
        values = {
            "up": float(runner["state"] in ("idle", "busy")),
            "busy": float(runner["state"] == "busy"),
            "consecutive_failures": runner["consecutive_failures"],
            "ghosts_total": runner["ghosts_count"],
            "jobs_total": runner["jobs_count"],
            "version_age_days": runner["version_age_days"],
            "oldest_queued_seconds": runner["oldest_queued_seconds"],
            "last_job_age_seconds": None if last_job is None else now - last_job,
        }
        for name, value in values.items():
            if value is not None:
                series.setdefault(name, []).append(f"factory_runner_{name}{labels} {value:g}")
    for name, values_of in sorted(series.items()):
        kind = "counter" if name.endswith("_total") else "gauge"
        lines += [f"# TYPE factory_runner_{name} {kind}", *values_of]
    return "\n".join(lines) + "\n"
