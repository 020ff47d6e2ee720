"""``factory watchdog``: all checks once, alert edges, repairs, status, messages."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from factory import configuration, effects, locks
from factory.core.base.configuration import ConfigurationError
from factory.core.base.text import printable
from factory.core.watchdog.settings import WatchdogSettings
from factory.outcome import Exit, Outcome
from factory.watchdog import looking

_MEASURE_LOCK = "factory-measure.lock"
_PROVE_LOCK = "factory-proofs.lock"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of ``factory watchdog``."""
    parser.add_argument(
        "--selftest",
        action="store_true",
        help="inject every bad fact and see that its alert is raised, told and cleared",
    )
    parser.add_argument(
        "--measure", action="store_true", help="only measure who holds the disks; may take long"
    )
    parser.add_argument(
        "--prove",
        action="store_true",
        help="only start a container of each image, and compare the host with how a converge left it",
    )
    parser.add_argument(
        "--record",
        action="store_true",
        help="record the host as it is: from now on it is compared with that; a converge does so",
    )
    parser.add_argument(
        "--print",
        choices=("rules", "dashboard", "checks"),
        help="print alert rules for Prometheus, a dashboard for Grafana, or the table of all checks",
    )


def execute(arguments: argparse.Namespace) -> Outcome:
    """Run once, or do what an option asks for.

    Raises:
        UsageError: the configuration is missing or cannot be read.
        LockedError: another run is at work.

    """
    if arguments.print:
        return _printed(arguments.print)
    whole = configuration.load(Path(arguments.config))
    policy, errors = looking.watched(whole)
    if arguments.selftest:
        return _selftest(policy, errors)
    if arguments.measure:
        # It may take its time, but never twice at once.
        with locks.exclusive(locks.directory_of(whole) / _MEASURE_LOCK):
            return _measure(policy)
    if arguments.prove or arguments.record:
        with locks.exclusive(locks.directory_of(whole) / _PROVE_LOCK):
            proved = _prove(policy) if arguments.prove else _record(policy)
        if arguments.prove:
            return proved
    return _outcome(looking.look(whole), errors)


def _prove(policy: WatchdogSettings) -> Outcome:
    from factory.watchdog import prove

    document = prove.prove(policy, effects.run, effects.now())
    lines = [
        f"{'ok' if item['started'] else 'FAILED':<7}{item['name']}  {item['detail']}".rstrip()
        for item in document["images"]
    ]
    lines += [f"since {item['since']}: {item['what']}" for item in document.get("changes", ())]
    lines += document["problems"]
    text = "\n".join(map(printable, lines)) or "all is as it should be"
    return Outcome(Exit.FAILED if document["problems"] else Exit.DONE, document, text)


def _record(policy: WatchdogSettings) -> Outcome:
    from factory.watchdog import prove

    document = prove.remember(policy, effects.run)
    return Outcome(Exit.DONE, document, f"{document['recorded']} things are recorded")


def _outcome(document: dict[str, Any], errors: tuple[str, ...]) -> Outcome:
    from factory.core.status import terminal

    text = terminal.summary(document)
    problems = document["run"]["problems"]
    if errors:
        text = "\n".join([text, *(f"factory: {error}" for error in errors)])
        return Outcome(Exit.USAGE, {**document, "error": "; ".join(errors)}, text)
    # An alert is what the watchdog is for; only what kept it from its work is a failure.
    return Outcome(Exit.FAILED if problems else Exit.DONE, document, text)


def _measure(policy: WatchdogSettings) -> Outcome:
    from factory.core.status import terminal
    from factory.watchdog.measure import measure

    document = measure(policy)
    text = terminal.measured(document)
    return Outcome(Exit.FAILED if document["problems"] else Exit.DONE, document, text)


def _selftest(policy: WatchdogSettings, errors: tuple[str, ...]) -> Outcome:
    from factory.core.watchdog import selftest

    if errors:
        raise ConfigurationError("; ".join(errors))
    results = selftest.run(policy)
    failed = [result for result in results if result.problem]
    lines = [
        f"{'FAILED' if item.problem else 'ok':<7}{item.check}  {item.problem}".rstrip()
        for item in results
    ]
    lines.append(
        f"{len(results) - len(failed)} of {len(results)} alerts are raised, told and cleared"
    )
    document = {
        "checks": [vars(result) for result in results],
        "failed": [result.check for result in failed],
    }
    return Outcome(Exit.FAILED if failed else Exit.DONE, document, "\n".join(lines))


def _printed(what: str) -> Outcome:
    from factory.core.watchdog import monitoring

    printed = {
        "rules": monitoring.rules,
        "dashboard": monitoring.dashboard,
        "checks": monitoring.tables,
    }
    text = printed[what]()
    return Outcome(Exit.DONE, {what: text}, text.rstrip("\n"))
