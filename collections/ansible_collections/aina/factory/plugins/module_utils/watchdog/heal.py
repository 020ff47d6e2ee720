"""What the watchdog may repair by itself: an allow-list, with budgets and circuit breakers."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from ..base import times
from ..base.configuration import Section
from .alerts import Track
from .checks.healing import Healing
from .facts import DAY, Fact, Known
from .failures import FailedUnit
from .settings import Heal, LaneOrder
from .workspaces import HEALABLE, Workspace, Workspaces

INIT_WORKSPACE = "init_workspace"
RESTART_UNIT = "restart_unit"
START_LANE = "start_lane"
KEPT_SECONDS = 14 * DAY

DONE, FAILED = "done", "failed"

GO = "go"
REPORTED = "report_only"
COOLING = "cooling_down"
BUDGET = "budget_used_up"
OPEN = "circuit_open"
ASKED = "already_started"
CLOSED = "draining"


@dataclass(frozen=True)
class Attempt:
    """A repair that was tried; ``result`` is ``done`` or ``failed``."""

    at: float
    action: str
    target: str
    result: str
    detail: str

    def document(self) -> dict[str, Any]:
        """Return the JSON form for people and programs."""
        return {**vars(self), "at": times.iso_or_none(self.at)}


@dataclass(frozen=True)
class Repair:
    """A repair that is called for, and whether it is carried out now (``go``) or why not."""

    action: str
    target: str
    verdict: str
    workspace: Workspace | None = None
    order: LaneOrder | None = None

    @property
    def key(self) -> str:
        """The name of its circuit."""
        return f"{self.action}:{self.target}"


def plan(
    policy: Heal,
    workspaces: Fact[Workspaces],
    units: Fact[tuple[FailedUnit, ...]],
    attempts: Sequence[Attempt],
    now: float,
) -> list[Repair]:
    """Return what is called for; nothing is repaired on a guess or beyond the budgets."""
    if policy.mode == "off":
        return []
    today = _today(attempts, now)
    left = {
        action: policy.max_per_day_count - sum(attempt.action == action for attempt in today)
        for action in (INIT_WORKSPACE, RESTART_UNIT)
    }
    repairs = []
    for action, target, workspace in _wanted(policy, workspaces, units):
        verdict = _verdict(
            policy, [item for item in today if item.target == target], left[action], now
        )
        if verdict == GO:
            left[action] -= 1
        repairs.append(Repair(action, target, verdict, workspace))
    return repairs


def plan_lanes(
    policy: Heal,
    raised: Iterable[Track],
    attempts: Sequence[Attempt],
    now: float,
    *,
    closed: bool,
) -> list[Repair]:
    """Return the lanes that the ``raised`` alerts call for: one each time an alert is raised.

    One that could not be started is tried again, within the same bounds as every repair.
    While the host is emptied of work (``closed``) none is.
    """
    if policy.mode == "off":
        return []
    orders: dict[str, LaneOrder] = {}
    since: dict[str, float] = {}
    for track in raised:
        for order in policy.lanes:
            # Several alerts may call for the same issue.
            if order.covers(track.check, track.key):
                orders[order.target] = order
                since[order.target] = max(since.get(order.target, 0), track.raised_at or now)
    today = _today(attempts, now)
    left = policy.lanes_max_per_day_count - sum(attempt.action == START_LANE for attempt in today)
    repairs = []
    for target, order in orders.items():
        earlier = [attempt for attempt in attempts if attempt.target == target]
        verdict = _verdict(policy, _today(earlier, now), left, now)
        if any(item.result == DONE and item.at >= since[target] for item in earlier):
            verdict = ASKED
        elif verdict == GO and closed:
            verdict = CLOSED
        elif verdict == GO:
            left -= 1
        repairs.append(Repair(START_LANE, target, verdict, order=order))
    return repairs


def _today(attempts: Iterable[Attempt], now: float) -> list[Attempt]:
    return [attempt for attempt in attempts if now - attempt.at < DAY]


def _wanted(
    policy: Heal, workspaces: Fact[Workspaces], units: Fact[tuple[FailedUnit, ...]]
) -> Iterable[tuple[str, str, Workspace | None]]:
    if isinstance(workspaces, Known):
        for workspace in workspaces.value.broken:
            if workspace.reason == HEALABLE:
                yield INIT_WORKSPACE, workspace.path, workspace
    if isinstance(units, Known):
        for unit in units.value:
            if unit.failed and unit.name in policy.units:
                yield RESTART_UNIT, unit.name, None


def _verdict(policy: Heal, earlier: Sequence[Attempt], left: int, now: float) -> str:
    if policy.mode == "report":
        return REPORTED
    if len(earlier) >= policy.max_attempts_count:
        return OPEN
    if any(now - attempt.at < policy.cooldown_seconds for attempt in earlier):
        return COOLING
    return GO if left > 0 else BUDGET


def healing(repairs: Iterable[Repair]) -> Healing:
    """Return what was given up, as a fact of its own."""
    found = list(repairs)
    return Healing(
        tuple(sorted(repair.key for repair in found if repair.verdict == OPEN)),
        tuple(sorted({repair.action for repair in found if repair.verdict == BUDGET})),
    )


def attempt_from(section: Section) -> Attempt:
    """Read an attempt as it was kept."""
    return Attempt(
        section.number("at"),
        section.text("action"),
        section.text("target"),
        section.text("result"),
        section.text("detail", ""),
    )


# Run as the workspace's owner, never as root for somebody else. The repository is made
# beside its place and moved there whole: what is cut off leaves a plain folder, as it was.
INIT_SCRIPT = r"""set -eu
cd -- "$1"
[ "$(pwd -P)" = "$1" ] || { echo "$1 is reached through a link" >&2; exit 3; }
if [ -e .git ] || [ -L .git ]; then echo "$1 has got git metadata meanwhile" >&2; exit 3; fi
export GIT_CONFIG_GLOBAL=/dev/null GIT_CONFIG_NOSYSTEM=1 GIT_CEILING_DIRECTORIES="$1"
aside=$(mktemp -d .aina-heal.XXXXXXXX)
trap 'rm -rf -- "$aside"' EXIT
git init --quiet --template= --initial-branch=main -- "$aside"
git -C "$aside" -c user.name=factory-watchdog -c user.email=factory-watchdog@localhost \
  -c commit.gpgSign=false commit --quiet --allow-empty --no-verify \
  --message 'Make this workspace a repository'
mv -T -n -- "$aside/.git" .git
[ ! -e "$aside/.git" ] || { echo "$1 has got git metadata meanwhile" >&2; exit 3; }
"""
