"""Whom to send a conflict to: which pull requests deserve a lane now. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from . import authority
from .settings import MergePolicy
from .snapshot import PullRequest, RepeatedConflict

DAY_SECONDS = 86400.0


def due(
    policy: MergePolicy, pull: PullRequest, before: RepeatedConflict | None, now: float
) -> bool:
    """Whether a lane is asked in this snapshot, in which ``pull`` conflicts with the base branch.

    Only for branches of this repository that an agent opened: a lane pushes to them.
    """
    by_agent = pull.author_is_bot or authority.lists(policy.agents, pull.author, is_bot=False)
    lane = policy.lane
    if not lane.enabled or pull.is_fork or not by_agent:
        return False
    found = seen(pull.head_oid, before, now)
    return found.looks_count >= lane.tries and len(found.asked_at) < lane.max_per_day


def seen(head_oid: str, before: RepeatedConflict | None, now: float) -> RepeatedConflict:
    """Return what to remember after one more snapshot of a conflicting head."""
    same = before is not None and before.head_oid == head_oid
    looks = before.looks_count + 1 if before is not None and same else 1
    return RepeatedConflict(head_oid, looks, _lately(before, now))


def settled(conflicts: Mapping[int, RepeatedConflict], now: float) -> dict[int, RepeatedConflict]:
    """Return what is kept of those that conflict no more: when they asked, for a day."""
    kept = {n: RepeatedConflict("", 0, _lately(found, now)) for n, found in conflicts.items()}
    return {number: found for number, found in kept.items() if found.asked_at}


def _lately(before: RepeatedConflict | None, now: float) -> tuple[float, ...]:
    asked = before.asked_at if before is not None else ()
    return tuple(moment for moment in asked if now - moment < DAY_SECONDS)
