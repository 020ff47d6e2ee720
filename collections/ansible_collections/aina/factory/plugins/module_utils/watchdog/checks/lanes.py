"""Running lanes that say nothing or run for too long, and lanes that cannot start."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...base.github import settings as github
from ...base.text import duration
from ...host import units
from .. import readings
from ..check import Answer, AtLimit, Check, JudgeContext, Status, each
from ..facts import HOUR, MINUTE, Fact, Known, Unknown
from ..limits import Limit
from ..secrets import waits_for
from ..sources import AbsentError, Host, Source, document, listed

SILENT = Limit(
    "lane_silent_minutes", "How long nothing is heard of a lane.", raise_at=30, clear_at=30
)
AGE = Limit("lane_age_hours", "How long a lane is under way.", raise_at=6, clear_at=6)
_GATEWAY = "factory-lane-gateway.service"


@dataclass(frozen=True)
class LaneState:
    """One running lane."""

    name: str
    project: str
    issue: str
    state: str
    started_at: float
    last_output_at: float | None
    updated_at: float


def read(host: Host) -> Mapping[str, Fact[LaneState]]:
    """Return the lanes that are running: those with a state and without a result."""
    root = Path(host.policy.data_dir, "lanes")
    declared = any(item.value("lanes", {}) for item in host.whole.sections("projects", ()))
    if not root.is_dir() and not declared:
        raise AbsentError("no project declares lanes")
    states = {}
    for directory in sorted(root.iterdir()) if root.is_dir() else ():
        state = directory / "state.json"
        # A lane's first act is to write its state.
        if directory.is_dir() and not (directory / "result.json").exists():
            states[directory.name] = document(state)
    found = dict(listed(states, lambda values, name: lane(host, values, name)))
    waits = waits_for(_secrets(host))
    if waits:
        found["all"] = Unknown(f"no lane can start{waits}")
    return found


def lane(host: Host, values: Any, name: str) -> Fact[LaneState]:
    """Return one running lane; how long it is silent is judged, and no time in it lies ahead."""
    section = readings.section(values, name)
    started = readings.time(section, "started_at")
    found = LaneState(
        name=name,
        project=section.text("project", ""),
        issue=str(section.value("issue", "")),
        state=section.text("state"),
        started_at=started,
        last_output_at=readings.time_or_none(section, "last_output_at"),
        updated_at=readings.time_or_none(section, "updated_at") or started,
    )
    moments = (found.started_at, found.last_output_at)
    return host.written(found, found.updated_at, f"the state of lane {name}", moments=moments)


def _secrets(host: Host) -> list[str]:
    """Return the files that lanes need: the login, and the keys that their gateway is handed."""
    if not host.whole.has("lanes"):
        return []
    try:
        handed = units.credentials(_GATEWAY, host.run)
    except units.UnitsError:
        handed = []  # it is not there yet, as a unit
    return [*github.of(host.whole).login_of("lanes").files, *(item.path for item in handed)]


def judge(lanes: Mapping[str, Fact[LaneState]], context: JudgeContext) -> Iterator[Answer]:
    """Judge whether a running lane says nothing, or runs for too long."""

    def one(name: str, lane: LaneState) -> Iterator[Answer]:
        heard = lane.last_output_at if lane.last_output_at is not None else lane.updated_at
        silent, age = (context.now - heard) / MINUTE, (context.now - lane.started_at) / HOUR
        status, lingers = context.by(SILENT, silent)
        detail = f"silent for {duration(silent * MINUTE)}"
        if status is Status.OK:
            status, lingers = context.by(AGE, age)
            detail = f"runs for {duration(age * HOUR)}"
        what = f"{lane.project} {lane.issue}".strip()
        detail = f"{detail} ({what})" if what else detail
        yield Answer(name, status, detail, round(silent, 1), lingers)

    if not lanes:
        yield Answer("", Status.OK, "no lane is running")
    yield from each(lanes, one)


def _silent_for(minutes: float, now: float) -> Mapping[str, Fact[LaneState]]:
    heard = now - minutes * MINUTE
    return {"l": Known(LaneState("l", "p", "1", "running", heard, heard, heard))}


SOURCE = Source("lanes", read)
CHECKS = (
    Check(
        name="lane_stuck",
        title="Lanes",
        advice="factory lane logs ID; factory lane stop ID",
        source=SOURCE,
        judge=judge,
        selftest=AtLimit(SILENT, _silent_for),
        other_limits=(AGE,),
    ),
)
