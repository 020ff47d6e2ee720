"""Whose word counts: a person's who is not the one that profits, about what that person saw."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from .settings import MergePolicy
from .snapshot import Labelling, PullRequest, Review


def lists(accounts: Iterable[str], login: str, *, is_bot: bool) -> bool:
    """Whether an account is among those, as GitHub compares logins: letter case does not count.

    An app's account may be written with or without its "[bot]"; a person's never has one.
    """
    name = login.casefold()
    plain = name.removesuffix("[bot]")
    names = {plain, f"{plain}[bot]"} if is_bot else {name}
    return any(account.casefold() in names for account in accounts)


def another_person(policy: MergePolicy, pull: PullRequest, actor: str, *, by_person: bool) -> bool:
    """Whether ``actor`` is a person, and neither the author of ``pull`` nor an agent."""
    profits = lists((pull.author, *policy.agents), actor, is_bot=not by_person)
    return by_person and actor != "" and not profits


def exempted(policy: MergePolicy, pull: PullRequest, *labels: str) -> bool:
    """Whether one of these labels lets the head pass, as it is now."""
    return any(not doubt(policy, pull, label) for label in labels)


def commanders(policy: MergePolicy, pull: PullRequest, label: str) -> frozenset[str]:
    """Return whose `/land` of the head, as it is now, stands for ``label``.

    It names the commit, which nobody writes by habit: so it counts from whom it profits, too.
    """
    told = pull.detail.commands if pull.detail is not None else ()
    return frozenset(
        command.author.casefold()
        for command in told
        if command.by_person
        and lists(policy.commanders, command.author, is_bot=False)
        and command.head_oid in seen_alike(pull)
        and (command.label or policy.guarded_label) == label
    )


def doubt(policy: MergePolicy, pull: PullRequest, label: str) -> str:
    """Return why ``label`` does not count for the head, "" when it does."""
    if commanders(policy, pull, label):
        return ""
    if label not in pull.labels:
        return f"needs label {label}"
    told = pull.detail.labellings.get(label) if pull.detail is not None else None
    if told is None or not told.actor or told.removed:
        return f"{label} was given by nobody known"
    if not another_person(policy, pull, told.actor, by_person=told.by_person):
        return f"{label} was given by {told.actor}, not by another person"
    if not told.head_oid:
        return f"which head {told.actor} gave {label} to is not known; take it off and give it anew"
    if told.head_oid not in seen_alike(pull):
        return f"{told.actor} gave {label} to another head; look again, and give it anew"
    return ""


def approvals(policy: MergePolicy, pull: PullRequest) -> int:
    """Return how many other persons with a say, or commanders, approved the head as it is now."""
    reviews = pull.detail.reviews if pull.detail is not None else ()
    approving = {
        review.author.casefold()
        for review in reviews
        if review.state == "APPROVED"
        and review.may_push
        and review.head_oid in seen_alike(pull)
        and another_person(policy, pull, review.author, by_person=review.by_person)
    }
    return len(approving | commanders(policy, pull, policy.guarded_label))


def objector(pull: PullRequest) -> str:
    """Return who asks for changes and has not taken it back, whatever head it was said of."""
    reviews = pull.detail.reviews if pull.detail is not None else ()
    return next((review.author or "a former user" for review in reviews if _objects(review)), "")


def _objects(review: Review) -> bool:
    # Whoever happens to pass by in public cannot stop the project.
    return review.state == "CHANGES_REQUESTED" and (review.may_push or review.is_member)


def hold(policy: MergePolicy, pull: PullRequest) -> str:
    """Return the hold label that stands, "" for none; only a person lifts a person's hold."""
    held = sorted(pull.labels & set(policy.hold_labels))
    if held:
        return held[0]
    told = pull.detail.labellings if pull.detail is not None else {}
    return next((label for label in policy.hold_labels if _lifted(policy, pull, told, label)), "")


def _lifted(
    policy: MergePolicy, pull: PullRequest, told: Mapping[str, Labelling], label: str
) -> bool:
    """Whether a person's hold was taken off by nobody who may."""
    last = told.get(label)
    if last is None or not last.removed or last.before is None or last.actor == last.before.actor:
        return False
    giver = last.before
    by_other = another_person(policy, pull, giver.actor, by_person=giver.by_person)
    return by_other and not another_person(policy, pull, last.actor, by_person=last.by_person)


def vetoed(policy: MergePolicy, pull: PullRequest) -> bool:
    """Whether the duplicate label was taken off by somebody who may object.

    An agent cannot keep its own duplicate so. Who is not known is believed: nothing is
    closed on a doubt.
    """
    label = policy.duplicates.label
    told = pull.detail.labellings.get(label) if pull.detail is not None else None
    known = told is not None and told.actor != "" and told.removed
    if label in pull.labels:
        return False
    return not known or (
        told is not None and another_person(policy, pull, told.actor, by_person=told.by_person)
    )


def seen_alike(pull: PullRequest) -> frozenset[str]:
    """Return the heads that show a reviewer the same change as the present one."""
    evidence = pull.evidence
    known = evidence is not None and evidence.head_oid == pull.head_oid
    before = evidence.updated_from if evidence is not None and known else ()
    return frozenset({pull.head_oid, *before})
