"""The lanes' gateway between a lane's socket and a played model: what passes is paid for."""

from __future__ import annotations

import http.server
import json
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from simulator import tls
from waiting import until

from ansible_collections.aina.factory.plugins.module_utils.lanes import engines
from ansible_collections.aina.factory.plugins.module_utils.lanes.gateway import Permit
from factory.lanes import gateway
from factory.lanes.wicket import PERMIT, SOCKET, SOCKET_DIR

NAME = "demo-7-0a1b2c3d"


class Model(http.server.BaseHTTPRequestHandler):
    """Streams an answer that ends as the request asks for, and tells its usage at the end."""

    server: Served

    def log_message(self, *_: object) -> None:
        pass

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b'data: {"type": "response.created"}\n\n')
        self.wfile.flush()
        self.server.go_on.wait(10)
        usage = {"input_tokens": 60_000, "output_tokens": 40_000}
        event = {"type": asked.get("end", "response.completed"), "response": {"usage": usage}}
        self.wfile.write(b"data: " + json.dumps(event).encode() + b"\n\n")


class Served(http.server.ThreadingHTTPServer):
    daemon_threads = True
    go_on: threading.Event


class Lane:
    """A lane's end of its socket."""

    def __init__(self, root: Path, hub: gateway.Gateway, served: Served) -> None:
        self.hub, self.served = hub, served
        self._place = root / NAME
        self._socket = str(self._place / SOCKET_DIR / SOCKET)

    def connect(self) -> socket.socket:
        link = socket.socket(socket.AF_UNIX)
        link.settimeout(20)
        link.connect(self._socket)
        return link

    def begin(self, **body: Any) -> socket.socket:
        content = json.dumps({"model": "gpt-5.5", "stream": True, **body}).encode()
        link = self.connect()
        head = f"POST /v1/responses HTTP/1.1\r\nHost: x\r\nContent-Length: {len(content)}\r\n\r\n"
        link.sendall(head.encode() + content)
        return link

    def ask(self, **body: Any) -> str:
        """Return the whole answer."""
        with self.begin(**body) as link:
            answer = b""
            while not answer.endswith((b"0\r\n\r\n", b"}}")):
                more = link.recv(65536)
                if not more:
                    break
                answer += more
        return answer.decode()

    def status(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.hub.status(NAME))
        return found

    def settled(self) -> int:
        """Return the tokens once nothing is under way."""
        for _attempt in range(200):
            if not self.status()["in_flight"]:
                return int(self.status()["tokens"])
            time.sleep(0.05)
        raise AssertionError(self.status())


@pytest.fixture
def lane(tmp_path: Path) -> Iterator[Lane]:
    ca_file, context = tls.make(tmp_path, ["127.0.0.1"])
    served = Served(("127.0.0.1", 0), Model)
    served.go_on = threading.Event()
    served.go_on.set()
    served.socket = context.wrap_socket(served.socket, server_side=True)
    threading.Thread(target=served.serve_forever, args=(0.05,), daemon=True).start()
    place, log = tmp_path / NAME, tmp_path / "gateway.jsonl"
    (place / SOCKET_DIR).mkdir(parents=True)
    log.touch()
    (tmp_path / "codex").write_text("a-key\n")
    upstream = {"route": {"upstream": f"https://127.0.0.1:{served.server_address[1]}"}}
    route = engines.from_value({"codex": upstream}, "engines")["codex"].route
    permit = Permit(NAME, route, ("gpt-5.5",), 200_000, 1000, 1000, (), str(log))
    (place / PERMIT).write_text(json.dumps(permit.document()))
    hub = gateway.Gateway(tmp_path, tmp_path, str(ca_file))
    assert hub.open(NAME) == "ok"
    yield Lane(tmp_path, hub, served)
    hub.close(NAME)
    served.shutdown()
    served.server_close()


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


@pytest.mark.parametrize("body", [{"stream": False}, {"stream": None}, {"background": True}])
def test_what_would_not_tell_its_usage_is_not_forwarded(lane: Lane, body: dict[str, Any]) -> None:
    assert lane.ask(**body).startswith("HTTP/1.1 400")
    assert lane.settled() == 0


def test_a_lane_takes_a_bounded_part_of_the_gateway(lane: Lane) -> None:
    half = gateway.HELD_MAX_BYTES // 2
    head = f"POST /v1/responses HTTP/1.1\r\nHost: x\r\nContent-Length: {half}\r\n\r\n".encode()
    served = lane.hub._lanes[NAME]
    links = []
    for held in (half, 2 * half):
        links.append(lane.connect())
        links[-1].sendall(head + b"x")  # and never the rest
        until(partial(lambda wanted: served.held_bytes == wanted, held), "what is held")
    links.append(lane.connect())
    links[-1].sendall(head)
    assert b"429" in links[2].recv(100)

    more = [lane.connect() for _number in range(gateway.CONNECTIONS_MAX_COUNT)]
    for link in more:
        link.settimeout(0.01)
    until(lambda: sum(map(is_closed, more)) == 3, "the end of those that are too many")
    for link in [*links, *more]:
        link.close()
    until(lambda: served.connections_count == 0, "the end of all connections")
    assert lane.ask().startswith("HTTP/1.1 200")


def is_closed(link: socket.socket) -> bool:
    try:
        return link.recv(1) == b""
    except TimeoutError:
        return False
    except ConnectionResetError:
        return True
