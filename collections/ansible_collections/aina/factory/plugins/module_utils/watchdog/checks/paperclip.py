"""Paperclip: not whether it looks green, but what it brings about."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

from ...base.settings import read as read_settings
from ...base.text import duration
from ...paperclip.settings import PaperclipSettings
from .. import paperclip
from ..check import Answer, AtLimit, BadOrGood, Check, JudgeContext, Status, not_known, some
from ..facts import AHEAD_SECONDS, HOUR, MINUTE, Known
from ..limits import Limit
from ..paperclip import FEWEST_RUNS, BoardRun, Company, Paperclip
from ..sources import AbsentError, Host, Source

SUCCESS = Limit(
    "paperclip_success_hours",
    "Time since a run of an agent of Paperclip succeeded.",
    raise_at=6,
    clear_at=6,
)
FAILED = Limit(
    "paperclip_failed_percent",
    "Share of Paperclip's runs that fail.",
    raise_at=50,
    clear_at=25,
    maximum=100,
)
SILENT = Limit(
    "paperclip_silent_minutes",
    "How long nothing is heard of a run of Paperclip.",
    raise_at=60,
    clear_at=60,
)
AGENTS_ERROR = Limit(
    "paperclip_agents_error_count", "Agents of Paperclip that are in error.", raise_at=1, clear_at=0
)


def read(host: Host) -> Paperclip:
    if not host.whole.has("paperclip"):
        raise AbsentError("no Paperclip is declared")
    settings = read_settings(PaperclipSettings, host.whole.section("paperclip"))
    return paperclip.ask(settings, host.fetch, host.proc, host.policy.gather_seconds)


def judge_health(found: Paperclip, _context: JudgeContext) -> Iterator[Answer]:
    """Judge Paperclip's own account of its health."""
    yield Answer("", Status.OK if found.healthy else Status.PROBLEM, found.detail)


def judge_exposed(found: Paperclip, _context: JudgeContext) -> Iterator[Answer]:
    """Report ports of Paperclip that others than this host can reach."""
    if not isinstance(found.exposed, Known):
        yield not_known("", found.exposed)
    elif found.exposed.value:
        detail = f"reachable from outside: {', '.join(found.exposed.value)}"
        yield Answer("", Status.PROBLEM, detail)
    else:
        yield Answer("", Status.OK, "reachable from this host alone")


def _every(
    judge: Callable[[Company, JudgeContext], Answer],
) -> Callable[[Paperclip, JudgeContext], Iterator[Answer]]:
    """Return a judge over all companies, given one over a single company."""

    def over_all(found: Paperclip, context: JudgeContext) -> Iterator[Answer]:
        if not isinstance(found.companies, Known):
            yield replace(not_known("", found.companies), source="companies")
            return
        for company in found.companies.value:
            yield judge(company, context)

    return over_all


def judge_progress(company: Company, context: JudgeContext) -> Answer:
    """Judge the age of the last run that succeeded."""
    # Nothing active is nothing to wait for.
    if not company.agents_active + company.agents_running:
        return Answer(company.name, Status.ABSENT, "no agent is active")
    if company.last_success_at is None:
        if company.recent_failed:
            detail = f"no run has succeeded, {_failures(company)}"
            return Answer(company.name, Status.PROBLEM, detail)
        if not company.tasks_open:
            return Answer(company.name, Status.ABSENT, "there is nothing to do")
        return Answer(company.name, Status.UNKNOWN, "no succeeded run is known")
    hours = (context.now - company.last_success_at) / HOUR
    if hours * HOUR < -AHEAD_SECONDS:
        return Answer(company.name, Status.UNKNOWN, "its last success is dated ahead of now")
    status, lingers = context.by(SUCCESS, hours)
    detail = f"the last run that succeeded ended {duration(hours * HOUR)} ago"
    return Answer(company.name, status, detail, round(hours, 1), lingers)


def judge_runs(company: Company, context: JudgeContext) -> Answer:
    """Judge the share of the newest runs that failed."""
    if not company.agents_active + company.agents_running + company.agents_error:
        return Answer(company.name, Status.ABSENT, "no agent is active")
    if company.recent_runs < FEWEST_RUNS:
        return Answer(company.name, Status.ABSENT, f"only {company.recent_runs} runs have ended")
    share = 100.0 * company.recent_failed / company.recent_runs
    status, lingers = context.by(FAILED, share)
    return Answer(company.name, status, _failures(company), round(share, 1), lingers)


