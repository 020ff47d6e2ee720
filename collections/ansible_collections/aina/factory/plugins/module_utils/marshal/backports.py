"""What landed and was labelled for other branches is opened there as a pull request of its own."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from .forge import PullRequestOutcome
from .settings import MergePolicy
from .snapshot import Backport


def wanted(policy: MergePolicy, base: str, outcome: PullRequestOutcome) -> Iterator[Backport]:
    """Yield what one that has landed on ``base`` was labelled for: ``backport release/1.2``."""
    if not policy.backport_label or not outcome.merge_oid:
        return
    for branch in policy.branches:
        label = f"{policy.backport_label} {branch}".casefold()
        if branch != base and label in outcome.labels:
            yield Backport(outcome.number, branch, outcome.merge_oid, outcome.head_oid)


def head_branch(backport: Backport) -> str:
    """Return the name of the branch that carries it."""
    return f"backport/{backport.number}-to-{backport.branch}"


def conflict_words(backport: Backport, paths: Collection[str]) -> str:
    """Say where it conflicts, and how a person does it by hand."""
    named = ", ".join(f"`{path.replace('`', '')}`" for path in list(paths)[:10])
    return (
        f"This could not be backported to `{backport.branch}`: {named} conflict there. By hand:\n\n"
        f"```\ngit fetch origin\ngit switch -c {head_branch(backport)} origin/{backport.branch}\n"
        f"git cherry-pick -x {backport.merge_oid}   # of a merge commit: -m 1\n```"
    )
