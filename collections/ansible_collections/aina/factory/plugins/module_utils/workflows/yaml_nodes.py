"""Nodes with their places, from the events of a YAML parser that the caller passes in.

PyYAML is that parser: Ansible itself brings it to every control node, and its events tell
for each node where it begins and ends, aliases included. It is used to find places, never
to write: what it would print differs from what people wrote.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from .document import Compose, DocumentError, Node, NodeKind

# More than any workflow that people wrote; GitHub itself takes no larger one.
_MAX_CHARACTERS = 512 * 1024
_MAX_DEPTH = 50
_MAX_NODES = 50_000
_PROPERTIES = re.compile(r"(?:(?:&[^\s]+|![^\s]*)\s+)+")


def composer(yaml: Any) -> Compose:
    """Return what reads a text by the module ``yaml``."""

    def compose(text: str) -> Node:
        if len(text) > _MAX_CHARACTERS:
            raise DocumentError(f"longer than {_MAX_CHARACTERS} characters")
        try:
            events = yaml.parse(text, Loader=yaml.SafeLoader)
            return _Reader(yaml, text, events).document()
        # An escape for a character that there is not is a ValueError.
        except (yaml.YAMLError, ValueError) as error:
            raise DocumentError(f"not readable as YAML: {' '.join(str(error).split())}") from error

    return compose


class _Reader:
    def __init__(self, yaml: Any, text: str, events: Iterator[Any]) -> None:
        self._yaml, self._text, self._events = yaml, text, events
        # An alias means the nearest definition before it; None: its node is not complete yet.
        self._anchors: dict[str, Node | None] = {}
        self._node_count = 0

    def document(self) -> Node:
        documents: list[Node] = []
        for event in self._events:
            if isinstance(event, self._yaml.DocumentStartEvent):
                self._anchors = {}
                documents.append(self._node(next(self._events), flow=False, depth=0))
        if len(documents) != 1:
            raise DocumentError(f"{len(documents)} YAML documents instead of one")
        return documents[0]

    def _node(self, event: Any, *, flow: bool, depth: int) -> Node:
        yaml = self._yaml
        start, end = event.start_mark.index, event.end_mark.index
        anchor = getattr(event, "anchor", None) or ""
        line = event.start_mark.line + 1
        self._node_count += 1
        if depth > _MAX_DEPTH or self._node_count > _MAX_NODES:
            raise DocumentError(f"line {line}: more, or more deeply nested, than a workflow is")
        if isinstance(event, yaml.AliasEvent):
            target = self._meant(anchor, line)
            return Node(
                NodeKind.ALIAS, start, end, anchor, flow=flow, target=target, size=target.size
            )
        if anchor:
            self._anchors[anchor] = None
        properties = _PROPERTIES.match(self._text, start) if anchor or event.tag else None
        start = properties.end() if properties else start
        if isinstance(event, yaml.ScalarEvent):
            plain = event.style is None
            node = Node(NodeKind.SCALAR, start, end, event.value, plain, flow, anchor)
            self._remember(node)
            return node
        items: list[Node] = []
        inside = flow or bool(event.flow_style)
        closing = (yaml.SequenceEndEvent, yaml.MappingEndEvent)
        for following in self._events:
            if isinstance(following, closing):
                end = following.end_mark.index
                break
            items.append(self._node(following, flow=inside, depth=depth + 1))
        kind = NodeKind.SEQUENCE if isinstance(event, yaml.SequenceStartEvent) else NodeKind.MAPPING
        if kind is NodeKind.MAPPING:
            self._refuse_repeated(items)
        size = 1 + sum(item.size for item in items)
        if size > _MAX_NODES:
            raise DocumentError(f"line {line}: its aliases stand for more than a workflow holds")
        style = bool(event.flow_style)
        node = Node(kind, start, end, "", True, style, anchor, tuple(items), size=size)
        self._remember(node)
        return node

    def _remember(self, node: Node) -> None:
        if node.anchor:
            self._anchors[node.anchor] = node

    def _meant(self, anchor: str, line: int) -> Node:
        if anchor not in self._anchors:
            raise DocumentError(
                f"line {line}: the alias *{anchor} has no anchor before it; quote it if it is a text"
            )
        node = self._anchors[anchor]
        if node is None:
            raise DocumentError(f"line {line}: the alias *{anchor} stands within its own anchor")
        return node

    def _refuse_repeated(self, items: list[Node]) -> None:
        seen = set()
        for item in items[::2]:
            if item.kind is not NodeKind.SCALAR:
                raise DocumentError("a mapping has a key that is no text")
            if item.value in seen:
                line = self._text.count("\n", 0, item.start) + 1
                raise DocumentError(f"line {line}: the key {item.value!r} is repeated")
            seen.add(item.value)
