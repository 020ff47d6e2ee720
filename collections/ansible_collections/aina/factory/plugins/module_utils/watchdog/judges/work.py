"""Judges of the work: engine, units, jobs, runners, lanes, merge queues."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from ...base import times
from ...base.text import duration
from ...jobs.report import FINE
from ..facts import HOUR, Engine, Fact, FailedUnit, Lane, Residue, Runner, Service
from ..findings import MINUTE, Answer, Context, Status, each, some

# -- engine, units, jobs ------------------------------------------------------------------


def engine(engine: Engine, _context: Context) -> Iterator[Answer]:
    """Judge whether the container engine answers."""
    yield Answer("", Status.OK if engine.answers else Status.PROBLEM, engine.detail)


def unit_failed(units: tuple[FailedUnit, ...], context: Context) -> Iterator[Answer]:
    """Report every unit that has failed."""
    for unit in units:
        when = f" {duration(context.now - unit.at)} ago" if unit.at is not None else ""
        detail = f"failed{when}: {unit.result}" + ("" if unit.failed else "; it has come back")
        yield Answer(unit.name, Status.PROBLEM, detail)
    if not units:
        yield Answer("", Status.OK, "no unit has failed")


def unit_running(services: tuple[Service, ...], context: Context) -> Iterator[Answer]:
    """Report units that restart again and again, were stopped, or cannot be started."""
    found = False
    for unit in services:
        times = unit.recent_restarts
        status, lingers = context.by("unit_restarts_count", times)
        since = context.now - (unit.counted_since or context.now)
        detail = f"restarted {times} times within {duration(since)} (last result: {unit.result})"
        if unit.is_broken:
            status, lingers, detail = Status.PROBLEM, True, f"it is {unit.load_state}"
            detail += ", and heal.units names it" if unit.is_declared else ""
        elif status is Status.OK and unit.stopped_at is not None:
            ago = duration(context.now - unit.stopped_at)
            status, lingers, detail = Status.PROBLEM, True, f"stopped {ago} ago, though enabled"
        if status is Status.PROBLEM or lingers:
            found = True
            yield Answer(unit.name, status, detail, times, lingers)
    if not found:
        yield Answer("", Status.OK, "no unit is stopped, masked or restarts again and again")


def jobs(
    judge: Callable[[Mapping[str, Any], Context], Answer | None],
) -> Callable[[Mapping[str, Any], Context], Iterator[Answer]]:
    """Return a judge over all declared jobs, given one over a single job."""

    def over_all(report: Mapping[str, Any], context: Context) -> Iterator[Answer]:
        for job in report["jobs"]:
            answer = judge(job, context)
            if answer is not None:
                yield answer

    return over_all


def job_missed(job: Mapping[str, Any], _context: Context) -> Answer | None:
    """Judge whether a job succeeded as often as it is expected to."""
    name, every = job["name"], job["expect_every_seconds"]
    if every is None or job["paused"]:
        return None
    if job["missed"] is None:
        return Answer(name, Status.UNKNOWN, "whether it ran cannot be known")
    last = job["last_success_at"] or "never"
    detail = f"last success: {last}; one is expected every {duration(every)}"
    return Answer(name, Status.PROBLEM if job["missed"] else Status.OK, detail)


def job_failed(report: Mapping[str, Any], context: Context) -> Iterator[Answer]:
    """Judge how each job's runs ended: the last one, and those that failed since the last look."""
    for job in report["jobs"]:
        last, failure = job["last_run"], report["failures"].get(job["name"])
        if last is None and failure is None:
            continue
        status, detail = Status.PROBLEM, f"last run: {last['result']}" if last else "failed"
        if last is not None and last["result"] not in FINE:
            detail += f", exit status {last['exit_status']}, at {last['ended_at']}"
        elif failure is not None:
            when = "" if failure.at is None else f" {duration(context.now - failure.at)} ago"
            detail = f"failed{when}: {failure.result}; {detail}"
        else:
            status = Status.OK
        yield Answer(job["name"], status, detail)


