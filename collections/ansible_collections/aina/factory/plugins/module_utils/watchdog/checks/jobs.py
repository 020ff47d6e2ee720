"""Declared jobs: missed, failed, overlapping, paused for too long, unlike their declaration."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from ...base import settings, times
from ...base.text import duration
from ...jobs import actual, layout, observe, report
from ...jobs.settings import Jobs
from ..check import Answer, BadOrGood, Check, JudgeContext, Status
from ..facts import AHEAD_SECONDS
from ..failures import RECENT_SECONDS, FailedUnit, notes
from ..sources import AbsentError, Host, Source

# The document of ``factory jobs --json``, with ``failures`` and ``told``.
Report = Mapping[str, Any]


def read(host: Host) -> Report:
    """Return declared against actual jobs, as ``factory jobs`` does, and failures since the last look.

    A run that succeeded since hides the failure before it, but not the note of it.
    """
    if not host.whole.has("jobs"):
        raise AbsentError("no jobs are declared")
    declared = settings.read(Jobs, host.whole.section("jobs"))
    try:
        found = actual.read(declared, host.run)
    except observe.ObservationError as error:
        raise OSError(str(error)) from error
    failures, told = _news(found.last_runs, notes(host), host)
    return {**report.report(declared, found, host.now), "failures": failures, "told": told}


def _news(
    last_runs: Mapping[str, Mapping[str, Any]], notes: Iterable[FailedUnit], host: Host
) -> tuple[dict[str, FailedUnit], dict[str, list[str]]]:
    """Return the failures of which nobody was told yet, and those that are told by now, by job.

    A note may be written after the look that saw its run fail, or long before the first one.
    """
    failures: dict[str, FailedUnit] = {}
    told: dict[str, list[str]] = {}
    for name, record in last_runs.items():
        if record.get("result") not in report.FINE and record.get("invocation_id"):
            told[name] = [str(record["invocation_id"])]
    for note in notes:
        job = layout.job_of(note.name)
        if job is None:
            continue
        known = (host.told_failures or {}).get(job, [])
        is_old = note.at is not None and host.now - note.at >= RECENT_SECONDS
        if note.run not in known and not (host.told_failures is None and is_old):
            failures[job] = note
        told[job] = sorted({*told.get(job, []), note.run})
    return failures, told


def _every(
    judge: Callable[[Mapping[str, Any], JudgeContext], Answer | None],
) -> Callable[[Report, JudgeContext], Iterator[Answer]]:
    """Return a judge over all declared jobs, given one over a single job."""

    def over_all(report: Report, context: JudgeContext) -> Iterator[Answer]:
        for job in report["jobs"]:
            answer = judge(job, context)
            if answer is not None:
                yield answer

    return over_all


def judge_missed(job: Mapping[str, Any], _context: JudgeContext) -> Answer | None:
    """Judge whether a job succeeded as often as it is expected to."""
    name, every = job["name"], job["expect_every_seconds"]
    if every is None or job["paused"]:
        return None
    if job["missed"] is None:
        return Answer(name, Status.UNKNOWN, "whether it ran cannot be known")
    last = job["last_success_at"] or "never"
    detail = f"last success: {last}; one is expected every {duration(every)}"
    return Answer(name, Status.PROBLEM if job["missed"] else Status.OK, detail)


def judge_failed(found: Report, context: JudgeContext) -> Iterator[Answer]:
    """Judge how each job's runs ended: the last one, and those that failed since the last look."""
    for job in found["jobs"]:
        last, failure = job["last_run"], found["failures"].get(job["name"])
        if last is None and failure is None and job["last_success_at"] is None:
            continue
        doubt = _doubt(job, context.now) if failure is None else ""
        if doubt:
            yield Answer(job["name"], Status.UNKNOWN, doubt)
            continue
        status, detail = Status.PROBLEM, f"last run: {last['result']}" if last else "failed"
        if last is not None and last["result"] not in report.FINE:
            detail += f", exit status {last['exit_status']}, at {last['ended_at']}"
        elif failure is not None:
            when = "" if failure.at is None else f" {duration(context.now - failure.at)} ago"
            detail = f"failed{when}: {failure.result}; {detail}"
        else:
            status = Status.OK
        yield Answer(job["name"], status, detail)


