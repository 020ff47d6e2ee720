"""What a lane is to do: its prompt, and the commits on which it begins."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from factory.core.base.github.errors import RefusedError
from factory.core.lanes import collect, identity, prompt
from factory.core.lanes.collect import Start
from factory.core.lanes.forge import Conflict, LaneForge
from factory.core.lanes.settings import LaneProject
from factory.locks import exclusive
from factory.outcome import LockedError

_MIRROR_WAIT_SECONDS = 600.0


class ProposedError(RefusedError):
    """The issue has a pull request of a lane already."""


@dataclass(frozen=True)
class Task:
    """What is asked for.

    ``issue`` is the number of an issue, or with ``is_conflict`` that of a pull request. Without
    a number the prompt is the caller's own ``text``.
    """

    project: LaneProject
    issue: int
    text: str = ""
    resume: str = ""
    is_conflict: bool = False
    # Of a pull request that a lane made: what was said about it is to be done.
    is_review: bool = False
    queue_seconds: float | None = None
    listener: Callable[[bytes], None] | None = None


@dataclass(frozen=True)
class ResolvedTask:
    """A task once GitHub and git were asked."""

    start: Start
    prompt: str
    title: str = ""
    conflict: Conflict | None = None

    def document(self) -> dict[str, Any]:
        """Return what a result says of it, and what :func:`earlier` reads."""
        conflict = asdict(self.conflict) if self.conflict else None
        if conflict is not None:
            del conflict["body"], conflict["remarks"]
        return {
            "base": self.start.base,
            "onto": self.start.onto,
            "title": self.title,
            "conflict": conflict,
        }


def start_of(document: dict[str, Any]) -> Start:
    """Return where the lane of a state or a result began."""
    return Start(str(document.get("base") or ""), str(document.get("onto") or ""))


def resolved_of(state: dict[str, Any]) -> ResolvedTask:
    """Return what a lane is about, as far as its state says it."""
    said = state.get("conflict")
    conflict = Conflict(body="", **said) if isinstance(said, dict) else None
    return ResolvedTask(start_of(state), "", str(state.get("title") or ""), conflict)


def find(
    task: Task,
    pool: Executor,
    forge: LaneForge,
    mirror: Callable[[], collect.LaneMirror],
    lock_directory: Path,
    earlier: dict[str, Any],
) -> ResolvedTask:
    """Return what is to be done; GitHub and git are asked at the same time.

    ``earlier`` is the result of the lane that this one goes on from, or empty.

    Raises:
        ForgeError: GitHub refuses or does not answer.
        CollectError: git refuses.
        LockedError: the mirror is held by another for too long.

    """
    project = task.project

    def updated(what: Callable[[collect.LaneMirror], Start]) -> Start:
        lock = lock_directory / f"factory-mirror-{project.name}.lock"
        deadline = time.monotonic() + _MIRROR_WAIT_SECONDS
        while True:
            try:
                with exclusive(lock):
                    return what(mirror())
            except LockedError:
                if time.monotonic() >= deadline:
                    raise
                time.sleep(0.05)

    if task.is_review:
        pull = forge.review(task.issue)
        if not pull.remarks:
            raise RefusedError(f"nothing was said about #{task.issue} since its newest commit")
        begun = updated(lambda git: git.update_pull(task.issue, pull.base_branch))
        start = _begun(earlier, Start(begun.base), mirror())
        words = prompt.compose_review(project.repository, pull)
        return ResolvedTask(start, task.text or words, pull.title, pull)
    if task.is_conflict:
        conflict = forge.conflict(task.issue)
        start = updated(lambda git: git.update_pull(task.issue, conflict.base_branch))
        start = _begun(earlier, start, mirror())
        paths = mirror().conflicts(start)
        if not paths:
            raise RefusedError(f"#{task.issue} has no conflict with {conflict.base_branch}")
        words = prompt.compose_conflict(project.repository, conflict, start.onto, paths)
        return ResolvedTask(start, task.text or words, conflict.title, conflict)
    newest = pool.submit(updated, lambda git: git.update(project.default_branch))
    proposed = pool.submit(_proposed, forge, task) if task.issue and not task.resume else None
    issue = forge.issue(task.issue) if task.issue else None
    comments = forge.comments(issue) if issue is not None else []
    if proposed is not None and (branch := proposed.result()):
        raise ProposedError(
            f"branch {branch} is the open pull request for #{task.issue}; factory lane resume of its"
            " lane goes on in that, or close it first"
        )
    start = _begun(earlier, newest.result(), mirror())
    if issue is None:
        return ResolvedTask(start, task.text)
    words = prompt.compose(
        project.repository, issue.number, issue.title, issue.body, comments=comments
    )
    return ResolvedTask(start, task.text or words, issue.title)


def _proposed(forge: LaneForge, task: Task) -> str:
    """Return the branch of a lane that an open pull request for the issue has; empty without one."""
    of_issue = (b for b in forge.open_branches() if identity.issue_of_branch(b) == task.issue)
    return next(of_issue, "")


def _begun(earlier: dict[str, Any], newest: Start, mirror: collect.LaneMirror) -> Start:
    """Return where the earlier lane began; else the newest."""
    start = start_of(earlier)
    for commit in filter(None, (start.base, start.onto)):
        if not mirror.has(commit):
            raise collect.CollectError(
                f"{commit} is not in the repository any more; begin again with factory lane run"
            )
    return start if start.base else newest
