"""Misbehaviour on demand: which requests it meets and what it does to them."""

from __future__ import annotations

import copy
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any

from simulator.http import Answer, Incoming


@dataclass
class Fault:
    """One kind of misbehaviour.

    It meets requests by method, path pattern, and root field of a GraphQL operation;
    ``skip`` lets the first ones pass, ``times`` ends it. An ``answer`` replaces the real
    one, before the work is done or (``when: after``) although it was done.
    """

    name: str
    method: str | None = None
    path: str | None = None
    graphql: str | None = None
    skip: int = 0
    times: int | None = None
    probability: float = 1.0
    latency_seconds: float = 0.0
    when: str = "before"
    answer: dict[str, Any] | None = None
    rate_limit: str | None = None
    errors: list[dict[str, Any]] | None = None
    partial: list[str] = field(default_factory=list)
    disconnect: bool = False
    met: int = 0
    fired: int = 0

    def meets(self, request: Incoming, root_fields: list[str]) -> bool:
        """Say whether this fault is meant for a request."""
        if self.method and self.method.upper() != request.method:
            return False
        if self.path and not fnmatchcase(request.path, self.path):
            return False
        return not self.graphql or any(fnmatchcase(name, self.graphql) for name in root_fields)


class Disconnected(Exception):  # noqa: N818 - an event, not an error of ours
    """The connection is to be cut without an answer."""


def due(faults: list[Fault], request: Incoming, root_fields: list[str], draw: float) -> list[Fault]:
    """Return the faults that strike this request, counting them."""
    found = []
    for fault in faults:
        if not fault.meets(request, root_fields):
            continue
        fault.met += 1
        spent = fault.times is not None and fault.fired >= fault.times
        if fault.met <= fault.skip or spent or draw >= fault.probability:
            continue
        fault.fired += 1
        found.append(fault)
    return found


def replacement(fault: Fault, *, graphql: bool, now: float) -> Answer | None:
    """Return the answer that the fault puts in place of the real one."""
    if fault.rate_limit:
        return _rate_limited(fault.rate_limit, graphql=graphql, now=now)
    if fault.errors is not None:
        return Answer(200, {"data": None, "errors": fault.errors})
    if fault.answer is None:
        return None
    status = fault.answer["status"]
    body = fault.answer.get("body", {"message": fault.answer.get("message", REASONS.get(status))})
    if status >= 500 and "body" not in fault.answer:
        # The load balancer answers with a page, not with JSON.
        page = f"<html><body><h1>{status}</h1></body></html>".encode()
        return Answer(status, page, {"Content-Type": "text/html", **_headers(fault)})
    return Answer(status, body, _headers(fault))


def _headers(fault: Fault) -> dict[str, str]:
    headers = (fault.answer or {}).get("headers", {})
    return {name: str(value) for name, value in headers.items()}


def _rate_limited(kind: str, *, graphql: bool, now: float) -> Answer:
    if kind == "primary":
        headers = {"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": str(int(now) + 60)}
        message = "API rate limit exceeded for user ID 1."
        if graphql:
            # GitHub answers 200 here: only the body tells.
            error = {"type": "RATE_LIMITED", "message": "API rate limit exceeded"}
            return Answer(200, {"errors": [error]}, headers)
        return Answer(403, {"message": message}, headers)
    message = "You have exceeded a secondary rate limit. Please wait a few minutes before you try"
    body = {"message": f"{message} again."}
    if kind == "secondary_200":
        return Answer(200, {"errors": [{"type": "RATE_LIMITED", **body}]})
    return Answer(403, body, {"Retry-After": "60"})


def make_partial(body: Any, paths: list[str]) -> Any:
    """Blank fields of a GraphQL answer, each with its error; ``*`` stands for every index."""
    body = copy.deepcopy(body)
    for path in paths:
        for place in _expand(body.get("data"), path.split(".")):
            target = body["data"]
            for step in place[:-1]:
                target = target[step]
            target[place[-1]] = None
            error = {"message": "Something went wrong while executing your query.", "path": place}
            body.setdefault("errors", []).append(error)
    return body


def _expand(value: Any, steps: list[str]) -> list[list[Any]]:
    if not steps:
        return [[]]
    head, rest = steps[0], steps[1:]
    keys: list[Any]
    if isinstance(value, list):
        keys = list(range(len(value))) if head == "*" else [int(head)]
        keys = [key for key in keys if key < len(value)]
    elif isinstance(value, dict):
        keys = list(value) if head == "*" else [key for key in [head] if key in value]
    else:
        return []
    return [[key, *tail] for key in keys for tail in _expand(value[key], rest)]


REASONS = {
    401: "Bad credentials",
    403: "Forbidden",
    404: "Not Found",
    405: "Pull Request is not mergeable",
    409: "Head branch was modified. Review and try the merge again.",
    422: "Validation Failed",
    429: "Too Many Requests",
}
