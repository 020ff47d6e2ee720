"""The console: the status over HTTP, behind a token, for reading alone.

systemd holds its socket and starts it with the first visitor; it ends when nobody came for a while.
"""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import http.server
import json
import os
import secrets
import selectors
import socket
import stat
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from factory.core.base import documents, files
from factory.core.lanes import identity
from factory.core.status import lane_page, page
from factory.core.status.page import LaneNow
from factory.core.watchdog.settings import WatchdogSettings
from factory.lanes import transcript
from factory.watchdog import published

_FIRST_DESCRIPTOR = 3
_COOKIE = "factory-console"
_LOCAL = ("127.0.0.1", "localhost", "::1")
_MOST_AT_ONCE = 32
_REQUEST_SECONDS = 15
_TAIL_BYTES = 256 << 10
_NOW_BYTES = 64 << 10
_SHOWN_LANES = 40


@dataclass(frozen=True)
class Asked:
    """What a browser asks for; names of headers are lower-case."""

    target: str
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Reply:
    """What it gets."""

    status: HTTPStatus
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Console:
    """What the console shows, and to whom."""

    policy: WatchdogSettings
    lanes_dir: Path
    token: str

    def reply(self, asked: Asked, now: float) -> Reply:
        """Answer one request; whoever does not hold the token learns nothing."""
        address = urlsplit(asked.target)
        if not self._is_meant(asked):
            return _words(HTTPStatus.FORBIDDEN, "This is not where the console is served.")
        query = parse_qs(address.query, keep_blank_values=True)
        if "token" in query:
            return self._let_in(query["token"][0], address.path)
        if not self._may_read(asked):
            words = "Open the address that this prints on the server: sudo factory console"
            return _words(HTTPStatus.FORBIDDEN, words)
        if address.path == "/status.json":
            return self._document(asked)
        if address.path == "/":
            return self._status(asked, "part" in query, now)
        name = address.path.removeprefix("/lane/")
        if name != address.path and identity.is_lane(name):
            return self._lane(asked, name, "part" in query, now)
        return _words(HTTPStatus.NOT_FOUND, "There is no such page.")

    def _is_meant(self, asked: Asked) -> bool:
        """Whether the request was meant for this server, by its own pages.

        Another site's page can have a name of its own lead here, or send a request along.
        """
        host = urlsplit(f"//{asked.headers.get('host', '')}").hostname or ""
        if host not in (*_LOCAL, *self.policy.console.names):
            return False
        origin = asked.headers.get("origin")
        if origin not in (None, "null") and urlsplit(origin).netloc != asked.headers.get("host"):
            return False
        site = asked.headers.get("sec-fetch-site", "none")
        # A link from elsewhere may lead here; the cookie stays behind then, and nothing is shown.
        return site in ("none", "same-origin") or asked.headers.get("sec-fetch-mode") == "navigate"

    @property
    def _key(self) -> str:
        return hmac.new(self.token.encode(), b"console", hashlib.sha256).hexdigest()

    def _may_read(self, asked: Asked) -> bool:
        scheme, _space, bearer = asked.headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer":
            return hmac.compare_digest(bearer.encode(), self.token.encode())
        pairs = (item.strip().partition("=") for item in asked.headers.get("cookie", "").split(";"))
        given = next((value for name, _equals, value in pairs if name == _COOKIE), "")
        return hmac.compare_digest(given.encode(), self._key.encode())

    def _let_in(self, token: str, path: str) -> Reply:
        if not hmac.compare_digest(token.encode(), self.token.encode()):
            return _words(HTTPStatus.FORBIDDEN, "This token is not the server's.")
        cookie = f"{_COOKIE}={self._key}; HttpOnly; SameSite=Strict; Path=/; Max-Age=2592000"
        # The token leaves the address bar, and with it the history.
        target = f"/{path.lstrip('/')}"
        return Reply(HTTPStatus.SEE_OTHER, headers={"Location": target, "Set-Cookie": cookie})

    def _document(self, asked: Asked) -> Reply:
        found = published.read(self.policy)
        if found.document is None:
            return _words(HTTPStatus.SERVICE_UNAVAILABLE, found.problem)
        document = found.document
        return _content(asked, lambda: json.dumps(document), found.mark, "application/json")

    def _status(self, asked: Asked, is_part: bool, now: float) -> Reply:
        found = published.read(self.policy)
        if found.document is None:
            return _words(HTTPStatus.SERVICE_UNAVAILABLE, found.problem)
        document = found.document
        names = [str(item["name"]) for item in document["lanes"]["items"] if item["known"]]
        names = [name for name in names[:_SHOWN_LANES] if identity.is_lane(name)]
        # A page that nobody renews becomes old without any change of the file.
        state = (found.mark, page.is_doubtful(document, now), [self._stand(name) for name in names])
        mark = _mark(state)

        def inner() -> str:
            return page.main(document, now, {name: self._now(name) for name in names})

        title = f"{document['host']}: {document['overall']}"
        return _content(
            asked, inner if is_part else lambda: page.live(title, inner(), f'"{mark}"'), mark
        )

    def _stand(self, name: str) -> list[tuple[int, int]]:
        """Return what changes whenever a lane's files do."""
        stand = []
        for part in ("transcript.jsonl", "gateway.jsonl", "state.json", "result.json"):
            try:
                found = (self.lanes_dir / name / part).lstat()
            except OSError:
                stand.append((0, 0))
            else:
                stand.append((found.st_mtime_ns, found.st_size))
        return stand

    def _now(self, name: str) -> LaneNow:
        directory = self.lanes_dir / name
        events = _tail(directory / "transcript.jsonl", _NOW_BYTES)
        words = next(filter(None, map(transcript.describe, reversed(events))), "")
        totals = (
            (line["tokens_total"], line.get("cost_total_usd"))
            for line in reversed(_tail(directory / "gateway.jsonl", _NOW_BYTES))
            if isinstance(line.get("tokens_total"), int)
        )
        tokens, cost = next(totals, (0, None))
        return LaneNow(words[:200], tokens, cost if isinstance(cost, (int, float)) else 0.0)

    def _lane(self, asked: Asked, name: str, is_part: bool, now: float) -> Reply:
        directory = self.lanes_dir / name
        if not directory.is_dir():
            return _words(HTTPStatus.NOT_FOUND, "There is no such lane.")
        mark = _mark(self._stand(name))

        def inner() -> str:
            events = _tail(directory / "transcript.jsonl", _TAIL_BYTES)
            state, result = (
                documents.read(directory / f"{part}.json") or {} for part in ("state", "result")
            )
            return lane_page.main(name, state, result, events, self._now(name), now)

        return _content(
            asked, inner if is_part else lambda: page.live(name, inner(), f'"{mark}"'), mark
        )


