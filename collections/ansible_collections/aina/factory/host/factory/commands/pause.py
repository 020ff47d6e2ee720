"""``factory pause``: keep a job from running until somebody resumes it."""

from __future__ import annotations

import argparse

from factory import effects, jobs, pausing
from factory.core.base import times
from factory.core.jobs.model import Pause
from factory.outcome import Outcome, UsageError


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
    since = times.iso(effects.now())
    return pausing.pause(
        job, Pause(reason, arguments.by or jobs.person(), since, arguments.review_after)
    )
