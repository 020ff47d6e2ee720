"""What is declared of merging: the section ``marshal``, and the key ``merge`` of a project."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from typing import ClassVar

from ..base import guarded, projects
from ..base.github.settings import GitHub
from ..base.paths import name_matches
from ..base.settings import REQUIRED, setting

# What starts a lane of this server and does not wait for it; the repository and the number follow.
LANE_COMMAND = ("/usr/local/bin/run-lane", "resolve", "--detach")
_DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_WEEKLY = re.compile(rf"({'|'.join(_DAYS)}) ([01]\d|2[0-3]):([0-5]\d)", re.IGNORECASE)
_LABEL = (r"\S(.{0,48}\S)?", "be a label of at most 50 characters")
_OPTIONAL_LABEL = (rf"({_LABEL[0]})?", f"{_LABEL[1]}, or empty")
_BASE = (
    r"(?!.*(\.\.|//))[A-Za-z0-9][A-Za-z0-9._/-]{0,198}[A-Za-z0-9_-]",
    "be the name of a branch",
)
_ACCOUNT = (r"\S+", "be the name of an account")


@dataclass(frozen=True)
class RequiredCheck:
    """A check that must be green, and the app that must say so."""

    name: str = setting(
        REQUIRED,
        "Its name, as the pull request shows it.",
        form=(r".*\S.*", "be the name of a check"),
    )
    app: str | None = setting(
        None,
        "Slug of the app from which it counts, `*` for any. Without it the one that the branch rules"
        " name counts, else GitHub Actions.",
        form=(r"\S+", "be the slug of an app, or `*`"),
    )


@dataclass(frozen=True)
class Freeze:
    """A time in which nothing lands, once or every week.

    Weekly, both ends are a day and a time in UTC, such as `fri 16:00`, and the end may lie in the
    next week. Once, both are a moment such as `2026-12-24T12:00:00Z`.
    """

    reason: str = setting(REQUIRED, "Why; the pull requests that wait say it.")
    start: str = setting(REQUIRED, "When it begins.")
    end: str = setting(REQUIRED, "When it is over.")
    branches: tuple[str, ...] = setting(
        (), "Patterns of the base branches for which it holds; empty for all of them."
    )

    def concerns(self, branch: str) -> bool:
        """Whether it holds for what lands on ``branch``."""
        return not self.branches or name_matches(branch, self.branches)

    def covers(self, now: float) -> bool:
        """Whether ``now`` (seconds since the epoch) lies in the window."""
        first, last = _weekly_minute(self.start), _weekly_minute(self.end)
        if first is None or last is None:
            return _seconds(self.start) <= now < _seconds(self.end)
        at = datetime.fromtimestamp(now, UTC)
        minute = at.weekday() * 1440 + at.hour * 60 + at.minute
        return first <= minute < last if first <= last else minute >= first or minute < last

    def contradictions(self) -> Iterator[tuple[str, str]]:
        """Yield what is no time, and what would never hold."""
        weekly = [_weekly_minute(text) for text in (self.start, self.end)]
        if None not in weekly:
            if weekly[0] == weekly[1]:
                yield "end", "differ from start"
            return
        rules = [
            (key, _rule_of_moment(text)) for key, text in (("start", self.start), ("end", self.end))
        ]
        wrong = [(key, rule) for key, rule in rules if rule]
        yield from wrong
        if not wrong and _seconds(self.end) <= _seconds(self.start):
            yield "end", f"lie after start, which is {self.start}"


def _weekly_minute(text: str) -> int | None:
    """Return the minutes since Monday 00:00; None of what is no day and time."""
    found = _WEEKLY.fullmatch(text)
    if found is None:
        return None
    return _DAYS.index(found[1].lower()) * 1440 + int(found[2]) * 60 + int(found[3])


def _seconds(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


def _rule_of_moment(text: str) -> str:
    """Return which rule a moment breaks; empty for none."""
    try:
        parsed = datetime.fromisoformat(text)
    except ValueError:
        return "be like 2026-12-24T12:00:00Z, or both ends of the freeze like 'fri 16:00'"
    return "" if parsed.tzinfo is not None else "have its time zone; append Z for UTC"


@dataclass(frozen=True)
class Duplicates:
    """What becomes of an agent's pull request that leaves the same files on main as another."""

    renamed: ClassVar[Mapping[str, str]] = {
        "agents": "agents, at the top of the configuration (factory_agents)"
    }

    action: str = setting(
        "off",
        "`label` marks it, `close` also closes it after `grace_hours`, if the other one can land.",
        choices=("off", "label", "close"),
    )
    same_issue: bool = setting(
        False,
        "Whether one that would close the same issue as another counts as a duplicate as well,"
        " whatever it changes.",
    )
    grace_hours: float = setting(24, "How long it is marked before it is closed.", minimum=0)
    label: str = setting(
        "duplicate",
        "The label that marks it; a person who takes it off settles that it is none.",
        form=_LABEL,
    )
    max_closes_per_cycle: int = setting(2, "How many are closed in one cycle.", minimum=0)

    def __post_init__(self) -> None:
        """Write the label as GitHub compares it."""
        object.__setattr__(self, "label", self.label.casefold())

    @property
    def grace_seconds(self) -> float:
        """How long it is marked before it is closed."""
        return self.grace_hours * 3600


