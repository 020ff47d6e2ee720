"""The lanes' gateway between a lane's socket and a played model: what passes is paid for."""

from __future__ import annotations

import fcntl
import http.server
import json
import resource
import select
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import agents
import pytest
from simulator import tls
from waiting import until

from factory.core.lanes import agents as lane_agents
from factory.core.lanes import gateway as core
from factory.core.lanes.gateway import LanePolicy
from factory.core.lanes.spending import day_of
from factory.lanes import gateway
from factory.lanes.control_socket import POLICY, SOCKET, SOCKET_DIR

NAME = "demo-7-0a1b2c3d"
PLAYED = ("status", "statuses", "wait", "words", "end")


class Model(http.server.BaseHTTPRequestHandler):
    """Streams an answer that ends as the request asks for, and tells its usage at the end."""

    server: Served

    def log_message(self, *_: object) -> None:
        pass

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        asked = body.get("text", {})
        self.server.heard.append({**self.headers, "body": body})
        statuses = asked.get("statuses", [asked.get("status", 200)])
        status = statuses[min(len(self.server.heard), len(statuses)) - 1]
        self.send_response(status)
        if "wait" in asked:
            self.send_header("Retry-After", str(asked["wait"]))
        self.end_headers()
        if status != 200:
            self.wfile.write(asked.get("words", "played").encode())
            return
        self.wfile.write(b'data: {"type": "response.created"}\n\n')
        self.wfile.flush()
        self.server.go_on.wait(10)
        if asked.get("end") == "nonsense":
            self.wfile.write(b"nonsense\n\n")
            return
        usage = {"input_tokens": 60_000, "output_tokens": 40_000}
        event = {"type": asked.get("end", "response.completed"), "response": {"usage": usage}}
        self.wfile.write(b"data: " + json.dumps(event).encode() + b"\n\n")


class Served(http.server.ThreadingHTTPServer):
    daemon_threads = True
    go_on: threading.Event
    heard: list[dict[str, Any]]


class Lane:
    """A lane's end of its socket."""

    def __init__(self, root: Path, hub: gateway.Gateway, served: Served) -> None:
        self.root, self.hub, self.served = root, hub, served
        self._place = root / NAME
        self._socket = str(self._place / SOCKET_DIR / SOCKET)

    def connect(self) -> socket.socket:
        link = socket.socket(socket.AF_UNIX)
        link.settimeout(20)
        link.connect(self._socket)
        return link

    def begin(self, **body: Any) -> socket.socket:
        # How the model shall play stands where the gateway lets it through.
        played = {name: body.pop(name) for name in PLAYED if name in body}
        content = json.dumps({"model": "gpt-5.5", "stream": True, "text": played, **body}).encode()
        link = self.connect()
        head = f"POST /v1/responses HTTP/1.1\r\nHost: x\r\nContent-Length: {len(content)}\r\n"
        # An agent has no key that is worth anything, and may think otherwise.
        head += "Authorization: Bearer of-the-agent\r\n\r\n"
        link.sendall(head.encode() + content)
        return link

    def ask(self, **body: Any) -> str:
        with self.begin(**body) as link:
            answer = b""
            while not answer.endswith((b"\r\n0\r\n\r\n", b"}}")):
                more = link.recv(65536)
                if not more:
                    break
                answer += more
        return answer.decode()

    def status(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.hub.status(NAME))
        return found

    def log(self) -> list[dict[str, Any]]:
        """Return the lines of its log once as many are there as requests were passed on."""
        path = self.root / "gateway.jsonl"

        def lines() -> list[dict[str, Any]]:
            found = [json.loads(line) for line in path.read_text().splitlines()]
            return found if len(found) >= self.status()["requests_count"] else []

        return list(until(lines, "the log", pause_seconds=0.02))

    def settled(self) -> int:
        """Return the tokens once nothing is under way."""
        for _attempt in range(200):
            if not self.status()["in_flight"]:
                return int(self.status()["tokens"])
            time.sleep(0.01)
        raise AssertionError(self.status())


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, ssl.SSLContext]:
    return tls.make(tmp_path_factory.mktemp("certificate"), ["127.0.0.1"])


