"""Merge queues, as the marshal's own status tells them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ...base import times
from ...base.configuration import Section
from ...base.text import duration
from ..check import Answer, AtLimit, BadOrGood, Check, JudgeContext, Status, each
from ..facts import HOUR, MINUTE, Fact, Known
from ..limits import Limit
from ..sources import AbsentError, Host, Source, parsed, told

RED = Limit("main_red_minutes", "How long a main branch is red.", raise_at=60, clear_at=60)
WAITING = Limit(
    "merge_waiting_hours", "How long a pull request waits to be merged.", raise_at=24, clear_at=24
)
REPORT_AGE = Limit(
    "merge_report_minutes", "Age of the marshal's last report.", raise_at=60, clear_at=60
)
# Those that only the machinery can help; an author or a reviewer may take his time.
_FACTORY = ("ci", "marshal", "admin")

# By project.
Queues = Mapping[str, Fact[Mapping[str, Any]]]


def read(host: Host) -> Queues:
    """Return the last merge cycle of every project under the marshal, in its own words."""
    from ...marshal import status

    if not host.whole.has("marshal"):
        raise AbsentError("no marshal is declared")
    section = host.whole.section("marshal")
    root = Path(section.absolute_path("state_dir", f"{host.policy.data_dir}/marshal"))
    names = [name for item in section.sections("projects", ()) for name in _queues(item)]
    if not names:
        raise AbsentError("no project has a merge policy")

    def one(name: str) -> Fact[Mapping[str, Any]]:
        path = root / name / "report.json"
        report: Any = parsed(path) if path.exists() else None
        told = status.facts(report, host.now, stale_seconds=math.inf)
        if told["state"] == "unknown":
            raise ValueError(told["detail"])
        moments = [float(item["reason"]["since"]) for item in report["pull_requests"]]
        moments += [float(report["halted_since"]), float(report["main_red_since"])]
        by = f"the marshal's report on {name}"
        return host.written(told, float(report["time"]), by, REPORT_AGE, moments)

    return {name: told(lambda name=name: one(name)) for name in names}  # type: ignore[misc]


def _queues(project: Section) -> Iterator[str]:
    name, default = project.text("name"), project.text("default_branch", "main")
    yield name
    branches = project.section("merge", {}).strings("branches", ())
    yield from (f"{name}@{branch}" for branch in branches if branch != default)


def judge_report(queues: Queues, _context: JudgeContext) -> Iterator[Answer]:
    """Judge how the last merge cycle ended."""

    def one(name: str, queue: Mapping[str, Any]) -> Iterator[Answer]:
        # What halts the queue and a red branch are judged on their own.
        own = queue["halted_since"] or queue["main_red_since"]
        bad = queue["state"] == "problem" and not own
        detail = queue["detail"] or "the last cycle went through"
        yield Answer(name, Status.PROBLEM if bad else Status.OK, detail)

    return each(queues, one)


def judge_halted(queues: Queues, context: JudgeContext) -> Iterator[Answer]:
    """Report a merge queue that halted because something unjudged landed."""

    def one(name: str, queue: Mapping[str, Any]) -> Iterator[Answer]:
        if queue["halted_since"] is None:
            yield Answer(name, Status.OK, "not halted")
            return
        since = context.now - times.seconds(queue["halted_since"])
        detail = f"halted {duration(since)} ago: {queue['halted_reason']}"
        yield Answer(name, Status.PROBLEM, detail, since)

    return each(queues, one)


def judge_red(queues: Queues, context: JudgeContext) -> Iterator[Answer]:
    """Judge how long the default branch is red."""

    def one(name: str, queue: Mapping[str, Any]) -> Iterator[Answer]:
        if queue["main_red_since"] is None:
            yield Answer(name, Status.OK, "the default branch is not red", 0)
            return
        minutes = (context.now - times.seconds(queue["main_red_since"])) / MINUTE
        status, lingers = context.by(RED, minutes)
        detail = f"the default branch is red for {duration(minutes * MINUTE)}"
        yield Answer(name, status, detail, round(minutes, 1), lingers)

    return each(queues, one)


def judge_waiting(queues: Queues, context: JudgeContext) -> Iterator[Answer]:
    """Judge how long the oldest pull request waits for the factory itself."""

    def one(name: str, queue: Mapping[str, Any]) -> Iterator[Answer]:
        waiting = [(owner, queue["waiting"][owner]) for owner in _FACTORY]
        found = [(item["oldest_seconds"], owner, item) for owner, item in waiting if item["count"]]
        if not found:
            yield Answer(name, Status.OK, "no pull request waits for the factory", 0)
            return
        seconds, owner, item = max(found, key=lambda entry: entry[0])
        status, lingers = context.by(WAITING, seconds / HOUR)
        detail = f"#{item['oldest_number']} waits for {owner} for {duration(seconds)}"
        yield Answer(name, status, detail, round(seconds / HOUR, 1), lingers)

    return each(queues, one)


def example(now: float, **changes: Any) -> Queues:
    """Return one queue that is well, but for the changes."""
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


def waiting_for(owner: str, hours: float, now: float) -> Queues:
    """Return a queue in which somebody keeps a pull request waiting."""
    nobody = {"count": 0, "oldest_number": None, "oldest_seconds": None}
    given = {"count": 1, "oldest_number": 7, "oldest_seconds": hours * HOUR}
    owners = ("author", "reviewer", "ci", "marshal", "admin")
    return example(now, waiting={**dict.fromkeys(owners, nobody), owner: given})


SOURCE = Source("merge_queues", read)
_ADVICE = "factory marshal --dry-run"
CHECKS = (
    Check(
        name="merge_report",
        title="Merge cycles",
        advice=_ADVICE,
        source=SOURCE,
        judge=judge_report,
        selftest=BadOrGood(
            lambda bad, now: example(
                now, state="problem" if bad else "ok", detail="failed: no token"
            )
        ),
        other_limits=(REPORT_AGE,),
    ),
    Check(
        name="merge_halted",
        title="Merge queue halted",
        advice="look at what landed, then factory marshal --project NAME --resume",
        source=SOURCE,
        judge=judge_halted,
        selftest=BadOrGood(
            lambda bad, now: example(now, halted_since=times.iso_or_none(now) if bad else None)
        ),
        severity="critical",
        raise_after=(1, 1),
        value_unit="seconds",
    ),
    Check(
        name="main_red",
        title="Default branch red",
        advice=_ADVICE,
        source=SOURCE,
        judge=judge_red,
        selftest=AtLimit(
            RED,
            lambda minutes, now: example(
                now, main_red_since=times.iso_or_none(now - minutes * MINUTE)
            ),
        ),
        severity="critical",
        raise_after=(1, 1),
    ),
    Check(
        name="merge_waiting",
        title="Pull requests that wait",
        advice=_ADVICE,
        source=SOURCE,
        judge=judge_waiting,
        selftest=AtLimit(WAITING, lambda hours, now: waiting_for("ci", hours, now)),
    ),
)
