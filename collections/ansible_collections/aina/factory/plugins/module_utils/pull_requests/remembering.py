"""The marshal's memory as JSON: strict when read, so that a damaged file never means "all well"."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from ansible_collections.aina.factory.plugins.module_utils.pull_requests.decide import Plan
from ansible_collections.aina.factory.plugins.module_utils.pull_requests.snapshot import (
    Conflict,
    Memory,
    Refusal,
    Remembered,
    Snapshot,
    TrainMemory,
    TrainRun,
)

# Said of one that could not be seen just now: what was said before it may still hold.
INTERRUPTIONS = frozenset({"data_incomplete", "evidence_missing", "not_examined"})


class MemoryFormatError(ValueError):
    """The memory file is not what this code wrote."""


def to_document(memory: Memory) -> dict[str, Any]:
    """Return the JSON form."""
    return {"schema": 1, **asdict(memory)}


def from_document(document: Mapping[str, Any]) -> Memory:
    """Read the JSON form.

    Raises:
        MemoryFormatError: it has another shape.

    """
    try:
        if document["schema"] != 1:
            raise ValueError(f"schema {document['schema']}")
        return Memory(
            remembered={
                int(number): Remembered(**{**item, "former": _former(item["former"])})
                for number, item in document["remembered"].items()
            },
            main_red_since=float(document["main_red_since"]),
            halted_since=float(document["halted_since"]),
            halted_reason=str(document["halted_reason"]),
            refused={
                int(key): Refusal(
                    item["head_oid"], item["text"], float(item["until"]), item["code"]
                )
                for key, item in document["refused"].items()
            },
            cleanups={int(key): str(head) for key, head in document["cleanups"].items()},
            doubtful=tuple(int(number) for number in document["doubtful"]),
            queued={int(key): str(head) for key, head in document["queued"].items()},
            train=_train(document["train"]),
            leftovers=tuple(str(branch) for branch in document["leftovers"]),
            conflicts={
                int(number): Conflict(
                    str(item["head_oid"]),
                    int(item["looks_count"]),
                    tuple(float(moment) for moment in item["asked_at"]),
                )
                for number, item in document.get("conflicts", {}).items()
            },
            marked=tuple(int(number) for number in document["marked"]),
            landed_count=int(document["landed_count"]),
            list_cursor=str(document["list_cursor"]),
        )
    except (KeyError, TypeError, ValueError, IndexError, AttributeError) as error:
        raise MemoryFormatError(f"not a marshal's memory: {error!r}") from error


def _train(document: Mapping[str, Any]) -> TrainMemory:
    run = document["run"]
    return TrainMemory(
        run=None
        if run is None
        else TrainRun(
            members=_members(run["members"]),
            base_oid=run["base_oid"],
            tip_oid=run["tip_oid"],
            trees=tuple(run["trees"]),
            branch=run["branch"],
            started_at=float(run["started_at"]),
            landing=bool(run["landing"]),
        ),
        suspects=_members(document["suspects"]),
        bad={int(key): (pair[0], float(pair[1])) for key, pair in document["bad"].items()},
        runs_count=int(document["runs_count"]),
        bads_in_search=int(document["bads_in_search"]),
    )


def _former(pair: list[Any]) -> tuple[str, float]:
    return str(pair[0]), float(pair[1])


def _members(items: list[list[Any]]) -> tuple[tuple[int, str], ...]:
    return tuple((int(number), str(head)) for number, head in items)


def remembered(plan: Plan, snapshot: Snapshot, now: float) -> dict[int, Remembered]:
    """Return what to keep of this look, for "since" and for a fair turn of the full looks."""
    pulls = {pull.number: pull for pull in snapshot.pulls}
    kept: dict[int, Remembered] = {}
    for decision in plan.decisions:
        pull = pulls[decision.number]
        before = snapshot.memory.remembered.get(decision.number)
        if pull.detail is not None:
            examined_at, print_ = now, pull.fingerprint
        else:
            examined_at = before.examined_at if before else 0.0
            print_ = before.fingerprint if before else ""
        reason = decision.reason
        former = ("", 0.0)
        if before is not None and reason.code in INTERRUPTIONS:
            interrupted = before.code in INTERRUPTIONS
            former = before.former if interrupted else (before.code, before.since)
        kept[decision.number] = Remembered(
            reason.code,
            reason.since,
            print_,
            examined_at,
            reason.detail,
            reason.owner.value,
            former,
        )
    return kept
