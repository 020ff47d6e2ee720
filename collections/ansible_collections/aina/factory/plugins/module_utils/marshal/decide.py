"""The heart: one snapshot in, exactly one decision with one reason per pull request out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from . import authority, blockers, conflict_lanes, duplicates, retests, rules, trains
from .reasons import Code, Owner, Reason, RuleVerdict, Verb, wait
from .settings import MergePolicy
from .snapshot import PullRequest, Snapshot


@dataclass(frozen=True)
class Decision:
    """What happens to one pull request; ``head_oid`` is the head that was judged."""

    number: int
    title: str
    author: str
    head_oid: str
    verb: Verb
    reason: Reason
    duplicate: duplicates.Duplicate | None = None
    conflict_label: str = ""
    marks_duplicate: bool = False
    asks_lane: bool = False

    @property
    def acts(self) -> bool:
        """Whether carrying it out writes anything."""
        acting = self.verb in (Verb.MERGE, Verb.UPDATE, Verb.RETEST, Verb.CLOSE_DUPLICATE)
        marking = bool(self.conflict_label) or self.marks_duplicate
        return acting or marking or self.asks_lane

    def document(self) -> dict[str, object]:
        return {
            "number": self.number,
            "title": self.title,
            "author": self.author,
            "head": self.head_oid,
            "decision": self.verb.value,
            "reason": self.reason.document(),
        }


@dataclass(frozen=True)
class CyclePlan:
    """A cycle's intention. ``decisions`` are in landing order, one per open pull request."""

    decisions: tuple[Decision, ...]
    blocker: Reason | None
    main_red_since: float
    train: trains.TrainStep | None = None
    retests_main: bool = False

    @property
    def acts(self) -> bool:
        """Whether carrying it out writes anything."""
        if self.blocker is not None:
            return False
        boards = self.train is not None and self.train.verb in ("start", "land")
        return boards or self.retests_main or any(decision.acts for decision in self.decisions)

    def of(self, number: int) -> Decision | None:
        """Return the decision about ``number``."""
        return next((item for item in self.decisions if item.number == number), None)

    def chosen(self, verb: Verb) -> tuple[Decision, ...]:
        """Return the decisions with this verb, in landing order."""
        return tuple(item for item in self.decisions if item.verb is verb)


def order_key(policy: MergePolicy, pull: PullRequest) -> tuple[int, float, int]:
    """Landing order: priority labels in their declared order, then age, then number."""
    ranks = [rank for rank, label in enumerate(policy.priority_labels) if label in pull.labels]
    return (min(ranks, default=len(policy.priority_labels)), pull.created_at, pull.number)


def decide(policy: MergePolicy, snapshot: Snapshot, now: float) -> CyclePlan:
    """Return the plan for one snapshot. Pure: the same arguments give the same plan."""
    pulls = sorted(snapshot.pulls, key=lambda pull: order_key(policy, pull))
    verdicts = {pull.number: rules.own_verdict(policy, snapshot, pull, now) for pull in pulls}
    found = duplicates.find(policy, snapshot, now)
    blocker = blockers.closed(policy, snapshot, now)
    chosen: dict[int, RuleVerdict] = {}
    closes = 0
    for pull in pulls:
        own = verdicts[pull.number]
        if pull.number in found and blocker is None:
            verdict = _duplicate(policy, snapshot, pull, found[pull.number], closes, now)
            closes += verdict.verb is Verb.CLOSE_DUPLICATE
            chosen[pull.number] = verdict
        elif own is not None:
            chosen[pull.number] = own
        elif blocker is not None:
            chosen[pull.number] = blocker
        elif (red := blockers.main_blocks(policy, snapshot, pull, now)) is not None:
            chosen[pull.number] = red
    if blocker is None:
        rest = [pull for pull in pulls if pull.number not in found]
        chosen.update(retests.verdicts(policy, snapshot, rest, verdicts, now))
    candidates = [pull for pull in pulls if pull.number not in chosen]
    step = _land(policy, snapshot, candidates, chosen, now)
    return CyclePlan(
        tuple(_decision(policy, snapshot, pull, chosen[pull.number], found, now) for pull in pulls),
        blocker.reason if blocker else None,
        blockers.main_red_since(policy, snapshot, now),
        step,
        blocker is None and retests.main_is_due(policy, snapshot, now),
    )


def _duplicate(
    policy: MergePolicy,
    snapshot: Snapshot,
    pull: PullRequest,
    duplicate: duplicates.Duplicate,
    closes: int,
    now: float,
) -> RuleVerdict:
    original = f"#{duplicate.original}" if duplicate.original else "the base branch"
    detail = f"{duplicate.proof}: {original} carries the change"
    # Marked and left alone for the whole grace period; taking the label off is a veto.
    before = snapshot.saved.remembered.get(pull.number)
    since = before.held_since("duplicate") if before is not None else None
    marked = policy.duplicates.label in pull.labels or pull.number in snapshot.saved.marked
    due = (
        marked
        and not authority.vetoed(policy, pull)
        and since is not None
        and now - since >= policy.duplicates.grace_seconds
    )
    if policy.duplicates.action != "close" or not due:
        return wait(Code.DUPLICATE, detail, Owner.AUTHOR)
    if closes >= policy.duplicates.max_closes_per_cycle:
        return wait(Code.DUPLICATE, f"{detail}; closes in a later cycle", Owner.MARSHAL)
    return RuleVerdict(Verb.CLOSE_DUPLICATE, Reason(Code.DUPLICATE, detail, Owner.MARSHAL))


