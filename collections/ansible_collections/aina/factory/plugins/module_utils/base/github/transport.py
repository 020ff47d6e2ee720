"""GitHub over the ``Fetch`` port: REST and GraphQL, limits and failures as typed errors."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urljoin, urlsplit

from ..ports import Fetch, Now, Request, Response
from .errors import ForgeError, LimitedError, RefusedError, UncertainError, UnusableError

# Without Retry-After or a reset time GitHub asks for at least a minute.
_LIMIT_SECONDS = 60.0
_MAX_REDIRECTS = 3
_REDIRECTS = (301, 302, 307, 308)


class PartialError(ForgeError):
    """GraphQL answered with errors; ``data`` is what came nevertheless."""

    def __init__(
        self, message: str, data: dict[str, Any] | None, errors: Sequence[Any] = ()
    ) -> None:
        """Keep GitHub's words, the data and the errors as they came."""
        super().__init__(message)
        self.data = data
        self.errors = errors

    def below(self, *path: str) -> dict[str | int, str]:
        """Return what went wrong by place right below ``path``; raise it if it lies elsewhere."""
        found: dict[str | int, str] = {}
        for item in self.errors:
            given = item.get("path") if isinstance(item, dict) else None
            place = given if isinstance(given, list) else []
            if self.data is None or tuple(place[: len(path)]) != path or len(place) == len(path):
                raise self
            found.setdefault(place[len(path)], str(item.get("message"))[:300])
        if not found:
            raise self
        return found


def web_url(api_url: str) -> str:
    """Return where persons visit what a REST address serves: github.com, ghe.com or an Enterprise server."""
    parts = urlsplit(api_url)
    name = parts.hostname or ""
    if name == "api.github.com" or (name.startswith("api.") and name.endswith(".ghe.com")):
        return f"{parts.scheme}://{parts.netloc.rpartition('@')[2].removeprefix('api.')}"
    return api_url.removesuffix("/api/v3")


def graphql_url(api_url: str) -> str:
    """Return the GraphQL address that belongs to a REST address (GHES differs)."""
    base = api_url.rstrip("/")
    return f"{base.removesuffix('/v3')}/graphql" if base.endswith("/api/v3") else f"{base}/graphql"


@dataclass
class Meter:
    """Requests and points spent, and what GitHub says is left."""

    requests_count: int = 0
    points_count: int = 0
    writes_count: int = 0
    points_remaining: int = 5000


