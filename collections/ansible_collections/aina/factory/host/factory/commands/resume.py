"""``factory resume``: end a pause that ``factory pause`` began."""

from __future__ import annotations

import argparse

from factory import jobs, pausing
from factory.outcome import Outcome


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
    return pausing.resume(job)
