"""How a field finds its value: a registered function, a dictionary key, or an attribute."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from graphql import GraphQLError
from graphql import GraphQLResolveInfo as ResolveInfo

from simulator.model import (
    Account,
    App,
    Asset,
    CheckRun,
    Comment,
    Issue,
    Label,
    Pull,
    QueueEntry,
    Release,
    Repository,
    Review,
    Rule,
    Run,
    Status,
    Token,
    Workflow,
)
from simulator.world import World

GraphQLResolveInfo = ResolveInfo[Any]
Resolver = Callable[..., Any]
RESOLVERS: dict[tuple[str, str], Resolver] = {}

TYPE_NAMES: dict[type, str] = {
    Pull: "PullRequest",
    Issue: "Issue",
    Repository: "Repository",
    Label: "Label",
    Comment: "IssueComment",
    Review: "PullRequestReview",
    CheckRun: "CheckRun",
    Status: "StatusContext",
    Release: "Release",
    Asset: "ReleaseAsset",
    Rule: "BranchProtectionRule",
    Run: "WorkflowRun",
    Workflow: "Workflow",
    QueueEntry: "MergeQueueEntry",
    App: "App",
}


@dataclass
class Context:
    """What every resolver is given beside its object."""

    world: World
    token: Token
    limits: dict[str, Any]


def context(info: GraphQLResolveInfo) -> Context:
    """Return the request's context, typed."""
    found: Context = info.context
    return found


class ApiError(GraphQLError):
    """An error with GitHub's ``type`` beside the message."""

    def __init__(self, kind: str, message: str) -> None:
        """Keep the type where the answer will show it."""
        super().__init__(message, extensions={"type": kind})


def resolver(*names: str) -> Callable[[Resolver], Resolver]:
    """Register a function for fields written ``Type.field``."""

    def register(function: Resolver) -> Resolver:
        for name in names:
            kind, _, field_name = name.partition(".")
            RESOLVERS[kind, field_name] = function
        return function

    return register


def snake(name: str) -> str:
    return re.sub(r"(?<=[a-z0-9])([A-Z])", r"_\1", name).lower()


def resolve_field(source: Any, info: GraphQLResolveInfo, **arguments: Any) -> Any:
    """Find a field's value. What the simulator does not know is an error, never a null."""
    kind, name = info.parent_type.name, info.field_name
    found = RESOLVERS.get((kind, name))
    if found is not None:
        return found(source, info, **arguments)
    if isinstance(source, dict) and name in source:
        return source[name]
    attribute = snake(name)
    if not isinstance(source, dict) and hasattr(source, attribute):
        return getattr(source, attribute)
    raise GraphQLError(f"the simulator does not know {kind}.{name}")


def resolve_type(source: Any, info: GraphQLResolveInfo, _abstract: Any) -> str:
    """Name the concrete type of an object behind an interface or union."""
    if isinstance(source, dict):
        return str(source["__typename"])
    if isinstance(source, Account):
        return source.kind
    return TYPE_NAMES[type(source)]


@dataclass
class Connection:
    """One page of a list."""

    nodes: list[Any]
    total_count: int
    cursors: list[str]
    more_after: bool
    more_before: bool
    extra: dict[str, Any] = field(default_factory=dict)

    @property
    def edges(self) -> list[dict[str, Any]]:
        return [
            {"cursor": cursor, "node": node, **self.extra}
            for cursor, node in zip(self.cursors, self.nodes, strict=True)
        ]

    @property
    def page_info(self) -> dict[str, Any]:
        return {
            "hasNextPage": self.more_after,
            "hasPreviousPage": self.more_before,
            "startCursor": self.cursors[0] if self.cursors else None,
            "endCursor": self.cursors[-1] if self.cursors else None,
        }


def connection(
    items: Sequence[Any],
    first: int | None = None,
    after: str | None = None,
    last: int | None = None,
    before: str | None = None,
    **_unused: Any,
) -> Connection:
    """Cut one page out of a list; a cursor stays good when items before it vanish."""
    keys = [_key(item, index) for index, item in enumerate(items)]
    start = _position(keys, after) + 1 if after else 0
    end = _position(keys, before) if before else len(items)
    if first is not None:
        end = min(end, start + first)
    if last is not None:
        start = max(start, end - last)
    return Connection(
        nodes=list(items[start:end]),
        total_count=len(items),
        cursors=[_cursor(keys[index], index) for index in range(start, max(start, end))],
        more_after=end < len(items),
        more_before=start > 0,
    )


def _key(item: Any, index: int) -> str:
    return str(getattr(item, "id", index))


def _cursor(key: str, index: int) -> str:
    return base64.b64encode(f"cursor:{index}:{key}".encode()).decode()


def _position(keys: list[str], cursor: str) -> int:
    try:
        _, index, key = base64.b64decode(cursor).decode().split(":", 2)
    except ValueError as error:
        message = f"`{cursor}` does not appear to be a valid cursor."
        raise ApiError("INVALID_CURSOR_ARGUMENTS", message) from error
    if key in keys:
        return keys.index(key)
    # The item itself is gone: those after it moved up by one.
    return int(index) - 1
