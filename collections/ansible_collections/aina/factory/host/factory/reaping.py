"""Reap repositories: those of a configuration for the janitor, or one by one for ``factory reap``."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from factory import effects, github
from factory.core.base import files, projects, settings
from factory.core.base.configuration import Section
from factory.core.base.git import GitError
from factory.core.base.github.settings import GitHub
from factory.core.base.github.settings import of as github_of
from factory.core.site.settings import Project
from factory.core.watchdog.settings import WatchdogSettings
from factory.core.watchdog.work import REAPED
from factory.core.worktrees import model, owner, reap, survey, trash
from factory.core.worktrees.settings import Reap
from factory.outcome import LockedError, UsageError
from factory.text import progress_bar

_KEPT_BYTES = 256 << 10


def reap_all(whole: Section, *, dry_run: bool) -> tuple[Sequence[dict[str, Any]], list[str]]:
    """Reap all projects of a configuration, and delete what was reaped long enough ago.

    Returns the verdicts and what failed; a project that fails stops no other. What was reaped
    before is among the verdicts as ``free`` when its time is over, with what its deletion frees,
    or when the disk is too full for it to wait: oldest first. The caller holds the host's lock.
    """
    rules, server = policy(whole), github_settings(whole)
    verdicts: list[dict[str, Any]] = []
    failures: list[str] = []
    for task, repository in declared(whole, None):
        try:
            report = reap_one(task, repository, rules, server, dry_run=dry_run, measured=dry_run)
        except LockedError as error:
            report = model.ReapReport(task.repository, failures=[str(error)])
        if not dry_run:
            note(whole, report)
        verdicts += [verdict.document() for verdict in report.verdicts]
        failures += report.failures
        try:
            verdicts += freed(task, rules, failures, dry_run=dry_run)
        except (GitError, OSError) as error:
            if not report.failures:  # which say it already
                failures.append(f"{task.repository}: {error}")
    return verdicts, failures


def note(whole: Section | None, report: model.ReapReport) -> None:
    """Write down how many worktrees were reaped, for the plots of the status."""
    count = sum(verdict.reaped for verdict in report.verdicts)
    if whole is None or not count:
        return
    section = whole.section("watchdog", {})
    directory = Path(section.text("data_dir", WatchdogSettings.data_dir))
    line = json.dumps({"at": effects.now(), "repository": report.repository, "count": count})
    with suppress(OSError):
        if os.geteuid() == 0 and directory.is_dir():
            path = directory / REAPED
            kept = path.read_bytes()[-_KEPT_BYTES:] if path.exists() else b""
            files.write(path, kept + line.encode() + b"\n")


def held(task: reap.ReapTask, policy: Reap) -> list[dict[str, Any]]:
    """Return what was reaped of one repository and is not deleted yet, oldest first.

    Raises:
        GitError: the repository cannot be read, see ``owner.act``.

    """
    found: list[dict[str, Any]] = owner.act(
        task.repository, tools(), lambda here: reap.held(task, policy, here)
    )
    return found


def undone(task: reap.ReapTask, wanted: str) -> tuple[list[str], list[str]]:
    """Give back what ``wanted`` names; return the paths and the problems, see ``reap.undo``.

    Raises:
        LockedError: a reap is at work in the repository.
        GitError: the repository cannot be read, see ``owner.act``.
        TrashError: it is not there, or its name stands for several.

    """
    done: tuple[list[str], list[str]] = owner.act_alone(
        task.repository,
        tools(),
        reap.PURPOSE,
        lambda here, _common_dir: reap.undo(task, here, wanted),
    )
    return done


def freed(
    task: reap.ReapTask, policy: Reap, failures: list[str], *, dry_run: bool
) -> list[dict[str, Any]]:
    """Delete what was reaped and whose time is over, or look; return it as verdicts.

    Raises:
        GitError: the repository cannot be read, see ``owner.act``.

    """
    found: list[dict[str, Any]] = owner.act(
        task.repository, tools(), lambda here: reap.due(task, policy, here)
    )
    left = {entry["token"] for entry in found}
    if found and not dry_run:
        problems = owner.empty(task.repository, tools(), float("-inf"), sorted(left))
        failures += [problem for problem in problems if problem not in failures]
        left &= set(owner.act(task.repository, tools(), lambda here: reap.tokens(task, here)))
    return [
        {
            "path": entry["path"],
            "verdict": "free",
            "reason": entry["why"],
            "bytes": entry["bytes"],
            "reaped": not dry_run and entry["token"] not in left,
        }
        for entry in found
    ]


def policy(whole: Section) -> Reap:
    """Return the policy of the section ``reap``."""
    return settings.read(Reap, whole.section("reap", {}))


def github_settings(whole: Section | None) -> GitHub:
    """Return where GitHub is and who asks; without a configuration the defaults."""
    return github_of(whole or Section({}, "configuration"))


def declared(whole: Section, name: str | None) -> list[tuple[reap.ReapTask, str | None]]:
    """Return the tasks of the projects with a checkout, or of one, each with its repository's name.

    Raises:
        UsageError: there is no such project, or it has no checkout.

    """
    found = projects.from_sections(whole.sections("projects", ()), Project)
    if name is not None and name not in {project.name for project in found}:
        known = ", ".join(project.name for project in found) or "none"
        raise UsageError(f"--project {name}: there is no such project; known are: {known}")
    if any(project.name == name and not project.path for project in found):
        raise UsageError(f"--project {name}: its path, the server's checkout, is not declared")
    return [
        (
            reap.ReapTask(
                repository=project.path,
                default_branch=project.default_branch,
                worktree_roots=project.worktree_roots,
            ),
            project.repository,
        )
        for project in found
        if project.path and name in {None, project.name}
    ]


def reap_one(
    task: reap.ReapTask,
    repository: str | None,
    policy: Reap,
    server: GitHub | None,
    *,
    dry_run: bool,
    measured: bool,
) -> model.ReapReport:
    """Reap one repository, or with ``dry_run`` look; what is odd about it is in the report.

    Raises:
        LockedError: another reap is at work in it.

    """
    shown = progress_bar(Path(task.repository).name)
    tools = reap.ReapTools(effects.run, effects.now, progress=shown)

    def planned(here: reap.ReapTools) -> dict[str, Any]:
        return _record(reap.plan(task, policy, here), here, measured=measured)

    def carried_out(here: reap.ReapTools, _common_dir: str) -> dict[str, Any]:
        return _record(reap.run(task, policy, here), here, measured=measured)

    try:
        if server is not None:
            address = owner.act(task.repository, tools, lambda here: reap.address(task, here))
            lookup = github.merged_pull_requests(address, repository, server)
            tools = replace(tools, merged_pull_requests=lookup)
        if dry_run:
            record = owner.act(task.repository, tools, planned)
        else:
            record = owner.act_alone(task.repository, tools, reap.PURPOSE, carried_out)
        return model.report_from_record(record)
    except LockedError:
        raise
    except Exception as error:
        # Whatever is odd about one repository ends its own reap and no other.
        return model.ReapReport(task.repository, failures=[f"{task.repository}: {error}"])
    finally:
        shown("", 0, 0)


def _record(report: model.ReapReport, tools: reap.ReapTools, *, measured: bool) -> dict[str, Any]:
    if measured:
        reap.measure(report, tools.progress)
    return report.record()


def tools() -> reap.ReapTools:
    """Return what a reap needs of this process."""
    return reap.ReapTools(effects.run, effects.now)


def empty_later(task: reap.ReapTask, policy: Reap) -> tuple[list[str], list[str]]:
    """Leave the unlinking to a process of its own, at idle priority.

    Return what is worth knowing, and problems. Where systemd would end that process together with
    this one, the unlinking is done here, and so it is of what a full disk cannot wait for.
    """
    told: list[str] = []
    problems: list[str] = []
    try:
        if owner.act(task.repository, tools(), lambda _here: reap.excess_bytes(task, policy)) > 0:
            told = [
                f"{one['path']} cannot be had back any more: the disk was too full for it to wait"
                for one in freed(task, policy, problems, dry_run=False)
                if one["reason"] == "disk_full" and one["reaped"]
            ]
        if not owner.act(task.repository, tools(), lambda here: reap.tokens(task, here)):
            return told, problems
    except (GitError, OSError):
        return told, problems  # the reap has said it
    retention_seconds = policy.trash_retention_seconds
    if "INVOCATION_ID" in os.environ:
        return told, problems + emptied(task, retention_seconds)
    command = [sys.executable, sys.argv[0], "reap", "--empty-trash"]
    subprocess.Popen(
        [*command, f"--when-due={retention_seconds:.0f}", f"--repository={task.repository}"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
        cwd="/",
    )
    return told, problems


def emptied(task: reap.ReapTask, retention_seconds: float) -> list[str]:
    """Delete what was reaped longer ago than ``retention_seconds``; return problems."""
    try:
        return owner.empty(task.repository, tools(), effects.now() - retention_seconds)
    except (GitError, OSError) as error:
        return [f"{task.repository}: {error}"]


def empty_when_due(task: reap.ReapTask, retention_seconds: float) -> list[str]:
    """Wait for each entry's time; one such process per repository serves all reaps."""

    def oldest(here: reap.ReapTools) -> float | None:
        return trash.oldest(survey.common_directory(here.run, task.repository))

    problems: list[str] = []
    try:
        with owner.alone(task.repository, tools(), "unlink"):
            while not problems:
                since = owner.act(task.repository, tools(), oldest)
                if since is None:
                    break
                time.sleep(max(0.0, since + retention_seconds - effects.now()))
                problems = emptied(task, retention_seconds)
    except LockedError:
        return []
    except (GitError, OSError) as error:
        return [f"{task.repository}: {error}"]
    return problems
