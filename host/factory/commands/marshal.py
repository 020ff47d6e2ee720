"""``factory marshal``: one merge cycle per project."""

from __future__ import annotations

import argparse
import base64
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from ansible_collections.aina.factory.plugins.module_utils.pull_requests import (
    marshal,
    settings,
    table,
)
from ansible_collections.aina.factory.plugins.module_utils.pull_requests.cycle import World
from ansible_collections.aina.factory.plugins.module_utils.pull_requests.github_forge import (
    GithubForge,
)
from ansible_collections.aina.factory.plugins.module_utils.pull_requests.mirror import Mirror
from ansible_collections.aina.factory.plugins.module_utils.pull_requests.transport import Transport
from factory import configuration, effects, github_login, http, locks
from factory.marshal_store import Store
from factory.outcome import Exit, LockedError, Outcome, UsageError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of ``factory marshal``."""
    parser.add_argument("--project", metavar="NAME", help="only this project")
    parser.add_argument(
        "--dry-run", action="store_true", help="print what a run would do; change nothing"
    )
    parser.add_argument(
        "--resume",
        action="store_true",
        help="let a halted project go on, after somebody looked at what had landed",
    )


def execute(arguments: argparse.Namespace) -> Outcome:
    """Run one cycle for every project, or for one.

    Raises:
        UsageError: the configuration, the login or the project's name is wrong.
        LockedError: every project is locked by another run.

    """
    section = configuration.load(Path(arguments.config)).section("marshal")
    chosen = settings.from_section(section)
    projects = [p for p in chosen.projects if arguments.project in (None, p.name)]
    if arguments.project and not projects:
        known = ", ".join(project.name for project in chosen.projects) or "none"
        raise UsageError(f"no project {arguments.project!r} under marshal.projects; known: {known}")
    documents: list[dict[str, Any]] = []
    locked: list[str] = []
    for project in projects:
        try:
            documents.append(_cycle(chosen, project, arguments))
        except LockedError as error:
            locked.append(str(error))
    if locked and not documents:
        raise LockedError("; ".join(locked))
    failed = any(document["failed"] for document in documents)
    text = "\n\n".join(table.render(document, effects.now()) for document in documents)
    return Outcome(
        Exit.FAILED if failed else Exit.DONE,
        {"dry_run": arguments.dry_run, "projects": documents, "locked": locked},
        text or "no project under marshal.projects",
    )


def _cycle(
    chosen: settings.Settings, project: settings.MergeProject, arguments: argparse.Namespace
) -> dict[str, Any]:
    directory = Path(chosen.state_dir) / project.name
    store = Store(directory)
    with locks.exclusive(directory / "lock"):
        world = _world(chosen, project, store)
        memory = store.load()
        if arguments.resume and memory.halted_since:
            memory = replace(memory, halted_since=0.0, halted_reason="")
        report = marshal.run(
            project.policy,
            project.repository,
            project.default_branch,
            memory,
            world,
            dry_run=arguments.dry_run,
        )
        document = {"project": project.name, "time": effects.now(), **report.document()}
        if not arguments.dry_run:
            store.report(document)
        return document


def _world(chosen: settings.Settings, project: settings.MergeProject, store: Store) -> World:
    fetch = http.fetcher(chosen.ca_file)
    token = github_login.token_source(
        chosen.login,
        chosen.api_url,
        project.repository,
        run=effects.run,
        fetch=fetch,
        now=effects.now,
    )
    transport = Transport(fetch, chosen.api_url, token, effects.now)
    return World(
        forge=GithubForge(transport, project.repository, project.policy),
        git=Mirror(
            effects.run,
            store.directory / "mirror.git",
            f"{chosen.git_url}/{project.repository}.git",
            _git_environment(chosen, token()),
        ),
        now=effects.now,
        sleep=time.sleep,
        save=store.save,
        audit=store.audit,
    )


def _git_environment(chosen: settings.Settings, token: str) -> dict[str, str]:
    """Return what git needs to log in: by environment, never by argument or file."""
    pair = base64.b64encode(f"x-access-token:{token}".encode()).decode()
    environment = {
        "GIT_CONFIG_COUNT": "1",
        "GIT_CONFIG_KEY_0": f"http.{chosen.git_url}/.extraHeader",
        "GIT_CONFIG_VALUE_0": f"Authorization: Basic {pair}",
    }
    if chosen.ca_file:
        environment["GIT_SSL_CAINFO"] = chosen.ca_file
    return environment
