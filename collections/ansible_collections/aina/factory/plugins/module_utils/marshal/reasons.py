"""Typed answers to "why is this pull request not merged, and who must act"."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum, StrEnum


class Owner(StrEnum):
    """Who must act next."""

    AUTHOR = "author"
    REVIEWER = "reviewer"
    CI = "ci"
    MARSHAL = "marshal"
    ADMIN = "admin"


class Verb(StrEnum):
    """The one decision about a pull request in this cycle."""

    MERGE = "merge"
    WAIT = "wait"
    UPDATE = "update"
    RETEST = "retest"
    SKIP = "skip"
    CLOSE_DUPLICATE = "close_duplicate"


class Prospect(IntEnum):
    """What may be held against a pull request for the sake of which a duplicate is closed.

    The best first. Any other reason (red, in conflict, denied, unreadable, ...) may never end,
    and with it the change would be lost.
    """

    LANDING = 0
    TESTED = 1
    REVIEWED = 2


@dataclass(frozen=True)
class Meaning:
    """What a reason means for the rest of the marshal.

    ``lasts``: found out by a full look, and true as long as the pull request stays the same.
    ``is_ready``: of one that is ready itself, and does not go to the end of the line.
    ``awaits_ci``: of one that CI alone keeps from landing, or its turn for CI.
    ``interrupts``: of one that could not be seen just now; what was said before may still hold.
    """

    lasts: bool = False
    is_ready: bool = False
    interrupts: bool = False
    awaits_ci: bool = False
    prospect: Prospect | None = None


class Code(StrEnum):
    """Every reason by its stable name."""

    meaning: Meaning

    def __new__(cls, name: str, meaning: Meaning = Meaning()) -> Code:
        """Make a name with its meaning."""
        code = str.__new__(cls, name)
        code._value_, code.meaning = name, meaning
        return code

    ARCHIVED = "archived"
    HALTED = "halted"
    REPOSITORY_HOLD = "repository_hold"
    FREEZE = "freeze"
    BUDGET = "budget"
    MAIN_RED = "main_red"
    MAIN_PENDING = "main_pending"
    DATA_INCOMPLETE = "data_incomplete", Meaning(interrupts=True)
    DATA_UNKNOWN = "data_unknown"
    NOT_EXAMINED = "not_examined", Meaning(interrupts=True)
    OTHER_BASE = "other_base"
    WAITS_FOR_PARENT = "waits_for_parent"
    DRAFT = "draft"
    WORK_IN_PROGRESS = "work_in_progress"
    HOLD_LABEL = "hold_label"
    FORK = "fork"
    AUTHOR = "author"
    IN_MERGE_QUEUE = "in_merge_queue", Meaning(prospect=Prospect.LANDING)
    CONFLICT = "conflict"
    CHANGES_REQUESTED = "changes_requested", Meaning(lasts=True)
    REVIEW_REQUIRED = "review_required", Meaning(lasts=True, prospect=Prospect.REVIEWED)
    UNRESOLVED_CONVERSATIONS = "unresolved_conversations", Meaning(lasts=True)
    GUARDED_PATH = "guarded_path", Meaning(lasts=True, prospect=Prospect.REVIEWED)
    EVIDENCE_MISSING = "evidence_missing", Meaning(interrupts=True)
    REVERTS_LANDED_WORK = "reverts_landed_work", Meaning(lasts=True)
    EMPTY = "empty", Meaning(lasts=True)
    NO_CHECKS = "no_checks"
    NO_REQUIRED_CHECKS = "no_required_checks", Meaning(lasts=True)
    CHECK_MISSING = "check_missing", Meaning(awaits_ci=True, prospect=Prospect.TESTED)
    CHECK_NEVER_REPORTED = "check_never_reported", Meaning(lasts=True)
    CHECK_PENDING = "check_pending", Meaning(awaits_ci=True, prospect=Prospect.TESTED)
    CHECK_OVERDUE = "check_overdue", Meaning(lasts=True)
    CHECK_FAILED = "check_failed", Meaning(lasts=True)
    CHECK_EXPIRED = "check_expired", Meaning(lasts=True, prospect=Prospect.TESTED)
    RETEST = "retest", Meaning(awaits_ci=True, prospect=Prospect.TESTED)
    RETEST_NEXT = "retest_next", Meaning(awaits_ci=True, prospect=Prospect.TESTED)
    RETEST_BUDGET = "retest_budget"
    CHECK_UNREADABLE = "check_unreadable", Meaning(lasts=True)
    CHECK_NEEDS_ACTION = "check_needs_action", Meaning(lasts=True)
    SETTLING = "settling", Meaning(awaits_ci=True, prospect=Prospect.TESTED)
    MERGEABILITY_UNKNOWN = "mergeability_unknown"
    LEFT_MERGE_QUEUE = "left_merge_queue"
    REFUSED_BY_GITHUB = "refused_by_github"
    DUPLICATE = "duplicate"
    CONFLICT_WITH_QUEUE = "conflict_with_queue"
    BEHIND = "behind"
    BEHIND_QUEUE = "behind_queue", Meaning(is_ready=True, awaits_ci=True)
    CAP_REACHED = "cap_reached", Meaning(is_ready=True)
    GREEN = "green", Meaning(is_ready=True)
    TRAIN_STARTING = "train_starting", Meaning(is_ready=True)
    TRAIN_TESTING = "train_testing", Meaning(is_ready=True)
    TRAIN_GREEN = "train_green", Meaning(is_ready=True)
    TRAIN_NEXT = "train_next", Meaning(is_ready=True)
    TRAIN_FAILED = "train_failed"
    TRAIN_STUCK = "train_stuck"

    @classmethod
    def known(cls, name: str) -> Code | None:
        """Return the reason of that name; ``None`` for one that another version gave."""
        return next((code for code in cls if code == name), None)


def meaning(name: str) -> Meaning:
    """Return what a remembered reason means; nothing where another version gave it."""
    code = Code.known(name)
    return code.meaning if code is not None else Meaning()


@dataclass(frozen=True)
class Reason:
    """Why a pull request stands where it stands.

    ``code`` is stable; ``since`` is when this code was first seen, seconds since the epoch.
    """

    code: Code
    detail: str
    owner: Owner
    since: float = 0.0

    def document(self) -> dict[str, object]:
        return {
            "code": self.code,
            "detail": self.detail,
            "owner": self.owner.value,
            "since": self.since,
        }


@dataclass(frozen=True)
class RuleVerdict:
    """A verb with its reason, before it is bound to a pull request."""

    verb: Verb
    reason: Reason


def wait(code: Code, detail: str, owner: Owner) -> RuleVerdict:
    """Return a verdict that may pass without the pull request being changed by policy."""
    return RuleVerdict(Verb.WAIT, Reason(code, detail, owner))


def skip(code: Code, detail: str, owner: Owner) -> RuleVerdict:
    """Return a verdict that somebody decided: draft, hold, author or fork rule."""
    return RuleVerdict(Verb.SKIP, Reason(code, detail, owner))
