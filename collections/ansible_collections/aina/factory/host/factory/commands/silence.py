"""``factory silence``: keep an alert quiet until a given time; it stays in the status."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

from factory import configuration, effects, jobs, locks
from factory.core.base import times
from factory.core.base.configuration import Section
from factory.core.watchdog import policy as policies
from factory.core.watchdog.checks import BY_NAME
from factory.core.watchdog.silences import Silence, from_section
from factory.outcome import Exit, Outcome, UsageError
from factory.watchdog import saved_state
from factory.watchdog.store import Reserve, Store

LOCK = "factory-silences.lock"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of ``factory silence``."""
    parser.add_argument(
        "match",
        nargs="?",
        metavar="MATCH",
        help="an alert's key, or a pattern such as 'job_*'; without one all silences are shown",
    )
    parser.add_argument("--hours", type=float, help="for how long; nothing is silent for ever")
    parser.add_argument("--reason", help="why; shown wherever the alert is shown")
    parser.add_argument("--by", help="who (default: the calling user)")
    parser.add_argument("--end", action="store_true", help="end the silences of MATCH")


def execute(arguments: argparse.Namespace) -> Outcome:
    """Add a silence, or end those that were made here; declared ones stay the inventory's.

    Raises:
        UsageError: the end or the reason is missing.
        ConfigurationError: the file of silences is damaged.

    """
    whole = configuration.load(Path(arguments.config))
    policy, _errors = policies.tolerant(whole.section("watchdog", {}))
    now = effects.now()
    if arguments.match is None:
        return _listed(saved_state.silences(policy), now)
    longest = policy.silence_max_hours
    if not arguments.end and arguments.hours and arguments.hours > longest:
        rule = (
            "longer ones are declared in the inventory (watchdog_silences), where others see them"
        )
        raise UsageError(
            f"--hours is {arguments.hours:g}; at most {longest:g} are made here: {rule}"
        )
    if not arguments.end and not (arguments.hours and arguments.hours > 0):
        raise UsageError("--hours is missing; say for how long, nothing is silent for ever")
    if not arguments.end and not (arguments.reason or "").strip():
        raise UsageError("--reason is missing; say why nobody wants to hear of it")
    with locks.exclusive(locks.directory_of(whole) / LOCK):
        made = [item for item in saved_state.silences(policy) if item.origin != "declared"]
        kept = [
            item
            for item in made
            if item.active(now) and not (arguments.end and item.match == arguments.match)
        ]
        ended = len([item for item in made if item.active(now)]) - len(kept)
        documents = [
            {"match": i.match, "until": times.iso_or_none(i.until), "reason": i.reason, "by": i.by}
            for i in kept
        ]
        if not arguments.end:
            fresh = {
                "match": arguments.match,
                "until": times.iso_or_none(now + arguments.hours * 3600),
                "reason": " ".join(arguments.reason.split()),
                "by": arguments.by or jobs.person(),
            }
            from_section(Section(fresh, "silence"), BY_NAME)
            documents.append(fresh)
        path = saved_state.silences_path(policy)
        store = Store(Reserve(Path(policy.state_dir, "reserve"), policy.reserve_mib))
        store.replace(path, json.dumps({"schema": 1, "silences": documents}).encode())
    if arguments.end:
        text = f"{ended} silences of {arguments.match} ended"
        return Outcome(Exit.DONE, {"ended": ended, "changed": ended > 0}, text)
    text = f"{arguments.match} is silent until {fresh['until']}: {fresh['reason']}"
    return Outcome(Exit.DONE, {"silence": fresh, "changed": True}, text)


def _listed(found: Sequence[Silence], now: float) -> Outcome:
    """Show every silence: what it covers, until when, why, whose it is and where it was made."""
    documents = [item.document(now) for item in found]
    rows = [
        f"{item['match']}  {'until' if item['active'] else 'ended'} {item['until']}  {item['by']}, "
        f"{item['origin']}: {item['reason']}"
        for item in documents
    ]
    return Outcome(Exit.DONE, {"silences": documents}, "\n".join(rows) or "nothing is silent")
