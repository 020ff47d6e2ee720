"""Entry point: parse, load the configuration, call one subcommand, print."""

from __future__ import annotations

import argparse
import importlib
import json
import logging
import os
import sys
from collections.abc import Sequence

from factory import VERSION
from factory.core.base.configuration import ConfigurationError
from factory.core.base.locks import LockFileError
from factory.outcome import SCHEMA, Exit, LockedError, Outcome, UsageError

# As a shell tells of a program that ended by SIGPIPE.
_CLOSED_PIPE = 141
DEFAULT_CONFIGURATION = "/etc/aina-factory/factory.json"

# Each name is a module of factory.commands that offers SUMMARY, add_arguments(parser)
# and execute(arguments) -> Outcome. Modules are imported only when they are called:
# several run every few minutes.
COMMANDS = {
    "backup": "make and prove a snapshot of this server",
    "console": "show the status in a browser",
    "drain": "begin nothing new and wait until nothing works",
    "drift": "look how far the server is from its declaration",
    "images": "show the images, or build what changed",
    "janitor": "let go of what the server may forget",
    "jobs": "show declared against actual jobs",
    "lane": "let agents work, each in a container of its own",
    "manual": "print the manual page, or what a shell completes",
    "marshal": "land what is green, oldest first",
    "paperclip": "say whether agents are at work and who can reach it",
    "pause": "keep a job from running",
    "reap": "delete worktrees whose work has landed",
    "resume": "end a runtime pause",
    "runner": "supervise, heal and drain CI runners",
    "silence": "keep an alert quiet until a given time",
    "status": "show what the watchdog last found",
    "takeover": "show what runs by the clock that is not ours, or give back what was taken",
    "top": "show the status as it changes",
    "validate": "check the configuration files",
    "watchdog": "judge the server's state, repair, write it down, tell",
}


# In place of one subcommand: all are imported.
ALL = "*"


def build_parser(chosen: str | None) -> argparse.ArgumentParser:
    """Return the parser; only the chosen subcommand is imported and filled in."""
    parser = argparse.ArgumentParser(prog="factory", description="Operate this factory server.")
    parser.add_argument("--version", action="version", version=f"factory {VERSION}")
    subparsers = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, summary in COMMANDS.items():
        subparser = subparsers.add_parser(name, help=summary, description=summary)
        if chosen not in (name, ALL):
            continue
        subparser.add_argument(
            "--config",
            default=DEFAULT_CONFIGURATION,
            metavar="FILE",
            help="configuration file (default: %(default)s)",
        )
        subparser.add_argument("--json", action="store_true", help="print one JSON document")
        importlib.import_module(f"factory.commands.{name}").add_arguments(subparser)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run one subcommand and return its exit code; whoever stops reading ends it quietly."""
    try:
        code = _main(argv)
        sys.stdout.flush()
    except BrokenPipeError:
        # What is still buffered has nowhere to go, and the interpreter would say so.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return _CLOSED_PIPE
    return code


def _main(argv: Sequence[str] | None) -> int:
    arguments_given = list(sys.argv[1:] if argv is None else argv)
    chosen = next((word for word in arguments_given if word in COMMANDS), None)
    arguments = build_parser(chosen).parse_args(arguments_given)
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(levelname)s: %(message)s")
    command = importlib.import_module(f"factory.commands.{arguments.command}")
    try:
        outcome: Outcome = command.execute(arguments)
    except (UsageError, ConfigurationError) as error:
        outcome = Outcome(Exit.USAGE, {"error": str(error)}, f"factory: {error}")
    except LockFileError as error:
        outcome = Outcome(Exit.FAILED, {"error": str(error)}, f"factory: {error}")
    except LockedError as error:
        outcome = Outcome(Exit.LOCKED, {"error": str(error)}, f"factory: {error}")
    if arguments.json:
        print(json.dumps({"schema": SCHEMA, **outcome.document}, ensure_ascii=True))
    if not arguments.json or outcome.exit is not Exit.DONE:
        stream = sys.stdout if outcome.exit is Exit.DONE else sys.stderr
        print(outcome.text, file=stream)
    return int(outcome.exit)


if __name__ == "__main__":
    sys.exit(main())