@dataclass(frozen=True)
class ConflictLane:
    """Who is asked to resolve an agent's conflict with main that lasts."""

    enabled: bool = setting(True, "Whether somebody is asked.")
    command: tuple[str, ...] = setting(
        LANE_COMMAND,
        "The program and its arguments; the repository and the number follow. It starts the work and"
        " returns at once.",
        adds=False,
    )
    tries: int = setting(
        2, "In how many cycles in a row the same head conflicts before it is asked.", minimum=1
    )
    max_per_day: int = setting(
        1, "How often a day it is asked for one pull request.", minimum=0, maximum=24
    )

    def contradictions(self) -> Iterator[tuple[str, str]]:
        """Yield a command that says nothing."""
        if self.enabled and not all(self.command[:1] or ("",)):
            yield "command", "begin with a program"


@dataclass(frozen=True)
class Train:
    """How batches are tested and landed, in the mode `train`."""

    max_members: int = setting(30, "Most pull requests of one batch.", minimum=1, maximum=100)
    slots: int = setting(
        4,
        "How many batches are tested at once while the red ones are looked for: as many as CI has"
        " slots.",
        minimum=1,
        maximum=32,
    )
    branch_prefix: str = setting(
        "train/",
        "What the names of the branches begin with on which batches are tested.",
        form=(r"[A-Za-z0-9][A-Za-z0-9._/-]{0,99}", "be the beginning of a branch's name"),
    )
    ci_timeout_minutes: float = setting(
        120, "How long the checks of a batch may take before it counts as red.", minimum=1
    )
    retry_hours: float = setting(
        12,
        "After how long a member that failed is taken again although nobody pushed to it, and after"
        " how long is asked again whether the branch takes a push.",
        minimum=0,
    )

    @property
    def ci_timeout_seconds(self) -> float:
        """How long the checks of a batch may take."""
        return self.ci_timeout_minutes * 60

    @property
    def retry_seconds(self) -> float:
        """After how long a member that failed is taken again."""
        return self.retry_hours * 3600


@dataclass(frozen=True)
class Retest:
    """CI that is asked for once more: red or silent heads that nothing else keeps from landing.

    A head is run again once before anybody is blamed. Where no runner ever had a job of it,
    as without minutes, it is asked again and again, ever more seldom, until CI works.
    """

    enabled: bool = setting(True, "Whether CI is asked for again.")
    slots: int = setting(4, "How many of these are in test at once.", minimum=1)
    runs_per_day: int = setting(
        100, "How often a day it is asked for, the base branch included.", minimum=0
    )
    minutes_per_day: float = setting(
        1000,
        "How many minutes of CI these may take a day; runs at hand come to their end.",
        minimum=0,
    )


