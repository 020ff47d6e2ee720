"""``factory top``: the status as it changes, for whoever is on the server; a plain table in a pipe."""

from __future__ import annotations

import argparse
import os
import select
import shutil
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from factory import configuration, console, effects
from factory.core.status import terminal
from factory.core.watchdog import policy as policies
from factory.outcome import Exit, Outcome
from factory.watchdog import published


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of ``factory top``."""
    parser.add_argument(
        "--seconds",
        type=float,
        default=2.0,
        help="how often it looks (default: every %(default)s s)",
    )


def execute(arguments: argparse.Namespace) -> Outcome:
    """Show the newest status until somebody has seen enough (q, or Ctrl-C); once in a pipe.

    Raises:
        UsageError: the configuration cannot be read.

    """
    whole = configuration.load(Path(arguments.config))
    policy, _errors = policies.tolerant(whole.section("watchdog", {}))
    found = published.read(policy)
    if found.document is None:
        return Outcome(Exit.FAILED, {"error": found.problem}, f"factory: {found.problem}")
    if arguments.json or not (sys.stdout.isatty() and sys.stdin.isatty()):
        width = shutil.get_terminal_size((100, 40)).columns
        text = terminal.render(found.document, effects.now(), width)
        return Outcome(Exit.DONE, found.document, text)
    try:
        from factory import top
    except ImportError:
        words = "factory top needs the package python3-rich, which role watchdog installs"
        advice = f"{words}; factory status --watch shows the same without it"
        return Outcome(Exit.FAILED, {"error": advice}, f"factory: {advice}")
    lanes = console.Console(policy, console.lanes_dir(whole), "")
    with _keys(), top.screen(coloured=not os.environ.get("NO_COLOR")) as show:
        while True:
            found = published.read(policy)
            names = lanes.lanes_at_work(found.document)
            show(found, {name: lanes.now_of(name) for name in names}, effects.now())
            if _is_enough(max(0.2, arguments.seconds)):
                return Outcome(Exit.DONE, {}, "")


@contextmanager
def _keys() -> Iterator[None]:
    """Have keys told at once and not shown, and leave the terminal as it was."""
    import termios
    import tty

    before = termios.tcgetattr(sys.stdin)
    try:
        tty.setcbreak(sys.stdin)
        yield
    finally:
        termios.tcsetattr(sys.stdin, termios.TCSADRAIN, before)


def _is_enough(seconds: float) -> bool:
    """Wait for so long; return whether somebody has pressed q, or Ctrl-C."""
    deadline = time.monotonic() + seconds
    try:
        while (left := deadline - time.monotonic()) > 0:
            ready, _write, _error = select.select([sys.stdin], [], [], left)
            if ready and os.read(sys.stdin.fileno(), 64)[:1] in (b"q", b"Q", b"\x04", b""):
                return True
    except KeyboardInterrupt:
        return True
    return False
