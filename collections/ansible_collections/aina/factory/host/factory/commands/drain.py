"""``factory drain``: begin nothing new and wait until nothing works; ``--end`` takes it back."""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from pathlib import Path

from factory import effects, jobs, pausing
from factory.core.base import docker, documents, times
from factory.core.jobs import drain, layout, observe
from factory.core.jobs.settings import Job, Pause
from factory.outcome import Exit, Outcome, UsageError
from factory.unix_http import fetch_through

MARK = Path(drain.MARK)
RUNNERS = Path("/var/lib/aina-factory/runners")
LANES = Path("/var/lib/aina-factory/lanes")
POLL_SECONDS = 2.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of ``factory drain``."""
    parser.add_argument("--reason", help="why; shown wherever a paused job is shown")
    parser.add_argument("--end", action="store_true", help="let the server work again")
    parser.add_argument(
        "--wait-seconds",
        type=int,
        default=3600,
        metavar="N",
        help="how long to wait for what still works (default: %(default)s)",
    )


def execute(arguments: argparse.Namespace) -> Outcome:
    """Drain and wait, or end it. What works is never ended.

    Raises:
        UsageError: the reason is missing, the caller is not root, or no jobs are declared.
        LockedError: a converge is at work.

    """
    jobs.require_root()
    declared = [job for job in jobs.declared(arguments.config).declared if job.is_active]
    paused = observe.pauses(layout.RUNTIME_PAUSED_DIR, "runtime")
    if arguments.end:
        return _end([job for job in declared if job.name in paused], paused)
    if not (arguments.reason or "").strip():
        raise UsageError("--reason is missing; say why the server must not work")
    fresh = [job for job in declared if job.name not in paused | dict.fromkeys(drain.KEPT_JOBS)]
    changed = not MARK.exists() or bool(fresh)
    if not MARK.exists():
        since = times.iso(effects.now())
        documents.replace(MARK, drain.mark(arguments.reason, jobs.person(), since))
    failed = [error for job in fresh if (error := _pause(job, arguments.reason))]
    deadline = effects.now() + arguments.wait_seconds
    while (working := [*failed, *_working(declared)]) and effects.now() < deadline:
        time.sleep(POLL_SECONDS)
    document = {"drained": not working, "changed": changed, "working": working}
    if working:
        text = f"still at work after {arguments.wait_seconds} s: {'; '.join(working)}"
        return Outcome(Exit.FAILED, {**document, "error": text}, f"factory: {text}")
    return Outcome(Exit.DONE, document, "drained: nothing works, and nothing new begins")


def _pause(job: Job, reason: str) -> str:
    """Pause a job; return what went wrong."""
    since = times.iso(effects.now())
    why = Pause(reason=" ".join(reason.split()), by=drain.PAUSED_BY, since=since)
    outcome = pausing.pause(job, why)
    return "" if outcome.exit is Exit.DONE else str(outcome.document["error"])


def _end(resting: list[Job], paused: dict[str, observe.PauseFile]) -> Outcome:
    """Resume what the drain has paused; what somebody else paused stays so."""
    changed, errors = MARK.exists(), []
    for job in resting:
        if paused[job.name].by == drain.PAUSED_BY:
            changed = True
            outcome = pausing.resume(job)
            if outcome.exit is not Exit.DONE:
                errors.append(str(outcome.document["error"]))
    if errors:
        text = "; ".join(errors)
        return Outcome(Exit.FAILED, {"changed": changed, "error": text}, f"factory: {text}")
    MARK.unlink(missing_ok=True)
    return Outcome(Exit.DONE, {"drained": False, "changed": changed}, "the server works again")


def _working(declared: list[Job]) -> Iterator[str]:
    try:
        units = observe.units((layout.service(job.name) for job in declared), effects.run)
        services = [
            (name, unit.active_state)
            for name, unit in sorted(units.items())
            if layout.job_of(name) is not None and name.endswith(".service")
        ]
        yield from drain.working_jobs(services, drain.KEPT_JOBS)
    except observe.ObservationError as error:
        yield f"jobs: {error}"
    runners = {path.stem: documents.read(path) for path in sorted(RUNNERS.glob("*.json"))}
    yield from drain.working_runners(runners)
    lanes = {
        path.parent.name: documents.read(path)
        for path in sorted(LANES.glob("*/state.json"))
        if not (path.parent / "result.json").exists()
    }
    try:
        containers = _lane_containers()
    except docker.DockerError as error:
        yield f"lanes: the engine does not say which run: {error}"
        containers = []
    yield from drain.working_lanes(lanes, containers)


def _lane_containers() -> list[str]:
    state = effects.run(["systemctl", "is-active", "docker.service"])
    if state.stdout.strip() != b"active":
        return []
    listed = docker.Engine(fetch_through(docker.SOCKET)).labelled("lane")
    return [str(item["Labels"]["lane"]) for item in listed if item["State"] in docker.ALIVE]
