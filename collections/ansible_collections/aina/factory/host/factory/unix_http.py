"""HTTP to a local server behind a socket file."""

from __future__ import annotations

import http.client
import socket
from urllib.parse import urlsplit

from factory.core.base.ports import Fetch, Request, Response


class Connection(http.client.HTTPConnection):
    """A connection to the server behind a socket file."""

    def __init__(self, socket_path: str, timeout_seconds: float | None) -> None:
        """Remember where it leads; it is made with the first request."""
        super().__init__("localhost")
        self._timeout_seconds = timeout_seconds
        self._socket_path = socket_path

    def connect(self) -> None:
        """Connect to the socket file instead of a port."""
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self._timeout_seconds)
        self.sock.connect(self._socket_path)


def fetch_through(socket_path: str) -> Fetch:
    """Return a ``Fetch`` that reaches the server behind ``socket_path`` for every host name."""

    def fetch(request: Request, *, timeout_seconds: float = 30.0) -> Response:
        address = urlsplit(request.url)
        target = f"{address.path}?{address.query}" if address.query else address.path
        connection = Connection(socket_path, timeout_seconds)
        try:
            connection.request(request.method, target, request.body, dict(request.headers))
            answer = connection.getresponse()
            headers = {name.lower(): value for name, value in answer.getheaders()}
            return Response(answer.status, headers, answer.read())
        except http.client.HTTPException as error:
            raise OSError(f"broken answer from {socket_path}: {error!r}") from error
        finally:
            connection.close()

    return fetch