def job_overlapping(job: Mapping[str, Any], context: Context) -> Answer | None:
    """Judge whether a run is still at work, or held off, when the next is due."""
    if job["paused"]:
        return None
    interval = job["interval_seconds"]
    if job["running_since"] is not None and interval is not None:
        ran = context.now - times.seconds(job["running_since"])
        if ran > interval:
            detail = f"runs for {duration(ran)}, longer than the {duration(interval)} between slots"
            return Answer(job["name"], Status.PROBLEM, detail, ran)
    last = job["last_run"]
    if last is not None and last["result"] == "skipped":
        detail = f"last run at {last['ended_at']} did nothing: another run held its lock"
        return Answer(job["name"], Status.PROBLEM, detail)
    return Answer(job["name"], Status.OK, "its runs do not overlap")


def job_review(job: Mapping[str, Any], _context: Context) -> Answer | None:
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


def job_drift(report: Mapping[str, Any], _context: Context) -> Iterator[Answer]:
    """Judge whether the jobs' units are as declared."""
    if report["drift"] is None:
        yield Answer("", Status.UNKNOWN, "the jobs' timers could not be asked")
        return
    for job in report["jobs"]:
        status = Status.PROBLEM if job["drift"] else Status.OK
        yield Answer(job["name"], status, ", ".join(job["drift"]) or "as declared")
    for item in report["drift"]:
        yield Answer(item["unit"], Status.PROBLEM, f"a job's unit that is {item['reason']}")


# -- runners, lanes, merge queue ----------------------------------------------------------

_RUNNER_FINE = ("idle", "busy")
_RUNNER_PASSING = ("starting", "backoff")


def runner(runners: Mapping[str, Fact[Runner]], context: Context) -> Iterator[Answer]:
    """Judge a runner by its supervisor's word, its unit and the age of that word."""

    def judge(name: str, runner: Runner) -> Iterator[Answer]:
        age = (context.now - runner.updated_at) / MINUTE
        if context.limits["state_age_minutes"].exceeded(age):
            detail = f"its state was last written {duration(age * MINUTE)} ago ({runner.state})"
            yield Answer(name, Status.UNKNOWN, detail)
            return
        if runner.state == "unknown":
            yield Answer(name, Status.UNKNOWN, runner.detail or "its supervisor cannot tell")
            return
        down = 0.0 if runner.state in _RUNNER_FINE else (context.now - runner.since) / MINUTE
        detail = f"{runner.state} since {times.iso_or_none(runner.since)}"
        detail += f": {runner.detail}" if runner.detail else ""
        if runner.unit_active is False:
            yield Answer(
                name, Status.PROBLEM, f"its unit does not run; {detail}", down, lingers=True
            )
            return
        if runner.state not in (*_RUNNER_FINE, *_RUNNER_PASSING):
            yield Answer(name, Status.PROBLEM, detail, down, lingers=True)
            return
        status, lingers = context.by("runner_down_minutes", down)
        failures, stay = context.by("runner_failures_count", runner.consecutive_failures)
        if failures is Status.PROBLEM:
            status, detail = failures, f"{runner.consecutive_failures} failures in a row; {detail}"
        yield Answer(name, status, detail, round(down, 1), lingers or stay)

    return each(runners, judge)


def runner_queue(runners: Mapping[str, Fact[Runner]], context: Context) -> Iterator[Answer]:
    """Judge how long the oldest queued CI job waits for a runner."""

    def judge(name: str, runner: Runner) -> Iterator[Answer]:
        if runner.oldest_queued_seconds is None:
            yield Answer(name, Status.ABSENT, "it does not know of a queue")
            return
        minutes = runner.oldest_queued_seconds / MINUTE
        status, lingers = context.by("runner_queued_minutes", minutes)
        detail = f"the oldest queued job waits for {duration(runner.oldest_queued_seconds)}"
        yield Answer(name, status, detail, round(minutes, 1), lingers)

    return each(runners, judge)


def runner_version(runners: Mapping[str, Fact[Runner]], context: Context) -> Iterator[Answer]:
    """Judge how long a runner's version has been superseded."""

    def judge(name: str, runner: Runner) -> Iterator[Answer]:
        if runner.version_age_days is None:
            yield Answer(name, Status.ABSENT, f"version {runner.version or 'unknown'}, no age told")
            return
        status, lingers = context.by("runner_version_days", runner.version_age_days)
        detail = f"version {runner.version} is superseded since {runner.version_age_days:g} days"
        if not runner.version_age_days:
            detail = f"version {runner.version} is the newest"
        yield Answer(name, status, detail, runner.version_age_days, lingers)

    return each(runners, judge)


