"""``factory marshal``: one merge cycle per project."""

from __future__ import annotations

import argparse
import os
import pwd
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from factory import configuration, effects, locks
from factory.core.base.configuration import ConfigurationError
from factory.core.base.github import settings as github
from factory.core.base.ports import Effects
from factory.core.base.settings import read
from factory.core.marshal import assembly, table
from factory.core.marshal.settings import MarshalSettings, MergeProject
from factory.outcome import Exit, LockedError, Outcome, UsageError

# Somebody is looking: the cycle that runs just now is over soon, and takes less than a minute.
_DRY_RUN_WAIT_SECONDS = 120.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of ``factory marshal``."""
    parser.add_argument("--project", metavar="NAME", help="only this project")
    parser.add_argument(
        "--dry-run", action="store_true", help="print what a run would do; change nothing"
    )
    wait = parser.add_mutually_exclusive_group()
    wait.add_argument(
        "--wait",
        action="store_true",
        help="look on while CI tests what could land, so that it lands when its last check ends",
    )
    wait.add_argument(
        "--once",
        action="store_true",
        help="do not even wait for CI that was run again; so it is in a terminal, where somebody waits",
    )
    parser.add_argument(
        "--resume",
        action="store_true",
        help="let a halted project go on, after somebody looked at what had landed",
    )


def execute(arguments: argparse.Namespace) -> Outcome:
    """Run one cycle for every project, or for one.

    Raises:
        UsageError: the configuration or the project's name is wrong.
        ConfigurationError: the configuration or the login is wrong, and no project was served.
        LockedError: every project is locked by another run; a dry one has waited for it.

    """
    whole = configuration.load(Path(arguments.config))
    chosen = read(
        MarshalSettings,
        whole.section("marshal"),
        github=github.of(whole),
        agents=tuple(whole.strings("agents", ())),
    )
    projects = [p for p in chosen.queues() if arguments.project in (None, p.name)]
    if arguments.project and not projects:
        known = ", ".join(project.name for project in chosen.queues()) or "none"
        raise UsageError(f"no project {arguments.project!r} under marshal.projects; known: {known}")
    ports = _ports(chosen)
    become_owner(Path(chosen.state_dir))
    documents: list[dict[str, Any]] = []
    locked: list[str] = []
    wrong: list[ConfigurationError] = []
    # Each in its own time: one whose CI is slow keeps no other waiting.
    with ThreadPoolExecutor(max_workers=max(1, len(projects))) as pool:
        begun = [pool.submit(_cycle, chosen, p, ports, arguments) for p in projects]
    for project, cycle in zip(projects, begun, strict=True):
        # What keeps one project from its cycle is not the others' matter.
        try:
            documents.append(cycle.result())
        except LockedError as error:
            locked.append(str(error))
        except (ConfigurationError, OSError) as error:
            wrong += [error] if isinstance(error, ConfigurationError) else []
            words, dry_run = str(error), arguments.dry_run
            documents.append(assembly.failure(project, words, ports, dry_run=dry_run))
    if wrong and len(wrong) == len(projects):
        raise wrong[0]
    if locked and not documents:
        raise LockedError("; ".join(locked))
    failed = any(document["failed"] for document in documents)
    text = "\n\n".join(table.render(document, effects.now()) for document in documents)
    return Outcome(
        Exit.FAILED if failed else Exit.DONE,
        {"dry_run": arguments.dry_run, "projects": documents, "locked": locked},
        text or "no project under marshal.projects",
    )


def become_owner(state_dir: Path) -> None:
    """Let root be whoever owns the state: what root leaves there, the job could not use.

    Raises:
        UsageError: the state belongs to nobody of this host.

    """
    if os.geteuid() != 0 or not state_dir.exists():
        return
    number = state_dir.stat().st_uid
    try:
        owner = pwd.getpwuid(number)
    except KeyError:
        raise UsageError(
            f"{state_dir} belongs to {number}, which is no account of this host; converge the role "
            "marshal, which gives it to marshal_user"
        ) from None
    if owner.pw_uid == 0:
        return
    os.initgroups(owner.pw_name, owner.pw_gid)
    os.setgid(owner.pw_gid)
    os.setuid(owner.pw_uid)
    # Where git and gh look for what is the account's own.
    os.environ["HOME"] = owner.pw_dir
    os.environ["USER"] = os.environ["LOGNAME"] = owner.pw_name


def _ports(chosen: MarshalSettings) -> Effects:
    try:
        fetch = effects.https_fetch(chosen.github.ca_file or None)
    except OSError as error:
        raise UsageError(f"github.ca_file {chosen.github.ca_file}: {error}") from error
    return Effects(effects.run, fetch, effects.now, time.sleep)


def _cycle(
    chosen: MarshalSettings,
    project: MergeProject,
    ports: Effects,
    arguments: argparse.Namespace,
) -> dict[str, Any]:
    path = Path(chosen.state_dir) / project.name / "lock"
    if not arguments.dry_run:
        # Another run that only waits for CI holds no lock; one that works is soon done.
        return assembly.serve(
            chosen,
            project,
            ports,
            lambda: locks.exclusive(path),
            resume=arguments.resume,
            waits=_waits(arguments),
        )
    with locks.exclusive(path, locks.patience(_DRY_RUN_WAIT_SECONDS, time.monotonic, time.sleep)):
        return assembly.cycle(chosen, project, ports, dry_run=True)


def _waits(arguments: argparse.Namespace) -> str:
    """Return for whose CI a run waits; see ``assembly.serve``."""
    if arguments.wait:
        return "awaited"
    return "" if arguments.once or sys.stdout.isatty() else "driven"
