"""Registered worktrees that have lost their directory."""

from __future__ import annotations

from collections.abc import Iterator

from ...base import projects
from ..check import Answer, BadOrGood, Check, JudgeContext, Status, some
from ..sources import AbsentError, Host, Source
from ..workspaces import RegisteredWorktrees, survey_worktrees

_EMPTY = "is a project's path, and holds no repository: clone it there"


def read(host: Host) -> RegisteredWorktrees:
    """Look at every registered worktree of every project."""
    found = projects.from_sections(host.whole.sections("projects", ()))
    paths = [project.path for project in found if project.path]
    if not paths:
        raise AbsentError("no project's checkout is declared")
    return survey_worktrees(paths)


def judge(worktrees: RegisteredWorktrees, _context: JudgeContext) -> Iterator[Answer]:
    """Report registered worktrees that have lost their directory."""
    for path in worktrees.missing:
        yield Answer(path, Status.UNKNOWN, f"{path} {_EMPTY}")
    found = len(worktrees.dangling)
    if found:
        detail = f"registered, but their directory is gone: {some(worktrees.dangling)}"
        yield Answer("", Status.PROBLEM, detail, found)
    elif not worktrees.missing:
        yield Answer("", Status.OK, f"all {worktrees.count} are where git expects them", 0)


SOURCE = Source("worktrees", read)
CHECKS = (
    Check(
        name="worktree",
        title="Worktrees",
        advice="git worktree repair, or git worktree prune once nobody wants them",
        source=SOURCE,
        judge=judge,
        selftest=BadOrGood(lambda bad, _now: RegisteredWorktrees(1, ("/w",) if bad else ())),
        value_unit="count",
    ),
)
