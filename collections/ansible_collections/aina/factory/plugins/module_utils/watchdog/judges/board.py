"""Judges of Paperclip: not whether it looks green, but what it brings about."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

from ...base.text import duration
from ..facts import HOUR, Known, Paperclip
from ..findings import MINUTE, Answer, Context, Status, not_known, some
from ..readings import FEWEST_RUNS


def paperclip(paperclip: Paperclip, _context: Context) -> Iterator[Answer]:
    """Judge Paperclip's own account of its health."""
    yield Answer("", Status.OK if paperclip.healthy else Status.PROBLEM, paperclip.detail)


def paperclip_exposed(paperclip: Paperclip, _context: Context) -> Iterator[Answer]:
    """Report ports of Paperclip that others than this host can reach."""
    if not isinstance(paperclip.exposed, Known):
        yield not_known("", paperclip.exposed)
    elif paperclip.exposed.value:
        detail = f"reachable from outside: {', '.join(paperclip.exposed.value)}"
        yield Answer("", Status.PROBLEM, detail)
    else:
        yield Answer("", Status.OK, "reachable from this host alone")


def companies(
    judge: Callable[[Any, Context], Answer],
) -> Callable[[Paperclip, Context], Iterator[Answer]]:
    """Return a judge over all companies, given one over a single company."""

    def over_all(paperclip: Paperclip, context: Context) -> Iterator[Answer]:
        if not isinstance(paperclip.companies, Known):
            yield replace(not_known("", paperclip.companies), source="companies")
            return
        for company in paperclip.companies.value:
            yield judge(company, context)

    return over_all


def paperclip_progress(company: Any, context: Context) -> Answer:
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
    status, lingers = context.by("paperclip_success_hours", hours)
    detail = f"the last run that succeeded ended {duration(hours * HOUR)} ago"
    return Answer(company.name, status, detail, round(hours, 1), lingers)


def paperclip_runs(company: Any, context: Context) -> Answer:
    """Judge the share of the newest runs that failed."""
    if not company.agents_active + company.agents_running + company.agents_error:
        return Answer(company.name, Status.ABSENT, "no agent is active")
    if company.recent_runs < FEWEST_RUNS:
        return Answer(company.name, Status.ABSENT, f"only {company.recent_runs} runs have ended")
    share = 100.0 * company.recent_failed / company.recent_runs
    status, lingers = context.by("paperclip_failed_percent", share)
    return Answer(company.name, status, _failures(company), round(share, 1), lingers)


def _failures(company: Any) -> str:
    why = f": {company.last_failure}" if company.last_failure else ""
    return f"{company.recent_failed} of the last {company.recent_runs} runs failed{why}"


def paperclip_silent(company: Any, context: Context) -> Answer:
    """Judge how long the most silent running run says nothing."""
    heard = [(run.last_output_at or run.started_at, run.name) for run in company.runs]
    silent = [((context.now - at) / MINUTE, name) for at, name in heard if at is not None]
    if not silent:
        return Answer(company.name, Status.OK, "no run is silent", 0)
    minutes, name = max(silent)
    status, lingers = context.by("paperclip_silent_minutes", minutes)
    detail = f"the run of {name} is silent for {duration(minutes * MINUTE)}"
    return Answer(company.name, status, detail, round(minutes, 1), lingers)


def paperclip_agents(company: Any, context: Context) -> Answer:
    """Judge the number of agents in error."""
    status, lingers = context.by("paperclip_agents_error_count", company.agents_error)
    detail = f"{company.agents_error} agents in error"
    return Answer(company.name, status, detail, company.agents_error, lingers)


def paperclip_codex(paperclip: Paperclip, _context: Context) -> Iterator[Answer]:
    """Report codex homes whose configuration is not the user's own."""
    if not isinstance(paperclip.codex_drift, Known):
        yield replace(not_known("", paperclip.codex_drift), source="codex_drift")
    elif paperclip.codex_drift.value:
        found = paperclip.codex_drift.value
        detail = f"codex homes that differ from the user's own: {some(found)}"
        yield Answer("", Status.PROBLEM, detail, len(found))
    else:
        yield Answer("", Status.OK, "codex homes hold the user's own configuration", 0)
