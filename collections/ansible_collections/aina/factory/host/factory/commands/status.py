"""``factory status``: what the watchdog last found, for a terminal, a program or a browser."""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import time
from pathlib import Path

from factory import configuration, effects
from factory.core.status import terminal
from factory.core.watchdog import policy as policies
from factory.core.watchdog.settings import WatchdogSettings
from factory.outcome import Exit, Outcome, UsageError
from factory.watchdog import looking, published

_CLEAR = "\033[H\033[2J"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of ``factory status``."""
    parser.add_argument("--html", metavar="FILE", help="write the page to this file")
    parser.add_argument(
        "--watch",
        nargs="?",
        const=5.0,
        type=float,
        metavar="SECONDS",
        help="show it again and again, until interrupted (default: every 5 s)",
    )


def execute(arguments: argparse.Namespace) -> Outcome:
    """Show the newest status; it says itself when it is old.

    Raises:
        UsageError: the configuration cannot be read.

    """
    whole = configuration.load(Path(arguments.config))
    policy, _errors = policies.tolerant(whole.section("watchdog", {}))
    if arguments.watch is not None:
        return _watch(policy, max(0.2, arguments.watch))
    found = published.read(policy)
    if found.document is None and _is_new(policy) and os.geteuid() == 0:
        # Right after the first converge nobody has looked yet.
        looking.look(whole)
        found = published.read(policy)
    document = found.document
    if document is None:
        return Outcome(Exit.FAILED, {"error": found.problem}, f"factory: {found.problem}")
    if arguments.html:
        from factory.core.status import page

        try:
            Path(arguments.html).write_text(page.render(document), encoding="utf-8")
        except OSError as error:
            raise UsageError(f"--html {arguments.html}: {error.strerror}") from error
        return Outcome(Exit.DONE, {"page": arguments.html}, f"written: {arguments.html}")
    text = terminal.render(document, effects.now(), _width(), coloured=_is_coloured())
    return Outcome(Exit.DONE, document, text)


def _is_new(policy: WatchdogSettings) -> bool:
    """Whether the watchdog never ran here: neither a status nor its memory is there."""
    paths = (policy.status_path, f"{policy.state_dir}/state.json")
    return not any(published.newest(policy, path).exists() for path in paths)


def _watch(policy: WatchdogSettings, pause_seconds: float) -> Outcome:
    try:
        while True:
            found = published.read(policy)
            text = found.problem
            if found.document is not None:
                text = terminal.render(
                    found.document, effects.now(), _width(), coloured=_is_coloured()
                )
            # A pipe gets plain text, one status after the other.
            print(f"{_CLEAR}{text}" if sys.stdout.isatty() else f"{text}\n", flush=True)
            time.sleep(pause_seconds)
    except KeyboardInterrupt:
        return Outcome(Exit.DONE, {}, "")


def _is_coloured() -> bool:
    return (
        sys.stdout.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
    )


def _width() -> int:
    return shutil.get_terminal_size((100, 40)).columns
