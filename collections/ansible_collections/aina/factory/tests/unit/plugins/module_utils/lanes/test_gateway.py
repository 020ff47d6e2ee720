"""What a lane's gateway forwards, and what it charges for every form of an answer."""

from __future__ import annotations

import json
from typing import Any

import agents
import pytest

from factory.core.lanes import agents as lane_agents
from factory.core.lanes import gateway
from factory.core.lanes.agents import Route
from factory.core.lanes.spending import Limit, Price, Spent

# A provider of chat completions, as somebody would declare it.
CHAT: dict[str, Any] = {
    "path": "/v1/chat/completions",
    "upstream": "https://chat.example.com",
    "header": "Authorization",
    "value": "Bearer {key}",
    "credential": "chat",
    "completed_event": "[DONE]",
    "fields": ["model", "messages", "tools", "max_tokens"],
    "forced": {"stream_options": {"include_usage": True}},
    "output_limit": "max_tokens",
    "usage": [
        {
            "at": ["usage"],
            "input": ["prompt_tokens"],
            "output": ["completion_tokens"],
            "cached": ["prompt_tokens_details.cached_tokens"],
        }
    ],
}
ROUTES: dict[str, Any] = {
    **{name: agents.shipped()[name]["route"] for name in ("codex", "claude")},
    "chat": CHAT,
}


def route(name: str) -> Route:
    return lane_agents.route_from_document(ROUTES[name])


def counter(name: str, **changes: Any) -> gateway.UsageCounter:
    values = {
        "lane": "demo-7-0a1b2c3d",
        "route": route(name),
        "models": ("m",),
        "token_budget": 1_000_000,
        "requests_per_minute": 100,
        "requests_max_count": 100,
        "connect_allowed": (),
        "log_path": "/log",
    }
    return gateway.UsageCounter(gateway.LanePolicy(**{**values, **changes}))


def responses(kind: str, **usage: Any) -> bytes:
    text = json.dumps({"type": f"response.{kind}", "response": {"usage": usage}})
    return f"event: response.{kind}\ndata: {text}\n\n".encode()


def chat(**document: Any) -> bytes:
    return b"data: " + json.dumps(document).encode() + b"\n\n"


