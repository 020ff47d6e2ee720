"""Judge one worktree by its facts. Pure: the same facts give the same verdict.

The reasons to keep, weightiest first: ``main_worktree``, ``missing_directory``,
``not_a_directory``, ``others_can_change``, ``broken_gitfile``, ``no_commit``,
``mount_point``, ``paperclip_workspace``, ``contains_worktree``, ``locked``,
``locked_by_dead_process``, ``operation_in_progress``, ``git_lock_file``, ``submodule``,
``process_inside``, ``processes_unknown``, ``stash``, ``private_refs``,
``remote_unreachable``, ``unknown``, ``not_landed``, ``status_failed``, ``head_moved``,
``uncommitted_changes``, ``untracked_files``, ``ignored_files``, ``hidden_changes``,
``precious_files``, ``nested_repository``, ``mount_inside``, ``unreadable``, ``recently_active``, and after the
plan ``changed_since_plan`` and ``failed``.

The reasons to reap are the kinds of evidence: ``ancestor``, ``remote_ref``, ``snapshot``,
``rebase``, ``replay``, ``pull_request``.
"""

from __future__ import annotations

from .model import Verdict, WorktreeFacts
from .settings import Reap


def decide(facts: WorktreeFacts, policy: Reap, now: float) -> Verdict:
    """Return the verdict on one worktree.

    ``now`` is in seconds since the epoch. A worktree goes only when nothing speaks
    against it, there is evidence for it, and its files have been looked at.
    """
    if facts.obstacles:
        reason, detail = facts.obstacles[0]
        return Verdict(facts.listed, False, reason, detail, facts.evidence)
    if facts.evidence is None:
        detail = "nothing shows that its work is in the default branch or on the remote"
        return Verdict(facts.listed, False, "not_landed", detail, None)
    if facts.contents is None:
        detail = "its files were not looked at"
        return Verdict(facts.listed, False, "unknown", detail, facts.evidence)
    idle_seconds = now - facts.contents.newest_mtime
    if not idle_seconds >= policy.grace_seconds:  # a grace that is no number keeps it, too
        detail = f"last touched {_ago(idle_seconds)} ago; the grace period is {_ago(policy.grace_seconds)}"
        return Verdict(facts.listed, False, "recently_active", detail, facts.evidence)
    evidence = facts.evidence
    return Verdict(facts.listed, True, evidence.kind, evidence.detail, evidence, trace=facts.trace)


def _ago(seconds: float) -> str:
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds:.0f} s"