@dataclass(frozen=True, kw_only=True)
class MergePolicy:
    """Which pull requests of a project land, in which order, and what the marshal marks or closes.

    Letter case of labels, logins and apps does not count, as at GitHub.
    """

    renamed: ClassVar[Mapping[str, str]] = {
        "guarded_paths": "guarded_paths of the project itself",
        "guarded_label": "guarded_label of the project itself",
    }

    # What the project says for all capabilities, and the whole site.
    guarded_paths: tuple[str, ...] = guarded.STANDARD
    guarded_label: str = "approved-by-human"
    agents: tuple[str, ...] = ()
    # Of a further branch's queue: what targets others is not even listed.
    only_own: bool = False

    mode: str = setting(
        "fast",
        "`fast` lands every green one, oldest first; `strict` one at a time, up to date with main;"
        " `train` tests batches on a branch; `native` hands green ones to GitHub's own merge queue.",
        choices=("fast", "strict", "train", "native"),
    )
    method: str = setting(
        "squash",
        "How one lands; a batch of several always lands as a merge commit for each member.",
        choices=("squash", "merge", "rebase"),
    )
    required_checks: tuple[RequiredCheck, ...] = setting(
        (), "Checks that must be green, beside those that the branch rules require.", short="name"
    )
    allow_no_checks: bool = setting(
        False,
        "Whether something lands where neither `required_checks` nor the branch rules name a check.",
    )
    neutral_passes: bool = setting(True, "Whether a required check that ended neutral is green.")
    skipped_passes: bool = setting(True, "Whether a required check that was skipped is green.")
    check_report_deadline_minutes: float = setting(
        60, "After how long without a word of a required check a person must look.", minimum=0
    )
    check_finish_deadline_minutes: float = setting(
        360, "After how long a required check that still runs needs a person.", minimum=0
    )
    check_max_age_days: float = setting(
        30,
        "After how long a green required check has expired and CI is asked for again; 0 is never.",
        minimum=0,
    )
    settle_seconds: float = setting(
        0, "How old the head of a pull request is at least before it lands.", minimum=0
    )
    hold_labels: tuple[str, ...] = setting(
        ("hold",),
        "Labels that keep a pull request from landing; what a person put on, only a person takes off.",
        adds=True,
        form=_LABEL,
    )
    hold_issue_label: str = setting(
        "merge-hold",
        "While an open issue of the repository has this label nothing lands; empty for no such one.",
        form=_OPTIONAL_LABEL,
    )
    branches: tuple[str, ...] = setting(
        (),
        "Further base branches, such as `release/1.2`, each with a queue, a state and a report of its"
        " own under this policy: `NAME@release/1.2`.",
        form=_BASE,
    )
    backport_label: str = setting(
        "backport",
        "What labels begin with by which something that lands is also opened as a pull request"
        " against one of `branches`: `backport release/1.2`; empty for none.",
        form=_OPTIONAL_LABEL,
    )
    commanders: tuple[str, ...] = setting(
        (),
        "Accounts whose comment `/land COMMIT` on a pull request is a person's word about that head:"
        " what the guarded label says, and an approval. It counts on the account's own pull requests"
        " too, and where agents use the account; `/land COMMIT LABEL` says what another label says.",
        form=_ACCOUNT,
    )
    priority_labels: tuple[str, ...] = setting(
        (), "Labels that let a pull request go before others, the most urgent first.", form=_LABEL
    )
    repair_labels: tuple[str, ...] = setting(
        ("repair",),
        "Labels by which another person lets a pull request land although main is red.",
        adds=False,
        form=_LABEL,
    )
    conflict_label: str = setting(
        "conflict",
        "The label that a pull request has while it conflicts with main; empty for none.",
        form=_OPTIONAL_LABEL,
    )
    revert_label: str = setting(
        "intentional-revert",
        "The label by which another person says that taking back newer work is meant.",
        form=_LABEL,
    )
    stale_revert_guard: bool = setting(
        True,
        "Whether a pull request waits that would put back what files of main were before something"
        " landed since it left main, as an old branch does.",
    )
    stale_revert_window_days: int = setting(
        14, "How far back the history of main is compared for that at most.", minimum=1
    )
    forks_allowed: bool = setting(False, "Whether pull requests from forks land.")
    authors_allowed: tuple[str, ...] = setting(
        (), "The only accounts whose pull requests land; empty for all.", form=_ACCOUNT
    )
    authors_denied: tuple[str, ...] = setting(
        (), "Accounts whose pull requests never land.", form=_ACCOUNT
    )
    required_approvals: int = setting(
        0,
        "How many other persons must approve the head, even where the branch rules ask for fewer.",
        minimum=0,
        maximum=10,
    )
    freezes: tuple[Freeze, ...] = setting((), "Times in which nothing lands.")
    red_main_blocks: bool = setting(True, "Whether nothing lands while main is red.")
    pending_main_blocks: bool = setting(
        False, "Whether nothing lands while the checks of main still run."
    )
    max_merges_per_cycle: int = setting(10, "How many land in one cycle.", minimum=0)
    max_updates_per_cycle: int = setting(
        1,
        "In mode `strict`, how many are brought up to date and in test at once.",
        minimum=0,
    )
    max_marks_per_cycle: int = setting(
        20, "How many are labelled and commented on in one cycle.", minimum=0
    )
    examined_per_cycle: int = setting(
        30, "How many candidates are read in full in one cycle.", minimum=1, maximum=100
    )
    cycle_budget_seconds: float = setting(
        540, "After how long a run begins nothing more.", minimum=1
    )
    waits_for_ci: bool = setting(
        True,
        "Whether a run of the job looks on until that time while CI tests what could land, so that"
        " it lands when its last check ends.",
    )
    mergeability_budget_seconds: float = setting(
        60,
        "How long a cycle waits until GitHub has found out whether pull requests can be merged.",
        minimum=0,
    )
    delete_branch: bool = setting(True, "Whether the branch of what landed is deleted.")
    lasting_branches: tuple[str, ...] = setting(
        (
            "main",
            "master",
            "trunk",
            "develop",
            "development",
            "dev",
            "staging",
            "production",
            "release",
            "release/*",
            "release-*",
            "releases/*",
            "stable",
            "stable/*",
            "next",
        ),
        "Patterns of branches that stay when they have landed somewhere, with the pull requests on"
        " them; a protected one does in any case.",
        adds=True,
    )
    points_floor: int = setting(
        500,
        "How many points of GitHub's rate limit are left for others; at that a cycle stops.",
        minimum=0,
    )
    duplicates: Duplicates = setting(Duplicates(), "How duplicates are treated.")
    train: Train = setting(Train(), "The batches of the mode `train`.")
    retest: Retest = setting(
        Retest(), "When CI is asked for again; `true` as it stands here.", short="enabled"
    )
    conflict_lane: ConflictLane | None = setting(
        None,
        "Who is asked to resolve an agent's conflict; `true` is a lane of this server, without it"
        " nobody is.",
        short="enabled",
    )

    def __post_init__(self) -> None:
        """Write labels in small letters, as in a snapshot: to GitHub "Hold" and "hold" are one."""
        for key in ("conflict_label", "guarded_label", "revert_label"):
            object.__setattr__(self, key, getattr(self, key).casefold())
        for key in ("hold_labels", "priority_labels", "repair_labels"):
            labels = (label.casefold() for label in getattr(self, key))
            object.__setattr__(self, key, tuple(dict.fromkeys(labels)))

    @property
    def lane(self) -> ConflictLane:
        """Who is asked to resolve an agent's conflict."""
        return self.conflict_lane or ConflictLane(enabled=False)

    @property
    def check_names(self) -> frozenset[str]:
        """The names of the required checks."""
        return frozenset(check.name for check in self.required_checks)

    @property
    def check_apps(self) -> tuple[tuple[str, str], ...]:
        """Check and slug of the app from which it counts, "*" for any."""
        return tuple(
            (check.name, check.app.casefold().removesuffix("[bot]"))
            for check in self.required_checks
            if check.app is not None
        )

    @property
    def check_report_deadline_seconds(self) -> float:
        """After how long without a word of a check a person must look."""
        return self.check_report_deadline_minutes * 60

    @property
    def check_finish_deadline_seconds(self) -> float:
        """After how long a check that still runs needs a person."""
        return self.check_finish_deadline_minutes * 60

    @property
    def exception_labels(self) -> frozenset[str]:
        """The labels that let something pass: each is a person's word about one head."""
        return frozenset({self.guarded_label, self.revert_label, *self.repair_labels})

    def digest(self) -> str:
        """Return a short stable name of this very policy, for the audit log."""
        text = json.dumps(asdict(self), sort_keys=True, default=str)
        return hashlib.sha256(text.encode()).hexdigest()[:16]


