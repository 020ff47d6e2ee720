"""A small client for the simulator's own tests and for tests that use it."""

from __future__ import annotations

import http.client
import json
import ssl
from dataclasses import dataclass
from typing import Any

from simulator.ask import ControlError, ask
from simulator.server import REST_PREFIX, Simulator


@dataclass
class Reply:
    """An answer; ``body`` is the JSON value, the raw bytes, or None."""

    status: int
    headers: http.client.HTTPMessage
    body: Any


class Client:
    """Speaks REST, GraphQL and control to one simulator with one token."""

    def __init__(self, simulator: Simulator, token: str | None = None) -> None:
        """Use the administrator's token unless another one is given."""
        self.simulator = simulator
        self.token = simulator.token.value if token is None else token
        self._context = ssl.create_default_context(cafile=str(simulator.ca_file))

    def _send(
        self,
        method: str,
        path: str,
        body: Any,
        headers: dict[str, str] | None = None,
        data: bytes | None = None,
    ) -> Reply:
        connection = http.client.HTTPSConnection(
            self.simulator.host, timeout=30, context=self._context
        )
        sent = {"User-Agent": "simulator.client"}
        if self.token:
            sent["Authorization"] = f"Bearer {self.token}"
        if body is not None:
            data = json.dumps(body).encode()
        try:
            connection.request(method, path, data, {**sent, **(headers or {})})
            answer = connection.getresponse()
            raw = answer.read()
        finally:
            connection.close()
        kind = answer.headers.get("Content-Type", "")
        value = json.loads(raw) if "json" in kind and raw else (raw or None)
        return Reply(answer.status, answer.headers, value)

    def rest(
        self, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None
    ) -> Reply:
        """Send a REST request; ``path`` begins after the API's address."""
        return self._send(method, REST_PREFIX + path, body, headers)

    def upload(self, url: str, name: str, content: bytes) -> Reply:
        """Send a release's file to its ``upload_url``."""
        path = "/" + url.partition("{")[0].split("/", 3)[3]
        kind = {"Content-Type": "application/octet-stream"}
        return self._send("POST", f"{path}?name={name}", None, kind, content)

    def graphql(self, query: str, **variables: Any) -> Any:
        """Send a GraphQL request and return the answer's body."""
        return self.graphql_reply(query, **variables).body

    def graphql_reply(self, query: str, **variables: Any) -> Reply:
        return self._send("POST", "/api/graphql", {"query": query, "variables": variables})

    def post(self, path: str, body: Any) -> Reply:
        """Send a request to any other path."""
        return self._send("POST", path, body)

    def control(self, method: str, path: str, body: Any = None) -> Any:
        """Send a command to the control port and return its answer."""
        try:
            return ask(self.simulator.control_url, method, path, body)
        except ControlError as error:
            return {"error": str(error)}
