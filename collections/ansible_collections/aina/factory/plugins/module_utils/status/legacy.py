"""The file that the server's first watchdog wrote, for those who still read it; pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def build(document: Mapping[str, Any]) -> dict[str, Any]:
    """Return the old form: ``alerts`` as words (none when all is well), the board as a fact."""
    board = document["board"]
    counts = {
        "blocked": sum(company["tasks_blocked"] for company in board["items"]),
        "errored": sum(company["agents_error"] for company in board["items"]),
        "todo": sum(company["tasks_todo"] for company in board["items"]),
        "done": sum(company["tasks_done"] for company in board["items"]),
    }
    line = " ".join(f"{name}={count}" for name, count in counts.items())
    return {
        "ts": document["generated_at"],
        "host": document["host"],
        "alerts": [f"{alert['key']}: {alert['detail']}" for alert in document["alerts"]],
        "board": line if board["items"] else f"unknown: {board['reason'] or board['detail']}",
    }
