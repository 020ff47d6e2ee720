"""What a project wants from its release marshal, read from its ``merge`` mapping."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime

from ..base import guarded
from ..base.configuration import ConfigurationError, Section

MODES = ("fast", "strict", "train", "native")
METHODS = ("squash", "merge", "rebase")
# What starts a lane of this server and does not wait for it; the repository and the number follow.
LANE_COMMAND = ("/usr/local/bin/run-lane", "resolve", "--detach")
_DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")


@dataclass(frozen=True)
class Freeze:
    """A time in which nothing lands: absolute (``start``..``end``) or weekly, in UTC.

    Weekly bounds are minutes since Monday 00:00; a window may wrap over the week's end.
    """

    reason: str
    start: float = 0.0
    end: float = 0.0
    weekly_start_minute: int = -1
    weekly_end_minute: int = -1

    def covers(self, now: float) -> bool:
        """Whether ``now`` (seconds since the epoch) lies in the window."""
        if self.weekly_start_minute < 0:
            return self.start <= now < self.end
        moment = datetime.fromtimestamp(now, UTC)
        minute = moment.weekday() * 1440 + moment.hour * 60 + moment.minute
        first, last = self.weekly_start_minute, self.weekly_end_minute
        return first <= minute < last if first <= last else minute >= first or minute < last


@dataclass(frozen=True)
class Duplicates:
    """How duplicates are treated; closing needs proof and a grace period."""

    action: str = "off"
    same_issue: bool = False
    grace_seconds: float = 86400.0
    label: str = "duplicate"
    max_closes_per_cycle: int = 2


@dataclass(frozen=True)
class ConflictLane:
    """Who is asked to resolve an agent's conflict: ``command`` REPOSITORY NUMBER.

    The command starts a lane and returns; it is asked once the same head conflicted in
    ``tries`` cycles, at most ``max_per_day`` times a pull request.
    """

    command: tuple[str, ...] = ()
    tries: int = 2
    max_per_day: int = 1


@dataclass(frozen=True)
class Train:
    """The batch branch of mode ``train``."""

    max_members: int = 30
    branch_prefix: str = "train/"
    ci_timeout_seconds: float = 7200.0
    retry_seconds: float = 43200.0


@dataclass(frozen=True)
class Policy:
    """One project's merge policy. Times are seconds, sizes are counts.

    Labels are in small letters, as in a snapshot: to GitHub "Hold" and "hold" are one label.
    """

    mode: str = "fast"
    method: str = "squash"
    required_checks: tuple[str, ...] = ()
    # Check and slug of the app from which it counts, "*" for any.
    check_apps: tuple[tuple[str, str], ...] = ()
    allow_no_checks: bool = False
    neutral_passes: bool = True
    skipped_passes: bool = True
    check_report_deadline_seconds: float = 3600.0
    check_finish_deadline_seconds: float = 21600.0
    settle_seconds: float = 0.0
    hold_labels: tuple[str, ...] = ("hold",)
    hold_issue_label: str = "merge-hold"
    priority_labels: tuple[str, ...] = ()
    repair_labels: tuple[str, ...] = ("repair",)
    conflict_label: str = "conflict"
    guarded_paths: tuple[str, ...] = guarded.STANDARD
    guarded_label: str = "approved-by-human"
    revert_label: str = "intentional-revert"
    stale_revert_guard: bool = True
    stale_revert_window_days: int = 14
    forks_allowed: bool = False
    # Who is no person, of the whole site.
    agents: tuple[str, ...] = ()
    authors_allowed: tuple[str, ...] = ()
    authors_denied: tuple[str, ...] = ()
    required_approvals: int = 0
    freezes: tuple[Freeze, ...] = ()
    red_main_blocks: bool = True
    pending_main_blocks: bool = False
    max_merges_per_cycle: int = 10
    max_updates_per_cycle: int = 1
    examined_per_cycle: int = 30
    cycle_budget_seconds: float = 540.0
    mergeability_budget_seconds: float = 60.0
    delete_branch: bool = True
    points_floor: int = 500
    duplicates: Duplicates = Duplicates()
    train: Train = Train()
    conflict_lane: ConflictLane = ConflictLane()

    @property
    def exception_labels(self) -> frozenset[str]:
        """The labels that let something pass: each is a person's word about one head."""
        return frozenset({self.guarded_label, self.revert_label, *self.repair_labels})

    def digest(self) -> str:
        """Return a short stable name of this very policy, for the audit log."""
        text = json.dumps(asdict(self), sort_keys=True, default=str)
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    @staticmethod
    def from_section(section: Section) -> Policy:
        """Read the mapping.

        Raises:
            ConfigurationError: a key is unknown or a value is out of its bounds.

        """
        default = Policy()
        for key in ("guarded_paths", "guarded_label"):
            if key in section:
                raise ConfigurationError(f"{section.path}.{key} is now {key} of the project itself")

        def names(key: str, standard: tuple[str, ...]) -> tuple[str, ...]:
            return tuple(section.strings(key, list(standard)))

        def labels(key: str, standard: tuple[str, ...]) -> tuple[str, ...]:
            return tuple(name.casefold() for name in names(key, standard))

        def label(key: str, standard: str) -> str:
            return section.text(key, standard).casefold()

        def minutes(key: str, seconds: float) -> float:
            return float(section.number(key, seconds / 60, minimum=0)) * 60

        required_checks, check_apps = _required_checks(section)
        policy = Policy(
            mode=section.text("mode", default.mode, choices=MODES),
            method=section.text("method", default.method, choices=METHODS),
            required_checks=required_checks,
            check_apps=check_apps,
            allow_no_checks=section.boolean("allow_no_checks", False),
            neutral_passes=section.boolean("neutral_passes", True),
            skipped_passes=section.boolean("skipped_passes", True),
            check_report_deadline_seconds=minutes(
                "check_report_deadline_minutes", default.check_report_deadline_seconds
            ),
            check_finish_deadline_seconds=minutes(
                "check_finish_deadline_minutes", default.check_finish_deadline_seconds
            ),
            settle_seconds=float(section.number("settle_seconds", 0, minimum=0)),
            hold_labels=labels("hold_labels", default.hold_labels),
            hold_issue_label=section.text("hold_issue_label", default.hold_issue_label),
            priority_labels=labels("priority_labels", ()),
            repair_labels=labels("repair_labels", default.repair_labels),
            conflict_label=label("conflict_label", default.conflict_label),
            revert_label=label("revert_label", default.revert_label),
            stale_revert_guard=section.boolean("stale_revert_guard", True),
            stale_revert_window_days=section.integer("stale_revert_window_days", 14, minimum=1),
            forks_allowed=section.boolean("forks_allowed", False),
            authors_allowed=names("authors_allowed", ()),
            authors_denied=names("authors_denied", ()),
            required_approvals=section.integer("required_approvals", 0, minimum=0, maximum=10),
            freezes=tuple(_freeze(item) for item in section.sections("freezes", [])),
            red_main_blocks=section.boolean("red_main_blocks", True),
            pending_main_blocks=section.boolean("pending_main_blocks", False),
            max_merges_per_cycle=section.integer("max_merges_per_cycle", 10, minimum=0),
            max_updates_per_cycle=section.integer("max_updates_per_cycle", 1, minimum=0),
            examined_per_cycle=section.integer("examined_per_cycle", 30, minimum=1, maximum=100),
            cycle_budget_seconds=float(section.number("cycle_budget_seconds", 540, minimum=1)),
            mergeability_budget_seconds=float(
                section.number("mergeability_budget_seconds", 60, minimum=0)
            ),
            delete_branch=section.boolean("delete_branch", True),
            points_floor=section.integer("points_floor", 500, minimum=0),
            duplicates=_duplicates(section.section("duplicates", {})),
            train=_train(section.section("train", {})),
            conflict_lane=_conflict_lane(section),
        )
        section.done()
        return policy


