"""The merge-queue part of the server's status, from a project's last report. Pure.

What cannot be read, and what is too old to say anything about now, is ``unknown``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..base import times
from .reasons import Owner

# A job that runs every ten minutes has missed several turns by then.
STALE_SECONDS = 3600.0


def facts(document: object, now: float, *, stale_seconds: float = STALE_SECONDS) -> dict[str, Any]:
    """Return what the status says of one project's merge queue.

    ``document`` is the parsed ``report.json``, or None where there is none yet. ``state`` is
    ``ok``, ``problem`` or ``unknown``, and ``detail`` says why; ``waiting`` tells for every
    owner how many pull requests wait for him and since when the oldest one does.
    """
    if document is None:
        return {"state": "unknown", "detail": "no merge cycle has ended yet"}
    try:
        return _facts(document, now, stale_seconds)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        return {"state": "unknown", "detail": f"the report cannot be read: {error!r}"}


def _facts(document: Any, now: float, stale_seconds: float) -> dict[str, Any]:
    if document["schema"] != 1:
        raise ValueError(f"schema {document['schema']!r} is not known")
    pulls = [_pull(item, now) for item in document["pull_requests"]]
    age_seconds = max(0.0, now - float(document["time"]))
    state, detail = _state(document, age_seconds, stale_seconds)
    return {
        "state": state,
        "detail": detail,
        "project": document["project"],
        "repository": document["repository"],
        "mode": document["mode"],
        "updated_at": _iso(document["time"]),
        "age_seconds": round(age_seconds),
        "gate": document["gate"],
        "stopped": document["stopped"],
        "halted_since": _iso(document["halted_since"]),
        "halted_reason": document["halted_reason"],
        "main_red_since": _iso(document["main_red_since"]),
        "merged": document["merged"],
        "open_count": sum(pull["result"] not in ("merged", "closed") for pull in pulls),
        "waiting": {owner.value: _waiting(pulls, owner) for owner in Owner},
        "requests_count": document["requests"],
        "points_count": document["points"],
        "points_remaining": document["points_remaining"],
        "pull_requests": pulls,
    }


def _state(
    document: Mapping[str, Any], age_seconds: float, stale_seconds: float
) -> tuple[str, str]:
    if age_seconds > stale_seconds:
        return "unknown", f"the last cycle ended {age_seconds / 60:.0f} min ago"
    if document["halted_since"]:
        return "problem", f"halted: {document['halted_reason']}"
    if document["failed"]:
        return "problem", document["stopped"]
    if document["main_red_since"]:
        return "problem", "the default branch is red"
    if document["incomplete"]:
        return "problem", f"the list could not be read to its end: {document['incomplete']}"
    return "ok", document["stopped"] or document["gate"]


def _pull(item: Mapping[str, Any], now: float) -> dict[str, Any]:
    reason = item["reason"]
    return {
        "number": int(item["number"]),
        "title": item["title"],
        "author": item["author"],
        "decision": item["decision"],
        "code": reason["code"],
        "detail": reason["detail"],
        "owner": Owner(reason["owner"]).value,
        "since": _iso(reason["since"]),
        "waiting_seconds": max(0, round(now - float(reason["since"]))),
        "result": item["result"],
    }


def _waiting(pulls: list[dict[str, Any]], owner: Owner) -> dict[str, Any]:
    mine = [p for p in pulls if p["owner"] == owner and p["result"] not in ("merged", "closed")]
    oldest = max(mine, key=lambda pull: pull["waiting_seconds"], default=None)
    return {
        "count": len(mine),
        "oldest_number": oldest["number"] if oldest else None,
        "oldest_since": oldest["since"] if oldest else None,
        "oldest_seconds": oldest["waiting_seconds"] if oldest else None,
    }


def _iso(moment: Any) -> str | None:
    return times.iso_or_none(float(moment)) if float(moment) else None