def _land(
    policy: MergePolicy,
    snapshot: Snapshot,
    candidates: list[PullRequest],
    chosen: dict[int, RuleVerdict],
    now: float,
) -> trains.TrainStep | None:
    if policy.mode == "train":
        return _board(policy, snapshot, candidates, chosen, now)
    strict = policy.mode == "strict" or (policy.mode == "fast" and snapshot.branch.strict)
    merges = 0
    updates = _in_test(snapshot, chosen) if strict else 0
    for pull in candidates:
        earlier = snapshot.conflicting.get(pull.number)
        if earlier is not None:
            detail = f"conflicts with or repeats #{earlier}, which lands first"
            chosen[pull.number] = wait(Code.CONFLICT_WITH_QUEUE, detail, Owner.AUTHOR)
        elif strict and merges:
            chosen[pull.number] = wait(Code.BEHIND_QUEUE, "one lands at a time", Owner.MARSHAL)
        elif strict and pull.evidence is not None and pull.evidence.behind_count:
            updates += 1
            chosen[pull.number] = _behind(policy, pull.evidence.behind_count, updates)
        elif merges >= policy.max_merges_per_cycle:
            detail = f"{policy.max_merges_per_cycle} land per cycle"
            chosen[pull.number] = wait(Code.CAP_REACHED, detail, Owner.MARSHAL)
        else:
            merges += 1
            chosen[pull.number] = RuleVerdict(
                Verb.MERGE, Reason(Code.GREEN, "ready", Owner.MARSHAL)
            )
    return None


def _in_test(snapshot: Snapshot, chosen: Mapping[int, RuleVerdict]) -> int:
    """Return how many are up to date with the base branch, or will be, and wait for CI only."""
    pulls = {pull.number: pull for pull in snapshot.pulls}
    count = 0
    for number, verdict in chosen.items():
        evidence = pulls[number].evidence
        current = evidence is not None and evidence.clean and not evidence.behind_count
        tested = verdict.reason.code in (Code.CHECK_PENDING, Code.CHECK_MISSING)
        count += verdict.verb is Verb.RETEST or (tested and current)
    return count


def _behind(policy: MergePolicy, behind_count: int, updates: int) -> RuleVerdict:
    detail = f"{behind_count} commits behind"
    if updates <= policy.max_updates_per_cycle:
        return RuleVerdict(Verb.UPDATE, Reason(Code.BEHIND, detail, Owner.MARSHAL))
    return wait(
        Code.BEHIND_QUEUE, f"{detail}; only the head of the queue is updated", Owner.MARSHAL
    )


def _board(
    policy: MergePolicy,
    snapshot: Snapshot,
    candidates: list[PullRequest],
    chosen: dict[int, RuleVerdict],
    now: float,
) -> trains.TrainStep:
    saved = snapshot.saved.train
    ready = tuple(
        (pull.number, pull.head_oid)
        for pull in candidates
        if pull.number not in snapshot.conflicting
    )
    step = trains.next_step(policy, snapshot.branch, ready, saved, snapshot.train_checks, now)
    aboard = dict(step.members)
    verdict = {
        "land": RuleVerdict(
            Verb.MERGE, Reason(Code.TRAIN_GREEN, "its batch is green", Owner.MARSHAL)
        ),
        "start": wait(Code.TRAIN_STARTING, "joins the batch under test", Owner.MARSHAL),
        "wait": wait(Code.TRAIN_TESTING, f"its batch is under test: {step.detail}", Owner.CI),
        "stuck": wait(Code.TRAIN_STUCK, step.detail, Owner.ADMIN),
    }
    for pull in candidates:
        member = (pull.number, pull.head_oid)
        if aboard.get(pull.number) == pull.head_oid:
            chosen[pull.number] = verdict[step.verb]
        elif pull.number in snapshot.conflicting:
            earlier = snapshot.conflicting[pull.number]
            detail = f"conflicts with or repeats #{earlier}, which lands first"
            chosen[pull.number] = wait(Code.CONFLICT_WITH_QUEUE, detail, Owner.AUTHOR)
        elif trains.is_bad(policy, step.saved, member, now):
            detail = "the batch turned red with this one in it"
            chosen[pull.number] = wait(Code.TRAIN_FAILED, detail, Owner.AUTHOR)
        else:
            chosen[pull.number] = wait(Code.TRAIN_NEXT, "waits for the next batch", Owner.MARSHAL)
    return step


def _decision(
    policy: MergePolicy,
    snapshot: Snapshot,
    pull: PullRequest,
    verdict: RuleVerdict,
    found: Mapping[int, duplicates.Duplicate],
    now: float,
) -> Decision:
    before = snapshot.saved.remembered.get(pull.number)
    held_since = before.held_since(verdict.reason.code) if before is not None else None
    conflicting = verdict.reason.code is Code.CONFLICT
    labelled = policy.conflict_label in pull.labels
    # A conflict that nobody can see (data missing) must not take the label off.
    known = pull.evidence is not None and pull.evidence.clean
    change = "add" if conflicting and not labelled else ""
    if labelled and not conflicting and known:
        change = "remove"
    return Decision(
        pull.number,
        pull.title,
        pull.author,
        pull.head_oid,
        verdict.verb,
        replace(verdict.reason, since=now if held_since is None else held_since),
        found.get(pull.number),
        change if policy.conflict_label and snapshot.complete else "",
        # A label that a person took off again is a veto.
        verdict.verb is Verb.WAIT
        and verdict.reason.code is Code.DUPLICATE
        and policy.duplicates.label not in pull.labels
        and not (pull.number in snapshot.saved.marked and authority.vetoed(policy, pull)),
        conflicting
        and snapshot.complete
        and conflict_lanes.due(policy, pull, snapshot.saved.conflicts.get(pull.number), now),
    )
