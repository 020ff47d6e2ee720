"""GitHub's own merge queue: what became of those that were put into it. Pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace

from .reasons import Code
from .settings import MergePolicy
from .snapshot import PullRequest, Refusal, SavedState


def noticed(
    policy: MergePolicy, saved: SavedState, pulls: Mapping[int, PullRequest], now: float
) -> SavedState:
    """Return the saved state after a snapshot of ``pulls``, the open ones by number.

    Who left the queue with the head that was put into it has failed there: it does not enter
    again before its retry time, or the queue would test it for ever.
    """
    queued, refused = dict(saved.queued), dict(saved.refused)
    for number, head in saved.queued.items():
        pull = pulls.get(number)
        if pull is None or pull.in_merge_queue:
            continue
        del queued[number]
        if pull.head_oid == head:
            until = now + policy.train.retry_seconds
            text = "GitHub's merge queue put it out again; its checks on the queue's branch say why"
            refused[number] = Refusal(head, text, until, Code.LEFT_MERGE_QUEUE)
    # A run that died while it put one in does not know whether it is in.
    cleanups = {number: head for number, head in saved.cleanups.items() if number not in pulls}
    entered = {n: p.head_oid for n, p in pulls.items() if p.in_merge_queue and n not in queued}
    return replace(saved, queued={**queued, **entered}, cleanups=cleanups, refused=refused)


def ended(saved: SavedState, pulls: Collection[int]) -> tuple[int, ...]:
    """Return those that were in the queue, or may have been, and are not open any more."""
    return tuple(sorted({*saved.queued, *saved.cleanups} - set(pulls)))
