"""``factory resume``: end a pause that ``factory pause`` began."""

from __future__ import annotations

import argparse
from pathlib import Path

from factory import effects, jobs
from factory.core.jobs import layout, observe
from factory.core.jobs.model import Job
from factory.locks import exclusive
from factory.outcome import Exit, Outcome


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of ``factory resume``."""
    parser.add_argument("job", metavar="JOB", help="name of the job")


def execute(arguments: argparse.Namespace) -> Outcome:
    """Remove a runtime pause and start the timer; a declared pause is refused.

    Raises:
        UsageError: there is no such job, or the caller is not root.
        LockedError: a converge is at work.

    """
    job = jobs.one(jobs.declared(arguments.config), arguments.job)
    jobs.require_root()
    pause = Path(layout.RUNTIME_PAUSED_DIR, job.name)
    with exclusive(jobs.LOCK_PATH):
        was_paused = pause.exists()
        if job.paused is not None:
            pause.unlink(missing_ok=True)
            text = (
                f"{job.name} is paused by the inventory since {job.paused.since} by "
                f"{job.paused.by}: {job.paused.reason}; set its state to present there and converge"
            )
            return Outcome(
                Exit.FAILED,
                {"job": job.name, "changed": was_paused, "error": text},
                f"factory: {text}",
            )
        if not was_paused:
            return Outcome(
                Exit.DONE, {"job": job.name, "changed": False}, f"{job.name} is not paused"
            )
        error = _resume(job, pause)
    document = {"job": job.name, "changed": True}
    if error is not None:
        text = f"{job.name} is no longer paused, but its timer did not start: {error}; converge"
        return Outcome(Exit.FAILED, {**document, "error": text}, f"factory: {text}")
    return Outcome(Exit.DONE, document, f"{job.name} is resumed")


def _resume(job: Job, pause: Path) -> str | None:
    """Start the timer without a surprise; return what went wrong."""
    if not observe.systemd_is_running():
        pause.unlink()
        return None
    timer = layout.timer(job.name)
    if not job.catch_up:
        Path(layout.STAMP_DIR, f"stamp-{timer}").unlink(missing_ok=True)
    # Gone before the timer starts: a job that catches up may be due at that moment.
    pause.unlink()
    done = effects.run(["systemctl", "enable", "--now", timer])
    return None if done.ok else done.stderr.decode(errors="replace").strip()
