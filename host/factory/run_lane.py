"""``run-lane``: the one narrow way in which others than root start lanes.

Only what is spelled out here reaches ``factory lane``: another configuration would be another
way to be root.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence

from factory.__main__ import main as factory

_VERBS = ("list", "logs", "stop", "resume", "deliver")


def words_for(argv: Sequence[str]) -> list[str]:
    """Return the arguments of ``factory`` for those of ``run-lane``; wrong ones end the program."""
    parser = argparse.ArgumentParser(
        prog="run-lane", description="Let an agent work on an issue.", allow_abbrev=False
    )
    parser.add_argument("repository", metavar="REPO", help=f"or one of {', '.join(_VERBS)}")
    parser.add_argument("issue", metavar="ISSUE", nargs="?", help="or a lane")
    for flag in ("--stdin", "--detach", "--events", "--json", "--follow"):
        parser.add_argument(flag, action="store_true")
    parser.add_argument("--model", metavar="NAME")
    parser.add_argument("--queue-seconds", type=float, metavar="N")
    given = parser.parse_args(argv)
    is_verb = given.repository in _VERBS
    if given.issue is None and given.repository != "list":
        parser.error("an issue, or a lane, is missing")
    words = ["lane", *(["--json"] if given.json else [])]
    words += [given.repository] if is_verb else ["run", given.repository]
    words += [given.issue] if given.issue is not None else []
    flags = ("follow",) if is_verb else ("stdin", "detach", "events")
    words += [f"--{name}" for name in flags if getattr(given, name)]
    if not is_verb and given.model is not None:
        words.append(f"--model={given.model}")
    if given.queue_seconds is not None and given.repository not in (
        "list",
        "logs",
        "stop",
        "deliver",
    ):
        words.append(f"--queue-seconds={given.queue_seconds}")
    return words


def main() -> int:
    """Become root by the one rule that sudo has for this, then run."""
    words = words_for(sys.argv[1:])
    if os.geteuid() != 0:
        os.execvp(  # noqa: S606 - a program and its words, no shell
            "sudo", ["sudo", "--non-interactive", "/usr/local/bin/run-lane", *sys.argv[1:]]
        )
    return factory(words)