def lists(accounts: Iterable[str], login: str, *, is_bot: bool) -> bool:
    """Whether an account is among those, as GitHub compares logins: letter case does not count.

    An app's account may be written with or without its "[bot]"; a person's never has one.
    """
    name = login.casefold()
    plain = name.removesuffix("[bot]")
    names = {plain, f"{plain}[bot]"} if is_bot else {name}
    return any(account.casefold() in names for account in accounts)


def _required_checks(section: Section) -> tuple[tuple[str, ...], tuple[tuple[str, str], ...]]:
    """Read the names, and the apps to which some are bound: ``ci`` or ``{name: ci, app: slug}``."""
    given = section.value("required_checks", [])
    rule = "be a list of names and of mappings with name and app"
    if not isinstance(given, list | tuple):
        raise section.error("required_checks", given, rule)
    names, apps = [], []
    for item in given:
        bound = dict(item) if isinstance(item, Mapping) else {"name": item}
        name, app = bound.pop("name", None), bound.pop("app", None)
        known = isinstance(name, str) and (app is None or (isinstance(app, str) and app))
        if bound or not name or not known:
            raise section.error("required_checks", item, rule)
        names.append(name)
        if app is not None:
            apps.append((name, app.casefold().removesuffix("[bot]")))
    return tuple(dict.fromkeys(names)), tuple(dict.fromkeys(apps))


