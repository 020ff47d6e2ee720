"""Which function answers which request, and what each of them is given."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from simulator.http import Answer, HttpError, Incoming
from simulator.model import Issue, Json, Pull, Repository, Token
from simulator.world import World

T = TypeVar("T")
DEFAULT_PAGE = 30
LARGEST_PAGE = 100


@dataclass
class Call:
    """A request on its way: who asks, for what, in which repository."""

    world: World
    request: Incoming
    params: dict[str, str]
    token: Token | None
    body: Json
    links: str | None = None
    # A created or found file elsewhere: the query string kept for Link headers.
    extra: Json = field(default_factory=dict)

    @property
    def repository(self) -> Repository:
        """The repository that the path names.

        Raises:
            HttpError: 404, there is none.

        """
        found = self.world.repository(f"{self.params['owner']}/{self.params['repo']}")
        if found is None:
            raise HttpError(404, "Not Found")
        return found

    @property
    def viewer(self) -> Token:
        """The caller.

        Raises:
            HttpError: 401, it has no token.

        """
        if self.token is None:
            raise HttpError(401, "Requires authentication")
        return self.token

    @property
    def number(self) -> int:
        """The number in the path."""
        return int(self.params["number"])

    def issue(self) -> Issue:
        """Return the issue or pull request that the path names, or raise 404."""
        found = self.repository.issues.get(self.number)
        if found is None or found.visible_from > self.world.now():
            raise HttpError(404, "Not Found")
        return found

    def pull(self) -> Pull:
        """Return the pull request that the path names, or raise 404."""
        found = self.issue()
        if not isinstance(found, Pull):
            raise HttpError(404, "Not Found")
        return found

    def query(self, name: str, default: str = "") -> str:
        return self.request.query.get(name, default)

    def field(self, name: str, kind: type[T], resource: str) -> T:
        """Return a required field of the body, or raise 422 as GitHub words it."""
        if name not in self.body:
            errors = [{"resource": resource, "code": "missing_field", "field": name}]
            raise HttpError(422, "Validation Failed", errors=errors)
        value = self.body[name]
        if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
            message = f"For 'properties/{name}', {value!r} is not of the type {kind.__name__}."
            raise HttpError(422, f"Invalid request.\n\n{message}")
        return value

    def page(self, items: Sequence[T]) -> list[T]:
        """Return the page that was asked for and note its Link header."""
        size = max(1, min(LARGEST_PAGE, _integer(self.query("per_page"), DEFAULT_PAGE)))
        page = max(1, _integer(self.query("page"), 1))
        last = max(1, -(-len(items) // size))
        relations = []
        if page > 1:
            relations += [("prev", min(page - 1, last)), ("first", 1)]
        if page < last:
            relations += [("next", page + 1), ("last", last)]
        if relations:
            self.links = ", ".join(f'<{self._url(n)}>; rel="{name}"' for name, n in relations)
        return list(items[(page - 1) * size : page * size])

    def _url(self, page: int) -> str:
        query = {**self.request.query, "page": str(page)}
        joined = "&".join(f"{key}={value}" for key, value in query.items())
        return f"{self.world.web_url}/api/v3{self.request.path}?{joined}"


def _integer(text: str, default: int) -> int:
    return int(text) if text.isdigit() else default


Handler = Callable[[Call], Any]


@dataclass(frozen=True)
class Route:
    """One operation. ``permission`` is needed in the path's repository."""

    method: str
    template: str
    pattern: re.Pattern[str]
    handler: Handler
    permission: tuple[str, str] | None
    status: int
    resource: str
    content: bool
    authentication: str
    # The body is a file, not JSON.
    raw: bool


ROUTES: list[Route] = []


def route(
    method: str,
    template: str,
    permission: str | None = None,
    *,
    status: int = 200,
    resource: str = "core",
    content: bool = False,
    authentication: str = "token",
    raw: bool = False,
) -> Callable[[Handler], Handler]:
    """Register a function; ``permission`` as in ``contents:write``, ``{x...}`` takes slashes."""

    def register(handler: Handler) -> Handler:
        expression = re.sub(r"\\\{(\w+)\\\}", r"(?P<\1>[^/]+)", re.escape(template))
        expression = re.sub(r"\\\{(\w+)\\\.\\\.\\\.\\\}", r"(?P<\1>.+)", expression)
        needed = tuple(permission.split(":")) if permission else None
        ROUTES.append(
            Route(
                method,
                template,
                re.compile(expression.replace("(?P<number>[^/]+)", r"(?P<number>\d+)")),
                handler,
                needed,  # type: ignore[arg-type]
                status,
                resource,
                content,
                authentication,
                raw,
            )
        )
        return handler

    return register


def find(method: str, path: str) -> tuple[Route, dict[str, str]] | None:
    """Return the operation for a request and the values in its path."""
    for candidate in ROUTES:
        if candidate.method == method and (match := candidate.pattern.fullmatch(path)):
            return candidate, match.groupdict()
    return None


def answer(result: Any, status: int) -> Answer:
    """Turn what a handler returned into an answer."""
    return result if isinstance(result, Answer) else Answer(status, result)
