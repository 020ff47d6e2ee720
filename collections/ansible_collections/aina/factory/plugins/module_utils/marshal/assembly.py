"""Put the pieces of one project together over the caller's effects."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from ..base.github import login
from ..base.github.errors import ForgeError
from ..base.github.git import git_environment
from ..base.github.rights import NEEDED
from ..base.github.transport import Transport
from ..base.ports import Effects, Run
from ..base.run import CommandError, checked
from . import execution
from .cycle import CycleReport, Dependencies
from .github_forge import GithubForge
from .mirror import Mirror, MirrorError
from .settings import MarshalSettings, MergeProject
from .store import StateStore, StoreError

# The command starts a lane and returns; it does not wait for the agent's work.
_LANE_START_SECONDS = 60.0


def cycle(
    settings: MarshalSettings,
    project: MergeProject,
    effects: Effects,
    *,
    dry_run: bool,
    resume: bool = False,
) -> dict[str, Any]:
    """Run one cycle of a project whose lock the caller holds; return its document.

    What keeps this project from its cycle is said in the document, as any other failure is.

    Raises:
        ConfigurationError: the login is wrong, whatever the project.

    """
    store = StateStore(Path(settings.state_dir) / project.name)
    try:
        report = _run(settings, project, effects, store, dry_run=dry_run, resume=resume)
        document = _document(project, report, effects)
        if not dry_run:
            store.report(document)
    except (ForgeError, MirrorError, StoreError, OSError) as error:
        document = failure(project, str(error), effects, dry_run=dry_run)
        if not dry_run:
            # Where not even this can be written, the caller says it.
            with suppress(OSError):
                store.report(document)
    return document


def failure(
    project: MergeProject, words: str, effects: Effects, *, dry_run: bool
) -> dict[str, Any]:
    """Return the document of a project that did not come to its cycle."""
    report = CycleReport(project.repository, project.merge.mode, acted=None if dry_run else 0)
    report.stopped, report.failed = f"failed: {words}", True
    return _document(project, report, effects)


def _document(project: MergeProject, report: CycleReport, effects: Effects) -> dict[str, Any]:
    return {"project": project.name, "time": effects.now(), **report.document()}


def _run(
    settings: MarshalSettings,
    project: MergeProject,
    effects: Effects,
    store: StateStore,
    *,
    dry_run: bool,
    resume: bool,
) -> CycleReport:
    saved = store.load()
    if not dry_run:
        store.open_log()
    token = login.token_source(
        settings.github.login_of("marshal"),
        settings.github.api_url,
        project.repository,
        NEEDED["marshal"],
        run=effects.run,
        fetch=effects.fetch,
        now=effects.now,
    )
    policy = settings.policy_of(project)
    transport = Transport(effects.fetch, settings.github.api_url, token, effects.now)
    dependencies = Dependencies(
        forge=GithubForge(transport, project.repository, policy),
        git=Mirror(
            effects.run,
            store.directory / "mirror.git",
            f"{settings.github.web_url}/{project.repository}.git",
            git_environment(settings.github.web_url, settings.github.ca_file, token()),
        ),
        now=effects.now,
        sleep=effects.sleep,
        save=store.save,
        audit=store.audit,
        start=lambda argv: _start(effects.run, argv),
    )
    if resume and saved.halted_since:
        saved = replace(saved, halted_since=0.0, halted_reason="")
    return execution.run(
        policy,
        project.repository,
        project.default_branch,
        saved,
        dependencies,
        dry_run=dry_run,
    )


def _start(run: Run, argv: Sequence[str]) -> str:
    try:
        checked(run, argv, name=argv[0], timeout_seconds=_LANE_START_SECONDS)
    except CommandError as error:
        return f"no lane: {error}"
    return ""
