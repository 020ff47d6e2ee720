from __future__ import annotations

from typing import Any

import pytest

from factory.core.marshal import status

NOW = 1_800_000_000.0
HOUR = 3600.0


def row(number: int, owner: str, waits_hours: float, **changes: Any) -> dict[str, Any]:
    reason = {"code": "c", "detail": "d", "owner": owner, "since": NOW - waits_hours * HOUR}
    found = {"number": number, "title": "T", "author": "a", "decision": "wait", "head": "h"}
    return {**found, "reason": reason, "result": "", **changes}


def report(**changes: Any) -> dict[str, Any]:
    return {
        "schema": 1,
        "project": "demo",
        "repository": "o/demo",
        "mode": "fast",
        "time": NOW - 120,
        "gate": "",
        "incomplete": "",
        "stopped": "",
        "failed": False,
        "halted_since": 0.0,
        "halted_reason": "",
        "main_red_since": 0.0,
        "merged": [],
        "requests": 2,
        "points": 2,
        "points_remaining": 4000,
        "pull_requests": [],
        **changes,
    }


def test_each_owner_learns_how_many_wait_for_him_and_since_when() -> None:
    pulls = [
        row(1, "author", 2),
        row(2, "author", 30),
        row(3, "ci", 1),
        row(4, "marshal", 99, decision="merge", result="merged"),
        row(5, "author", 99, decision="close_duplicate", result="closed"),
    ]

    found = status.facts(report(pull_requests=pulls, merged=[4]), NOW)

    assert (found["state"], found["open_count"], found["merged"]) == ("ok", 3, [4])
    assert found["waiting"]["author"] == {
        "count": 2,
        "oldest_number": 2,
        "oldest_since": "2027-01-14T02:00:00Z",
        "oldest_seconds": 30 * HOUR,
    }
    assert found["waiting"]["ci"]["count"] == 1
    assert found["waiting"]["marshal"] == {
        "count": 0,
        "oldest_number": None,
        "oldest_since": None,
        "oldest_seconds": None,
    }
    assert found["updated_at"] == "2027-01-15T07:58:00Z"
    assert found["age_seconds"] == 120


STATES = [
    ({}, "ok", ""),
    ({"gate": "freeze"}, "ok", "freeze"),
    ({"stopped": "time: the next cycle continues with #4"}, "ok", "continues with #4"),
    ({"failed": True, "stopped": "forbidden: no access"}, "problem", "forbidden"),
    ({"halted_since": NOW - 9, "halted_reason": "#3 landed as x"}, "problem", "#3 landed as x"),
    ({"main_red_since": NOW - 9}, "problem", "red"),
    ({"incomplete": "100 of 300 were listed"}, "problem", "100 of 300"),
    # Old news say nothing about now, good or bad.
    ({"time": NOW - 2 * HOUR}, "unknown", "120 min ago"),
    ({"time": NOW - 2 * HOUR, "failed": True}, "unknown", "120 min ago"),
]


@pytest.mark.parametrize(("changes", "state", "words"), STATES)
def test_a_queue_is_well_ill_or_unknown(changes: dict[str, Any], state: str, words: str) -> None:
    found = status.facts(report(**changes), NOW)

    assert found["state"] == state
    assert words in found["detail"]


@pytest.mark.parametrize(
    "document",
    [
        None,
        [],
        {},
        report(schema=2),
        report(time="yesterday"),
        report(pull_requests=[row(1, "nobody", 1)]),
        report(pull_requests=[{"number": 1}]),
    ],
)
def test_what_cannot_be_read_is_unknown(document: object) -> None:
    found = status.facts(document, NOW)

    assert found["state"] == "unknown"
    assert found["detail"]