def _mark(state: object) -> str:
    return hashlib.sha256(repr(state).encode()).hexdigest()[:16]


def _tail(path: Path, most_bytes: int) -> list[dict[str, Any]]:
    """Return the last events of a file that may be long."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return []
    with os.fdopen(descriptor, "rb") as file:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode):
            return []
        file.seek(max(0, found.st_size - most_bytes))
        lines = file.read(most_bytes).splitlines()
    events = []
    for line in lines:
        with contextlib.suppress(ValueError, RecursionError):
            event = json.loads(line)
            if isinstance(event, dict):
                events.append(event)
    return events


def _content(asked: Asked, text: Callable[[], str], mark: str, kind: str = "text/html") -> Reply:
    """Return what is asked for, or that it has not changed; only then it is made."""
    if asked.headers.get("if-none-match") == f'"{mark}"':
        return Reply(HTTPStatus.NOT_MODIFIED, headers={"ETag": f'"{mark}"'})
    body = text().encode("utf-8", "replace")
    headers = {"Content-Type": f"{kind}; charset=utf-8", "ETag": f'"{mark}"'}
    return Reply(HTTPStatus.OK, body, headers)


def _words(status: HTTPStatus, words: str) -> Reply:
    headers = {"Content-Type": "text/plain; charset=utf-8"}
    return Reply(status, f"{words}\n".encode("utf-8", "replace"), headers)


def token_of(policy: WatchdogSettings, *, make: bool = False) -> str:
    """Return the token that opens the console; root makes it where there is none.

    Raises:
        OSError: it cannot be read or made.

    """
    path = Path(policy.state_dir, "console-token")
    if make and not path.exists():
        with contextlib.suppress(FileExistsError):
            files.write(path, secrets.token_urlsafe(32).encode(), 0o600, exclusive=True)
    token = path.read_text(encoding="utf-8").strip()
    if len(token) < 32:
        raise OSError(f"{path} holds no token; remove it, and factory console makes a new one")
    return token


@dataclass
class Visits:
    """When somebody last came, by whatever address."""

    last_at: float = field(default_factory=time.monotonic)


class Server(http.server.ThreadingHTTPServer):
    """Serves one socket; so many requests at once at most, and none for long."""

    daemon_threads = True
    block_on_close = False

    def __init__(
        self, listening: socket.socket, console: Console, visits: Visits | None = None
    ) -> None:
        """Take over a socket that listens; who comes is noted in ``visits``."""
        super().__init__(("", 0), _Handler, bind_and_activate=False)
        self.socket.close()
        self.socket = listening
        self.console = console
        self.visits = visits or Visits()
        self._places = threading.BoundedSemaphore(_MOST_AT_ONCE)

    def process_request(self, request: Any, client_address: Any) -> None:
        """Begin a request, where there is place for one more."""
        if not self._places.acquire(blocking=False):
            self.shutdown_request(request)
            return
        super().process_request(request, client_address)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Answer it, and give the place back."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._places.release()

    def handle_error(self, _request: Any, _client_address: Any) -> None:
        """Say nothing: whoever hangs up in the middle is no news."""


class _Handler(http.server.BaseHTTPRequestHandler):
    server: Server
    timeout = _REQUEST_SECONDS
    server_version, sys_version = "factory", ""

    def do_GET(self) -> None:
        """Answer, with what a browser may do for the answer."""
        self.server.visits.last_at = time.monotonic()
        headers = {name.lower(): value for name, value in self.headers.items()}
        reply = self.server.console.reply(Asked(self.path, headers), time.time())
        self.send_response(reply.status)
        policy = page.content_policy(page.LIVE_SCRIPT, connects=True)
        fixed = {
            "Content-Security-Policy": f"{policy}; frame-ancestors 'none'",
            "X-Content-Type-Options": "nosniff",
            "Referrer-Policy": "no-referrer",
            "Cross-Origin-Resource-Policy": "same-origin",
            "Cross-Origin-Opener-Policy": "same-origin",
            "Cache-Control": "no-store",
            "Content-Length": str(len(reply.body)),
        }
        for name, value in {**fixed, **reply.headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(reply.body)

    def log_message(self, *_words: object) -> None:
        """Say nothing: an address may hold a token."""


def inherited() -> list[socket.socket]:
    """Return the sockets that systemd hands over; none where it did not start this."""
    if os.environ.get("LISTEN_PID") != str(os.getpid()):
        return []
    count = int(os.environ.get("LISTEN_FDS", "0"))
    return [socket.socket(fileno=_FIRST_DESCRIPTOR + number) for number in range(count)]


def serve(console: Console, sockets: list[socket.socket], idle_seconds: float) -> None:
    """Serve all sockets until nobody came by any of them for a while.

    They end together: an address that nobody answers would stay so for as long as somebody
    comes by another one.
    """
    visits = Visits()
    with selectors.DefaultSelector() as selector:
        for listening in sockets:
            # Whoever hangs up before being let in holds up nobody.
            listening.setblocking(False)
            selector.register(listening, selectors.EVENT_READ, Server(listening, console, visits))
        while time.monotonic() - visits.last_at < idle_seconds:
            for ready, _events in selector.select(min(5.0, idle_seconds)):
                ready.data.handle_request()


@contextlib.contextmanager
def listening(address: str) -> Iterator[socket.socket]:
    """Listen at an address of this host, without systemd."""
    host, _colon, port = address.rpartition(":")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as found:
        found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        found.bind((host.strip("[]"), int(port)))
        found.listen(_MOST_AT_ONCE)
        yield found