@dataclass(frozen=True)
class MergeProject(projects.Repository):
    """One repository under the marshal."""

    merge: MergePolicy = setting(MergePolicy(), "What may land, and when.")


def _queues(project: MergeProject) -> Iterator[MergeProject]:
    yield project
    # Whoever serves a branch opens backports to all the others, the default one included.
    every = (project.default_branch, *project.merge.branches)
    for branch in project.merge.branches:
        if branch != project.default_branch:
            policy = replace(project.merge, only_own=True, branches=every)
            name = f"{project.name}@{branch}"
            yield replace(project, name=name, default_branch=branch, merge=policy)


@dataclass(frozen=True)
class MarshalSettings:
    """Which repositories the marshal serves, and where it keeps what it knows of them."""

    # What all capabilities share.
    github: GitHub = field(default_factory=GitHub)
    agents: tuple[str, ...] = ()

    state_dir: str = setting(
        "/var/lib/aina-factory/marshal",
        "Where each project keeps its state between cycles, its audit log and its copy of the"
        " repository.",
        kind="path",
    )
    projects: tuple[MergeProject, ...] = setting(
        (),
        "The projects with a merge policy.",
        by="role",
        unique=("name", "repository"),
    )

    def queues(self) -> tuple[MergeProject, ...]:
        """Return what is served by itself: each project, and each further branch of it."""
        return tuple(queue for project in self.projects for queue in _queues(project))

    def policy_of(self, project: MergeProject) -> MergePolicy:
        """Return what holds for a project, with what all capabilities share."""
        return replace(
            project.merge,
            agents=self.agents,
            guarded_paths=project.guarded_paths,
            guarded_label=project.guarded_label,
        )
