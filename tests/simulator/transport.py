"""HTTPS: sockets, TLS, bodies, and which part answers a path."""

from __future__ import annotations

import contextlib
import socket
import ssl
import traceback
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from simulator.faults import Disconnected
from simulator.http import Answer, HttpError, Incoming

IDLE_SECONDS = 60.0
LARGEST_BODY = 256 * 1024 * 1024
Answerer = Callable[[Incoming], Answer]


class Server(ThreadingHTTPServer):
    """One listening socket. The TLS handshake happens in the connection's own thread."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(
        self, address: tuple[str, int], answerer: Answerer, tls: ssl.SSLContext | None
    ) -> None:
        """Listen; port 0 takes any that is free."""
        self.address_family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        self.answerer = answerer
        self.tls = tls
        super().__init__(address, Handler)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Keep quiet about clients that hang up."""


class Handler(BaseHTTPRequestHandler):
    """One connection, kept alive between requests."""

    protocol_version = "HTTP/1.1"
    server: Server

    def setup(self) -> None:
        """Wrap the connection in TLS."""
        self.request.settimeout(IDLE_SECONDS)
        if self.server.tls:
            self.request = self.server.tls.wrap_socket(self.request, server_side=True)
        # Headers and body leave in two writes; waiting for the peer in between costs 40 ms.
        self.request.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        super().setup()

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - inherited
        """Keep standard error clean; the request log is at the control port."""

    def _answer(self) -> None:
        try:
            answer = self.server.answerer(self._incoming())
        except HttpError as error:
            answer = error.answer()
        except Disconnected:
            self.close_connection = True
            with contextlib.suppress(OSError):
                self.connection.shutdown(socket.SHUT_RDWR)
            return
        except Exception as error:  # A defect of ours must be seen, not hang a client.
            traceback.print_exc()
            answer = HttpError(500, f"defect in the simulator: {error!r}").answer()
        body = answer.encoded()
        self.send_response(answer.status)
        for name, value in answer.headers.items():
            self.send_header(name, value)
        if answer.status not in {204, 304}:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD" and answer.status not in {204, 304}:
            self.wfile.write(body)

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = _answer  # noqa: N815

    def _incoming(self) -> Incoming:
        parts = urlsplit(self.path)
        return Incoming(
            method="GET" if self.command == "HEAD" else self.command,
            path=unquote(parts.path),
            query=dict(parse_qsl(parts.query, keep_blank_values=True)),
            headers={name.lower(): value for name, value in self.headers.items()},
            body=self._body(),
        )

    def _body(self) -> bytes:
        if "chunked" in self.headers.get("Transfer-Encoding", "").lower():
            return b"".join(self._chunks())
        length = int(self.headers.get("Content-Length") or 0)
        if length > LARGEST_BODY:
            self.close_connection = True
            raise HttpError(413, "Payload too large")
        if self.headers.get("Expect", "").lower() == "100-continue":
            self.send_response_only(100)
            self.end_headers()
        return self.rfile.read(length)

    def handle_expect_100(self) -> bool:
        """Leave the interim answer to the moment before the body is read."""
        return True

    def _chunks(self) -> list[bytes]:
        if self.headers.get("Expect", "").lower() == "100-continue":
            self.send_response_only(100)
            self.end_headers()
        chunks = []
        while size := int(self.rfile.readline().split(b";")[0], 16):
            chunks.append(self.rfile.read(size))
            self.rfile.readline()
        while self.rfile.readline().strip():
            pass
        return chunks
