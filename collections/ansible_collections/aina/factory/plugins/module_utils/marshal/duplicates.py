"""Find pull requests that carry the same change, on proof only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from . import authority, rules
from .reasons import Prospect
from .settings import MergePolicy
from .snapshot import EarlierReason, PullRequest, Snapshot


@dataclass(frozen=True)
class Duplicate:
    """``original`` carries the change (0: the base branch does); ``proof`` says how we know."""

    number: int
    original: int
    proof: str


def find(policy: MergePolicy, snapshot: Snapshot, now: float) -> dict[int, Duplicate]:
    """Return the provable duplicates by number; empty unless policy and data allow it.

    The original can land, a green one before one that waits for CI or for a person, then
    the oldest; an original is never itself a duplicate.
    """
    if policy.duplicates.action == "off" or not snapshot.complete or snapshot.evidence_error:
        return {}
    found: dict[int, Duplicate] = {}
    eligible = [pull for pull in snapshot.pulls if _carries_proof(snapshot, pull)]
    for key, proof in ((_result, "identical result"), (_issue, "same closing issue")):
        if key is _issue and not policy.duplicates.same_issue:
            continue
        groups: dict[str, list[PullRequest]] = {}
        for pull in eligible:
            if pull.number not in found and (name := key(pull)):
                groups.setdefault(name, []).append(pull)
        for members in groups.values():
            if len(members) > 1:
                _settle(policy, snapshot, members, proof, found, now)
    for pull in eligible:
        if pull.evidence is not None and pull.evidence.empty and _closable(policy, pull):
            found[pull.number] = Duplicate(pull.number, 0, "empty against the base branch")
    return found


def twins(policy: MergePolicy, remembered: Mapping[int, EarlierReason]) -> set[int]:
    """Return whom to look at together: they seemed to change the same when each was seen."""
    groups: dict[str, list[int]] = {}
    for number, item in sorted(remembered.items()):
        if item.change and policy.duplicates.action != "off":
            groups.setdefault(item.change, []).append(number)
    found: set[int] = set()
    for members in groups.values():
        if len(members) > 1 and len(found) + 2 <= policy.examined_per_cycle // 2:
            # The oldest may be the one to keep; the others are compared with it in turn.
            found |= {members[0], *members[1 : policy.examined_per_cycle // 2 - len(found)]}
    return found


def _settle(
    policy: MergePolicy,
    snapshot: Snapshot,
    members: list[PullRequest],
    proof: str,
    found: dict[int, Duplicate],
    now: float,
) -> None:
    prospects = {pull.number: _prospects(policy, snapshot, pull, now) for pull in members}
    originals = [pull for pull in members if prospects[pull.number] is not None]
    if not originals:
        return
    # A person's pull request is never closed, so it must be the one that is kept.
    original = min(
        originals,
        key=lambda pull: (
            prospects[pull.number],
            _closable(policy, pull),
            pull.created_at,
            pull.number,
        ),
    )
    for pull in members:
        if pull is not original and _closable(policy, pull):
            found[pull.number] = Duplicate(pull.number, original.number, proof)


def _prospects(
    policy: MergePolicy, snapshot: Snapshot, pull: PullRequest, now: float
) -> int | None:
    """Return how near to landing this one is, None for one that cannot be relied upon.

    Whoever opens from a fork may withdraw or change it at any time, and needs no right
    here: no work of this repository is closed in its favour.
    """
    if pull.is_fork:
        return None
    found = rules.blockers(policy, snapshot, pull, now)
    prospects = [verdict.reason.code.meaning.prospect for verdict in found]
    known = [prospect for prospect in prospects if prospect is not None]
    return max(known, default=Prospect.LANDING) if len(known) == len(prospects) else None


def _carries_proof(snapshot: Snapshot, pull: PullRequest) -> bool:
    evidence = pull.evidence
    return (
        evidence is not None
        and evidence.head_oid == pull.head_oid
        and evidence.base_oid == snapshot.branch.oid
        and pull.base_ref == snapshot.branch.name
        and not pull.is_draft
        and not pull.unreadable
    )


def _closable(policy: MergePolicy, pull: PullRequest) -> bool:
    held = authority.hold(policy, pull)
    by_agent = pull.author_is_bot or authority.lists(policy.agents, pull.author, is_bot=False)
    return by_agent and not pull.is_draft and not held and not pull.in_merge_queue


def _result(pull: PullRequest) -> str:
    # Both were merged into the same base: what they leave there is the same to the last byte.
    evidence = pull.evidence
    return evidence.result_tree if evidence is not None and not evidence.empty else ""


def _issue(pull: PullRequest) -> str:
    detail = pull.detail
    return detail.closing_issues[0] if detail and len(detail.closing_issues) == 1 else ""
