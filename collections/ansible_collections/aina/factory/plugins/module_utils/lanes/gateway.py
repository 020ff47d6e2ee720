"""What may leave a lane: judged request by request, counted, and written down."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from ..base.settings import plain
from .agents import Route, Usage
from .spending import Limit, Price, Spent

REQUEST_MAX_BYTES = 32 << 20
# In memory a small object is thirty times its text; so many are no talk with a model.
_NESTS_MAX_COUNT, _PARTS_MAX_COUNT = 1_000_000, 3_000_000
# Without any word on usage a request is charged by its size, so that silence costs something.
_BYTES_PER_TOKEN = 4
# What one answer of a model has at most, with all that it thinks; no model gives more.
_ANSWER_MAX_TOKENS = 128_000
# Less than this providers refuse.
_ANSWER_MIN_TOKENS = 16
# How long a model that is overloaded is asked again before its refusal reaches the agent, and the first pause.
HOLD_SECONDS, _PAUSE_SECONDS, _PAUSE_MAX_SECONDS = 1200.0, 1.0, 60.0
_OVERLOADED = frozenset({429, 500, 502, 503, 504, 529})
# What no waiting mends, in the words of providers.
_FINAL = (b"insufficient_quota", b"billing", b"credit balance", b"context_length_exceeded")


def pause(
    status: int, refusal: bytes, retry_after: str, attempts_count: int, held_seconds: float
) -> float | None:
    """Return after how many seconds a refused request is sent again; ``None`` where it is not.

    ``refusal`` is the answer's beginning, ``retry_after`` the provider's own word, in seconds.
    """
    if status not in _OVERLOADED or any(word in refusal for word in _FINAL):
        return None
    seconds = min(_PAUSE_SECONDS * 2.0 ** min(attempts_count, 10), _PAUSE_MAX_SECONDS)
    if retry_after.strip().isdigit():
        seconds = max(1.0, float(retry_after))
    return seconds if held_seconds + seconds <= HOLD_SECONDS else None


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
    project: str = ""
    # What each of its models costs; empty where that is not declared.
    prices: Mapping[str, Price] = field(default_factory=dict)
    # In money, for this lane alone; 0 for none.
    cost_max_usd: float = 0.0
    # Of a day, of all lanes of its project and of the host.
    project_limit: Limit = field(default_factory=Limit)
    host_limit: Limit = field(default_factory=Limit)
    # Where what lanes have spent is written down, a file for each day.
    spent_dir: str = ""

    def document(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return {
            **vars(self),
            "route": plain(self.route),
            "models": list(self.models),
            "connect_allowed": list(self.connect_allowed),
            "prices": {model: vars(price) for model, price in self.prices.items()},
            "project_limit": vars(self.project_limit),
            "host_limit": vars(self.host_limit),
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
    # What is sent in place of the lane's own words.
    body: bytes = b""
    left_out: tuple[str, ...] = ()
    # When it is worth trying again; 0 where it is not known.
    wait_seconds: float = 0.0

    @property
    def allowed(self) -> bool:
        return self.status == 0


@dataclass(frozen=True)
class ModelRequest:
    """A request as it was read: what is wrong with it, or how it is written anew.

    ``text`` is all of it but the limit of its answer, for that depends on what is left.
    """

    model: str
    refusal: RequestVerdict | None = None
    text: bytes = b""
    left_out: tuple[str, ...] = ()
    output_limit: str = ""
    # As the agent gave it.
    answer_tokens: int | None = None

    def within(self, left_tokens: int) -> tuple[bytes, int]:
        """Return the request as it is sent, and the most tokens that its answer can have."""
        most = min(_ANSWER_MAX_TOKENS, self.answer_tokens or _ANSWER_MAX_TOKENS)
        if not self.output_limit:
            return self.text, most
        # What goes in has its part of what is left; the last answer is cut short rather than the budget passed.
        rest = left_tokens - len(self.text) // _BYTES_PER_TOKEN
        if rest >= most and self.answer_tokens is None:
            return self.text, most
        most = most if rest >= most else max(rest, _ANSWER_MIN_TOKENS)
        gap = b"" if self.text == b"{}" else b", "
        return b'{"%s": %d%s' % (self.output_limit.encode(), most, gap) + self.text[1:], most


@dataclass
class UsageCounter:
    """What one lane has used so far."""

    policy: LanePolicy
    # What all lanes of its project, and all of the host, have spent today.
    project_spent: Spent = field(default_factory=Spent)
    host_spent: Spent = field(default_factory=Spent)
    tokens: int = 0
    cost_usd: float = 0.0
    requests_count: int = 0
    reserved_tokens: int = 0
    _recent: deque[float] = field(default_factory=deque)

    def recall(self, lines: list[Mapping[str, Any]]) -> None:
        """Take over what the log says, after a restart of the gateway."""
        for line in lines:
            if line.get("kind") == "model" and line.get("charged_tokens") is not None:
                self.requests_count += 1
                self.tokens += int(line["charged_tokens"])
                self.cost_usd += float(line.get("cost_usd") or 0.0)

    def judge_model(
        self, method: str, path: str, body: bytes, now: float
    ) -> tuple[RequestVerdict, str]:
        """Return the verdict on a request that is not CONNECT, and the model that it names."""
        request = self.read(method, path, body)
        return self.admit(request, now), request.model

    def read(self, method: str, path: str, body: bytes) -> ModelRequest:
        """Read a request that is not CONNECT, once and whatever was used so far.

        400 ends the agent's turn at once, where 401, 403 and 5xx are tried again.
        """
        route = self.policy.route
        if method != "POST" or path != route.path:
            words = f"only POST {route.path} leaves a lane"
            return ModelRequest("", RequestVerdict("denied", 403, words))
        if (
            body.count(b"{") + body.count(b"[") > _NESTS_MAX_COUNT
            or body.count(b",") > _PARTS_MAX_COUNT
        ):
            words = f"a request has at most {_NESTS_MAX_COUNT} objects and {_PARTS_MAX_COUNT} parts"
            return ModelRequest("", RequestVerdict("parts", 413, words))
        document = _document(body)
        model = str(document.get("model", ""))
        if model not in self.policy.models:
            words = f"model {model!r} is not one that this lane may use"
            return ModelRequest(model, RequestVerdict("model", 400, words))
        for where in _elsewhere(document):
            words = f"{where} leads elsewhere: what a lane asks about stands in its request"
            return ModelRequest(model, RequestVerdict("remote", 400, words))
        return rewritten(route, document, model)

    def admit(self, request: ModelRequest, now: float) -> RequestVerdict:
        """Return the verdict on a request that was read; one that goes on has its reservation."""
        if request.refusal is not None:
            return request.refusal
        words = self._used_up(now)
        if words:
            return RequestVerdict("budget", 400, words)
        if self.requests_count >= self.policy.requests_max_count:
            words = f"lane request limit reached: {self.policy.requests_max_count}"
            return RequestVerdict("requests", 400, words)
        # A token is a byte at least. What is under way counts with the most that it may cost, so
        # that the budget is overrun by the last request alone.
        left = self.policy.token_budget - self.tokens - self.reserved_tokens
        sent, answer_tokens = request.within(left)
        reserved = len(sent) + answer_tokens
        if self.reserved_tokens and reserved > left:
            words = "requests under way hold the rest of the lane's token budget; try again"
            return RequestVerdict("reserved", 429, words)
        while self._recent and self._recent[0] <= now - 60:
            self._recent.popleft()
        if len(self._recent) >= self.policy.requests_per_minute:
            words = f"lane request rate reached: {self.policy.requests_per_minute} per minute"
            wait = self._recent[0] + 60 - now
            return RequestVerdict("rate", 429, words, wait_seconds=wait)
        self._recent.append(now)
        self.requests_count += 1
        self.reserved_tokens += reserved
        return RequestVerdict(
            "forwarded", reserved_tokens=reserved, body=sent, left_out=request.left_out
        )

    def _used_up(self, now: float) -> str:
        """Say which budget is used up; empty when none is."""
        policy = self.policy
        if self.tokens >= policy.token_budget:
            return f"lane token budget exhausted: {self.tokens} of {policy.token_budget}"
        if policy.cost_max_usd and self.cost_usd >= policy.cost_max_usd:
            return f"lane budget exhausted: {self.cost_usd:.2f} of {policy.cost_max_usd:.2f} USD"
        return policy.project_limit.passed(
            self.project_spent, f"all lanes of {policy.project}", now
        ) or policy.host_limit.passed(self.host_spent, "all lanes of this server", now)

    def release(self, verdict: RequestVerdict) -> None:
        """Give back what a request was thought to cost at most."""
        self.reserved_tokens -= verdict.reserved_tokens

    def judge_connect(self, target: str) -> RequestVerdict:
        """Return the verdict on CONNECT; the comparison is exact, port included."""
        if target.lower() in self.policy.connect_allowed:
            return RequestVerdict("allowed")
        return RequestVerdict("denied", 403, f"{target} is not reachable from a lane")

    def charge(
        self,
        usage: Mapping[str, int] | None,
        request_bytes: int,
        answer_bytes: int,
        model: str = "",
        now: float = 0.0,
    ) -> tuple[int, float]:
        """Count a finished request; return the tokens that it is charged with and its price in USD.

        What was read from a cache is charged with the part of a token that the provider bills.
        """
        price = self.policy.prices.get(model, Price())
        if usage is None:
            # Nobody has said what it was: all of it is new.
            usage = {"input_tokens": (request_bytes + answer_bytes) // _BYTES_PER_TOKEN}
        tokens, cost = price.tokens(usage), price.usd(usage)
        self.tokens += tokens
        self.cost_usd += cost
        for spent in (self.project_spent, self.host_spent):
            spent.add(now, tokens, cost)
        return tokens, cost


def rewritten(route: Route, document: Mapping[str, Any], model: str) -> ModelRequest:
    """Write a request anew: only what is known to be harmless, and what the route says in any case."""
    left_out = [name for name in document if name not in route.fields and name not in route.forced]
    sent = {name: value for name, value in document.items() if name in route.fields}
    tools = sent.get("tools")
    if isinstance(tools, list):
        kept = [tool for tool in tools if _is_own(route, tool)]
        left_out += [f"tool {_tool_type(tool)}" for tool in tools if not _is_own(route, tool)]
        sent["tools"] = kept
        if not kept:
            del sent["tools"]
            sent.pop("tool_choice", None)
    sent |= route.forced
    given = sent.pop(route.output_limit, None) if route.output_limit else None
    is_count = isinstance(given, int) and not isinstance(given, bool) and given > 0
    return ModelRequest(
        model,
        text=json.dumps(sent, ensure_ascii=False).encode("utf-8", "replace"),
        left_out=tuple(str(name)[:60] for name in left_out[:20]),
        output_limit=route.output_limit,
        answer_tokens=given if is_count else None,
    )


def _tool_type(tool: object) -> str:
    return str(tool.get("type", "custom")) if isinstance(tool, dict) else "of no form"


def _is_own(route: Route, tool: object) -> bool:
    kind = _tool_type(tool)
    return any(
        kind == each or (each.endswith("*") and kind.startswith(each[:-1])) for each in route.tools
    )


# Where what a request holds can be an address, a file of somebody's account, or another's server.
_ADDRESSES = frozenset({"image_url", "file_url", "server_url", "url", "uri", "file_uri", "file_id"})
_CALLED_WITH = ("input", "arguments", "parameters")
_CONTENTS = ("input", "messages", "system", "instructions", "contents")


def _elsewhere(document: Mapping[str, Any]) -> Iterator[str]:
    """Yield the keys of a request by which the provider would fetch something for a lane."""
    waiting: list[tuple[str, Any]] = [(name, document.get(name)) for name in _CONTENTS]
    while waiting:
        where, value = waiting.pop()
        if isinstance(value, list):
            waiting += [(where, item) for item in value]
        elif isinstance(value, dict):
            # What a tool of the agent was called with is its own.
            is_call = value.get("type") in ("tool_use", "function")
            for name, inner in value.items():
                if (
                    name in _ADDRESSES
                    and isinstance(inner, str)
                    and inner
                    and not inner.startswith("data:")
                ):
                    yield f"{where}.{name}"
                elif name != "annotations" and not (is_call and name in _CALLED_WITH):
                    waiting.append((f"{where}.{name}"[:80], inner))


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
    """Follows an answer while it passes: usage, and whether it came to its proper end.

    It is a stream of events, or one document where a provider does not stream.
    """

    route: Route
    completed: bool = False
    _line: bytearray = field(default_factory=bytearray)
    _skipping: bool = False
    _has_events: bool = False
    _seen: dict[int, dict[str, int]] = field(default_factory=dict)

    _LINE_MAX_BYTES = 4 << 20

    def feed(self, chunk: bytes) -> None:
        """Take the next bytes of the answer's body."""
        for part in chunk.splitlines(keepends=True):
            if not self._skipping:
                self._line += part
            if len(self._line) > self._LINE_MAX_BYTES:
                self._line.clear()
                self._skipping = True
            # A document may have any number of lines.
            if part.endswith((b"\n", b"\r")) and not self._is_document():
                self._take(bytes(self._line).strip())
                self._line.clear()
                self._skipping = False

    def _is_document(self) -> bool:
        return not self._has_events and self._line.lstrip()[:1] == b"{"

    def end(self) -> None:
        """Say that no more comes."""
        rest = bytes(self._line).strip()
        if not self._is_document():
            self._take(rest)
            return
        document = _document(rest)
        counts: dict[str, int] = {}
        for rule in self.route.usage:
            # Without events the document says in one place what they would have said in several.
            value = document.get(rule.at[-1])
            counts = (_counts(value, rule) if isinstance(value, dict) else {}) | counts
        if counts:
            self._seen[0] = counts
        self.completed = bool(self._seen) and not document.get("error")

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
            self._has_events |= line.startswith((b"event:", b":"))
            return
        self._has_events = True
        text = line[5:].strip()
        if text == self.route.completed_event.encode():
            self.completed = True
            return
        try:
            event = json.loads(text)
        except (ValueError, RecursionError):
            return
        if not isinstance(event, dict):
            return
        kind = event.get("type")
        if kind == self.route.completed_event:
            self.completed = True
        for number, rule in enumerate(self.route.usage):
            if rule.event == (kind or ""):
                value: Any = event
                for key in rule.at:
                    value = value.get(key) if isinstance(value, dict) else None
                self._count(number, value)

    def _count(self, number: int, value: object) -> None:
        counts = _counts(value, self.route.usage[number]) if isinstance(value, dict) else {}
        if counts:
            self._seen[number] = counts


def _counts(usage: Mapping[str, Any], rule: Usage) -> dict[str, int]:
    """Return how many tokens went in and came out; a kind of which nothing is said is left out."""
    found: dict[str, int] = {}
    kinds = (
        ("input_tokens", rule.input),
        ("output_tokens", rule.output),
        ("cached_tokens", rule.cached),
    )
    for kind, names in kinds:
        said = [count for count in (_number(usage, name) for name in names) if count is not None]
        if said:
            found[kind] = sum(said)
    return found


def _number(usage: Mapping[str, Any], name: str) -> int | None:
    value: Any = usage
    for key in name.split("."):
        value = value.get(key) if isinstance(value, dict) else None
    is_count = isinstance(value, int) and not isinstance(value, bool) and value >= 0
    return value if is_count else None


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
        project=str(document.get("project") or ""),
        prices={name: Price(**price) for name, price in (document.get("prices") or {}).items()},
        cost_max_usd=float(document.get("cost_max_usd") or 0.0),
        project_limit=Limit(**(document.get("project_limit") or {})),
        host_limit=Limit(**(document.get("host_limit") or {})),
        spent_dir=str(document.get("spent_dir") or ""),
    )
