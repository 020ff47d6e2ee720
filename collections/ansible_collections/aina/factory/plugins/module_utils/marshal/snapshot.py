"""A snapshot of a repository: plain values, nothing fetched on demand."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from .reasons import Code


class CheckState(StrEnum):
    """A check's outcome, run or status alike. UNKNOWN is a value this code does not know."""

    SUCCESS = "success"
    FAILURE = "failure"
    PENDING = "pending"
    NEUTRAL = "neutral"
    SKIPPED = "skipped"
    ACTION_REQUIRED = "action_required"
    UNKNOWN = "unknown"


class Mergeable(StrEnum):
    """GitHub's own opinion; UNKNOWN is "still computing", UNREADABLE a value not known here."""

    MERGEABLE = "MERGEABLE"
    CONFLICTING = "CONFLICTING"
    UNKNOWN = "UNKNOWN"
    UNREADABLE = "UNREADABLE"


@dataclass(frozen=True)
class CheckRun:
    """One check run or commit status. Times are seconds since the epoch, 0 when absent.

    ``app`` is the slug of the app that reported it, empty for a person's token. ``job_id`` and
    ``run_id`` are those of Actions, 0 for what somebody else reported.
    """

    name: str
    state: CheckState
    source: str = ""
    started_at: float = 0.0
    app: str = ""
    app_id: int = 0
    ended_at: float = 0.0
    job_id: int = 0
    run_id: int = 0


@dataclass(frozen=True)
class Checks:
    """All checks of one commit; ``complete`` is false when a page was missing."""

    items: tuple[CheckRun, ...] = ()
    complete: bool = True


@dataclass(frozen=True)
class Labelling:
    """Who put a label on or took it off last; ``actor`` is empty when nobody can say.

    ``head_oid`` is the head that stood at that time, empty when that cannot be told;
    ``before`` is who had put on what was taken off.
    """

    actor: str = ""
    by_person: bool = False
    at: float = 0.0
    removed: bool = False
    head_oid: str = ""
    before: Labelling | None = None


@dataclass(frozen=True)
class Review:
    """The newest yes or no of one reviewer, and which head it was said of."""

    author: str
    by_person: bool
    state: str
    head_oid: str
    may_push: bool = False
    is_member: bool = False


@dataclass(frozen=True)
class Command:
    """A comment that says nothing but `/land`: whose it is, of which head, and for which label."""

    author: str
    by_person: bool
    head_oid: str
    label: str = ""


@dataclass(frozen=True)
class Detail:
    """What only the full query tells of a pull request."""

    checks: Checks = Checks()
    paths: tuple[str, ...] = ()
    paths_complete: bool = True
    closing_issues: tuple[str, ...] = ()
    unresolved_threads: int = 0
    threads_complete: bool = True
    reviews: tuple[Review, ...] = ()
    reviews_complete: bool = True
    head_committed_at: float = 0.0
    # By label; which head stood then is looked up only for those that make an exception.
    labellings: Mapping[str, Labelling] = field(default_factory=dict)
    head_repository: str = ""
    commands: tuple[Command, ...] = ()


@dataclass(frozen=True)
class GitEvidence:
    """What git itself says of a head against the base branch (see ``mirror``)."""

    base_oid: str
    head_oid: str
    behind_count: int = 0
    conflict_paths: tuple[str, ...] = ()
    clean: bool = True
    result_tree: str = ""
    empty: bool = False
    reverted_paths: tuple[str, ...] = ()
    # Earlier heads into which only the base branch was merged since, by git itself.
    updated_from: tuple[str, ...] = ()
    # A name for what it changes, alike for most that leave the same: where to look for proof.
    change: str = ""
    # The base branch has other workflows: CI that is only run again would use the old ones.
    workflows_differ: bool = False


@dataclass(frozen=True)
class PullRequest:
    """An open pull request. ``detail`` and ``evidence`` are absent when not looked at."""

    number: int
    id: str
    title: str
    author: str
    author_is_bot: bool
    created_at: float
    is_draft: bool
    is_fork: bool
    head_oid: str
    head_ref: str
    base_ref: str
    mergeable: Mergeable
    merge_state: str
    review_decision: str
    labels: frozenset[str]
    labels_complete: bool = True
    rollup: str = ""
    changed_files_count: int = 0
    additions_count: int = 0
    deletions_count: int = 0
    in_merge_queue: bool = False
    can_bypass: bool = False
    unreadable: str = ""
    detail: Detail | None = None
    evidence: GitEvidence | None = None

    @property
    def fingerprint(self) -> str:
        """What must change before one that waits deserves a fresh full read."""
        labels = ",".join(sorted(self.labels))
        return f"{self.head_oid}|{self.rollup}|{self.review_decision}|{labels}"


@dataclass(frozen=True)
class Branch:
    """The base branch: its head, that head's checks, and the rules that protect it."""

    name: str
    oid: str
    checks: Checks = Checks()
    required_checks: tuple[str, ...] = ()
    # Check and number of the app from which the rules let it count.
    check_apps: tuple[tuple[str, int], ...] = ()
    required_approvals: int = 0
    conversation_resolution: bool = False
    strict: bool = False
    rules_known: bool = True
    # Why the rules forbid to push several at once, whatever the login could do.
    push_forbidden: str = ""
    # The login could pass by rules that it cannot read: they are taken for strict.
    rules_hidden: bool = False