def _failures(company: Company) -> str:
    why = f": {company.last_failure}" if company.last_failure else ""
    return f"{company.recent_failed} of the last {company.recent_runs} runs failed{why}"


def judge_silent(company: Company, context: JudgeContext) -> Answer:
    """Judge how long the most silent running run says nothing."""
    heard = [(run.last_output_at or run.started_at, run.name) for run in company.runs]
    silent = [((context.now - at) / MINUTE, name) for at, name in heard if at is not None]
    if not silent:
        return Answer(company.name, Status.OK, "no run is silent", 0)
    if min(silent)[0] * MINUTE < -AHEAD_SECONDS:
        return Answer(company.name, Status.UNKNOWN, "a run of it is dated ahead of now")
    minutes, name = max(silent)
    status, lingers = context.by(SILENT, minutes)
    detail = f"the run of {name} is silent for {duration(minutes * MINUTE)}"
    return Answer(company.name, status, detail, round(minutes, 1), lingers)


def judge_agents(company: Company, context: JudgeContext) -> Answer:
    """Judge the number of agents in error."""
    status, lingers = context.by(AGENTS_ERROR, company.agents_error)
    detail = f"{company.agents_error} agents in error"
    return Answer(company.name, status, detail, company.agents_error, lingers)


def judge_codex(found: Paperclip, _context: JudgeContext) -> Iterator[Answer]:
    """Report codex homes whose configuration is not the user's own."""
    if not isinstance(found.codex_drift, Known):
        yield replace(not_known("", found.codex_drift), source="codex_drift")
    elif found.codex_drift.value:
        homes = found.codex_drift.value
        detail = f"codex homes that differ from the user's own: {some(homes)}"
        yield Answer("", Status.PROBLEM, detail, len(homes))
    else:
        yield Answer("", Status.OK, "codex homes hold the user's own configuration", 0)


def example(now: float, **changes: Any) -> Paperclip:
    """Return a Paperclip with one company that is well, but for the changes in that."""
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
    companies = (Company(**{**values, **changes}),)
    return Paperclip(True, "as told", "1", Known(companies), Known(()), Known(()))


SOURCE = Source("paperclip", read)
_ADVICE = "open the board; journalctl --user-unit paperclipai"
CHECKS = (
    Check(
        name="paperclip",
        title="Paperclip",
        advice=_ADVICE,
        source=SOURCE,
        judge=judge_health,
        selftest=BadOrGood(lambda bad, now: replace(example(now), healthy=not bad)),
        severity="critical",
    ),
    Check(
        name="paperclip_exposed",
        title="Paperclip's ports",
        advice="bind it to the loopback address: it trusts every local caller",
        source=SOURCE,
        judge=judge_exposed,
        selftest=BadOrGood(
            lambda bad, now: replace(example(now), exposed=Known(("port",) if bad else ()))
        ),
        severity="critical",
        raise_after=(1, 1),
    ),
    Check(
        name="paperclip_progress",
        title="Agents' results",
        advice=_ADVICE,
        source=SOURCE,
        judge=_every(judge_progress),
        selftest=AtLimit(
            SUCCESS, lambda hours, now: example(now, last_success_at=now - hours * HOUR)
        ),
    ),
    Check(
        name="paperclip_runs",
        title="Agents' failed runs",
        advice=_ADVICE,
        source=SOURCE,
        judge=_every(judge_runs),
        selftest=AtLimit(
            FAILED,
            lambda percent, now: example(
                now, recent_runs=10_000, recent_failed=round(percent * 100)
            ),
        ),
    ),
    Check(
        name="paperclip_silent",
        title="Silent agent runs",
        advice=_ADVICE,
        source=SOURCE,
        judge=_every(judge_silent),
        selftest=AtLimit(
            SILENT,
            lambda minutes, now: example(now, runs=(BoardRun("a", now - minutes * MINUTE, now),)),
        ),
    ),
    Check(
        name="paperclip_agents",
        title="Agents in error",
        advice=_ADVICE,
        source=SOURCE,
        judge=_every(judge_agents),
        selftest=AtLimit(AGENTS_ERROR, lambda count, now: example(now, agents_error=count)),
    ),
    Check(
        name="paperclip_codex",
        title="Codex homes",
        advice="Paperclip copies the user's config.toml once: copy it again by hand",
        source=SOURCE,
        judge=judge_codex,
        selftest=BadOrGood(
            lambda bad, now: replace(example(now), codex_drift=Known(("home",) if bad else ()))
        ),
        severity="info",
        value_unit="count",
    ),
)
