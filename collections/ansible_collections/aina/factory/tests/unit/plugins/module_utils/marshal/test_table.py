"""What people read: one line for each open pull request."""

from __future__ import annotations

from typing import Any

from factory.core.marshal import table

NOW = 1_800_000_000.0


def row(number: int, decision: str, owner: str, **reason: Any) -> dict[str, Any]:
    told = {"code": "green", "detail": "ready", "owner": owner, "since": NOW, **reason}
    found = {"number": number, "title": f"Change {number}", "author": "agent", "result": ""}
    return {**found, "decision": decision, "reason": told}


def document(*rows: dict[str, Any], **changes: Any) -> dict[str, Any]:
    quiet = {"gate": "", "incomplete": "", "stopped": "", "failed": False, "warnings": []}
    counts = {"requests": 2, "points": 2, "pull_requests": list(rows)}
    return {"repository": "o/demo", "mode": "fast", **quiet, **counts, **changes}


def test_each_has_a_line_with_who_must_act_why_and_since_when() -> None:
    failed = {"code": "check_failed", "detail": "ci", "since": NOW - 3 * 3600}
    found = document(row(1, "merge", "marshal"), row(12, "wait", "author", **failed))

    assert table.render(found, NOW).splitlines() == [
        "o/demo (mode fast)",
        "PR   DECISION  WHO      WHY               SINCE  TITLE",
        "#1   merge     marshal  green: ready      now    Change 1",
        "#12  wait      author   check_failed: ci  3 h    Change 12",
        "2 requests, 2 points",
    ]


def test_what_concerns_all_of_them_has_lines_of_its_own() -> None:
    cut = {"incomplete": "100 of 102 were listed", "warnings": ["the token could bypass"]}
    text = table.render(document(gate="freeze", stopped="limited: wait", **cut), NOW)

    assert text.splitlines() == [
        "o/demo (mode fast)",
        "nothing lands: freeze",
        "no open pull request",
        "incomplete: 100 of 102 were listed; the next cycle goes on there",
        "warning: the token could bypass",
        "stopped: limited: wait",
        "2 requests, 2 points",
    ]


def test_a_title_cannot_write_on_the_terminal_nor_push_the_table_apart() -> None:
    hostile = {**row(1, "merge", "marshal"), "title": "\x1b[2J" + "x" * 500}

    line = table.render(document(hostile), NOW).splitlines()[2]

    assert "\x1b" not in line
    assert len(line) < 120
