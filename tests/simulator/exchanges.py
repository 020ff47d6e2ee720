"""What was really asked and answered over REST, kept for the check against GitHub's description."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

from simulator.http import Answer, Incoming

# Examples kept of each kind; one is often an exception.
EXAMPLES = 3


@dataclass(frozen=True)
class Exchange:
    """A request and its answer; ``route`` is empty where the simulator has none."""

    method: str
    path: str
    route: str
    version: str
    query: tuple[str, ...]
    sent: Any
    status: int
    received: Any

    @property
    def kind(self) -> tuple[str, str, int, str]:
        """What exchanges have in common that are alike."""
        return (self.method, self.route or self.path, self.status, self.version)


@dataclass
class Recorder:
    """Keeps a few exchanges of every kind."""

    kept: dict[tuple[str, str, int, str], list[Exchange]] = field(default_factory=dict)

    def note(self, request: Incoming, route: str, version: str, answer: Answer) -> None:
        """Keep an exchange unless there are enough of its kind."""
        received = answer.body
        if isinstance(received, bytes) or answer.status == 304:
            return
        try:
            sent = json.loads(request.body) if request.body.strip() else None
        except ValueError:
            sent = None
        found = Exchange(
            request.method,
            request.path,
            route,
            version,
            tuple(sorted(request.query)),
            sent,
            answer.status,
            received,
        )
        examples = self.kept.setdefault(found.kind, [])
        if len(examples) < EXAMPLES:
            examples.append(found)

    @property
    def everything(self) -> list[Exchange]:
        return [exchange for examples in self.kept.values() for exchange in examples]