@pytest.fixture
def lane(
    tmp_path: Path,
    certificate: tuple[Path, ssl.SSLContext],
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Lane]:
    # Whoever waits for a model does so where that is what is shown.
    monkeypatch.setattr(core, "HOLD_SECONDS", 0.0)
    ca_file, context = certificate
    served = Served(("127.0.0.1", 0), Model)
    served.go_on = threading.Event()
    served.go_on.set()
    served.heard = []
    served.socket = context.wrap_socket(served.socket, server_side=True)
    threading.Thread(target=served.serve_forever, args=(0.05,), daemon=True).start()
    place, log = tmp_path / NAME, tmp_path / "gateway.jsonl"
    (place / SOCKET_DIR).mkdir(parents=True)
    log.touch()
    (tmp_path / "codex").write_text("a-key\n")
    upstream = {"route": {"upstream": f"https://127.0.0.1:{served.server_address[1]}"}}
    route = lane_agents.route_from_document(agents.shipped(codex=upstream)["codex"]["route"])
    registry = f"127.0.0.1:{served.server_address[1]}"
    policy = LanePolicy(
        *(NAME, route, ("gpt-5.5",), 200_000, 1000, 1000, (registry,), str(log), "demo"),
        spent_dir=str(tmp_path / "spent"),
    )
    (tmp_path / "spent").mkdir()
    (tmp_path / "spent" / f"{day_of(time.time())}.jsonl").touch()
    (place / POLICY).write_text(json.dumps(policy.document()))
    hub = gateway.Gateway(tmp_path, tmp_path, str(ca_file))
    assert hub.open(NAME) == "ok"
    found = Lane(tmp_path, hub, served)
    yield found
    found.hub.close(NAME)
    served.shutdown()
    served.server_close()


def test_the_key_is_added_on_this_side_and_stands_in_no_answer_and_no_log(lane: Lane) -> None:
    answer = lane.ask()

    (heard,) = lane.served.heard
    assert [value for name, value in heard.items() if name == "Authorization"] == ["Bearer a-key"]
    assert "a-key" not in answer
    assert "a-key" not in json.dumps(lane.log())


def test_a_changed_key_is_in_force_with_the_next_request(lane: Lane) -> None:
    (lane.root / "codex").write_text("another\n")
    lane.ask()
    assert lane.served.heard[0]["Authorization"] == "Bearer another"


def test_every_request_is_written_down_with_its_verdict_and_its_cost(lane: Lane) -> None:
    lane.ask()
    (done,) = lane.log()
    # What is refused is written down before it is answered.
    lane.ask(model="gpt-9")
    _, refused = lane.log()

    told = (done["verdict"], done["charged_tokens"], done["model"])
    assert told == ("complete", 100_000, "gpt-5.5")
    told = (refused["verdict"], refused["status"], refused["tokens_total"])
    assert told == ("model", 400, 100_000)


@pytest.mark.parametrize("status", [400, 401, 403, 429, 503])
def test_a_refusal_of_the_model_reaches_the_agent_and_costs_nothing(
    lane: Lane, status: int
) -> None:
    assert lane.ask(status=status).startswith(f"HTTP/1.1 {status}")
    (line,) = lane.log()
    assert (line["verdict"], line["status"], line["charged_tokens"]) == ("upstream", status, 0)


def test_an_answer_that_breaks_off_is_charged_by_its_size(lane: Lane) -> None:
    lane.ask(end="nonsense", input="x" * 40_000)
    (line,) = lane.log()
    assert (line["verdict"], line["usage"]) == ("cut", None)
    assert line["charged_tokens"] > 10_000


def test_a_model_that_cannot_be_reached_is_an_answer_of_its_own(lane: Lane) -> None:
    lane.served.shutdown()
    lane.served.server_close()
    assert lane.ask().startswith("HTTP/1.1 502")
    (line,) = lane.log()
    assert (line["verdict"], line["charged_tokens"]) == ("unreachable", 0)


def test_a_tunnel_leads_to_an_allowed_place_and_nowhere_else(lane: Lane) -> None:
    (host, port) = lane.served.server_address[:2]
    for target, answer in ((f"{host!s}:{port}", b"200"), ("127.0.0.1:1", b"403")):
        with lane.connect() as link:
            link.sendall(f"CONNECT {target} HTTP/1.1\r\n\r\n".encode())
            assert answer in link.recv(100)
    # Nobody has waited for the end of the answer.
    verdicts = until(lambda: lane.log() if len(lane.log()) == 2 else [], "the log", 20, 0.02)
    assert {line["verdict"] for line in verdicts} == {"allowed", "denied"}