@dataclass
class Transport:
    """Sends requests; ``token`` is asked for every one, since installation tokens expire.

    An empty token sends them as nobody.
    """

    fetch: Fetch
    api_url: str
    token: Callable[[], str]
    now: Now
    meter: Meter = field(default_factory=Meter)
    timeout_seconds: float = 30.0

    def _send(self, method: str, url: str, body: Any) -> Response:
        headers = {
            "Accept": "application/vnd.github+json",
            "Content-Type": "application/json",
            "User-Agent": "aina-factory",
            # Later versions drop fields that verification needs.
            "X-GitHub-Api-Version": "2022-11-28",
        }
        try:
            token = self.token()
        except OSError as error:
            raise UncertainError(f"{method} {url}: no token: {error}") from error
        if token:
            headers["Authorization"] = f"Bearer {token}"
        data = None if body is None else json.dumps(body).encode()
        self.meter.requests_count += 1
        try:
            return self.fetch(
                Request(method, url, headers, data), timeout_seconds=self.timeout_seconds
            )
        except OSError as error:
            raise UncertainError(f"{method} {url}: no answer: {error}") from error

    def rest(self, method: str, path: str, body: Any = None) -> Any:
        """Send one REST request and return the JSON answer (None when it is empty).

        A redirect is followed by reads, on the same host; a write was not carried out.
        """
        url = f"{self.api_url.rstrip('/')}{path}"
        response = self._send(method, url, body)
        for _turn in range(_MAX_REDIRECTS):
            if method != "GET" or response.status not in _REDIRECTS:
                break
            place = _beside(url, response.headers.get("location", ""))
            if not place:
                break
            url = place
            response = self._send(method, url, body)
        self._judge(f"{method} {path}", response)
        what = f"{method} {path}: {response.status}"
        if not response.body:
            return None
        try:
            return json.loads(response.body)
        except ValueError as error:
            raise UncertainError(f"{what}: the answer is not JSON") from error

    def graphql(self, query: str, variables: Mapping[str, Any]) -> dict[str, Any]:
        """Send one GraphQL query and return its data.

        Raises:
            PartialError: there are errors beside the data.
            LimitedError: the limit is used up, also when said with status 200.

        """
        body = {"query": query, "variables": dict(variables)}
        response = self._send("POST", graphql_url(self.api_url), body)
        self._judge("GraphQL", response)
        try:
            document = json.loads(response.body)
        except ValueError as error:
            raise UncertainError("GraphQL: the answer is not JSON") from error
        if not isinstance(document, dict):
            raise UncertainError("GraphQL: the answer is not an object")
        data = document.get("data")
        self._count_points(data)
        errors = document.get("errors")
        if errors:
            self._judge_errors(errors, response, data)
        if not isinstance(data, dict):
            raise UncertainError("GraphQL: the answer has no data")
        return data

    def _count_points(self, data: Any) -> None:
        limit = data.get("rateLimit") if isinstance(data, dict) else None
        if isinstance(limit, dict):
            self.meter.points_count += int(limit.get("cost") or 0)
            self.meter.points_remaining = int(limit.get("remaining") or 0)

    def _judge_errors(self, errors: Any, response: Response, data: Any) -> None:
        listed = errors if isinstance(errors, list) else [errors]
        kinds = {item.get("type") for item in listed if isinstance(item, dict)}
        words = "; ".join(
            str(item.get("message")) if isinstance(item, dict) else str(item) for item in listed[:3]
        )
        if "RATE_LIMITED" in kinds or "rate limit" in words.lower():
            raise LimitedError(words, self._retry_after(response))
        raise PartialError(words, data if isinstance(data, dict) else None, listed)

    def _judge(self, asked: str, response: Response) -> None:
        """Raise unless GitHub did what it was asked."""
        self._judge_limits(response)
        status, what = response.status, f"{asked}: {response.status}"
        if status >= 500:
            raise UncertainError(f"{what} {_words(response)}")
        if 300 <= status < 400:
            place = response.headers.get("location") or "an address that was not told"
            raise UnusableError(
                f"{what}: the repository has moved to {place[:300]}; configure its new name", status
            )
        if status == 401:
            raise UnusableError(f"{what} {_words(response)}", status)
        if not 200 <= status < 300:
            raise RefusedError(f"{what} {_words(response)}", status)

    def _judge_limits(self, response: Response) -> None:
        if response.status not in (403, 429):
            return
        words = _words(response)
        exhausted = response.headers.get("x-ratelimit-remaining") == "0"
        said = "rate limit" in words.lower() or "abuse" in words.lower()
        if response.status == 429 or exhausted or said or "retry-after" in response.headers:
            raise LimitedError(words, self._retry_after(response))

    def _retry_after(self, response: Response) -> float:
        try:
            if "retry-after" in response.headers:
                return max(0.0, float(response.headers["retry-after"]))
            if response.headers.get("x-ratelimit-remaining") == "0":
                return max(1.0, float(response.headers["x-ratelimit-reset"]) - self.now())
        except (KeyError, ValueError):
            pass
        return _LIMIT_SECONDS


def _beside(url: str, location: str) -> str:
    """Return where ``location`` leads if that may see the token too: the same host; else ""."""
    try:
        place = urljoin(url, location)
        return place if location and urlsplit(place)[:2] == urlsplit(url)[:2] else ""
    except ValueError:
        return ""


def _words(response: Response) -> str:
    try:
        document = json.loads(response.body)
        return str(document["message"])[:300]
    except (ValueError, KeyError, TypeError):
        return response.body[:200].decode(errors="replace")
