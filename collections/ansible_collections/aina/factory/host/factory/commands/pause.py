"""``factory pause``: keep a job from running until somebody resumes it."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from factory import effects, jobs
from factory.core.base.text import iso
from factory.core.jobs import layout, observe, render
from factory.core.jobs.model import Pause
from factory.locks import exclusive
from factory.outcome import Exit, Outcome, UsageError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of ``factory pause``."""
    parser.add_argument("job", metavar="JOB", help="name of the job")
    parser.add_argument("--reason", required=True, help="why; shown wherever the job is shown")
    parser.add_argument("--by", help="who (default: the calling user)")
    parser.add_argument("--review-after", metavar="DATE", help="when to think again, as 2026-07-14")


def execute(arguments: argparse.Namespace) -> Outcome:
    """Write the pause, then stop and disable the timer. A run in progress is left to end.

    Raises:
        UsageError: there is no such job, the reason is empty, or the caller is not root.
        LockedError: a converge is at work.

    """
    job = jobs.one(jobs.declared(arguments.config), arguments.job)
    reason = " ".join(arguments.reason.split())
    if not reason:
        raise UsageError("--reason is empty; say why the job must not run")
    jobs.require_root()
    since = iso(effects.now()) or ""
    pause = Pause(reason, arguments.by or jobs.person(), since, arguments.review_after)
    with exclusive(jobs.LOCK_PATH):
        # The file comes first: the service refuses to start while it is there, whatever
        # becomes of the timer.
        _write(Path(layout.RUNTIME_PAUSED_DIR, job.name), render.pause_document(pause, "runtime"))
        error = _stop_timer(job.name) if observe.systemd_is_running() else None
    document = {"job": job.name, "changed": True, "paused": {"reason": reason, "since": since}}
    if error is not None:
        text = f"{job.name} will not run (its pause file is in place), but its timer: {error}"
        return Outcome(Exit.FAILED, {**document, "error": text}, f"factory: {text}")
    return Outcome(Exit.DONE, document, f"{job.name} is paused: {reason}")


def _stop_timer(name: str) -> str | None:
    """Stop and disable; return what went wrong. A run waiting its turn is called off."""
    triggers = [f"factory-trigger-{kind}@{name}.service" for kind in ("queue", "replace")]
    effects.run(["systemctl", "stop", *triggers])
    done = effects.run(["systemctl", "disable", "--now", layout.timer(name)])
    return None if done.ok else done.stderr.decode(errors="replace").strip()


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    candidate = path.with_name(f".{path.name}.{os.getpid()}")
    candidate.write_text(text, encoding="utf-8")
    candidate.replace(path)
