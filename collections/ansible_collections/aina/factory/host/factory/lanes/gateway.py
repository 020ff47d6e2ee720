"""The only way out of a lane: one socket file per lane, and the secrets stay on this side.

Runs as a user of its own. It is told about lanes by their supervisor through a control
socket, and finds them again by itself after a restart.
"""

from __future__ import annotations

import http.client
import http.server
import json
import logging
import os
import select
import socket
import socketserver
import ssl
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack, nullcontext, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from factory.core.base import times
from factory.core.lanes import agents, gateway, identity
from factory.core.lanes.gateway import Stream, UsageCounter
from factory.core.lanes.spending import Spent, day_of
from factory.lanes.control_socket import POLICY, SOCKET, SOCKET_DIR

CONNECT_SECONDS = 30.0
# A model that thinks sends a sign of life more often than this.
ANSWER_SECONDS = 600.0
_CHUNK_BYTES = 65536
# How long a request waits where the most that others may cost leaves no room for it.
TURN_SECONDS = 300.0
# After which time it is worth asking again where other requests of the lane are in the way.
RETRY_SECONDS = 5
# How often whoever waits looks whether it still must.
_LOOK_SECONDS = 1.0
# What one lane may have of this process, which all lanes share.
CONNECTIONS_MAX_COUNT = 64
HELD_MAX_BYTES = 2 * gateway.REQUEST_MAX_BYTES
_LARGE_BYTES, _READING = 1 << 20, threading.Lock()
# What an agent says beside its request, and what of a refusal is looked at.
_PASSED_ON, _REFUSAL_MAX_BYTES = ("accept", "user-agent"), 1 << 20

_log = logging.getLogger(__name__)


@dataclass
class LaneSocket:
    """One lane's socket and what it has used."""

    counter: UsageCounter
    key: Callable[[str], str]
    context: ssl.SSLContext
    in_flight: int = 0
    # Requests that wait for an overloaded model.
    waiting: int = 0
    # What is spent by several lanes is counted by one at a time.
    spending: threading.Lock = field(default_factory=threading.Lock)
    connections_count: int = 0
    # Of the requests that are held in memory.
    held_bytes: int = 0
    last_activity: float = field(default_factory=time.monotonic)
    # Told whenever a request was charged.
    lock: threading.Condition = field(default_factory=threading.Condition)
    server: socketserver.BaseServer | None = None

    def note(self, **values: Any) -> None:
        """Append one line to the lane's log."""
        policy = self.counter.policy
        line = {"at": times.iso(time.time()), "lane": policy.lane, **values}
        line["tokens_total"] = self.counter.tokens
        line["cost_total_usd"] = round(self.counter.cost_usd, 4)
        with self.lock:
            _append(policy.log_path, line)

    def spent(self, tokens: int, cost_usd: float) -> None:
        """Write down, for a gateway that is restarted, what all lanes have spent today."""
        policy = self.counter.policy
        if policy.spent_dir and tokens:
            line = {"project": policy.project, "tokens": tokens, "cost_usd": cost_usd}
            try:
                _append(f"{policy.spent_dir}/{day_of(time.time())}.jsonl", line)
            except OSError as error:
                _log.warning("what lane %s spent is not written down: %s", policy.lane, error)


def _append(path: str, line: Mapping[str, Any]) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)
    try:
        os.write(descriptor, json.dumps(line).encode() + b"\n")
    finally:
        os.close(descriptor)


@dataclass
class _Charge:
    """What one forwarded request has cost, written into the lane's counter once."""

    lane: LaneSocket
    verdict: gateway.RequestVerdict
    request_bytes: int
    model: str
    status: int = 0
    answer_bytes: int = 0
    charged_tokens: int = 0
    cost_usd: float = 0.0
    is_settled: bool = False

    def settle(self, usage: Mapping[str, int] | None) -> None:
        """Charge what was used; a second call changes nothing."""
        if self.is_settled:
            return
        self.is_settled = True
        with self.lane.lock:
            counter = self.lane.counter
            # An upstream that refused has used nothing; one that broke off may have.
            if self.status == 200:
                with self.lane.spending:
                    self.charged_tokens, self.cost_usd = counter.charge(
                        usage, self.request_bytes, self.answer_bytes, self.model, time.time()
                    )
                self.lane.spent(self.charged_tokens, self.cost_usd)
            counter.release(self.verdict)
            self.lane.lock.notify_all()


