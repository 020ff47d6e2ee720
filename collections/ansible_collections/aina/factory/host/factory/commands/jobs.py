"""``factory jobs``: declared against actual jobs."""

from __future__ import annotations

import argparse

from factory import effects, jobs
from factory.core.jobs import actual, report
from factory.core.jobs.observe import ObservationError
from factory.outcome import Exit, Outcome


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare no further options."""


def execute(arguments: argparse.Namespace) -> Outcome:
    """Report every declared job and what of the jobs' prefix nobody declared.

    Drift is in the report, not in the exit status; only a host that could not be asked
    ends with 1, and then every actual value is unknown.
    """
    declared = jobs.declared(arguments.config)
    error = None
    try:
        found = actual.read(declared, effects.run)
    except ObservationError as problem:
        error = str(problem)
        found = report.Actual(None, {}, {}, {})
    document = report.report(declared, found, effects.now())
    text = report.table(document)
    if error is not None:
        return Outcome(Exit.FAILED, {**document, "error": error}, f"{text}\nfactory: {error}")
    return Outcome(Exit.DONE, document, text)
