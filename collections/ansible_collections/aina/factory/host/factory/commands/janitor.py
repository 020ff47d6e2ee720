"""``factory janitor``: let go of what the server may forget, by declared limits."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from factory import configuration, effects, image_listener, locks, reaping
from factory.core.base import settings
from factory.core.base.configuration import Section
from factory.core.base.disk import Disk
from factory.core.base.text import printable, size
from factory.core.janitor import sweep
from factory.core.janitor.host import Host
from factory.core.janitor.model import Kind
from factory.core.janitor.settings import Janitor
from factory.outcome import Exit, Outcome, UsageError
from factory.unix_http import fetch_through


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of ``factory janitor``."""
    parser.add_argument(
        "--dry-run", action="store_true", help="list what would go and change nothing"
    )
    parser.add_argument(
        "--only",
        action="append",
        default=[],
        metavar="KIND",
        help="only this kind; may be repeated; 'docker' stands for all that begin with it",
    )
    parser.add_argument(
        "--listen",
        action="store_true",
        help="write down which images containers start from, for as long as the engine tells; the unit"
        " factory-image-use runs this",
    )


def execute(arguments: argparse.Namespace) -> Outcome:
    """Sweep once under the lock that converging and the lanes take as well.

    Raises:
        UsageError: the configuration is missing or a kind is unknown.
        ConfigurationError: a value of the configuration is wrong.
        LockedError: another run is at work.

    """
    whole = configuration.load(Path(arguments.config))
    policy = settings.read(Janitor, whole.section("janitor", {}))
    if arguments.listen:
        return image_listener.listen(policy)
    lock_directory = locks.directory_of(whole)
    with locks.exclusive(lock_directory / locks.WORKTREES):
        host = _host(policy, whole, lock_directory)
        kinds = _chosen(policy.kinds(host), arguments.only)
        before = sweep.measure_disk(policy.disk_path)
        reports = sweep.sweep(
            kinds,
            lambda: sweep.measure_disk(policy.disk_path),
            policy.watermarks,
            host.now,
            dry_run=arguments.dry_run,
            progress=_progress,
        )
        if not arguments.dry_run:
            for keep in host.keep:
                keep()
        after = sweep.measure_disk(policy.disk_path)
    _progress("")
    return _outcome(reports, before, after, dry_run=arguments.dry_run)


def _host(policy: Janitor, whole: Section, lock_directory: Path) -> Host:
    return Host(
        device=Path(policy.disk_path).stat().st_dev,
        now=effects.now(),
        lock_directory=lock_directory,
        image_use_path=Path(policy.image_use_path),
        image_heard_path=Path(policy.image_heard_path),
        run=effects.run,
        at=fetch_through,
        reap=lambda dry_run: reaping.reap_all(whole, dry_run=dry_run),
    )


def _chosen(kinds: list[Kind], only: list[str]) -> list[Kind]:
    names = [kind.name for kind in kinds]
    for word in only:
        if not any(_stands_for(word, name) for name in names):
            raise UsageError(f"--only {word}: no such kind; known are: {', '.join(names)}")
    if not only:
        return kinds
    return [kind for kind in kinds if any(_stands_for(word, kind.name) for word in only)]


def _stands_for(word: str, name: str) -> bool:
    return name == word or name.startswith(f"{word}_")


def _progress(message: str) -> None:
    if sys.stderr.isatty():
        print(f"\r\033[K{message}", end="", file=sys.stderr, flush=True)


def _outcome(
    reports: dict[str, sweep.KindReport], before: Disk, after: Disk, *, dry_run: bool
) -> Outcome:
    freed = sum(report.bytes_freed for report in reports.values())
    document: dict[str, Any] = {
        "dry_run": dry_run,
        "disk": {"path": before.path, "before": _disk(before), "after": _disk(after)},
        "kinds": {name: _kind(report) for name, report in reports.items()},
        "bytes_freed": freed,
        "bytes_planned": sum(item.bytes for report in reports.values() for item in report.items),
        "changed": any(item.removed for report in reports.values() for item in report.items),
    }
    failed = [name for name, report in reports.items() if report.status == "failed"]
    text = _table(reports, before, after, dry_run=dry_run)
    return Outcome(Exit.FAILED if failed else Exit.DONE, document, text)


def _disk(disk: Disk) -> dict[str, float]:
    return {
        "total_bytes": disk.total_bytes,
        "used_bytes": disk.used_bytes,
        "used_percent": disk.used_percent,
    }


def _kind(report: sweep.KindReport) -> dict[str, Any]:
    return {
        "status": report.status,
        "detail": report.detail,
        "items": [vars(item) for item in report.items],
        "bytes_freed": report.bytes_freed,
        "kept": dict(sorted(report.kept.items())),
    }


def _table(
    reports: dict[str, sweep.KindReport], before: Disk, after: Disk, *, dry_run: bool
) -> str:
    lines = [f"{'KIND':<24} {'STATUS':<8} {'GOES' if dry_run else 'WENT':>6} {'BYTES':>10}  NOTE"]
    for name, report in reports.items():
        bytes_going = sum(item.bytes for item in report.items)
        kept = ", ".join(f"{reason} {count}" for reason, count in sorted(report.kept.items()))
        note = "; ".join(filter(None, [report.detail, f"kept: {kept}" if kept else ""]))
        lines.append(
            f"{name:<24} {report.status:<8} {len(report.items):>6} {size(bytes_going):>10}  {note}"
        )
    if dry_run:
        for name, report in reports.items():
            lines += [
                f"  {name}: {printable(item.target)} ({size(item.bytes)}, {item.reason})"
                for item in report.items
            ]
    total = size(sum(item.bytes for report in reports.values() for item in report.items))
    verb = "would free" if dry_run else "freed"
    lines.append(
        f"{before.path} was {before.used_percent} % used and is {after.used_percent} %; "
        f"{verb} {total}"
    )
    return "\n".join(lines)