def _doubt(job: Mapping[str, Any], now: float) -> str:
    """Return why the record of a job's last run says nothing of it; "" where it does."""
    success_at = job["last_success_at"]
    if job["last_run"] is None:
        return f"it succeeded at {success_at}, and of its last run nothing is told"
    ended_at = job["last_run"]["ended_at"]
    if ended_at is None:
        return "the record of its last run cannot be read"
    ahead = times.seconds(ended_at) - now
    if ahead > AHEAD_SECONDS:
        return f"its last run is dated {duration(ahead)} ahead of now; did the clock go back?"
    if success_at is not None and success_at > ended_at:
        return f"it succeeded at {success_at}, and its last run is told of {ended_at}"
    return ""


def judge_overlapping(job: Mapping[str, Any], context: JudgeContext) -> Answer | None:
    """Judge whether a run is still at work, or held off, when the next is due."""
    if job["paused"]:
        return None
    interval = job["interval_seconds"]
    if job["running_since"] is not None and interval is not None:
        ran = context.now - times.seconds(job["running_since"])
        if ran < -AHEAD_SECONDS:
            detail = f"it runs since {job['running_since']}, which is ahead of now"
            return Answer(job["name"], Status.UNKNOWN, detail)
        if ran > interval:
            detail = f"runs for {duration(ran)}, longer than the {duration(interval)} between slots"
            return Answer(job["name"], Status.PROBLEM, detail, ran)
    last = job["last_run"]
    if last is not None and last["result"] == "skipped":
        detail = f"last run at {last['ended_at']} did nothing: another run held its lock"
        return Answer(job["name"], Status.PROBLEM, detail)
    return Answer(job["name"], Status.OK, "its runs do not overlap")


def judge_review(job: Mapping[str, Any], _context: JudgeContext) -> Answer | None:
    """Remind of a pause whose day of review has come."""
    if not job["paused"]:
        return None
    pause = job["paused"]
    detail = f"paused since {pause['since']} by {pause['by']}: {pause['reason']}"
    if job["review_due"]:
        return Answer(
            job["name"], Status.PROBLEM, f"{detail}; to be reviewed since {pause['review_after']}"
        )
    return Answer(job["name"], Status.OK, detail)


def judge_drift(found: Report, _context: JudgeContext) -> Iterator[Answer]:
    """Judge whether the jobs' units are as declared."""
    if found["drift"] is None:
        yield Answer("", Status.UNKNOWN, "the jobs' timers could not be asked")
        return
    for job in found["jobs"]:
        status = Status.PROBLEM if job["drift"] else Status.OK
        yield Answer(job["name"], status, ", ".join(job["drift"]) or "as declared")
    for item in found["drift"]:
        yield Answer(item["unit"], Status.PROBLEM, f"a job's unit that is {item['reason']}")


def example(**changes: Any) -> Report:
    """Return one job that is well, but for the changes."""
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


def ended(result: str, now: float) -> Mapping[str, Any]:
    """Return a run that ended so."""
    return {"result": result, "exit_status": "1", "ended_at": times.iso_or_none(now)}


def _paused(review_due: bool) -> Report:
    pause = {"since": "2026-01-01", "by": "somebody", "reason": "a reason", "review_after": "x"}
    return example(paused=pause, review_due=review_due)


SOURCE = Source("jobs", read)
_ADVICE = "factory jobs; journalctl -u factory-job-NAME"
CHECKS = (
    Check(
        name="job_missed",
        title="Jobs that did not run",
        advice=_ADVICE,
        source=SOURCE,
        judge=_every(judge_missed),
        selftest=BadOrGood(lambda bad, _now: example(missed=bad)),
        raise_after=(1, 1),
    ),
    Check(
        name="job_failed",
        title="Jobs that failed",
        advice=_ADVICE,
        source=SOURCE,
        judge=judge_failed,
        selftest=BadOrGood(
            lambda bad, now: example(last_run=ended("exit-code" if bad else "success", now))
        ),
        raise_after=(1, 1),
    ),
    Check(
        name="job_overlapping",
        title="Jobs that overlap",
        advice=_ADVICE,
        source=SOURCE,
        judge=_every(judge_overlapping),
        selftest=BadOrGood(
            lambda bad, now: example(
                running=True, running_since=times.iso_or_none(now - (901 if bad else 100))
            )
        ),
        raise_after=(3, 4),
    ),
    Check(
        name="job_review",
        title="Pauses to review",
        advice="factory resume JOB, or a new date in the inventory",
        source=SOURCE,
        judge=_every(judge_review),
        selftest=BadOrGood(lambda bad, _now: _paused(bad)),
        severity="info",
        raise_after=(1, 1),
    ),
    Check(
        name="job_drift",
        title="Jobs unlike their declaration",
        advice="converge the host",
        source=SOURCE,
        judge=judge_drift,
        selftest=BadOrGood(lambda bad, _now: example(drift=["timer_not_active"] if bad else [])),
    ),
)
