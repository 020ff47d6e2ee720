"""``factory backup``: one snapshot of this server, proved by reading it back."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from typing import Any

from factory import configuration, credentials, effects, locks
from factory.core.backup import backups
from factory.core.backup.settings import BackupSettings
from factory.core.base import brought, documents, times
from factory.core.base.settings import read
from factory.core.base.text import size
from factory.outcome import Exit, Outcome

LOCK = "factory-backup.lock"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of ``factory backup``."""
    parser.add_argument(
        "--verify",
        action="store_true",
        help="make no snapshot: check the repository with a part of its data, and restore a file",
    )


def execute(arguments: argparse.Namespace) -> Outcome:
    """Back up or verify, and write down how it went.

    Raises:
        UsageError: the configuration or a credential is missing.
        ConfigurationError: a value of the configuration is wrong.
        LockedError: another run is at work.

    """
    whole = configuration.load(Path(arguments.config))
    settings = read(BackupSettings, whole.section("backup"))
    saved = dict.fromkeys((*settings.paths, *brought.read(whole).backup_paths))
    settings = replace(settings, paths=tuple(saved))
    places = backups.BackupPaths()
    names = {settings.password_credential, *settings.environment_credentials.values()}
    paths = {name: credentials.path_of(name) for name in names}
    with locks.exclusive(locks.directory_of(whole) / LOCK):
        before = documents.read(places.report) or {}
        last = backups.from_document(before)
        try:
            repository = backups.BackupRepository(effects.run, backups.environment(settings, paths))
            if arguments.verify:
                report = backups.verify(settings, repository, places, last)
            else:
                report = backups.back_up(
                    settings, repository, places, effects.run, effects.now, last
                )
        except (backups.BackupError, OSError, ValueError) as error:
            report = backups.failed(last, str(error), verifying=arguments.verify)
        document = backups.to_document(report, before, times.iso(effects.now()))
        documents.replace(places.report, document)
    return Outcome(Exit.DONE if report.state == "ok" else Exit.FAILED, document, _text(document))


def _text(document: dict[str, Any]) -> str:
    if document["state"] == "failed":
        return f"factory: backup failed: {document['detail']}"
    detail = f"; {document['detail']}" if document["detail"] else ""
    return (
        f"{document['state']}: snapshot {document['snapshot_id'][:8]}, {document['files']} files, "
        f"{size(document['bytes'])}, {size(document['added_bytes'])} new; restore test "
        f"{document['restore_test']}; check {document['check']}{detail}"
    )
