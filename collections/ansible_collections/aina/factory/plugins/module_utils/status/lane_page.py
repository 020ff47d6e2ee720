"""One lane as a page of the console: what its agent says, runs and gets to see. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from .page import LaneNow, when
from .plot import escape

_SHOWN_EVENTS = 300
_SHOWN_LETTERS = 4000


def main(
    name: str,
    state: Mapping[str, Any],
    result: Mapping[str, Any],
    events: Sequence[Mapping[str, Any]],
    doing: LaneNow,
    now: float,
) -> str:
    """Return what the page shows; the newest event comes first."""
    known = result or state
    words = str(known.get("outcome") or known.get("state") or "unknown")
    what = f"{known.get('project', '')} #{known.get('issue', '')}"
    rows = [*_rows(events)][-_SHOWN_EVENTS:]
    shown = "".join(reversed(rows)) or "<li>Nothing is heard of it yet.</li>"
    began = when(_moment(known.get("started_at")), now)
    return (
        f'<p><a href="/">all of the server</a></p><header><h1>{escape(name)}</h1>'
        f'<span class="badge" id="headline">{escape(words)}</span>'
        f'<span class="meta">{escape(what)}, begun {began}, {doing.cost}</span></header>'
        f"<p>{escape(known.get('title') or known.get('detail') or '')}</p>"
        f'<h2>Transcript</h2><section id="transcript"><ol reversed>{shown}</ol></section>'
        f'<p class="quiet">All of it, on the server: <code>factory lane logs {escape(name)}</code>; '
        f"to end it: <code>factory lane stop {escape(name)}</code></p>"
    )


def _moment(value: Any) -> str | None:
    return value if isinstance(value, str) and value[:4].isdigit() else None


def _rows(events: Iterable[Mapping[str, Any]]) -> Iterable[str]:
    for event in events:
        item = event.get("item") if isinstance(event.get("item"), Mapping) else event
        kind = str((item or {}).get("type") or event.get("type") or "")
        parts = [
            f"<pre>{escape(text[:_SHOWN_LETTERS])}</pre>"
            for key in (
                "command",
                "text",
                "message",
                "what",
                "aggregated_output",
                "diff",
                "changes",
            )
            if (text := _text((item or {}).get(key)))
        ]
        if parts:
            yield f'<li><span class="quiet">{escape(kind[:60])}</span>{"".join(parts)}</li>'


def _text(value: Any) -> str:
    if isinstance(value, str):
        return value.strip()
    if isinstance(value, list):
        return "\n".join(
            f"{item.get('kind', '')} {item.get('path', '')}".strip()
            for item in value[:50]
            if isinstance(item, Mapping)
        )
    return ""
