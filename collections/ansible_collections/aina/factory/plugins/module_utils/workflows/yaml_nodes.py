"""Nodes with their places, from the events of a YAML parser that the caller passes in.

PyYAML is that parser: Ansible itself brings it to every control node, and its events tell
for each node where it begins and ends, aliases included. It is used to find places, never
to write: what it would print differs from what people wrote.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from ansible_collections.aina.factory.plugins.module_utils.workflows.document import (
    Compose,
    DocumentError,
    Kind,
    Node,
)

_PROPERTIES = re.compile(r"(?:(?:&[^\s]+|![^\s]*)\s+)+")


def composer(yaml: Any) -> Compose:
    """Return what reads a text by the module ``yaml``."""

    def compose(text: str) -> Node:
        try:
            events = iter(list(yaml.parse(text, Loader=yaml.SafeLoader)))
        except yaml.YAMLError as error:
            raise DocumentError(f"not readable as YAML: {' '.join(str(error).split())}") from error
        return _Reader(yaml, text, events).document()

    return compose


class _Reader:
    def __init__(self, yaml: Any, text: str, events: Iterator[Any]) -> None:
        self._yaml, self._text, self._events = yaml, text, events

    def document(self) -> Node:
        documents: list[Node] = []
        for event in self._events:
            if isinstance(event, self._yaml.DocumentStartEvent):
                documents.append(self._node(next(self._events), flow=False))
        if len(documents) != 1:
            raise DocumentError(f"{len(documents)} YAML documents instead of one")
        return documents[0]

    def _node(self, event: Any, *, flow: bool) -> Node:
        yaml = self._yaml
        start, end = event.start_mark.index, event.end_mark.index
        anchor = getattr(event, "anchor", None) or ""
        if isinstance(event, yaml.AliasEvent):
            return Node(Kind.ALIAS, start, end, anchor, flow=flow)
        properties = _PROPERTIES.match(self._text, start) if anchor or event.tag else None
        start = properties.end() if properties else start
        if isinstance(event, yaml.ScalarEvent):
            return Node(Kind.SCALAR, start, end, event.value, event.style is None, flow, anchor)
        items: list[Node] = []
        inside = flow or bool(event.flow_style)
        closing = (yaml.SequenceEndEvent, yaml.MappingEndEvent)
        for following in self._events:
            if isinstance(following, closing):
                end = following.end_mark.index
                break
            items.append(self._node(following, flow=inside))
        kind = Kind.SEQUENCE if isinstance(event, yaml.SequenceStartEvent) else Kind.MAPPING
        if kind is Kind.MAPPING:
            self._refuse_repeated(items)
        return Node(kind, start, end, "", True, bool(event.flow_style), anchor, tuple(items))

    def _refuse_repeated(self, items: list[Node]) -> None:
        names = [item.value for item in items[::2]]
        for item in items[::2]:
            if item.kind is not Kind.SCALAR:
                raise DocumentError("a mapping has a key that is no text")
            if names.count(item.value) > 1:
                line = self._text.count("\n", 0, item.start) + 1
                raise DocumentError(f"line {line}: the key {item.value!r} is repeated")
