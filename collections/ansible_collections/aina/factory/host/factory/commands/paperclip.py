"""``factory paperclip``: what Paperclip says of itself; whether it may be restarted now."""

from __future__ import annotations

import argparse
import time
from pathlib import Path

from factory import configuration
from factory.core.base.settings import read
from factory.core.paperclip.settings import PaperclipSettings
from factory.core.watchdog import paperclip
from factory.core.watchdog.facts import Absent, Known
from factory.outcome import Exit, Outcome, UsageError
from factory.watchdog.web import fetch

_SECONDS = 20.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of ``factory paperclip``."""
    parser.add_argument(
        "--exposed",
        action="store_true",
        help="fail when its ports are reachable from outside, instead of when agents are at work",
    )
    parser.add_argument(
        "--wait-seconds",
        type=float,
        default=0.0,
        metavar="N",
        help="wait so long until it is healthy, and fail when it is not",
    )


def execute(arguments: argparse.Namespace) -> Outcome:
    """End with 1 while agents are at work, for then a restart would cut them off.

    Raises:
        UsageError: no Paperclip is declared.

    """
    whole = configuration.load(Path(arguments.config))
    if not whole.has("paperclip"):
        raise UsageError("no Paperclip is declared; converge the host with the role paperclip")
    settings = read(PaperclipSettings, whole.section("paperclip"))
    deadline = time.monotonic() + arguments.wait_seconds
    while not (found := paperclip.ask(settings, fetch, Path("/proc"), _SECONDS)).healthy:
        if time.monotonic() >= deadline:
            break
        time.sleep(1)
    if arguments.wait_seconds and not found.healthy:
        error = f"not healthy after {arguments.wait_seconds:g} s: {found.detail}"
        return Outcome(Exit.FAILED, {"error": error}, f"factory: {error}")
    if arguments.exposed:
        if not isinstance(found.exposed, Known):
            error = f"where it listens cannot be known: {found.exposed.reason}"
            return Outcome(Exit.FAILED, {"error": error}, f"factory: {error}")
        told = ", ".join(found.exposed.value)
        text = f"reachable from outside: {told}" if told else "reachable from this host alone"
        return Outcome(Exit.FAILED if told else Exit.DONE, {"exposed": told}, text)
    if isinstance(found.companies, Absent):
        return Outcome(Exit.DONE, {"healthy": False, "runs": []}, f"not running: {found.detail}")
    if not isinstance(found.companies, Known):
        error = f"who is at work cannot be known: {found.companies.reason}"
        return Outcome(Exit.FAILED, {"error": error}, f"factory: {error}")
    runs = [run.name for company in found.companies.value for run in company.runs]
    text = f"at work: {', '.join(runs)}" if runs else f"idle; {found.detail}"
    document = {"healthy": True, "version": found.version, "runs": runs}
    return Outcome(Exit.FAILED if runs else Exit.DONE, document, text)
