"""Requests and answers as the simulator's parts see them, whatever carries them."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any


class HttpError(Exception):
    """An answer that is an error, in GitHub's shape."""

    def __init__(
        self,
        status: int,
        message: str,
        *,
        errors: list[dict[str, Any]] | str | None = None,
        headers: dict[str, str] | None = None,
    ) -> None:
        """Keep the parts of the body."""
        super().__init__(message)
        self.status = status
        self.message = message
        self.errors = errors
        self.headers = headers or {}

    def answer(self) -> Answer:
        """Return the error as an answer."""
        body: dict[str, Any] = {"message": self.message}
        if self.errors is not None:
            body["errors"] = self.errors
        body["documentation_url"] = "https://docs.github.com/rest"
        body["status"] = str(self.status)
        return Answer(self.status, body, dict(self.headers))


@dataclass
class Incoming:
    """A request. ``path`` has neither the API's prefix nor a query."""

    method: str
    path: str
    query: dict[str, str] = field(default_factory=dict)
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""

    def json(self) -> Any:
        """Return the body's JSON value; nothing sent is an empty object.

        Raises:
            HttpError: it is not JSON.

        """
        if not self.body.strip():
            return {}
        try:
            return json.loads(self.body)
        except ValueError as error:
            raise HttpError(400, "Problems parsing JSON") from error


@dataclass
class Answer:
    """An answer. ``body``: a JSON value, raw bytes, or None for an empty one."""

    status: int = 200
    body: Any = None
    headers: dict[str, str] = field(default_factory=dict)

    def encoded(self) -> bytes:
        """Return the body as bytes, setting its content type."""
        if self.body is None:
            return b""
        if isinstance(self.body, bytes):
            self.headers.setdefault("Content-Type", "application/octet-stream")
            return self.body
        self.headers.setdefault("Content-Type", "application/json; charset=utf-8")
        return json.dumps(self.body, separators=(",", ":")).encode()
