"""Put the pieces of one project together over the caller's effects."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from ..base.github import login
from ..base.github.errors import ForgeError
from ..base.github.git import git_environment
from ..base.github.rights import NEEDED, WISHED
from ..base.github.transport import Transport
from ..base.locks import LockedError
from ..base.ports import Effects, Run
from ..base.run import CommandError, checked
from . import execution
from .cycle import CycleReport, Dependencies
from .github_forge import GithubForge
from .mirror import Mirror, MirrorError
from .settings import MarshalSettings, MergeProject
from .store import StateStore, StoreError

# How often CI is asked for what it has said, and how long one look is trusted meanwhile.
_PULSE_SECONDS = 15.0
_LOOK_AGAIN_SECONDS = 90.0
_AWAITED_COUNT = 100
# The command starts a lane and returns; it does not wait for the agent's work.
_LANE_START_SECONDS = 60.0


def cycle(
    settings: MarshalSettings,
    project: MergeProject,
    effects: Effects,
    *,
    dry_run: bool,
    resume: bool = False,
    before: dict[str, Any] | None = None,
    transport: Transport | None = None,
) -> dict[str, Any]:
    """Run one cycle of a project whose lock the caller holds; return its document.

    What keeps this project from its cycle is said in the document, as any other failure is.
    ``before`` is the document of the look that this one goes on with, in the same run and over
    the same ``transport``.

    Raises:
        ConfigurationError: the login is wrong, whatever the project.

    """
    store = StateStore(Path(settings.state_dir) / project.name)
    try:
        began = before["began"] if before is not None else effects.now()
        transport = transport or _transport(settings, project, effects)
        report = _run(
            settings, project, effects, store, transport, began, dry_run=dry_run, resume=resume
        )
        document = {**_document(project, report, effects), "began": began}
        document = _together(before, document) if before is not None else document
        if not dry_run:
            store.report(document)
    except (ForgeError, MirrorError, StoreError, OSError) as error:
        document = failure(project, str(error), effects, dry_run=dry_run)
        document = _together(before, document) if before is not None else document
        if not dry_run:
            # Where not even this can be written, the caller says it.
            with suppress(OSError):
                store.report(document)
    return document


def serve(
    settings: MarshalSettings,
    project: MergeProject,
    effects: Effects,
    lock: Callable[[], AbstractContextManager[object]],
    *,
    resume: bool = False,
    waits: str = "awaited",
) -> dict[str, Any]:
    """Run cycles of a project as long as CI tests what could land; return one document of all.

    ``waits`` says for whom: awaited is everybody, driven those whose CI the marshal itself had
    run again, and "" nobody.

    Each holds the lock that ``lock`` takes; while CI is waited for nobody does.

    Raises:
        ConfigurationError: the login is wrong, whatever the project.
        LockedError: another run has the lock at the start.

    """
    transport = _transport(settings, project, effects)
    with lock():
        document = cycle(
            settings, project, effects, dry_run=False, resume=resume, transport=transport
        )
    with suppress(LockedError):
        # Whoever has the lock then, goes on.
        while _watch(settings, project, effects, transport, document, waits):
            with lock():
                document = cycle(
                    settings, project, effects, dry_run=False, before=document, transport=transport
                )
    return document


def _watch(
    settings: MarshalSettings,
    project: MergeProject,
    effects: Effects,
    transport: Transport,
    document: dict[str, Any],
    waits: str,
) -> bool:
    """Wait until CI has said something of what the last look awaits; False when time is over.

    It costs a request of one point at a time.
    """
    policy = settings.policy_of(project)
    ids = document[waits][:_AWAITED_COUNT] if waits and policy.waits_for_ci else []
    if not ids or document["stopped"]:
        return False
    until = document["began"] + policy.cycle_budget_seconds
    forge = GithubForge(transport, project.repository, policy)
    branch = project.default_branch
    look_again_at = effects.now() + _LOOK_AGAIN_SECONDS
    try:
        seen = forge.pulse(branch, ids)
        while effects.now() + _PULSE_SECONDS < until:
            effects.sleep(_PULSE_SECONDS)
            if forge.pulse(branch, ids) != seen or effects.now() >= look_again_at:
                return True
            if forge.meter.points_remaining < policy.points_floor:
                return False
    except ForgeError:
        # What it was, the next run says, if it lasts.
        return False
    return False


def _together(before: dict[str, Any], after: dict[str, Any]) -> dict[str, Any]:
    """Return one document of two looks of a run: what landed in the first one stays said."""
    known = {row["number"] for row in after["pull_requests"]}
    gone = [r for r in before["pull_requests"] if r["result"] and r["number"] not in known]
    return {
        **after,
        "changed": before["changed"] or after["changed"],
        "merged": sorted({*before["merged"], *after["merged"]}),
        "pull_requests": [*gone, *after["pull_requests"]],
    }


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
    transport: Transport,
    began: float,
    *,
    dry_run: bool,
    resume: bool,
) -> CycleReport:
    saved = store.load()
    if not dry_run:
        store.open_log(resume=resume)
    policy = settings.policy_of(project)
    dependencies = Dependencies(
        forge=GithubForge(transport, project.repository, policy),
        git=Mirror(
            effects.run,
            store.directory / "mirror.git",
            f"{settings.github.web_url}/{project.repository}.git",
            git_environment(settings.github.web_url, settings.github.ca_file, transport.token()),
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
        started_at=began,
    )


def _transport(settings: MarshalSettings, project: MergeProject, effects: Effects) -> Transport:
    token = login.token_source(
        settings.github.login_of("marshal"),
        settings.github.api_url,
        project.repository,
        NEEDED["marshal"],
        run=effects.run,
        fetch=effects.fetch,
        now=effects.now,
        wished=WISHED["marshal"],
    )
    return Transport(effects.fetch, settings.github.api_url, token, effects.now)


def _start(run: Run, argv: Sequence[str]) -> str:
    try:
        checked(run, argv, name=argv[0], timeout_seconds=_LANE_START_SECONDS)
    except CommandError as error:
        return f"no lane: {error}"
    return ""
