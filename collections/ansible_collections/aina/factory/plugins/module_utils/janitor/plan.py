"""Decide what goes. Pure: the same inventory, limits, disk and time give the same plan."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ..base.disk import Disk
from .model import Candidate, CandidateDecision, KindLimits, Watermarks

WATERMARK = "watermark"


def decide(
    inventory: Mapping[str, Sequence[Candidate]],
    limits: Mapping[str, KindLimits],
    disk: Disk,
    watermarks: Watermarks,
    now: float,
) -> dict[str, list[CandidateDecision]]:
    """Return each kind's decisions: first what goes, oldest first, then what stays.

    Age and size limits apply always. Only then, when the disk would still be above its
    high mark, kinds give up what is within limits, in the order of ``inventory``, each its
    oldest first, until the disk would be at its low mark.
    """
    decisions = {
        kind: _by_limits(candidates, limits[kind], now) for kind, candidates in inventory.items()
    }
    used = disk.used_bytes - sum(
        decision.candidate.bytes
        for chosen in decisions.values()
        for decision in chosen
        if decision.goes and decision.candidate.counted
    )
    reachable = disk.used_bytes + disk.available_bytes
    if used > reachable * watermarks.high_percent / 100:
        excess = used - reachable * watermarks.low_percent / 100
        for kind, chosen in decisions.items():
            if limits[kind].watermark:
                decisions[kind], excess = _by_watermark(chosen, limits[kind], excess)
    return {kind: _going_first(chosen) for kind, chosen in decisions.items()}


def _age_order(candidate: Candidate) -> tuple[float, str]:
    return (candidate.last_used if candidate.last_used is not None else 0.0, candidate.target)


def _by_limits(
    candidates: Sequence[Candidate], limits: KindLimits, now: float
) -> list[CandidateDecision]:
    decisions: list[CandidateDecision] = []
    total = sum(candidate.bytes for candidate in candidates)
    going = 0
    for candidate in sorted(candidates, key=_age_order):
        decision = _alone(candidate, limits, now)
        over = limits.max_total_bytes is not None and total > limits.max_total_bytes
        if not decision.goes and decision.reason == "within_limits" and over and candidate.bytes:
            decision = CandidateDecision(candidate, True, "total_size")
        if decision.goes and going >= limits.max_per_run:
            decision = CandidateDecision(candidate, False, "run_limit")
        if decision.goes:
            total -= candidate.bytes
            going += 1
        decisions.append(decision)
    return decisions


def _alone(candidate: Candidate, limits: KindLimits, now: float) -> CandidateDecision:
    if candidate.held_by:
        return CandidateDecision(candidate, False, candidate.held_by)
    if candidate.due:
        return CandidateDecision(candidate, True, candidate.due)
    if candidate.last_used is None:
        return CandidateDecision(candidate, False, "last_use_unknown")
    # A time in the future is a wrong clock somewhere, not proof of age.
    age = now - candidate.last_used
    if age < limits.min_age_seconds:
        return CandidateDecision(candidate, False, "recent")
    if limits.max_age_seconds is not None and age >= limits.max_age_seconds:
        return CandidateDecision(candidate, True, "age")
    return CandidateDecision(candidate, False, "within_limits")


def _by_watermark(
    decisions: Sequence[CandidateDecision], limits: KindLimits, excess: float
) -> tuple[list[CandidateDecision], float]:
    result: list[CandidateDecision] = []
    going = sum(decision.goes for decision in decisions)
    for decision in decisions:
        candidate = decision.candidate
        eligible = decision.reason == "within_limits" and candidate.counted and candidate.bytes > 0
        if eligible and excess > 0 and going < limits.max_per_run:
            decision = CandidateDecision(candidate, True, WATERMARK)
            excess -= candidate.bytes
            going += 1
        result.append(decision)
    return result, excess


def _going_first(decisions: Sequence[CandidateDecision]) -> list[CandidateDecision]:
    going = [decision for decision in decisions if decision.goes]
    staying = [decision for decision in decisions if not decision.goes]
    return going + staying
