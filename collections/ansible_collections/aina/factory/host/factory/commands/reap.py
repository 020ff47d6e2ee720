"""``factory reap``: delete the worktrees whose work has landed, and say why the others stay."""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from factory import configuration, locks, reaping
from factory.core.base.configuration import Section
from factory.core.base.git import GitError
from factory.core.base.text import printable, size
from factory.core.base.times import iso
from factory.core.worktrees import model, reap, trash
from factory.core.worktrees.settings import Reap
from factory.outcome import Exit, LockedError, Outcome, UsageError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of ``factory reap``."""
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--project", metavar="NAME", help="only this project of the configuration")
    which.add_argument(
        "--repository",
        metavar="PATH",
        help="the worktrees of this checkout; needs no configuration file",
    )
    parser.add_argument(
        "worktree", metavar="PATH", nargs="?", help="judge and reap this worktree alone"
    )
    parser.add_argument("--dry-run", action="store_true", help="print the plan, change nothing")
    parser.add_argument(
        "--grace-seconds",
        type=float,
        metavar="N",
        help="keep worktrees touched within the last N seconds (default: 86400)",
    )
    parser.add_argument(
        "--github",
        choices=["none", "auto"],
        default="auto",
        help="ask GitHub for merged pull requests where a token is at hand (default), or never",
    )
    parser.add_argument(
        "--default-branch", metavar="NAME", help="default: what the remote announces"
    )
    parser.add_argument(
        "--disposable",
        action="append",
        metavar="GLOB",
        help="one more name that ignored files and directories may have and still be deleted",
    )
    parser.add_argument(
        "--no-reap-pushed",
        action="store_true",
        help="do not count a commit as safe merely because the remote holds it",
    )
    parser.add_argument(
        "--reap-dead-locks",
        action="store_true",
        help="also reap locked worktrees whose lock names a process that is gone",
    )
    parser.add_argument(
        "--no-sizes", action="store_true", help="print the verdicts without measuring the worktrees"
    )
    parser.add_argument(
        "--list",
        action="store_true",
        help="show what was reaped, why, and until when it can be had back",
    )
    parser.add_argument(
        "--undo",
        metavar="WHAT",
        help="give a reaped worktree back, by its path, name or branch; or by a time (2026-12-01T04:00)"
        " all that was reaped since",
    )
    parser.add_argument(
        "--empty-trash", action="store_true", help="delete what was reaped now, and wait for it"
    )
    # How the process that is left behind is started: sleeps until the trash may be emptied.
    parser.add_argument("--when-due", type=float, metavar="SECONDS", help=argparse.SUPPRESS)


def execute(arguments: argparse.Namespace) -> Outcome:
    """Reap, undo or empty the trash.

    Raises:
        UsageError: no such project or repository, or no configuration.
        ConfigurationError: a value of the configuration is wrong.
        LockedError: another reap is at work.

    """
    if arguments.worktree and (arguments.list or arguments.undo or arguments.empty_trash):
        raise UsageError(f"{printable(arguments.worktree)}: a worktree is named only to be reaped")
    tasks, policy, whole = _tasks(arguments)
    server = reaping.github_settings(whole) if arguments.github == "auto" else None
    if arguments.list:
        return _list(tasks, policy)
    if arguments.undo:
        return _undo(arguments.undo, tasks)
    if arguments.empty_trash:
        return _empty_trash(tasks, arguments.when_due)
    measured = not arguments.no_sizes
    if arguments.worktree:
        only = os.path.abspath(arguments.worktree)  # noqa: PTH100 - keeps links
        tasks = [(replace(task, only=only), name) for task, name in tasks]
    with _host_lock(whole, needed=not arguments.dry_run):
        reports = [
            reaping.reap_one(
                task, repository, policy, server, dry_run=arguments.dry_run, measured=measured
            )
            for task, repository in tasks
        ]
    if arguments.worktree and not any(report.verdicts for report in reports):
        failures = [failure for report in reports for failure in report.failures]
        known = "; ".join(failures) or "no repository that is asked about has this worktree"
        raise UsageError(f"{printable(arguments.worktree)}: {known}")
    if not arguments.dry_run:
        for (task, _name), report in zip(tasks, reports, strict=True):
            reaping.note(whole, report)
            warnings, failures = reaping.empty_later(task, policy)
            report.warnings += warnings
            report.failures += failures
    return _outcome(reports, arguments)


def _tasks(
    arguments: argparse.Namespace,
) -> tuple[list[tuple[reap.ReapTask, str | None]], Reap, Section | None]:
    whole = None
    if arguments.repository:
        repository = os.path.abspath(arguments.repository)  # noqa: PTH100 - keeps links
        if not Path(repository).is_dir():
            raise UsageError(f"--repository {repository}: there is no such directory")
        task = reap.ReapTask(repository, default_branch=arguments.default_branch)
        tasks: list[tuple[reap.ReapTask, str | None]] = [(task, None)]
        policy = Reap()
    else:
        whole = configuration.load(Path(arguments.config))
        tasks, policy = reaping.declared(whole, arguments.project), reaping.policy(whole)
    if arguments.grace_seconds is not None:
        if not arguments.grace_seconds >= 0:
            raise UsageError(
                f"--grace-seconds is {arguments.grace_seconds:g}; it must be at least 0"
            )
        policy = replace(policy, grace_seconds=arguments.grace_seconds)
    return (
        tasks,
        replace(
            policy,
            reap_pushed=policy.reap_pushed and not arguments.no_reap_pushed,
            reap_dead_locks=policy.reap_dead_locks or arguments.reap_dead_locks,
            disposable=(*policy.disposable, *(arguments.disposable or ())),
        ),
        whole,
    )


@contextmanager
def _host_lock(whole: Section | None, *, needed: bool) -> Iterator[None]:
    if whole is None or not needed:
        yield
        return
    with locks.exclusive(locks.directory_of(whole) / locks.WORKTREES):
        yield


def _empty_trash(
    tasks: Sequence[tuple[reap.ReapTask, str | None]], retention_seconds: float | None
) -> Outcome:
    problems: list[str] = []
    for task, _name in tasks:
        if retention_seconds is None:
            problems += reaping.emptied(task, 0.0)
        else:
            problems += reaping.empty_when_due(task, retention_seconds)
    text = "\n".join(problems) or "the trash is empty"
    return Outcome(Exit.FAILED if problems else Exit.DONE, {"failures": problems}, text)


def _list(tasks: Sequence[tuple[reap.ReapTask, str | None]], policy: Reap) -> Outcome:
    documents: list[dict[str, Any]] = []
    problems: list[str] = []
    rows = [f"{'REAPED':<20} {'COMES BACK UNTIL':<20} {'REASON':<12} {'SIZE':>10}  WORKTREE"]
    for task, _name in tasks:
        try:
            found = reaping.held(task, policy)
        except (GitError, OSError) as error:
            problems.append(f"{task.repository}: {error}")
            continue
        documents += found
        for entry in found:
            until = "deletion has begun" if entry["until"] is None else iso(entry["until"])
            rows.append(
                f"{iso(entry['since']):<20} {until:<20} {entry['reason'] or '?':<12.12}"
                f" {size(entry['bytes']):>10}  {printable(entry['path'])}"
            )
    rows += [f"failed: {problem}" for problem in problems]
    text = "\n".join(rows) if documents or problems else "nothing that was reaped is left"
    status = Exit.FAILED if problems else Exit.DONE
    return Outcome(status, {"reaped": documents, "failures": problems}, text)


def _undo(wanted: str, tasks: Sequence[tuple[reap.ReapTask, str | None]]) -> Outcome:
    problems: list[str] = []
    elsewhere: list[str] = []
    restored: list[str] = []
    locked: list[LockedError] = []
    for task, _name in tasks:
        try:
            paths, failed = reaping.undone(task, wanted)
            restored += paths
            problems += failed
        except trash.NotThereError as error:
            elsewhere.append(str(error))
        except LockedError as error:
            locked.append(error)
        except (trash.TrashError, GitError, OSError) as error:
            problems.append(str(error))
    if locked and not restored:
        raise locked[0]
    problems += map(str, locked)
    if not restored:
        problems += elsewhere
    text = "\n".join([*(f"{printable(path)} is back" for path in restored), *problems])
    status = Exit.FAILED if problems else Exit.DONE
    return Outcome(status, {"restored": restored, "failures": problems}, text)


def _outcome(reports: Sequence[model.ReapReport], arguments: argparse.Namespace) -> Outcome:
    documents = [report.document() for report in reports]
    if arguments.repository:
        document = documents[0]
    else:
        document = {
            "repositories": documents,
            "bytes_freed": sum(item["bytes_freed"] for item in documents),
            "changed": any(report.changed for report in reports),
        }
    failed = any(report.failures for report in reports)
    text = "\n\n".join(_table(report, dry_run=arguments.dry_run) for report in reports)
    return Outcome(
        Exit.FAILED if failed else Exit.DONE, document, text or "no projects are declared"
    )


def _table(report: model.ReapReport, *, dry_run: bool) -> str:
    rows = [f"{report.repository} (default branch: {report.default_branch or 'unknown'})"]
    rows.append(f"  {'VERDICT':<7} {'REASON':<22} {'SIZE':>10}  WORKTREE")
    order = sorted(report.verdicts, key=lambda item: (not item.reap, item.reason, item.listed.path))
    for verdict in order:
        if verdict.reason != "main_worktree":
            amount = size(verdict.bytes) if verdict.bytes is not None else "?"
            verb = "reap" if verdict.reap else "keep"
            path = printable(verdict.listed.path)
            rows.append(f"  {verb:<7} {verdict.reason:<22} {amount:>10}  {path}")
            if not verdict.reap and verdict.reason != "not_landed":
                rows.append(f"  {'':<41}  └ {printable(verdict.detail)[:100]}")
    reaped = [item for item in report.verdicts if (item.reap if dry_run else item.reaped)]
    freed = size(sum(item.bytes or 0 for item in reaped))
    verb = "would be reaped" if dry_run else "reaped"
    rows.append(f"  {len(reaped)} of {max(0, len(order) - 1)} worktrees {verb}, {freed}")
    rows += [f"  unknown to git: {printable(path)}" for path in report.unknown_directories]
    rows += [f"  warning: {warning}" for warning in report.warnings]
    rows += [f"  failed: {failure}" for failure in report.failures]
    return "\n".join(rows)
