"""``factory drift``: how far this server is from its declaration; with a signed tag, converge it."""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import Any

from factory import configuration, effects, locks
from factory.core import drift
from factory.core.base import documents, times
from factory.outcome import Exit, Outcome

STATE = Path("/var/lib/aina-factory/drift.json")
APPLIED = Path("/var/lib/aina-factory/converged.json")
LOCK = "factory-converge.lock"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of ``factory drift``."""
    parser.add_argument(
        "--converge",
        action="store_true",
        help="apply the newest tag that a declared person has signed, instead of only looking",
    )


def execute(arguments: argparse.Namespace) -> Outcome:
    """Look, or converge; write down what was found.

    Raises:
        UsageError: the configuration is missing.
        ConfigurationError: a value of the configuration is wrong.
        LockedError: another run is at work.

    """
    whole = configuration.load(Path(arguments.config))
    settings = drift.from_section(whole.section("drift"))
    checkout = drift.Checkout(settings, effects.run)
    with locks.exclusive(locks.directory_of(whole) / LOCK):
        if arguments.converge:
            return _converge(settings, checkout)
        return _look(settings, checkout)


def _look(settings: drift.Settings, checkout: drift.Checkout) -> Outcome:
    found: list[str] = []
    error = commit = ""
    try:
        commit = checkout.refresh()
        if checkout.has_signers:
            _key, commit = checkout.signed(commit, _applied())
        checkout.lay_out(commit)
        found = drift.changes(_play(settings, check=True))
    except (drift.DriftError, OSError) as problem:
        error = str(problem)
    document = drift.document(
        found, error, documents.read(STATE) or {}, times.iso(effects.now()), commit
    )
    documents.replace(STATE, document)
    if error:
        return Outcome(Exit.FAILED, document, f"factory: the look failed: {error}")
    text = "\n".join(f"{item['what']} (since {item['since']})" for item in document["changes"])
    return Outcome(Exit.DONE, document, text or f"as declared by {commit[:12]}")


def _converge(settings: drift.Settings, checkout: drift.Checkout) -> Outcome:
    applied = _applied()
    try:
        head = checkout.refresh()
        tag, commit = checkout.signed(head, applied)
        if commit == applied:
            document: dict[str, Any] = {"changed": False, "tag": tag, "commit": commit}
            return Outcome(Exit.DONE, document, f"{tag} is applied already")
        checkout.lay_out(commit)
        found = drift.changes(_play(settings, check=False))
    except (drift.DriftError, OSError) as problem:
        return Outcome(Exit.FAILED, {"error": str(problem)}, f"factory: not converged: {problem}")
    document = {
        "changed": bool(found),
        "tag": tag,
        "commit": commit,
        "applied_at": times.iso(effects.now()),
        "changes": found,
    }
    documents.replace(APPLIED, document)
    return Outcome(Exit.DONE, document, "\n".join([f"applied {tag}", *found]))


def _applied() -> str:
    """Return the commit that was applied last; empty when none was."""
    return str((documents.read(APPLIED) or {}).get("commit", ""))


def _play(settings: drift.Settings, *, check: bool) -> dict[str, Any]:
    """Run the playbook and return its recap.

    Raises:
        DriftError: Ansible is missing or failed.

    """
    with tempfile.TemporaryDirectory(prefix="factory-drift-") as directory:
        recap = Path(directory, "recap.json")
        try:
            done = drift.play(settings, effects.run, recap, check=check)
        except OSError as error:
            raise drift.DriftError(f"ansible-playbook: {error}") from error
        if not done.ok:
            raise drift.DriftError(
                f"ansible-playbook ended with {done.returncode}: {drift.said(done)}"
            )
        document = documents.read(recap) or {}
    if document.get("check_mode") is not check:
        raise drift.DriftError("the run left no recap; is the callback aina.factory.recap enabled?")
    return document