def test_a_restarted_gateway_finds_its_lanes_and_what_they_have_used(
    lane: Lane, certificate: tuple[Path, ssl.SSLContext]
) -> None:
    lane.ask()
    assert lane.log()
    lane.hub.close(NAME)

    lane.hub = gateway.Gateway(lane.root, lane.root, str(certificate[0]))
    lane.hub.recover()

    assert (lane.status()["tokens"], lane.status()["requests_count"]) == (100_000, 1)
    assert lane.ask().startswith("HTTP/1.1 200")
    assert lane.settled() == 200_000
    assert "token budget exhausted" in lane.ask()


@pytest.mark.parametrize("content", [None, "", "\n", "a\tb\n"])
def test_without_a_usable_key_no_lane_is_opened(lane: Lane, content: str | None) -> None:
    (lane.root / "codex").unlink()
    if content is not None:
        (lane.root / "codex").write_text(content)
    assert "credential codex" in lane.hub.open(NAME)


def test_requests_at_once_wait_for_each_other_and_keep_within_the_budget(lane: Lane) -> None:
    lane.served.go_on.clear()
    threading.Timer(0.5, lane.served.go_on.set).start()
    with ThreadPoolExecutor(30) as askers:
        answers = list(askers.map(lambda _: lane.ask(input="x" * 50_000), range(30)))

    # Two of 100,000 tokens are all that 200,000 allow.
    assert lane.settled() == 200_000
    refused = [answer for answer in answers if not answer.startswith("HTTP/1.1 200")]
    assert len(refused) == 28
    assert all("token budget exhausted" in answer for answer in refused)


def test_who_waits_too_long_is_told_when_to_ask_again(
    lane: Lane, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gateway, "TURN_SECONDS", 0.2)
    lane.served.go_on.clear()
    with lane.begin(input="x" * 50_000) as link:
        assert b"200" in link.recv(100)

        answer = lane.ask(input="x" * 50_000)

    lane.served.go_on.set()
    assert answer.startswith("HTTP/1.1 429")
    assert "Retry-After: 5" in answer


@pytest.mark.parametrize("end", ["response.completed", "response.incomplete", "response.failed"])
def test_an_answer_is_charged_however_it_ends(lane: Lane, end: str) -> None:
    assert lane.ask(end=end).startswith("HTTP/1.1 200")
    assert lane.settled() == 100_000


def test_who_hangs_up_pays_for_the_whole_answer(lane: Lane) -> None:
    lane.served.go_on.clear()
    with lane.begin() as link:
        assert b"200" in link.recv(100)
    lane.served.go_on.set()

    assert lane.settled() == 100_000


def test_a_request_is_written_anew(lane: Lane) -> None:
    """Nothing that an agent says reaches the model but what is known to be harmless."""
    tools = [{"type": "function", "name": "f"}, {"type": "web_search"}, {"type": "mcp"}]
    foreign = {"background": True, "previous_response_id": "r", "service_tier": "priority"}
    lane.ask(stream=False, store=True, tools=tools, **foreign)

    (heard,) = lane.served.heard
    sent = {"model": "gpt-5.5", "stream": True, "store": False, "text": {}, "tools": tools[:1]}
    assert heard["body"] == sent
    assert lane.settled() == 100_000
    (line,) = lane.log()
    assert line["left_out"] == [*foreign, "tool web_search", "tool mcp"]


def test_what_would_be_fetched_for_a_lane_is_refused(lane: Lane) -> None:
    picture = {"type": "input_image", "image_url": "https://example.com/?secret"}
    answer = lane.ask(input=[{"role": "user", "content": [picture]}])
    assert "input.content.image_url leads elsewhere" in answer
    assert lane.served.heard == []