def _duplicates(section: Section) -> Duplicates:
    if "agents" in section:
        raise ConfigurationError(
            f"{section.path}.agents is now agents, at the top of the configuration (factory_agents)"
        )
    duplicates = Duplicates(
        action=section.text("action", "off", choices=("off", "label", "close")),
        same_issue=section.boolean("same_issue", False),
        grace_seconds=float(section.number("grace_hours", 24, minimum=0)) * 3600,
        label=section.text("label", "duplicate").casefold(),
        max_closes_per_cycle=section.integer("max_closes_per_cycle", 2, minimum=0),
    )
    section.done()
    return duplicates


def _train(section: Section) -> Train:
    train = Train(
        max_members=section.integer("max_members", 30, minimum=1, maximum=100),
        branch_prefix=section.text("branch_prefix", "train/"),
        ci_timeout_seconds=float(section.number("ci_timeout_minutes", 120, minimum=1)) * 60,
        retry_seconds=float(section.number("retry_hours", 12, minimum=0)) * 3600,
    )
    section.done()
    return train


def _conflict_lane(whole: Section) -> ConflictLane:
    wanted = whole.value("conflict_lane", False)
    if isinstance(wanted, bool):
        return ConflictLane(command=LANE_COMMAND) if wanted else ConflictLane()
    section = whole.section("conflict_lane")
    lane = ConflictLane(
        command=tuple(section.strings("command", list(LANE_COMMAND))),
        tries=section.integer("tries", 2, minimum=1),
        max_per_day=section.integer("max_per_day", 1, minimum=0, maximum=24),
    )
    section.done()
    return lane


def _freeze(section: Section) -> Freeze:
    reason = section.text("reason")
    start, end = section.text("start"), section.text("end")
    section.done()
    weekly = re.compile(r"(mon|tue|wed|thu|fri|sat|sun) ([01]\d|2[0-3]):([0-5]\d)", re.IGNORECASE)
    first, last = weekly.fullmatch(start), weekly.fullmatch(end)
    if first and last:
        return Freeze(reason, weekly_start_minute=_minute(first), weekly_end_minute=_minute(last))
    return Freeze(reason, start=_moment(start), end=_moment(end))


def _minute(match: re.Match[str]) -> int:
    day = _DAYS.index(match[1].lower())
    return day * 1440 + int(match[2]) * 60 + int(match[3])


def _moment(text: str) -> float:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise ConfigurationError(
            f"merge.freezes: {text!r} is neither like 'fri 16:00' nor like '2026-12-24T12:00:00Z'"
        ) from None
    if moment.tzinfo is None:
        raise ConfigurationError(f"merge.freezes: {text!r} lacks its time zone; append Z for UTC")
    return moment.timestamp()
