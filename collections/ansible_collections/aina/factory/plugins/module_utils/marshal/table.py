"""The answer for people: why is my pull request not merged, and who must act."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_COLUMNS = ("PR", "DECISION", "WHO", "WHY", "SINCE", "TITLE")


def render(document: Mapping[str, Any], now: float) -> str:
    """Return one project's cycle as a table; every open pull request has its line."""
    rows = [_row(item, now) for item in document["pull_requests"]]
    widths = [max(len(row[i]) for row in [_COLUMNS, *rows]) for i in range(len(_COLUMNS) - 1)]
    lines = [f"{document['repository']} (mode {document['mode']})"]
    if document["gate"]:
        lines.append(f"nothing lands: {document['gate']}")
    for row in [_COLUMNS, *rows] if rows else []:
        cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=False)]
        lines.append("  ".join([*cells, row[-1]]).rstrip())
    if not rows and not document["failed"]:
        lines.append("no open pull request")
    if document["incomplete"]:
        lines.append(f"incomplete: {document['incomplete']}; the next cycle goes on there")
    lines += [f"warning: {text}" for text in document["warnings"]]
    if document["stopped"]:
        lines.append(f"stopped: {document['stopped']}")
    lines.append(f"{document['requests']} requests, {document['points']} points")
    return "\n".join(lines)


def _row(item: Mapping[str, Any], now: float) -> tuple[str, ...]:
    reason = item["reason"]
    why = f"{reason['code']}: {reason['detail']}" if reason["detail"] else reason["code"]
    decision = item["decision"] + (f" ({item['result']})" if item["result"] else "")
    return (
        f"#{item['number']}",
        decision,
        reason["owner"],
        _short(why, 72),
        _age(now - reason["since"]),
        _short(item["title"], 60),
    )


def _short(text: str, length: int) -> str:
    clean = "".join(letter if letter.isprintable() else "?" for letter in text)
    return clean if len(clean) <= length else clean[: length - 3] + "..."


def _age(seconds: float) -> str:
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds // size:.0f} {unit}"
    return "now"
