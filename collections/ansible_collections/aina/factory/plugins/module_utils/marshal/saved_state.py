"""A cycle's saved state as JSON: read strictly, so that a damaged file never means "all well"."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from ..base.errors import FactoryError
from .decide import CyclePlan
from .reasons import Code, meaning
from .snapshot import (
    Backport,
    EarlierReason,
    Refusal,
    RepeatedConflict,
    Retest,
    SavedState,
    Snapshot,
    TrainRun,
    TrainState,
)

_BACKPORT = ("branch", "merge_oid", "head_oid")


class StateFormatError(FactoryError, ValueError):
    """The state file is not what this code wrote."""


def to_document(saved: SavedState) -> dict[str, Any]:
    return {"schema": 1, **asdict(saved)}


def from_document(document: Mapping[str, Any]) -> SavedState:
    """Read the JSON form.

    Raises:
        StateFormatError: it has another shape.

    """
    try:
        if document["schema"] != 1:
            raise ValueError(f"schema {document['schema']}")
        # A key that is not there is younger than the file.
        return SavedState(
            remembered={
                int(number): _earlier_reason(item)
                for number, item in document.get("remembered", {}).items()
            },
            main_red_since=float(document.get("main_red_since", 0.0)),
            halted_since=float(document.get("halted_since", 0.0)),
            halted_reason=str(document.get("halted_reason", "")),
            refused={
                int(key): Refusal(
                    str(item["head_oid"]),
                    str(item["text"]),
                    float(item["until"]),
                    Code.known(item.get("code", "")) or Refusal.code,
                )
                for key, item in document.get("refused", {}).items()
            },
            cleanups=_heads(document.get("cleanups", {})),
            doubtful=tuple(int(number) for number in document.get("doubtful", ())),
            pushed=_heads(document.get("pushed", {})),
            queued=_heads(document.get("queued", {})),
            train=_train(document.get("train", {})),
            leftovers=tuple(str(branch) for branch in document.get("leftovers", ())),
            conflicts={
                int(number): RepeatedConflict(
                    str(item["head_oid"]),
                    int(item.get("looks_count", 0)),
                    tuple(float(moment) for moment in item.get("asked_at", ())),
                )
                for number, item in document.get("conflicts", {}).items()
            },
            marked=tuple(int(number) for number in document.get("marked", ())),
            retests=tuple(_retest(item) for item in document.get("retests", ())),
            backports=tuple(
                Backport(int(item["number"]), *(str(item[key]) for key in _BACKPORT))
                for item in document.get("backports", ())
            ),
            landed_count=int(document.get("landed_count", 0)),
            list_cursor=str(document.get("list_cursor", "")),
        )
    except (KeyError, TypeError, ValueError, IndexError, AttributeError) as error:
        raise StateFormatError(f"not a marshal's saved state: {error!r}") from error


def _earlier_reason(item: Mapping[str, Any]) -> EarlierReason:
    code, since = item.get("former", ("", 0.0))
    return EarlierReason(
        str(item["code"]),
        float(item["since"]),
        str(item.get("fingerprint", "")),
        float(item.get("examined_at", 0.0)),
        str(item.get("detail", "")),
        str(item.get("owner", "")),
        (str(code), float(since)),
        str(item.get("change", "")),
    )


def _retest(item: Mapping[str, Any]) -> Retest:
    return Retest(
        int(item["number"]),
        str(item["head_oid"]),
        float(item["at"]),
        str(item.get("how", "rerun")),
        float(item.get("minutes", 0.0)),
        str(item.get("outcome", "")),
    )


def _heads(document: Mapping[str, Any]) -> dict[int, str]:
    return {int(key): str(head) for key, head in document.items()}


def _train(document: Mapping[str, Any]) -> TrainState:
    # Until several were tested at once there was one run, and one group of suspects.
    former = [document["run"]] if document.get("run") else []
    suspects = [document["suspects"]] if document.get("suspects") else []
    return TrainState(
        runs=tuple(
            TrainRun(
                members=_members(run["members"]),
                base_oid=str(run["base_oid"]),
                tip_oid=str(run["tip_oid"]),
                branch=str(run["branch"]),
                started_at=float(run["started_at"]),
                landing=bool(run.get("landing", False)),
            )
            for run in document.get("runs", former)
        ),
        reds=tuple(_members(group) for group in document.get("reds", suspects)),
        cleared=_members(document.get("cleared", [])),
        bad={int(key): (pair[0], float(pair[1])) for key, pair in document.get("bad", {}).items()},
        retried=_heads(document.get("retried", {})),
        runs_count=int(document.get("runs_count", 0)),
        alone_until=float(document.get("alone_until", 0.0)),
        alone_reason=str(document.get("alone_reason", "")),
    )


def _members(items: list[list[Any]]) -> tuple[tuple[int, str], ...]:
    return tuple((int(number), str(head)) for number, head in items)


def earlier_reasons(plan: CyclePlan, snapshot: Snapshot, now: float) -> dict[int, EarlierReason]:
    """Return what to keep of this snapshot, for "since" and for a fair turn of the full reads."""
    pulls = {pull.number: pull for pull in snapshot.pulls}
    kept: dict[int, EarlierReason] = {}
    for decision in plan.decisions:
        pull = pulls[decision.number]
        before = snapshot.saved.remembered.get(decision.number)
        if pull.detail is not None:
            examined_at, print_ = now, pull.fingerprint
        else:
            examined_at = before.examined_at if before else 0.0
            print_ = before.fingerprint if before else ""
        reason = decision.reason
        former = ("", 0.0)
        if before is not None and reason.code.meaning.interrupts:
            interrupted = meaning(before.code).interrupts
            former = before.former if interrupted else (before.code, before.since)
        kept[decision.number] = EarlierReason(
            reason.code,
            reason.since,
            print_,
            examined_at,
            reason.detail,
            reason.owner.value,
            former,
            pull.evidence.change
            if pull.evidence is not None
            else (before.change if before else ""),
        )
    return kept
