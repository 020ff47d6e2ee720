"""What a cycle asks of GitHub, and how GitHub may fail: the seam between deciding and HTTP."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from ..base.github.errors import ForgeError
from ..base.github.transport import Meter
from .settings import MergePolicy
from .snapshot import Branch, Checks, PullRequest, Snapshot


class MovedError(ForgeError):
    """The head is not the expected one (409)."""


class NotMergeableError(ForgeError):
    """GitHub refuses this merge (405); ``transient`` when the base moved meanwhile."""

    def __init__(self, message: str, *, transient: bool = False) -> None:
        super().__init__(message)
        self.transient = transient


@dataclass(frozen=True)
class PullRequestOutcome:
    """What became of one pull request, whatever its state."""

    number: int
    state: str
    head_oid: str
    head_ref: str
    head_ref_oid: str
    head_ref_id: str
    head_protected: bool
    is_fork: bool
    base_ref: str
    merge_oid: str
    dependants: tuple[tuple[int, str], ...]
    dependants_complete: bool
    comments: tuple[str, ...] = ()
    title: str = ""
    labels: frozenset[str] = frozenset()


class Forge(Protocol):
    """Everything a cycle does over the network but git. Raises ``ForgeError`` only."""

    meter: Meter

    def snapshot(
        self,
        policy: MergePolicy,
        branch: str,
        wanted: Mapping[int, str],
        always: Collection[int],
        resume_at: str = "",
    ) -> Snapshot:
        """Return all open pull requests.

        ``wanted`` ranks what deserves a full read; those in ``always`` get it first.
        ``resume_at`` is where an earlier snapshot had to leave the list.
        """

    def reread(
        self, branch: str, numbers: Sequence[int]
    ) -> tuple[Branch, Mapping[int, PullRequest | None]]:
        """Return the branch and these pull requests in full.

        None stands for one that is not open; one that could not be read is left out.
        """
        raise NotImplementedError

    def outcome(self, number: int) -> PullRequestOutcome:
        """Return what became of a pull request."""

    def commit_checks(self, oid: str) -> Checks:
        """Return the checks of one commit."""

    def ran(self, job_id: int) -> bool:
        """Whether a job of Actions did anything; one that nobody gave a runner did not."""
        raise NotImplementedError

    def pulse(self, branch: str, ids: Sequence[str]) -> object:
        """Return something that differs once CI has said something of these, or they moved."""

    def rerun(self, run_id: int) -> None:
        """Run again what failed of a run of Actions."""

    def merge(self, pull: PullRequest, method: str) -> str:
        """Merge exactly ``pull.head_oid``; return the merge commit's oid."""

    def enqueue(self, pull: PullRequest) -> None:
        """Put exactly ``pull.head_oid`` into GitHub's merge queue."""

    def update_branch(self, pull: PullRequest) -> None:
        """Merge the base branch into the head, if it still is the judged one."""

    def add_label(self, number: int, label: str) -> None:
        """Add a label; it is created when missing."""

    def remove_label(self, number: int, label: str) -> None:
        """Remove a label; a missing one is fine."""

    def comment(self, number: int, body: str) -> None:
        """Add a comment."""

    def open_pull(self, base: str, head: str, title: str, body: str) -> None:
        """Open a pull request; one that is open already is fine."""

    def close(self, number: int) -> None:
        """Close a pull request."""

    def retarget(self, number: int, base: str) -> None:
        """Change the base branch of a pull request."""

    def delete_branch(self, ref: str) -> None:
        """Delete a branch; a missing one is fine."""