@dataclass(frozen=True)
class EarlierReason:
    """What an earlier cycle said of a pull request, and of which state of it.

    ``change`` is that of git's evidence, of whichever head was seen last.
    ``former`` is what was said, and since when, before it could not be read or examined
    for a while.
    """

    code: str
    since: float
    fingerprint: str = ""
    examined_at: float = 0.0
    detail: str = ""
    owner: str = ""
    former: tuple[str, float] = ("", 0.0)
    change: str = ""

    def held_since(self, code: str) -> float | None:
        """Return since when ``code`` holds, None when it is new."""
        if code == self.code:
            return self.since
        return self.former[1] if code == self.former[0] else None


@dataclass(frozen=True)
class TrainRun:
    """A batch under test: members are (number, head oid) oldest first.

    ``tip_oid`` is the commit that is tested, and that lands when there are several members.
    """

    members: tuple[tuple[int, str], ...]
    base_oid: str
    tip_oid: str
    branch: str
    started_at: float
    landing: bool = False


@dataclass(frozen=True)
class TrainState:
    """What the train knows between cycles.

    ``runs`` are under test. Each of ``reds`` is a group that was red, or that the remote did not
    take, together; who is in ``cleared`` was green in another one. ``retried`` maps a number to
    the head that has one more test, alone, before it is blamed. ``bad`` maps a number to the head
    that was found red and when. Until ``alone_until`` the base branch takes no batch, for
    ``alone_reason``: each one is tested and landed by itself.
    """

    runs: tuple[TrainRun, ...] = ()
    reds: tuple[tuple[tuple[int, str], ...], ...] = ()
    cleared: tuple[tuple[int, str], ...] = ()
    bad: Mapping[int, tuple[str, float]] = field(default_factory=dict)
    runs_count: int = 0
    alone_until: float = 0.0
    alone_reason: str = ""
    retried: Mapping[int, str] = field(default_factory=dict)


@dataclass(frozen=True)
class RepeatedConflict:
    """A head that kept conflicting: in how many cycles, and when a lane was asked to resolve it."""

    head_oid: str
    looks_count: int = 0
    asked_at: tuple[float, ...] = ()


@dataclass(frozen=True)
class Refusal:
    """GitHub would not land this very head; ``code`` says how, ``text`` quotes it.

    It is believed until ``until``, then asked again.
    """

    head_oid: str
    text: str
    until: float
    code: Code = Code.REFUSED_BY_GITHUB


@dataclass(frozen=True)
class Retest:
    """CI that was asked for once more for a head; ``number`` 0 is the base branch itself.

    ``how`` is rerun or update, or what GitHub refused. ``minutes`` is what it took so far.
    ``outcome`` is passed; failed, when it ran, so that the change is at fault; or never_ran, when
    no runner had it; empty while nobody knows.
    """

    number: int
    head_oid: str
    at: float
    how: str = "rerun"
    minutes: float = 0.0
    outcome: str = ""


@dataclass(frozen=True)
class Backport:
    """What landed as ``merge_oid`` and is still to be opened against ``branch``."""

    number: int
    branch: str
    merge_oid: str
    head_oid: str


@dataclass(frozen=True)
class SavedState:
    """What a project's marshal remembers from one cycle to the next."""

    remembered: Mapping[int, EarlierReason] = field(default_factory=dict)
    main_red_since: float = 0.0
    halted_since: float = 0.0
    halted_reason: str = ""
    refused: Mapping[int, Refusal] = field(default_factory=dict)
    # The judged head of each whose landing is not verified and tidied up yet.
    cleanups: Mapping[int, str] = field(default_factory=dict)
    # Those of them that looked open still when they were asked for: GitHub may be late.
    doubtful: tuple[int, ...] = ()
    # The tested commit with which each of those was, or was to be, pushed to the base branch.
    pushed: Mapping[int, str] = field(default_factory=dict)
    # The head with which each entered GitHub's own queue.
    queued: Mapping[int, str] = field(default_factory=dict)
    train: TrainState = TrainState()
    # Batch branches that nobody needs any more and that still have to be deleted.
    leftovers: tuple[str, ...] = ()
    conflicts: Mapping[int, RepeatedConflict] = field(default_factory=dict)
    # Duplicates that were given their label: one that lacks it now was taken out by somebody.
    marked: tuple[int, ...] = ()
    retests: tuple[Retest, ...] = ()
    backports: tuple[Backport, ...] = ()
    landed_count: int = 0
    # Where the next snapshot goes on with the list, after the oldest page.
    list_cursor: str = ""


@dataclass(frozen=True)
class Snapshot:
    """One snapshot. ``complete`` is false when an open pull request may be missing.

    Then nothing is closed or labelled; what was seen in full may still land.
    """

    repository: str
    branch: Branch
    pulls: tuple[PullRequest, ...]
    complete: bool = True
    incomplete_reason: str = ""
    # Where the list had to be left, and whether GitHub's limit was why.
    resume_at: str = ""
    limited: bool = False
    hold_issues: tuple[str, ...] = ()
    deletes_branch_on_merge: bool = False
    archived: bool = False
    points_remaining: int = 5000
    evidence_error: str = ""
    # Pull requests that conflict with an older one landing first in the same plan, and that one.
    conflicting: Mapping[int, int] = field(default_factory=dict)
    saved: SavedState = SavedState()
    # By the commit under test.
    train_checks: Mapping[str, Checks] = field(default_factory=dict)
