"""Find pull requests that carry the same change, on proof only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ansible_collections.aina.factory.plugins.module_utils.pull_requests.policy import Policy
from ansible_collections.aina.factory.plugins.module_utils.pull_requests.snapshot import (
    PullRequest,
    Snapshot,
)


@dataclass(frozen=True)
class Duplicate:
    """``keeper`` carries the change (0: the base branch does); ``proof`` says how we know."""

    number: int
    keeper: int
    proof: str


def find(
    policy: Policy, snapshot: Snapshot, ready: Mapping[int, bool], now: float
) -> dict[int, Duplicate]:
    """Return the provable duplicates by number; empty unless policy and data allow it.

    ``ready`` says which pull requests are green by themselves. The keeper is a green
    one before any other, then the oldest; a keeper is never itself a duplicate.
    """
    if policy.duplicates.action == "off" or not snapshot.complete or snapshot.evidence_error:
        return {}
    found: dict[int, Duplicate] = {}
    eligible = [pull for pull in snapshot.pulls if _carries_proof(snapshot, pull)]
    for key, proof in ((_patch, "identical patch"), (_issue, "same closing issue")):
        if key is _issue and not policy.duplicates.same_issue:
            continue
        groups: dict[str, list[PullRequest]] = {}
        for pull in eligible:
            if pull.number not in found and (name := key(pull)):
                groups.setdefault(name, []).append(pull)
        for members in groups.values():
            _settle(policy, members, ready, proof, found)
    for pull in eligible:
        if pull.evidence is not None and pull.evidence.empty and _closable(policy, pull):
            found[pull.number] = Duplicate(pull.number, 0, "empty against the base branch")
    return found


def _settle(
    policy: Policy,
    members: list[PullRequest],
    ready: Mapping[int, bool],
    proof: str,
    found: dict[int, Duplicate],
) -> None:
    if len(members) < 2:
        return
    # A person's pull request is never closed, so it must be the one that is kept.
    keeper = min(
        members,
        key=lambda pull: (
            not ready.get(pull.number, False),
            _closable(policy, pull),
            pull.created_at,
            pull.number,
        ),
    )
    for pull in members:
        if pull is not keeper and _closable(policy, pull):
            found[pull.number] = Duplicate(pull.number, keeper.number, proof)


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


def _closable(policy: Policy, pull: PullRequest) -> bool:
    held = pull.labels & set(policy.hold_labels)
    by_agent = pull.author_is_bot or pull.author in policy.duplicates.agents
    return by_agent and not pull.is_draft and not held and not pull.in_merge_queue


def _patch(pull: PullRequest) -> str:
    return pull.evidence.patch_id if pull.evidence is not None else ""


def _issue(pull: PullRequest) -> str:
    detail = pull.detail
    return detail.closing_issues[0] if detail and len(detail.closing_issues) == 1 else ""