class HungUpError(OSError):
    """Whoever asked has hung up, and nothing was answered."""


# The connection to the model, its answer, the beginning of a refusal, and how often it was asked.
_Asked = tuple[http.client.HTTPSConnection, http.client.HTTPResponse, bytes, int]


class _Server(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    daemon_threads = True
    request_queue_size = 64
    lane: LaneSocket

    def process_request(self, request: Any, client_address: Any) -> None:
        """Give the connection a thread, unless the lane has as many as it may have."""
        with self.lane.lock:
            full = self.lane.connections_count >= CONNECTIONS_MAX_COUNT
            self.lane.connections_count += not full
        if full:
            self.shutdown_request(request)
        else:
            super().process_request(request, client_address)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Serve one connection to its end."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            with self.lane.lock:
                self.lane.connections_count -= 1


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server
    timeout = ANSWER_SECONDS
    _has_hung_up = False

    def address_string(self) -> str:
        """Name the lane; a socket file has no address."""
        return self.server.lane.counter.policy.lane

    def log_message(self, *_: object) -> None:
        """Stay silent: what matters is in the lane's own log."""

    def do_CONNECT(self) -> None:
        """Tunnel to an allowed place."""
        lane, target = self.server.lane, self.path
        verdict = lane.counter.judge_connect(target)
        up = down = 0
        name = verdict.name
        if not verdict.allowed:
            # Whoever hangs up meanwhile is written down all the same.
            with suppress(OSError):
                self._refuse(verdict.status, verdict.name, verdict.words)
        else:
            host, _colon, port = target.rpartition(":")
            try:
                with socket.create_connection((host, int(port)), CONNECT_SECONDS) as far:
                    self.send_response_only(200, "Connection established")
                    self.end_headers()
                    up, down = _tunnel(lane, self.connection, far)
            except OSError as error:
                name = f"unreachable: {error.strerror or error}"
                with suppress(OSError):
                    self._refuse(502, "unreachable", f"{target} cannot be reached")
        self.close_connection = True
        lane.note(kind="connect", target=target, verdict=name, up_bytes=up, down_bytes=down)

    def _any(self) -> None:
        length = self._length()
        if length is None:
            return
        lane = self.server.lane
        with lane.lock:
            full = lane.held_bytes + length > HELD_MAX_BYTES
            lane.held_bytes += 0 if full else length
        if full:
            self._refuse(429, "size", "requests under way are large enough; try again")
            return
        try:
            self._judge(lane, self.rfile.read(length))
        finally:
            with lane.lock:
                lane.held_bytes -= length

    def _judge(self, lane: LaneSocket, body: bytes) -> None:
        started = time.monotonic()
        # Read once, and by nobody's leave: a large one takes long, and others of the lane go on.
        # What a request holds may be many times its size: large ones one by one.
        with _READING if len(body) > _LARGE_BYTES else nullcontext():
            request = lane.counter.read(self.command, self.path, body)
        model = request.model
        with lane.lock:
            while True:
                verdict = lane.counter.admit(request, time.time())
                left = started + TURN_SECONDS - time.monotonic()
                # Its turn comes when it is known what those under way have really cost, or with time.
                if verdict.name not in ("reserved", "rate") or left <= 0:
                    break
                lane.last_activity = time.monotonic()
                lane.lock.wait(min(left, verdict.wait_seconds or _LOOK_SECONDS))
            lane.in_flight += verdict.allowed
        values: dict[str, Any] = {
            "kind": "model" if model else "refused",
            "method": self.command,
            "path": self.path[:200],
            "model": model[:100],
            "request_bytes": len(body),
        }
        if not verdict.allowed:
            lane.note(**values, status=verdict.status, verdict=verdict.name)
            self._refuse(verdict.status, verdict.name, verdict.words)
            return
        account = _Charge(lane, verdict, len(verdict.body), model)
        if verdict.left_out:
            values["left_out"] = verdict.left_out
        try:
            values |= self._forward(lane, account)
        finally:
            account.settle(None)
            with lane.lock:
                lane.in_flight -= 1
                lane.last_activity = time.monotonic()
        lane.note(**values, duration_seconds=round(time.monotonic() - started, 3))

    def _length(self) -> int | None:
        length = self.headers.get("Content-Length") or "0"
        if "Transfer-Encoding" in self.headers or not length.isdigit():
            self._refuse(411, "length", "a request must say its length")
            return None
        if int(length) > gateway.REQUEST_MAX_BYTES:
            self._refuse(413, "length", f"a request has at most {gateway.REQUEST_MAX_BYTES} bytes")
            return None
        return int(length)

    def _forward(self, lane: LaneSocket, account: _Charge) -> dict[str, Any]:
        """Send the request on and its answer back; return what is written down about it."""
        stream = Stream(lane.counter.policy.route)
        status, verdict, attempts = 0, "unreachable", 0
        connection, refusal = None, b""
        try:
            connection, answer, refusal, attempts = self._asked(lane, account.verdict.body)
            status = account.status = answer.status
            self._pass_on(self._begin, answer)
            if refusal:
                self._pass_on(self._send_chunk, refusal)
            while chunk := answer.read1(_CHUNK_BYTES):
                account.answer_bytes += len(chunk)
                lane.last_activity = time.monotonic()
                stream.feed(chunk)
                if stream.completed:
                    # Before the agent can know that it may ask again.
                    account.settle(stream.usage())
                self._pass_on(self._send_chunk, chunk)
            stream.end()
            account.settle(stream.usage())
            self._pass_on(self._send_chunk, b"")
            verdict = "complete" if status == 200 and stream.completed else "upstream"
            if status == 200 and not stream.completed:
                verdict = "cut"
        except (OSError, http.client.HTTPException, ValueError) as error:
            # Neither the error nor the answer may carry the secret on.
            _log.warning("lane %s: %s", lane.counter.policy.lane, type(error).__name__)
            verdict = "complete" if stream.completed else "cut" if status == 200 else "unreachable"
            if isinstance(error, HungUpError):
                verdict = "hung_up"
            self.close_connection = True
            if verdict == "unreachable":
                with suppress(OSError):
                    self._refuse(502, "unreachable", "the model cannot be reached")
        finally:
            if connection is not None:
                connection.close()
        usage = stream.usage()
        account.settle(usage)
        return {
            "status": status,
            "verdict": verdict,
            "usage": usage,
            "charged_tokens": account.charged_tokens,
            "cost_usd": round(account.cost_usd, 6),
            "response_bytes": account.answer_bytes,
            "attempts_count": attempts,
        }

    def _asked(self, lane: LaneSocket, body: bytes) -> _Asked:
        """Ask the model until it takes the request or no waiting mends that; return its answer.

        Raises:
            OSError: it cannot be reached.
            HungUpError: nobody waits for the answer any more.

        """
        route, began, attempts = lane.counter.policy.route, time.monotonic(), 0
        address = urlsplit(route.upstream)
        passed = {*_PASSED_ON, *(name.lower() for name in route.headers)}
        headers = {n: v for n, v in self.headers.items() if n.lower() in passed}
        headers["Content-Type"] = "application/json"
        while True:
            attempts += 1
            refusal, retry_after, status = b"", "", 503
            with ExitStack() as stack:
                connection = http.client.HTTPSConnection(
                    *(address.hostname or "", address.port),
                    context=lane.context,
                    timeout=ANSWER_SECONDS,
                )
                stack.callback(connection.close)
                error: OSError | http.client.HTTPException | None = None
                try:
                    headers[route.header] = route.value.replace("{key}", lane.key(route.credential))
                    connection.request("POST", f"{address.path}{route.path}", body, headers)
                    answer = connection.getresponse()
                    status, retry_after = answer.status, answer.headers.get("Retry-After", "")
                    if status != 200:
                        refusal = answer.read(_REFUSAL_MAX_BYTES)
                except (OSError, http.client.HTTPException) as unanswered:
                    error, status, refusal, retry_after = unanswered, 503, b"", ""
                held = time.monotonic() - began
                seconds = gateway.pause(status, refusal, retry_after, attempts - 1, held)
                if seconds is None:
                    if error is not None:
                        raise error
                    stack.pop_all()
                    return connection, answer, refusal, attempts
            self._hold(lane, seconds)

    def _hold(self, lane: LaneSocket, seconds: float) -> None:
        """Wait for an overloaded model; who waits for it is not idle.

        Raises:
            HungUpError: nobody waits for the answer any more.

        """
        deadline = time.monotonic() + seconds
        with lane.lock:
            lane.waiting += 1
        try:
            while (left := deadline - time.monotonic()) > 0:
                if self._has_left():
                    break
                lane.last_activity = time.monotonic()
                time.sleep(min(left, _LOOK_SECONDS))
        finally:
            with lane.lock:
                lane.waiting -= 1
        if self._has_left():
            raise HungUpError("the agent has hung up")

    def _has_left(self) -> bool:
        """Whether whoever asked has hung up."""
        # Not select, which ends where a descriptor is 1024 or more.
        asked = select.poll()
        asked.register(self.connection, select.POLLIN)
        try:
            return bool(asked.poll(0)) and not self.connection.recv(1, socket.MSG_PEEK)
        except OSError:
            return True

    def _pass_on(self, write: Callable[[Any], None], what: Any) -> None:
        """Write to the lane as long as it listens.

        An answer whose asker has hung up is read to its end all the same: what it used is
        told there, and is used whether somebody listens or not.
        """
        if self._has_hung_up:
            return
        try:
            write(what)
        except OSError:
            self._has_hung_up = self.close_connection = True

    def _begin(self, answer: http.client.HTTPResponse) -> None:
        self.send_response_only(answer.status)
        for name in ("Content-Type", "Retry-After", "X-Request-Id"):
            if name in answer.headers:
                self.send_header(name, answer.headers[name])
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()

    def _send_chunk(self, chunk: bytes) -> None:
        self.wfile.write(b"%x\r\n%s\r\n" % (len(chunk), chunk))
        self.wfile.flush()

    def _refuse(self, status: int, code: str, words: str) -> None:
        document = {"error": {"message": words, "type": "invalid_request_error", "code": code}}
        content = json.dumps(document).encode()
        self.send_response_only(status)
        if code in {"reserved", "rate", "size"}:
            self.send_header("Retry-After", str(RETRY_SECONDS))
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)


