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

# What each verb takes: operands, then flags.
_VERBS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "list": ((), ()),
    "logs": (("LANE",), ("follow",)),
    "attach": (("LANE",), ()),
    "shell": (("LANE",), ()),
    "stop": (("LANE",), ()),
    "resume": (("LANE",), ("queue_seconds",)),
    "deliver": (("LANE",), ()),
    "resolve": (("REPO", "PULL"), ("detach", "events", "queue_seconds")),
    "revise": (("REPO", "PULL"), ("detach", "events", "queue_seconds")),
    "dispatch": ((), ("dry_run",)),
}
_RUN = (("REPO", "ISSUE"), ("stdin", "detach", "events", "model", "attempts", "queue_seconds"))


def words_for(argv: Sequence[str]) -> list[str]:
    """Return the arguments of ``factory`` for those of ``run-lane``; wrong ones end the program."""
    usage = ["run-lane REPO ISSUE [options]"]
    usage += [" ".join(("run-lane", verb, *names)) for verb, (names, _call) in _VERBS.items()]
    parser = argparse.ArgumentParser(
        prog="run-lane",
        usage="\n       ".join(usage),
        description="Let an agent work on an issue.",
        allow_abbrev=False,
    )
    parser.add_argument("words", nargs="*", help=argparse.SUPPRESS)
    for flag in ("--stdin", "--detach", "--events", "--json", "--follow", "--dry-run"):
        parser.add_argument(flag, action="store_true")
    parser.add_argument("--model", metavar="NAME")
    parser.add_argument("--attempts", metavar="N")
    parser.add_argument("--queue-seconds", type=float, metavar="N")
    given = parser.parse_intermixed_args(argv)
    verb = given.words[0] if given.words and given.words[0] in _VERBS else ""
    operands = given.words[1:] if verb else given.words
    names, flags = _VERBS[verb] if verb else _RUN
    if len(operands) != len(names) or any(word.startswith("-") for word in operands):
        wanted = " ".join((*((verb,) if verb else ()), *names))
        parser.error(f"{' '.join(given.words) or 'nothing'} was given, and {wanted} is wanted")
    words = ["lane", *(["--json"] if given.json else []), verb or "run", *operands]
    for name in (
        "stdin",
        "detach",
        "events",
        "follow",
        "dry_run",
        "model",
        "attempts",
        "queue_seconds",
    ):
        value = getattr(given, name)
        if value is None or value is False:
            continue
        option = f"--{name.replace('_', '-')}"
        if name not in flags:
            parser.error(f"{option} has no meaning for {verb or 'a run'}")
        words.append(option if value is True else f"{option}={value}")
    return words


def main() -> int:
    """Become root by the one rule that sudo has for this, then run."""
    words = words_for(sys.argv[1:])
    if os.geteuid() != 0:
        os.execvp(  # noqa: S606 - a program and its words, no shell
            "sudo", ["sudo", "--non-interactive", "/usr/local/bin/run-lane", *sys.argv[1:]]
        )
    return factory(words)