@pytest.mark.parametrize("status", [429, 503])
def test_an_overloaded_model_is_waited_for(
    lane: Lane, status: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(core, "HOLD_SECONDS", 100.0)
    monkeypatch.setattr(core, "_PAUSE_SECONDS", 0.01)
    assert lane.ask(statuses=[status, status, 200]).startswith("HTTP/1.1 200")
    (line,) = lane.log()
    assert (line["verdict"], line["attempts_count"], line["charged_tokens"]) == (
        "complete",
        3,
        100_000,
    )


def test_who_waits_for_a_model_is_not_idle_and_may_hang_up(
    lane: Lane, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(core, "HOLD_SECONDS", 100.0)
    with lane.begin(status=429, wait=50):
        until(lambda: lane.status()["waiting"] == 1, "the wait", pause_seconds=0.02)
        assert lane.status()["idle_seconds"] < 5
    until(lambda: lane.status()["in_flight"] == 0, "the end of the wait", 20, 0.02)
    assert lane.settled() == 0


def test_nobody_is_asked_for_who_has_hung_up(lane: Lane, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(core, "HOLD_SECONDS", 100.0)
    monkeypatch.setattr(gateway, "_LOOK_SECONDS", 0.05)
    with lane.begin(statuses=[503, 200], wait=1):
        until(lambda: lane.status()["waiting"] == 1, "the wait", pause_seconds=0.02)
    assert lane.settled() == 0
    assert len(lane.served.heard) == 1
    (line,) = lane.log()
    assert (line["verdict"], line["status"], lane.status()["waiting"]) == ("hung_up", 0, 0)


def test_a_connection_of_a_high_number_is_watched_like_another() -> None:
    near, far = socket.socketpair()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, 2048), hard))
    high = socket.socket(fileno=fcntl.fcntl(near, fcntl.F_DUPFD, 1100))
    try:
        handler = gateway._Handler.__new__(gateway._Handler)
        handler.connection = high
        assert not handler._has_left()
        far.close()
        assert handler._has_left()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        for link in (near, far, high):
            link.close()


def test_a_request_that_waits_is_read_once(lane: Lane, monkeypatch: pytest.MonkeyPatch) -> None:
    read, bodies = core.UsageCounter.read, []

    def counted(counter: core.UsageCounter, method: str, path: str, body: bytes) -> Any:
        bodies.append(body)
        return read(counter, method, path, body)

    monkeypatch.setattr(core.UsageCounter, "read", counted)
    monkeypatch.setattr(gateway, "_LOOK_SECONDS", 0.01)
    lane.served.go_on.clear()
    threading.Timer(0.3, lane.served.go_on.set).start()
    with ThreadPoolExecutor(2) as askers:
        answers = list(askers.map(lambda _: lane.ask(input="x" * 50_000), range(2)))
    assert all(answer.startswith("HTTP/1.1 200") for answer in answers)
    assert len(bodies) == 2


def test_what_lanes_spend_on_one_day_is_counted_together_and_remembered(
    lane: Lane, certificate: tuple[Path, ssl.SSLContext]
) -> None:
    lane.ask()
    assert lane.settled() == 100_000
    lane.hub.close(NAME)
    path = lane.root / NAME / POLICY
    document = json.loads(path.read_text())
    (lane.root / "gateway.jsonl").write_text("")
    # Another lane of the project, at a gateway that was restarted.
    document |= {"project_limit": {"tokens_per_day": 100_000}}
    path.write_text(json.dumps(document))
    lane.hub = gateway.Gateway(lane.root, lane.root, str(certificate[0]))
    lane.hub.recover()

    assert "the day's tokens of all lanes of demo are used up: 100000 of 100000" in lane.ask()


def test_a_lane_takes_a_bounded_part_of_the_gateway(lane: Lane) -> None:
    half = gateway.HELD_MAX_BYTES // 2
    head = f"POST /v1/responses HTTP/1.1\r\nHost: x\r\nContent-Length: {half}\r\n\r\n".encode()
    served = lane.hub._lanes[NAME]
    links = []
    for held in (half, 2 * half):
        links.append(lane.connect())
        links[-1].sendall(head + b"x")  # and never the rest
        until(
            partial(lambda wanted: served.held_bytes == wanted, held),
            "what is held",
            pause_seconds=0.02,
        )
    links.append(lane.connect())
    links[-1].sendall(head)
    assert b"429" in links[2].recv(100)

    more = [lane.connect() for _number in range(gateway.CONNECTIONS_MAX_COUNT)]
    # Nothing was asked on them, so that only an end can be read.
    until(
        lambda: len(select.select(more, [], [], 0)[0]) == 3,
        "the end of those that are too many",
        pause_seconds=0.02,
    )
    for link in [*links, *more]:
        link.close()
    until(lambda: served.connections_count == 0, "the end of all connections", pause_seconds=0.02)
    assert lane.ask().startswith("HTTP/1.1 200")
