"""What may leave a lane: judged request by request, counted, and written down."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ..base.settings import plain
from .agents import Route, Usage

REQUEST_MAX_BYTES = 32 << 20
# Without any word on usage a request is charged by its size, so that silence costs something.
_BYTES_PER_TOKEN = 4
# What one answer of a model has at most, with all that it thinks; no model gives more.
_ANSWER_MAX_TOKENS = 128_000


@dataclass(frozen=True)
class LanePolicy:
    """What one lane may ask for; written by its supervisor, read by the gateway."""

    lane: str
    route: Route
    models: tuple[str, ...]
    token_budget: int
    requests_per_minute: int
    requests_max_count: int
    connect_allowed: tuple[str, ...]
    log_path: str

    def document(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return {
            **vars(self),
            "route": plain(self.route),
            "models": list(self.models),
            "connect_allowed": list(self.connect_allowed),
        }


@dataclass(frozen=True)
class RequestVerdict:
    """Whether a request goes on; otherwise the status and the words that the lane gets.

    ``reserved_tokens`` is what it may cost at most; the caller gives it back with
    :meth:`UsageCounter.release` once it is charged.
    """

    name: str
    status: int = 0
    words: str = ""
    reserved_tokens: int = 0

    @property
    def allowed(self) -> bool:
        return self.status == 0


@dataclass
class UsageCounter:
    """What one lane has used so far."""

    policy: LanePolicy
    tokens: int = 0
    requests_count: int = 0
    reserved_tokens: int = 0
    _recent: deque[float] = field(default_factory=deque)

    def recall(self, lines: list[Mapping[str, Any]]) -> None:
        """Take over what the log says, after a restart of the gateway."""
        for line in lines:
            if line.get("kind") == "model" and line.get("charged_tokens") is not None:
                self.requests_count += 1
                self.tokens += int(line["charged_tokens"])

    def judge_model(
        self, method: str, path: str, body: bytes, now: float
    ) -> tuple[RequestVerdict, str]:
        """Return the verdict on a request that is not CONNECT, and the model that it names.

        400 ends the agent's turn at once, where 401, 403 and 5xx are tried again.
        """
        if method != "POST" or path != self.policy.route.path:
            return RequestVerdict(
                "denied", 403, f"only POST {self.policy.route.path} leaves a lane"
            ), ""
        document = _document(body)
        model = str(document.get("model", ""))
        if model not in self.policy.models:
            return RequestVerdict(
                "model", 400, f"model {model!r} is not one that this lane may use"
            ), model
        if document.get("stream") is not True or document.get("background"):
            # What it uses is told in the stream, and nowhere else where it could be read.
            return RequestVerdict("unstreamed", 400, "a lane's requests are streamed"), model
        if self.tokens >= self.policy.token_budget:
            words = f"lane token budget exhausted: {self.tokens} of {self.policy.token_budget}"
            return RequestVerdict("budget", 400, words), model
        if self.requests_count >= self.policy.requests_max_count:
            words = f"lane request limit reached: {self.policy.requests_max_count}"
            return RequestVerdict("requests", 400, words), model
        # A token is a byte at least. What is under way counts with the most that it may cost, so
        # that the budget is overrun by the last request alone.
        reserved = len(body) + _ANSWER_MAX_TOKENS
        if (
            self.reserved_tokens
            and self.tokens + self.reserved_tokens + reserved > self.policy.token_budget
        ):
            words = "requests under way hold the rest of the lane's token budget; try again"
            return RequestVerdict("reserved", 429, words), model
        while self._recent and self._recent[0] <= now - 60:
            self._recent.popleft()
        if len(self._recent) >= self.policy.requests_per_minute:
            words = f"lane request rate reached: {self.policy.requests_per_minute} per minute"
            return RequestVerdict("rate", 429, words), model
        self._recent.append(now)
        self.requests_count += 1
        self.reserved_tokens += reserved
        return RequestVerdict("forwarded", reserved_tokens=reserved), model

    def release(self, verdict: RequestVerdict) -> None:
        """Give back what a request was thought to cost at most."""
        self.reserved_tokens -= verdict.reserved_tokens

    def judge_connect(self, target: str) -> RequestVerdict:
        """Return the verdict on CONNECT; the comparison is exact, port included."""
        if target.lower() in self.policy.connect_allowed:
            return RequestVerdict("allowed")
        return RequestVerdict("denied", 403, f"{target} is not reachable from a lane")

    def charge(self, usage: Mapping[str, int] | None, request_bytes: int, answer_bytes: int) -> int:
        """Count a finished request and return what it cost."""
        cost = (
            sum(usage.values())
            if usage is not None
            else (request_bytes + answer_bytes) // _BYTES_PER_TOKEN
        )
        self.tokens += cost
        return cost


def _document(body: bytes) -> dict[str, Any]:
    """Return what a request says; nothing where it could be read in two ways."""

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        if len(dict(pairs)) < len(pairs):
            raise ValueError("a name stands twice")
        return dict(pairs)

    try:
        document = json.loads(body, object_pairs_hook=once)
    except (ValueError, RecursionError):
        return {}
    return document if isinstance(document, dict) else {}


@dataclass
class Stream:
    """Follows an answer while it passes: usage, and whether it came to its proper end."""

    route: Route
    completed: bool = False
    _line: bytearray = field(default_factory=bytearray)
    _skipping: bool = False
    _seen: dict[str, dict[str, int]] = field(default_factory=dict)

    _LINE_MAX_BYTES = 4 << 20

    def feed(self, chunk: bytes) -> None:
        """Take the next bytes of the answer's body."""
        for part in chunk.splitlines(keepends=True):
            if not self._skipping:
                self._line += part
            if len(self._line) > self._LINE_MAX_BYTES:
                self._line.clear()
                self._skipping = True
            if part.endswith((b"\n", b"\r")):
                self._take(bytes(self._line).strip())
                self._line.clear()
                self._skipping = False

    def usage(self) -> dict[str, int] | None:
        """Return the tokens by kind, or ``None`` when the answer said nothing about them."""
        if not self._seen:
            return None
        total: dict[str, int] = {}
        for counts in self._seen.values():
            for kind, count in counts.items():
                total[kind] = total.get(kind, 0) + count
        return total

    def _take(self, line: bytes) -> None:
        if not line.startswith(b"data:"):
            return
        try:
            event = json.loads(line[5:])
        except (ValueError, RecursionError):
            return
        if not isinstance(event, dict):
            return
        kind = event.get("type")
        if kind == self.route.completed_event:
            self.completed = True
        for rule in self.route.usage:
            if rule.event == kind:
                value: Any = event
                for key in rule.at:
                    value = value.get(key) if isinstance(value, dict) else None
                counts = _counts(value, rule) if isinstance(value, dict) else {}
                if counts:
                    self._seen[rule.event] = counts


def _counts(usage: Mapping[str, Any], rule: Usage) -> dict[str, int]:
    """Return how many tokens went in and came out; a kind of which nothing is said is left out."""
    found: dict[str, int] = {}
    for kind, names in (("input_tokens", rule.input), ("output_tokens", rule.output)):
        values = [usage.get(name) for name in names]
        said = [value for value in values if isinstance(value, int) and not isinstance(value, bool)]
        if said:
            found[kind] = sum(said)
    return found


def policy_from_document(document: Mapping[str, Any], route: Route) -> LanePolicy:
    """Return what :meth:`LanePolicy.document` wrote; the route is read by :mod:`agents`."""
    return LanePolicy(
        lane=str(document["lane"]),
        route=route,
        models=tuple(document["models"]),
        token_budget=int(document["token_budget"]),
        requests_per_minute=int(document["requests_per_minute"]),
        requests_max_count=int(document["requests_max_count"]),
        connect_allowed=tuple(document["connect_allowed"]),
        log_path=str(document["log_path"]),
    )
