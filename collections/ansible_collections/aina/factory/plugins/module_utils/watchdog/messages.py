"""What is said to people, and what still waits to be delivered; pure."""

from __future__ import annotations

import hashlib
import re
import string
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from ..base import times
from ..base.configuration import Section
from .alerts import AlertChange, Edge
from .check import some
from .checks.delivery import Delivery
from .settings import Notify

MOST_WAITING = 100
_SHORTEST_SECRET = 6
_HEADINGS = {
    AlertChange.RAISED: "PROBLEM",
    AlertChange.WORSE: "WORSE",
    AlertChange.REMINDER: "STILL",
    AlertChange.RECOVERED: "RECOVERED",
}


@dataclass(frozen=True)
class Message:
    """One message; ``delivered`` names the addresses that have it, by their digest."""

    at: float
    title: str
    body: str
    delivered: tuple[str, ...] = ()
    attempts: int = 0
    error: str = ""
    # For those who hear of critical alerts alone.
    urgent: bool = False


@dataclass(frozen=True)
class Outbox:
    """Messages that not every address has yet; ``dropped`` counts those that were given up."""

    messages: tuple[Message, ...] = ()
    dropped: int = 0

    def with_new(self, message: Message) -> Outbox:
        """Return the outbox with one more message; the oldest gives way when it is full."""
        waiting = (*self.messages, message)
        excess = max(0, len(waiting) - MOST_WAITING)
        return Outbox(waiting[excess:], self.dropped + excess)

    def delivery(self) -> Delivery:
        """Return what waits, as a fact of its own."""
        oldest = min((message.at for message in self.messages), default=None)
        errors = [message.error for message in self.messages if message.error]
        return Delivery(len(self.messages), oldest, errors[-1] if errors else "", self.dropped)


def compose(edges: Sequence[Edge], notify: Notify, host: str, now: float) -> Message | None:
    """Return one message for all changes of one run; ``None`` when there is nothing to say."""
    if not edges:
        return None
    counts = {change: sum(edge.change is change for edge in edges) for change in AlertChange}
    words = {
        "host": host,
        "time": times.iso_or_none(now) or "",
        "summary": _summary(counts),
        "edges": "\n".join(_line(edge) for edge in sorted(edges, key=_order)),
        "problems": str(counts[AlertChange.RAISED] + counts[AlertChange.WORSE]),
        "reminders": str(counts[AlertChange.REMINDER]),
        "recovered": str(counts[AlertChange.RECOVERED]),
    }
    title = " ".join(string.Template(notify.title).substitute(words).split())
    return Message(now, title, string.Template(notify.body).substitute(words))


def composed(edges: Sequence[Edge], notify: Notify, host: str, now: float) -> tuple[Message, ...]:
    """Return the message for everybody, and the one for those who hear of critical alerts alone."""
    critical = [edge for edge in edges if edge.track.severity == "critical"]
    everybody = compose(edges, notify, host, now) if notify.apprise_path else None
    urgent = compose(critical, notify, host, now) if notify.urgent_path else None
    told = (everybody, replace(urgent, urgent=True) if urgent is not None else None)
    return tuple(message for message in told if message is not None)


def _summary(counts: Mapping[AlertChange, int]) -> str:
    words = {
        AlertChange.RAISED: ("problem", "problems"),
        AlertChange.WORSE: ("problem is worse", "problems are worse"),
        AlertChange.REMINDER: ("problem goes on", "problems go on"),
        AlertChange.RECOVERED: ("recovered", "recovered"),
    }
    return ", ".join(
        f"{count} {words[change][count != 1]}" for change, count in counts.items() if count
    )


def _order(edge: Edge) -> tuple[int, int, str]:
    severities = ("critical", "warning", "info")
    return (
        list(AlertChange).index(edge.change),
        severities.index(edge.track.severity),
        edge.track.key,
    )


def _line(edge: Edge) -> str:
    track = edge.track
    head = f"{_HEADINGS[edge.change]} {track.key}: {track.detail}"
    if edge.change is AlertChange.RECOVERED:
        return f"{_HEADINGS[edge.change]} {track.key} (was: {track.detail})"
    if edge.effects:
        head += f"\n  with it: {some(edge.effects)}"
    return f"{head}\n  since {times.iso_or_none(track.since)}, {track.severity}; {track.advice}"


def addresses(text: str) -> list[str]:
    """Return the addresses of a file: one a line, empty lines and comments left out."""
    lines = (line.strip() for line in text.splitlines())
    return [line for line in lines if line and not line.startswith("#")]


def digest(address: str) -> str:
    """Return a name for an address that does not give it away."""
    return hashlib.sha256(address.encode()).hexdigest()[:16]


def redact(text: str, secrets: Iterable[str]) -> str:
    """Return the text without the addresses, nor any longer part of one."""
    for secret in secrets:
        text = text.replace(secret, "***")
        parts = [
            part for part in re.split(r"[/:@?&=,;\s]+", secret) if len(part) >= _SHORTEST_SECRET
        ]
        for part in sorted(parts, key=len, reverse=True):
            text = text.replace(part, "***")
    return text


def after_attempt(message: Message, results: Mapping[str, str]) -> Message:
    """Return the message after a round of delivery: per address "" or what went wrong."""
    delivered = {*message.delivered, *(name for name, error in results.items() if not error)}
    errors = [error for error in results.values() if error]
    return replace(
        message,
        delivered=tuple(sorted(delivered)),
        attempts=message.attempts + 1,
        error=errors[0] if errors else "",
    )


def is_complete(message: Message, names: Iterable[str]) -> bool:
    """Whether every address has the message."""
    return set(names) <= set(message.delivered)


def to_document(outbox: Outbox) -> dict[str, Any]:
    """Return the form that is kept between runs."""
    return asdict(outbox)


def from_section(section: Section) -> Outbox:
    """Read what was kept.

    Raises:
        ConfigurationError: it is damaged.

    """
    messages = [
        Message(
            item.number("at"),
            item.text("title"),
            item.text("body"),
            tuple(item.strings("delivered", ())),
            item.integer("attempts", 0),
            item.text("error", ""),
            item.boolean("urgent", False),
        )
        for item in section.sections("messages", ())
    ]
    return Outbox(tuple(messages), section.integer("dropped", 0))
