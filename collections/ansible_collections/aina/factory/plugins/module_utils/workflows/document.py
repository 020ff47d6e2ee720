"""A YAML document as nodes that know where they stand in the text.

Who reads YAML is the caller's business (:data:`Compose`): the core decides on nodes and
splices text, so that what nobody meant to change stays as it is, byte for byte.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, TypeAlias

from ..base.errors import FactoryError

Path: TypeAlias = "tuple[str | int, ...]"


class DocumentError(FactoryError):
    """A text is no YAML document that can be edited safely; says why and where."""


class NodeKind(StrEnum):
    """What a node is."""

    SCALAR = "scalar"
    SEQUENCE = "sequence"
    MAPPING = "mapping"
    ALIAS = "alias"


@dataclass(frozen=True)
class Node:
    """One node; ``start`` and ``end`` are offsets into the text, without anchor and tag.

    ``value`` is a scalar's text or an alias' anchor; an alias knows the ``target`` that it
    stands for. A mapping's ``items`` are its keys and values in turn. ``flow``: written in
    brackets or braces, or within such. ``size``: how many nodes it says, aliases as what
    they stand for.
    """

    kind: NodeKind
    start: int
    end: int
    value: str = ""
    plain: bool = True
    flow: bool = False
    anchor: str = ""
    items: tuple[Node, ...] = ()
    target: Node | None = None
    size: int = 1

    @property
    def pairs(self) -> Iterator[tuple[Node, Node]]:
        """The keys and values of a mapping."""
        return zip(self.items[::2], self.items[1::2], strict=True)

    @property
    def is_null(self) -> bool:
        return self.kind is NodeKind.SCALAR and self.plain and self.value in ("", "~", "null")

    def last(self) -> int:
        """Return the offset behind the last character that belongs to the node."""
        return self.items[-1].last() if self.items and not _is_closed(self) else self.end


def _is_closed(node: Node) -> bool:
    """Whether the node itself ends with a bracket, and not with its last item."""
    return node.flow


Compose = Callable[[str], Node]
# What is compared: scalars with whether they are quoted, aliases as what they stand for.
Shape = tuple[object, ...]


class Document:
    """One text and its nodes."""

    def __init__(self, text: str, compose: Compose) -> None:
        """Read the text.

        Raises:
            DocumentError: it is not one YAML mapping.

        """
        self.text = text
        self.root = compose(text)
        if self.root.kind is not NodeKind.MAPPING:
            raise DocumentError("the document is not a mapping")

    def resolve(self, node: Node) -> Node:
        """Return what an alias stands for, and any other node itself."""
        return node.target or node

    def scalars(self, node: Node | None = None) -> Iterator[Node]:
        """Return every scalar that is written within a node, keys included."""
        for item in _walk(self.root if node is None else node):
            if item.kind is NodeKind.SCALAR:
                yield item

    def entry(self, mapping: Node, key: str) -> tuple[Node, Node] | None:
        """Return the key and the value of an entry, both as they are written."""
        mapping = self.resolve(mapping)
        if mapping.kind is not NodeKind.MAPPING:
            return None
        return next((pair for pair in mapping.pairs if pair[0].value == key), None)

    def get(self, mapping: Node, key: str) -> Node | None:
        """Return the value of an entry, aliases resolved."""
        found = self.entry(mapping, key)
        return self.resolve(found[1]) if found else None

    def strings(self, node: Node | None) -> list[str] | None:
        """Return one scalar or a list of scalars as texts; ``None`` when it is neither."""
        if node is None:
            return None
        node = self.resolve(node)
        if node.kind is NodeKind.SCALAR:
            return [node.value]
        items = [self.resolve(item) for item in node.items]
        if node.kind is not NodeKind.SEQUENCE or any(
            item.kind is not NodeKind.SCALAR for item in items
        ):
            return None
        return [item.value for item in items]

    def shape(self, node: Node | None = None) -> Shape:
        """Return what the document says, positions left out."""
        node = self.resolve(self.root if node is None else node)
        if node.kind is NodeKind.SCALAR:
            return ("scalar", node.value, node.plain)
        if node.kind is NodeKind.SEQUENCE:
            return ("sequence", *(self.shape(item) for item in node.items))
        return ("mapping", *((key.value, self.shape(value)) for key, value in node.pairs))

    def plain(self, node: Node) -> Any:
        """Return a node as plain data, scalars as texts; a key that stands twice counts once."""
        node = self.resolve(node)
        if node.kind is NodeKind.SCALAR:
            return None if node.is_null else node.value
        if node.kind is NodeKind.SEQUENCE:
            return [self.plain(item) for item in node.items]
        return {key.value: self.plain(value) for key, value in node.pairs}

    def line_of(self, offset: int) -> int:
        """Return the number of the line, counted from 1."""
        return self.text.count("\n", 0, offset) + 1

    def column_of(self, offset: int) -> int:
        """Return the column, counted from 0."""
        return offset - (self.text.rfind("\n", 0, offset) + 1)

    @property
    def newline(self) -> str:
        """The line ending that the text uses."""
        return "\r\n" if "\r\n" in self.text else "\n"


def _walk(node: Node) -> Iterator[Node]:
    yield node
    for item in node.items:
        yield from _walk(item)