START = b'event: message_start\r\ndata: {"type": "message_start", "message": {"usage": %s}}\r\n\r\n'
DELTA = b'data: {"type":"message_delta","usage":{"output_tokens": 30}}\n\n'
STOP = b'data: {"type": "message_stop"}\n\n'
USAGE = {"input_tokens": 1000, "output_tokens": 50}
CACHED = {"input_tokens_details": {"cached_tokens": 900}}
DONE = b"data: [DONE]\n\n"
# An answer, what the provider bills for it in tokens, and whether it is whole.
FORMS: dict[str, tuple[str, bytes, int, bool]] = {
    "whole": ("codex", responses("completed", **USAGE), 1050, True),
    "from a cache": ("codex", responses("completed", **USAGE, **CACHED), 100 + 90 + 50, True),
    "incomplete": ("codex", responses("incomplete", **USAGE), 1050, False),
    "failed": ("codex", responses("failed", **USAGE), 1050, False),
    "one document": (
        "codex",
        json.dumps({"id": "r", "usage": USAGE}, indent=1).encode(),
        1050,
        True,
    ),
    "more than it can be from a cache": (
        "codex",
        responses("completed", input_tokens=10, input_tokens_details={"cached_tokens": 90}),
        1,
        True,
    ),
    "messages": ("claude", START % b'{"input_tokens": 100}' + DELTA + STOP, 130, True),
    "messages from a cache": (
        "claude",
        START % b'{"input_tokens": 100, "cache_read_input_tokens": 1000}' + DELTA + STOP,
        100 + 100 + 30,
        True,
    ),
    "messages that were cut": ("claude", START % b'{"input_tokens": 100}', 100, False),
    "messages in one document": (
        "claude",
        b'{"type": "message", "usage": {"input_tokens": 100, "output_tokens": 30}}',
        130,
        True,
    ),
    "chat": (
        "chat",
        chat(choices=[{"delta": {"content": "x"}}], usage=None)
        + chat(choices=[], usage={"prompt_tokens": 70, "completion_tokens": 7})
        + DONE,
        77,
        True,
    ),
    "chat that tells its usage in each part": (
        "chat",
        chat(usage={"prompt_tokens": 70, "completion_tokens": 1})
        + chat(usage={"prompt_tokens": 70, "completion_tokens": 9})
        + DONE,
        79,
        True,
    ),
    "chat from a cache": (
        "chat",
        chat(
            usage={
                "prompt_tokens": 100,
                "completion_tokens": 1,
                "prompt_tokens_details": {"cached_tokens": 100},
            }
        )
        + DONE,
        11,
        True,
    ),
    "chat in one document": (
        "chat",
        b'{\n "object": "chat.completion",\n "usage": {"prompt_tokens": 5, "completion_tokens": 6}\n}\n',
        11,
        True,
    ),
    "chat that was cut": (
        "chat",
        chat(usage={"prompt_tokens": 5, "completion_tokens": 6}),
        11,
        False,
    ),
    # Nothing is said: it is charged by its size, and never with nothing.
    "silent": ("codex", b"data: {}\n\n", (400 + 10) // 4, False),
    "an error in one document": ("chat", b'{"error": {"message": "x" }}', (400 + 28) // 4, False),
}


@pytest.mark.parametrize("size", [1, 7, 100_000])
@pytest.mark.parametrize("name", FORMS)
def test_every_form_of_an_answer_is_charged_as_the_provider_bills_it(name: str, size: int) -> None:
    shape, answer, expected, is_whole = FORMS[name]
    stream = gateway.Stream(route(shape))
    for start in range(0, len(answer), size):
        stream.feed(answer[start : start + size])
    stream.end()

    tokens, _cost = counter(shape).charge(stream.usage(), 400, len(answer))

    assert (tokens, stream.completed) == (expected, is_whole)


def forwarded(name: str, **document: Any) -> gateway.RequestVerdict:
    body = json.dumps({"model": "m", **document}).encode()
    limits = document.pop("limits", {})
    return counter(name, **limits).judge_model("POST", ROUTES[name]["path"], body, 0.0)[0]


def test_what_is_not_known_to_be_harmless_is_left_out_of_a_request() -> None:
    verdict = forwarded(
        "claude",
        tools=[{"name": "own"}, {"type": "bash_20250124"}, {"type": "web_search_20250305"}, "x"],
        mcp_servers=[{"url": "https://example.com"}],
        container="c",
        service_tier="auto",
        stream=False,
    )
    assert json.loads(verdict.body) == {
        "model": "m",
        "stream": True,
        "tools": [{"name": "own"}, {"type": "bash_20250124"}],
    }
    assert verdict.left_out == (
        *("mcp_servers", "container", "service_tier"),
        *("tool web_search_20250305", "tool of no form"),
    )
    alone = forwarded("codex", tools=[{"type": "code_interpreter"}], tool_choice="required")
    assert json.loads(alone.body) == {"model": "m", "stream": True, "store": False}


@pytest.mark.parametrize(
    ("name", "document"),
    [
        ("codex", {"input": [{"content": [{"type": "input_file", "file_url": "https://x"}]}]}),
        ("codex", {"input": [{"content": [{"type": "input_file", "file_id": "f-1"}]}]}),
        ("claude", {"messages": [{"content": [{"source": {"type": "url", "url": "http://x"}}]}]}),
        ("chat", {"messages": [{"content": [{"image_url": {"url": "https://x"}}]}]}),
    ],
)
def test_nothing_is_fetched_for_a_lane(name: str, document: dict[str, Any]) -> None:
    assert forwarded(name, **document).name == "remote"


@pytest.mark.parametrize(
    ("name", "document"),
    [
        ("codex", {"input": [{"content": [{"image_url": "data:image/png;base64,AA"}]}]}),
        ("codex", {"input": [{"type": "function_call", "arguments": '{"url": "https://x"}'}]}),
        ("claude", {"messages": [{"content": [{"type": "tool_use", "input": {"url": "x"}}]}]}),
    ],
)
def test_what_an_agent_itself_was_asked_to_fetch_is_its_own(
    name: str, document: dict[str, Any]
) -> None:
    assert forwarded(name, **document).allowed


def test_an_answer_has_at_most_what_is_left() -> None:
    def asked(left: int, **document: Any) -> int | None:
        found = counter("codex", token_budget=left)
        body = json.dumps({"model": "m", **document}).encode()
        sent = json.loads(found.judge_model("POST", "/v1/responses", body, 0.0)[0].body)
        limit: int | None = sent.get("max_output_tokens")
        return limit

    assert asked(1_000_000) is None
    assert asked(1_000_000, max_output_tokens=5) == 5
    assert asked(10_000) == 10_000 - len('{"model": "m", "stream": true, "store": false}') // 4
    assert asked(10_000, max_output_tokens=9_999) == 9_989
    assert asked(1) == 16


def test_a_price_turns_tokens_into_money_and_money_ends_a_lane() -> None:
    prices = {"m": Price(input_usd=2.0, cached_usd=0.5, output_usd=10.0)}
    found = counter("codex", prices=prices, cost_max_usd=0.01)
    usage = {"input_tokens": 1000, "cached_tokens": 800, "output_tokens": 100}
    # A token from the cache costs a quarter of another.
    tokens, cost = found.charge(usage, 0, 0, "m", 0.0)
    assert (tokens, round(cost, 6)) == (200 + 200 + 100, 0.0018)
    body = b'{"model": "m"}'
    assert found.judge_model("POST", "/v1/responses", body, 0.0)[0].allowed
    found.charge({"output_tokens": 1000}, 0, 0, "m", 0.0)
    verdict = found.judge_model("POST", "/v1/responses", body, 0.0)[0]
    assert (verdict.name, verdict.words) == ("budget", "lane budget exhausted: 0.01 of 0.01 USD")


@pytest.mark.parametrize("whose", ["project", "host"])
def test_a_day_has_its_limit_and_another_day_another(whose: str) -> None:
    found = counter("codex", **{f"{whose}_limit": Limit(tokens_per_day=500)}, project="demo")
    found.charge({"input_tokens": 500}, 0, 0, "m", 86_000.0)
    body = b'{"model": "m"}'
    verdict = found.judge_model("POST", "/v1/responses", body, 86_000.0)[0]
    assert verdict.name == "budget"
    assert "500 of 500" in verdict.words
    assert found.judge_model("POST", "/v1/responses", body, 87_000.0)[0].allowed
    assert Limit(usd_per_day=1.0).passed(Spent("1970-01-01", 0, 1.0), "x", 0.0)
    assert not Limit().passed(Spent("1970-01-01", 10**9, 1e9), "x", 0.0)


def test_a_rate_says_when_it_is_worth_asking_again() -> None:
    found = counter("codex", requests_per_minute=1)
    body = b'{"model": "m"}'
    assert found.judge_model("POST", "/v1/responses", body, 100.0)[0].allowed
    found.reserved_tokens = 0
    verdict = found.judge_model("POST", "/v1/responses", body, 130.0)[0]
    assert (verdict.name, verdict.wait_seconds) == ("rate", 30.0)


def test_a_storm_of_ten_minutes_is_sat_out() -> None:
    """However it begins, with or without a word of the provider's, nobody is told of it."""
    for word in ("", "5", "60", "nonsense"):
        now, attempts = 0.0, 0
        while now < 600:
            seconds = gateway.pause(429, b"rate_limit_exceeded", word, attempts, now)
            assert seconds is not None
            assert word != "5" or seconds == 5
            now, attempts = now + seconds, attempts + 1
        assert attempts < 150
    assert gateway.pause(503, b"", "", 0, gateway.HOLD_SECONDS) is None


@pytest.mark.parametrize(
    ("status", "refusal"),
    [(400, b""), (401, b""), (429, b'{"error": {"code": "insufficient_quota"}}')],
)
def test_what_no_waiting_mends_is_said_at_once(status: int, refusal: bytes) -> None:
    assert gateway.pause(status, refusal, "1", 0, 0.0) is None


@pytest.mark.parametrize("part", [b'{"a":{}},', b"[],", b'"a",'])
def test_a_request_of_countless_parts_is_refused_before_it_is_read(
    part: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = "if (a, b) { c[d, e] }\n" * 200_000
    long = json.dumps({"model": "m", "input": text}).encode()
    assert counter("codex").read("POST", "/v1/responses", long).refusal is None
    # Reading it would take seconds, and a gigabyte.
    monkeypatch.setattr(gateway, "_document", None)
    body = b'{"model":"m","input":[' + part * (20_000_000 // len(part)) + b'""]}'
    verdict = counter("codex").judge_model("POST", "/v1/responses", body, 0.0)[0]
    assert (verdict.status, verdict.name) == (413, "parts")
