"""CI runners: whether they take work, how long jobs wait for them, their versions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...base import times
from ...base.github import settings as github
from ...base.text import duration
from .. import readings
from ..check import Answer, AtLimit, Check, JudgeContext, Status, each
from ..facts import MINUTE, Fact, Known, Unknown
from ..limits import Limit
from ..secrets import waits_for
from ..sources import AbsentError, Host, Source, documents, listed

DOWN = Limit(
    "runner_down_minutes", "How long a runner is away from GitHub.", raise_at=15, clear_at=15
)
QUEUED = Limit(
    "runner_queued_minutes", "How long a job waits for a runner.", raise_at=30, clear_at=15
)
VERSION = Limit(
    "runner_version_days",
    "Age of a runner's version since a newer one is there.",
    raise_at=20,
    clear_at=20,
)
FAILURES = Limit(
    "runner_failures_count", "How often a runner fails to start in a row.", raise_at=3, clear_at=1
)
STATE_AGE = Limit(
    "state_age_minutes", "Age of what the runners' supervisor wrote last.", raise_at=30, clear_at=30
)
_FINE = ("idle", "busy")
_PASSING = ("starting", "backoff")


@dataclass(frozen=True)
class Runner:
    """One CI runner, as its role writes it down."""

    name: str
    project: str
    mode: str
    state: str
    since: float
    updated_at: float
    detail: str
    version: str
    version_age_days: float | None
    consecutive_failures: int
    oldest_queued_seconds: float | None
    unit_active: bool | None = None
    last_job: str = ""


Runners = Mapping[str, Fact[Runner]]


def read(host: Host) -> Runners:
    """Return the runners; a project that declares one of which nothing is known is unknown."""
    written = documents(Path(host.policy.data_dir, "runners"))
    found = dict(listed(written, lambda values, name: runner(host, values, name)))
    # What a supervisor wrote once was a runner's; whether it is so now is told of by itself.
    known = [
        str(fact.value.get("project", ""))
        for fact in written.values()
        if isinstance(fact, Known) and isinstance(fact.value, Mapping)
    ]
    for section in host.whole.sections("projects", ()):
        declared = section.value("runner", {})
        name = section.text("name")
        if not declared:
            continue
        slots = declared.get("slots", 1) if declared.get("mode") == "ephemeral" else 1
        missing = int(slots) - known.count(name)
        if missing > 0:
            waits = waits_for(github.of(host.whole).login_of("runners").files)
            found[name] = Unknown(
                f"{missing} of {slots} runners of {name} have written no state{waits}"
            )
    if not found:
        raise AbsentError("no project declares a runner")
    return found


def runner(host: Host, values: Any, name: str) -> Fact[Runner]:
    """Return one runner, as its supervisor wrote it down not too long ago."""
    section = readings.section(values, name)
    job = section.section("last_job", {})
    words = [job.text(key, "") for key in ("name", "outcome", "finished_at")]
    found = Runner(
        name=section.text("instance", name),
        project=section.text("project", ""),
        mode=section.text("mode", ""),
        state=section.text("state"),
        since=readings.time(section, "since"),
        updated_at=readings.time(section, "updated_at"),
        detail=section.text("detail", ""),
        version=section.text("version", ""),
        version_age_days=readings.number_or_none(section, "version_age_days"),
        consecutive_failures=section.integer("consecutive_failures", 0),
        oldest_queued_seconds=readings.number_or_none(section, "oldest_queued_seconds"),
        unit_active=readings.flag_or_none(section, "unit_active"),
        last_job=" ".join(filter(None, words)),
    )
    by = f"the state of {found.name}"
    return host.written(found, found.updated_at, by, STATE_AGE, [found.since])


def judge_runner(runners: Runners, context: JudgeContext) -> Iterator[Answer]:
    """Judge a runner by its supervisor's word, its unit and the age of that word."""

    def one(name: str, runner: Runner) -> Iterator[Answer]:
        if runner.state == "unknown":
            yield Answer(name, Status.UNKNOWN, runner.detail or "its supervisor cannot tell")
            return
        down = 0.0 if runner.state in _FINE else (context.now - runner.since) / MINUTE
        detail = f"{runner.state} since {times.iso_or_none(runner.since)}"
        detail += f": {runner.detail}" if runner.detail else ""
        if runner.unit_active is False:
            detail = f"its unit does not run; {detail}"
            yield Answer(name, Status.PROBLEM, detail, down, lingers=True)
            return
        if runner.state not in (*_FINE, *_PASSING):
            yield Answer(name, Status.PROBLEM, detail, down, lingers=True)
            return
        status, lingers = context.by(DOWN, down)
        failures, stay = context.by(FAILURES, runner.consecutive_failures)
        if failures is Status.PROBLEM:
            status, detail = failures, f"{runner.consecutive_failures} failures in a row; {detail}"
        yield Answer(name, status, detail, round(down, 1), lingers or stay)

    return each(runners, one)


def judge_queue(runners: Runners, context: JudgeContext) -> Iterator[Answer]:
    """Judge how long the oldest queued CI job waits for a runner."""

    def one(name: str, runner: Runner) -> Iterator[Answer]:
        if runner.oldest_queued_seconds is None:
            yield Answer(name, Status.ABSENT, "it does not know of a queue")
            return
        minutes = runner.oldest_queued_seconds / MINUTE
        status, lingers = context.by(QUEUED, minutes)
        detail = f"the oldest queued job waits for {duration(runner.oldest_queued_seconds)}"
        yield Answer(name, status, detail, round(minutes, 1), lingers)

    return each(runners, one)


def judge_version(runners: Runners, context: JudgeContext) -> Iterator[Answer]:
    """Judge how long a runner's version has been superseded."""

    def one(name: str, runner: Runner) -> Iterator[Answer]:
        if runner.version_age_days is None:
            yield Answer(name, Status.ABSENT, f"version {runner.version or 'unknown'}, no age told")
            return
        status, lingers = context.by(VERSION, runner.version_age_days)
        detail = f"version {runner.version} is superseded since {runner.version_age_days:g} days"
        if not runner.version_age_days:
            detail = f"version {runner.version} is the newest"
        yield Answer(name, status, detail, runner.version_age_days, lingers)

    return each(runners, one)


def example(now: float, **changes: Any) -> Runners:
    """Return one runner that is well, but for the changes."""
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


SOURCE = Source("runners", read)
_ADVICE = "factory runner heal; journalctl of its unit"
CHECKS = (
    Check(
        name="runner",
        title="Runners",
        advice=_ADVICE,
        source=SOURCE,
        judge=judge_runner,
        selftest=AtLimit(
            DOWN,
            lambda minutes, now: example(now, state="starting", since=now - minutes * MINUTE),
        ),
        severity="critical",
        other_limits=(FAILURES, STATE_AGE),
    ),
    Check(
        name="runner_queue",
        title="Queued CI jobs",
        advice=_ADVICE,
        source=SOURCE,
        judge=judge_queue,
        selftest=AtLimit(
            QUEUED, lambda minutes, now: example(now, oldest_queued_seconds=minutes * MINUTE)
        ),
    ),
    Check(
        name="runner_version",
        title="Runner versions",
        advice="converge the host; GitHub refuses runners that are 30 days behind",
        source=SOURCE,
        judge=judge_version,
        selftest=AtLimit(VERSION, lambda days, now: example(now, version_age_days=days)),
        raise_after=(1, 1),
    ),
)
