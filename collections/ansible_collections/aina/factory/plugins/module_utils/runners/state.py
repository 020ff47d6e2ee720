"""What the runners tell about themselves: one document per instance or slot, and what follows from all."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import Any

from ..base import documents, times

SCHEMA = 1
# Both supervisors and the healer write more often than this.
STALE_SECONDS = 900.0
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
    orphans_count: int = 0
    jobs_count: int = 0
    image_id: str | None = None
    updated_at: str = ""
    schema: int = SCHEMA

    def changed(self, now: float, state: Condition, detail: str = "", **more: Any) -> State:
        """Return the next state; ``since`` moves only when the condition does."""
        since = self.since if state is self.state else times.iso(now)
        detail = printable(detail)
        return replace(
            self, state=state, since=since, detail=detail, updated_at=times.iso(now), **more
        )


def moment(text: object) -> float | None:
    """Return seconds since the epoch; None for what is no time."""
    try:
        return times.seconds(str(text))
    except ValueError:
        return None


def printable(text: str) -> str:
    """Return foreign words on one line without anything that moves a cursor."""
    return _UNPRINTABLE.sub("?", text)[:_TEXT_MAX]


def write(directory: Path, state: State) -> None:
    """Replace the document of an instance; readers see the old or the new one."""
    documents.replace(directory / f"{state.instance}.json", asdict(state))


def read(directory: Path, instance: str) -> State | None:
    """Return an instance's last state; None when there is none that can be understood."""
    return from_document(documents.read(directory / f"{instance}.json"))


def from_document(document: Mapping[str, Any] | None) -> State | None:
    """Return the state that a document describes; None for what is no such document."""
    if document is None or document.get("schema") != SCHEMA:
        return None
    known = {name: value for name, value in document.items() if name in State.__dataclass_fields__}
    try:
        return State(**{**known, "state": Condition(known["state"])})
    except (KeyError, TypeError, ValueError):
        return None


def all_documents(directory: Path) -> dict[str, dict[str, Any] | None]:
    """Return all documents by instance; None for one that cannot be read."""
    return {path.stem: documents.read(path) for path in sorted(directory.glob("*.json"))}


# --- what follows from all of them --------------------------------------------


@dataclass(frozen=True)
class RunnersFacts:
    """All runners of this host at one glance; how bad any of it is, the watchdog judges."""

    runners: tuple[Mapping[str, Any], ...]
    counts: Mapping[str, int]


def facts(found: Mapping[str, Mapping[str, Any] | None], now: float) -> RunnersFacts:
    """Return what the documents say; one that is old or unreadable says only that it is unknown."""
    counts = dict.fromkeys((condition.value for condition in Condition), 0)
    shown: list[Mapping[str, Any]] = []
    for name, document in sorted(found.items()):
        state = from_document(document) or _unknown(name, "its state cannot be read")
        updated = moment(state.updated_at)
        if updated is None or now - updated > STALE_SECONDS:
            since = state.updated_at or "ever"
            state = replace(
                state, state=Condition.UNKNOWN, detail=f"nothing heard of it since {since}"
            )
        counts[state.state] += 1
        shown.append(asdict(state))
    return RunnersFacts(tuple(shown), counts)


def _unknown(name: str, detail: str) -> State:
    return State(name, "", "", Condition.UNKNOWN, "", detail)


def metrics(found: RunnersFacts, now: float) -> str:
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
            "orphans_total": runner["orphans_count"],
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
