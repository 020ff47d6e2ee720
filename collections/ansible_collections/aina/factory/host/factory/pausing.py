"""Pause a job and end its pause, for ``factory pause``, ``resume`` and ``drain``."""

from __future__ import annotations

from pathlib import Path

from factory import effects, jobs
from factory.core.base import files
from factory.core.jobs import layout, observe, render
from factory.core.jobs.settings import Job, Pause
from factory.locks import exclusive
from factory.outcome import Exit, Outcome


def pause(job: Job, pause: Pause) -> Outcome:
    """Write the pause, then stop and disable the timer. A run in progress is left to end.

    Raises:
        LockedError: a converge is at work.

    """
    with exclusive(jobs.LOCK_PATH):
        # The file comes first: the service refuses to start while it is there, whatever
        # becomes of the timer.
        content = render.pause_document(pause, "runtime")
        files.write(Path(layout.RUNTIME_PAUSED_DIR, job.name), content.encode())
        error = _stop_timer(job.name) if observe.systemd_is_running() else None
    document = {
        "job": job.name,
        "changed": True,
        "paused": {"reason": pause.reason, "since": pause.since},
    }
    if error is not None:
        text = f"{job.name} will not run (its pause file is in place), but its timer: {error}"
        return Outcome(Exit.FAILED, {**document, "error": text}, f"factory: {text}")
    return Outcome(Exit.DONE, document, f"{job.name} is paused: {pause.reason}")


def resume(job: Job) -> Outcome:
    """Remove a runtime pause and start the timer; a declared pause is refused.

    Raises:
        LockedError: a converge is at work.

    """
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
        error = _start_timer(job, pause)
    document = {"job": job.name, "changed": True}
    if error is not None:
        text = f"{job.name} is no longer paused, but its timer did not start: {error}; converge"
        return Outcome(Exit.FAILED, {**document, "error": text}, f"factory: {text}")
    return Outcome(Exit.DONE, document, f"{job.name} is resumed")


def _stop_timer(name: str) -> str | None:
    """Stop and disable; return what went wrong. A run waiting its turn is called off."""
    triggers = [f"factory-trigger-{kind}@{name}.service" for kind in ("queue", "replace")]
    effects.run(["systemctl", "stop", *triggers])
    done = effects.run(["systemctl", "disable", "--now", layout.timer(name)])
    return None if done.ok else done.said


def _start_timer(job: Job, pause: Path) -> str | None:
    """Start the timer without a surprise; return what went wrong."""
    if not observe.systemd_is_running():
        pause.unlink()
        return None
    timer = layout.timer(job.name)
    if not job.catch_up:
        Path(layout.STAMP_DIR, f"stamp-{timer}").unlink(missing_ok=True)
    if job.at_boot:
        files.write(Path(layout.booted_path(job.name)), b"")
    # Gone before the timer starts: a job that catches up may be due at that moment.
    pause.unlink()
    done = effects.run(["systemctl", "enable", "--now", timer])
    return None if done.ok else done.said