# What is refused is refused in the same words, whatever it calls itself.
for _method in ("GET", "POST", "PUT", "DELETE", "PATCH", "HEAD", "OPTIONS"):
    setattr(_Handler, f"do_{_method}", _Handler._any)


def _tunnel(lane: LaneSocket, near: socket.socket, far: socket.socket) -> tuple[int, int]:
    counts = [0, 0]

    def copy(source: socket.socket, target: socket.socket, index: int) -> None:
        with suppress(OSError):
            while chunk := source.recv(_CHUNK_BYTES):
                target.sendall(chunk)
                counts[index] += len(chunk)
                lane.last_activity = time.monotonic()
        with suppress(OSError):
            target.shutdown(socket.SHUT_WR)

    back = threading.Thread(target=copy, args=(far, near, 1), daemon=True)
    back.start()
    copy(near, far, 0)
    back.join(ANSWER_SECONDS)
    return counts[0], counts[1]


class Gateway:
    """All lanes of this host."""

    def __init__(self, run_dir: Path, credentials_dir: Path, ca_file: str) -> None:
        """Keep the places; ``ca_file`` is trusted beside the system's authorities."""
        self._run_dir, self._credentials_dir = run_dir, credentials_dir
        self._context = ssl.create_default_context()
        if ca_file:
            self._context.load_verify_locations(ca_file)
        self._lanes: dict[str, LaneSocket] = {}
        # What was spent today: by all lanes of a project, and by all of the host under no name.
        self._spent: dict[str, Spent] = {}
        self._spending = threading.Lock()
        self._lock = threading.Lock()

    def recover(self) -> None:
        """Open the sockets of all lanes that are under way."""
        for path in sorted(self._run_dir.glob(f"*/{POLICY}")):
            answer = self.open(path.parent.name)
            if answer != "ok":
                _log.warning("lane %s: %s", path.parent.name, answer)

    def open(self, name: str) -> str:
        """Open a lane's socket by the policy in its place; return ``ok`` or what is wrong."""
        try:
            place = self._run_dir / identity.checked(name)
            document = json.loads((place / POLICY).read_bytes())
            policy = gateway.policy_from_document(
                document, agents.route_from_document(document["route"])
            )
            self._key(policy.route.credential)
            counter = UsageCounter(
                policy,
                project_spent=self._spent_by(policy, policy.project),
                host_spent=self._spent_by(policy, ""),
            )
            counter.recall(_lines(Path(policy.log_path)))
            path = place / SOCKET_DIR / SOCKET
            with self._lock:
                self._close(name)
                path.unlink(missing_ok=True)
                server = _Server(str(path), _Handler)
                path.chmod(0o666)
                lane = LaneSocket(counter, self._key, self._context, server=server)
                lane.spending = self._spending
                server.lane = self._lanes[name] = lane
            threading.Thread(target=server.serve_forever, args=(0.2,), daemon=True).start()
        except (OSError, ValueError, KeyError, TypeError) as error:
            return f"{type(error).__name__}: {error}"
        return "ok"

    def _spent_by(self, policy: gateway.LanePolicy, project: str) -> Spent:
        with self._spending:
            if project not in self._spent:
                found, now = Spent(), time.time()
                for line in _lines(Path(policy.spent_dir, f"{day_of(now)}.jsonl")):
                    if project in ("", line.get("project")):
                        found.add(now, int(line["tokens"]), float(line["cost_usd"]))
                self._spent[project] = found
            return self._spent[project]

    def _key(self, credential: str) -> str:
        """Return the secret; it is read anew, so that a changed one needs no restart."""
        path = self._credentials_dir / Path(credential).name
        try:
            key = path.read_text("ascii").strip()
        except OSError as error:
            raise OSError(f"credential {credential}: {error.strerror}") from None
        if not key or not key.isprintable():
            raise OSError(f"credential {credential} holds no secret on one line")
        return key

    def close(self, name: str) -> str:
        with self._lock:
            self._close(name)
        return "ok"

    def _close(self, name: str) -> None:
        lane = self._lanes.pop(name, None)
        if lane is not None and lane.server is not None:
            threading.Thread(target=lane.server.shutdown, daemon=True).start()
            lane.server.server_close()

    def status(self, name: str) -> str:
        """Return what a lane has used, and since when nothing has passed."""
        lane = self._lanes.get(name)
        if lane is None:
            return "unknown"
        idle = time.monotonic() - lane.last_activity
        return json.dumps(
            {
                "tokens": lane.counter.tokens,
                "cost_usd": round(lane.counter.cost_usd, 4),
                "waiting": lane.waiting,
                "requests_count": lane.counter.requests_count,
                "in_flight": lane.in_flight,
                "idle_seconds": round(idle, 1),
            }
        )

    def answer(self, line: str) -> str:
        """Carry out one line of the control socket."""
        verb, _space, name = line.strip().partition(" ")
        verbs = {"open": self.open, "close": self.close, "status": self.status}
        return verbs[verb](name) if verb in verbs else f"unknown verb {verb!r}"


def _lines(path: Path) -> list[Mapping[str, Any]]:
    found: list[Mapping[str, Any]] = []
    with suppress(FileNotFoundError):
        for line in path.read_bytes().splitlines():
            with suppress(ValueError):
                document = json.loads(line)
                if isinstance(document, dict):
                    found.append(document)
    return found


def serve(run_dir: Path, ca_file: str, control: Path) -> None:
    """Serve until the process is ended."""
    served = Gateway(
        run_dir, Path(os.environ.get("CREDENTIALS_DIRECTORY", "/nonexistent")), ca_file
    )

    class Control(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            line = self.rfile.readline(200).decode("ascii", "replace")
            self.wfile.write(f"{served.answer(line)}\n".encode())

    control.unlink(missing_ok=True)
    server = socketserver.ThreadingUnixStreamServer(str(control), Control)
    control.chmod(0o600)
    served.recover()
    notify("READY=1")
    server.serve_forever()


def notify(message: str) -> None:
    """Tell systemd, where it asked to be told."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if address:
        name = f"\0{address[1:]}" if address.startswith("@") else address
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as link:
            link.sendto(message.encode(), name)