def lane_stuck(lanes: Mapping[str, Fact[Lane]], context: Context) -> Iterator[Answer]:
    """Judge whether a running lane says nothing, or runs for too long."""

    def judge(name: str, lane: Lane) -> Iterator[Answer]:
        heard = lane.last_output_at if lane.last_output_at is not None else lane.updated_at
        silent, age = (context.now - heard) / MINUTE, (context.now - lane.started_at) / HOUR
        status, lingers = context.by("lane_silent_minutes", silent)
        detail = f"silent for {duration(silent * MINUTE)}"
        if status is Status.OK:
            status, lingers = context.by("lane_age_hours", age)
            detail = f"runs for {duration(age * HOUR)}"
        what = f"{lane.project} {lane.issue}".strip()
        yield Answer(
            name, status, f"{detail} ({what})" if what else detail, round(silent, 1), lingers
        )

    if not lanes:
        yield Answer("", Status.OK, "no lane is running")
    yield from each(lanes, judge)


def lane_residue(residue: Residue, _context: Context) -> Iterator[Answer]:
    """Report what ended lanes left behind."""
    found = len(residue.differences)
    if found:
        yield Answer("", Status.PROBLEM, f"ended lanes left: {some(residue.differences)}", found)
    else:
        yield Answer("", Status.OK, "ended lanes left nothing behind", 0)


def merge_report(
    queues: Mapping[str, Fact[Mapping[str, Any]]], _context: Context
) -> Iterator[Answer]:
    """Judge how the last merge cycle ended."""

    def judge(name: str, queue: Mapping[str, Any]) -> Iterator[Answer]:
        # What halts the queue and a red branch are judged on their own.
        own = queue["halted_since"] or queue["main_red_since"]
        bad = queue["state"] == "problem" and not own
        detail = queue["detail"] or "the last cycle went through"
        yield Answer(name, Status.PROBLEM if bad else Status.OK, detail)

    return each(queues, judge)


def merge_halted(
    queues: Mapping[str, Fact[Mapping[str, Any]]], context: Context
) -> Iterator[Answer]:
    """Report a merge queue that halted because something unjudged landed."""

    def judge(name: str, queue: Mapping[str, Any]) -> Iterator[Answer]:
        if queue["halted_since"] is None:
            yield Answer(name, Status.OK, "not halted")
            return
        since = context.now - times.seconds(queue["halted_since"])
        detail = f"halted {duration(since)} ago: {queue['halted_reason']}"
        yield Answer(name, Status.PROBLEM, detail, since)

    return each(queues, judge)


def main_red(queues: Mapping[str, Fact[Mapping[str, Any]]], context: Context) -> Iterator[Answer]:
    """Judge how long the default branch is red."""

    def judge(name: str, queue: Mapping[str, Any]) -> Iterator[Answer]:
        if queue["main_red_since"] is None:
            yield Answer(name, Status.OK, "the default branch is not red", 0)
            return
        minutes = (context.now - times.seconds(queue["main_red_since"])) / MINUTE
        status, lingers = context.by("main_red_minutes", minutes)
        detail = f"the default branch is red for {duration(minutes * MINUTE)}"
        yield Answer(name, status, detail, round(minutes, 1), lingers)

    return each(queues, judge)


# Those that only the machinery can help; an author or a reviewer may take his time.
_FACTORY = ("ci", "marshal", "admin")


def merge_waiting(
    queues: Mapping[str, Fact[Mapping[str, Any]]], context: Context
) -> Iterator[Answer]:
    """Judge how long the oldest pull request waits for the factory itself."""

    def judge(name: str, queue: Mapping[str, Any]) -> Iterator[Answer]:
        waiting = [(owner, queue["waiting"][owner]) for owner in _FACTORY]
        found = [(item["oldest_seconds"], owner, item) for owner, item in waiting if item["count"]]
        if not found:
            yield Answer(name, Status.OK, "no pull request waits for the factory", 0)
            return
        seconds, owner, item = max(found, key=lambda entry: entry[0])
        status, lingers = context.by("merge_waiting_hours", seconds / HOUR)
        detail = f"#{item['oldest_number']} waits for {owner} for {duration(seconds)}"
        yield Answer(name, status, detail, round(seconds / HOUR, 1), lingers)

    return each(queues, judge)
