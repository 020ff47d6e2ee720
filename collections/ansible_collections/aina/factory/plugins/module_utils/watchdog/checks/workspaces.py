"""Agent workspaces in which git cannot work."""

from __future__ import annotations

from collections.abc import Iterator

from .. import workspaces
from ..check import Answer, BadOrGood, Check, JudgeContext, Status, some
from ..sources import AbsentError, Host, Source
from ..workspaces import Workspace, Workspaces


def read(host: Host) -> Workspaces:
    """Look at every agent workspace."""
    if not host.policy.heal.workspace_roots:
        raise AbsentError("no roots of workspaces are declared (heal.workspace_roots)")
    return workspaces.survey(host.policy.heal.workspace_roots)


def judge(found: Workspaces, _context: JudgeContext) -> Iterator[Answer]:
    """Report workspaces in which git cannot work, by their exact reason."""
    reasons: dict[str, list[str]] = {}
    for workspace in found.broken:
        reasons.setdefault(workspace.reason, []).append(workspace.path)
    for reason, paths in sorted(reasons.items()):
        yield Answer(reason, Status.PROBLEM, f"{len(paths)}: {some(sorted(paths))}", len(paths))
    for root in found.missing:
        detail = f"{root} is declared (heal.workspace_roots), and there is no such directory"
        yield Answer(root, Status.UNKNOWN, detail)
    if not reasons and not found.missing:
        yield Answer("", Status.OK, f"git works in all {found.count}", 0)


SOURCE = Source("workspaces", read)
CHECKS = (
    Check(
        name="workspace",
        title="Agent workspaces",
        advice="see the reasons in docs/watchdog.md; git worktree repair mends a dangling link",
        source=SOURCE,
        judge=judge,
        selftest=BadOrGood(
            lambda bad, _now: Workspaces(1, (Workspace("/w", "dangling_gitfile"),) if bad else ())
        ),
        value_unit="count",
    ),
)
