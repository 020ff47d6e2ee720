"""Change a document at the places that are meant, and prove that nothing else changed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from .document import Compose, Document, DocumentError, Node, NodeKind, Shape

# What an edit may put into a document.
Value: TypeAlias = "str | int | Sequence[str] | Mapping[str, object] | None"


@dataclass(frozen=True)
class Edit:
    """Text that takes the place of a span, and what the document is to say afterwards.

    ``path`` leads to the changed or new entry; ``shape`` is what then stands there. A
    comment is no content, so an edit that adds one has no shape of its own.
    """

    start: int
    end: int
    text: str
    path: tuple[str | int, ...]
    shape: Shape
    what: str
    after: str = ""  # a new entry stands behind this key ...
    before: str = ""  # ... or in front of this one; where neither is named, it replaces


def scalar(text: str, *, flow: bool) -> tuple[str, Shape]:
    """Return a scalar's text and shape; within brackets an expression must be quoted."""
    needs = flow and any(character in text for character in "{}[],")
    unsafe = text[:1] in "*&!|>%@`'\"[]{},#?:-" or ": " in text or " #" in text
    if needs or unsafe:
        return "'" + text.replace("'", "''") + "'", ("scalar", text, False)
    return text, ("scalar", text, True)


def flow_list(values: Sequence[str]) -> tuple[str, Shape]:
    """Return a list in brackets and its shape."""
    parts = [scalar(value, flow=True) for value in values]
    return f"[{', '.join(text for text, _other in parts)}]", (
        "sequence",
        *(shape for _other, shape in parts),
    )


def block(value: Value, indent: int, newline: str) -> tuple[str, Shape]:
    """Return what stands behind ``key:``, on that line or below it, and its shape."""
    if value is None:
        return "", ("scalar", "", True)
    if isinstance(value, Mapping):
        lines, shapes = [], []
        for key, item in value.items():
            text, shape = block(item, indent + 2, newline)  # type: ignore[arg-type]
            lines.append(f"{newline}{' ' * indent}{key}:{text}")
            shapes.append((key, shape))
        return "".join(lines), ("mapping", *shapes)
    text, shape = (
        scalar(str(value), flow=False) if isinstance(value, str | int) else flow_list(value)
    )
    return f" {text}", shape


def replace(node: Node, value: str | Sequence[str], path: tuple[str | int, ...], what: str) -> Edit:
    """Put one scalar, or a list in brackets, in a node's place. The style of quotes stays."""
    if not isinstance(value, str):
        text, shape = flow_list(value)
    elif node.kind is NodeKind.SCALAR and not node.plain:
        text, shape = "'" + value.replace("'", "''") + "'", ("scalar", value, False)
    else:
        text, shape = scalar(value, flow=node.flow)
    return Edit(node.start, node.last(), text, path, shape, what)


def insert_after(
    document: Document,
    pair: tuple[Node, Node],
    key: str,
    value: Value,
    path: tuple[str | int, ...],
    what: str,
) -> Edit:
    """Write a new entry below an entry of the same block mapping.

    Raises:
        DocumentError: the mapping is written in braces.

    """
    before, content = pair
    if before.flow:
        raise DocumentError("a mapping in braces is not extended")
    text, newline = document.text, document.newline
    column = document.column_of(before.start)
    line_end = text.find("\n", max(content.last(), before.end))
    body, shape = block(value, column + 2, newline)
    entry = f"{' ' * column}{key}:{body}"
    # A block scalar ends behind its last line break.
    if content.kind is NodeKind.SCALAR and text[: content.last()].endswith("\n"):
        at, new = content.last(), entry + newline
    elif line_end == -1:
        at, new = len(text), newline + entry
    else:
        at, new = line_end + 1, entry + newline
    return Edit(at, at, new, path, shape, what, after=before.value)


def insert_before(
    document: Document,
    key_node: Node,
    key: str,
    value: Value,
    path: tuple[str | int, ...],
    what: str,
) -> Edit:
    """Write a new entry above another one of the same block mapping.

    On the top level also above the comments that belong to that one, with an empty line between.

    Raises:
        DocumentError: the mapping is written in braces.

    """
    if key_node.flow:
        raise DocumentError("a mapping in braces is not extended")
    text, newline, at = document.text, document.newline, key_node.start
    column = document.column_of(at)
    body, shape = block(value, column + 2, newline)
    if column:
        entry = f"{key}:{body}{newline}{' ' * column}"
        return Edit(at, at, entry, path, shape, what, before=key_node.value)
    while at:
        line_start = text.rfind("\n", 0, at - 1) + 1
        if not text[line_start:at].startswith("#"):
            break
        at = line_start
    entry = f"{key}:{body}{newline}{newline}"
    return Edit(at, at, entry, path, shape, what, before=key_node.value)


def apply(document: Document, edits: Sequence[Edit], compose: Compose) -> str:
    """Return the text with all edits, proved by reading it again.

    Raises:
        DocumentError: the result does not say exactly what was meant.

    """
    text, expected = document.text, document.shape()
    for edit in edits:
        expected = _expect(expected, edit.path, edit)
    # What stands behind an anchor is one place, however many jobs refer to it.
    splices = dict.fromkeys((edit.start, edit.end, edit.text) for edit in edits)
    ordered = sorted(enumerate(splices), key=lambda item: (*item[1][:2], item[0]))
    for index, (_number, (start, _end, new)) in enumerate(ordered[1:]):
        if start < ordered[index][1][1]:
            raise DocumentError(f"two edits touch the same place: {new.strip()}")
    for _number, (start, end, new) in reversed(ordered):
        text = text[:start] + new + text[end:]
    if Document(text, compose).shape() != expected:
        raise DocumentError(
            "the edited text does not say exactly what was meant (an anchor that others use, or "
            "a way of writing that this tool does not know); edit this file by hand"
        )
    return text


def _expect(shape: Shape, path: tuple[str | int, ...], edit: Edit) -> Shape:
    """Return the shape once the edit at ``path`` is made."""
    head, rest = path[0], path[1:]
    if shape[0] == "sequence" and isinstance(head, int):
        items = list(shape[1:])
        items[head] = _expect(items[head], rest, edit) if rest else edit.shape  # type: ignore[arg-type]
        return ("sequence", *items)
    if shape[0] != "mapping":
        raise DocumentError(f"there is no entry {head}")
    entries: list[tuple[object, object]] = list(shape[1:])  # type: ignore[arg-type]
    names = [name for name, _value in entries]
    if rest:
        index = names.index(head)
        entries[index] = (head, _expect(entries[index][1], rest, edit))  # type: ignore[arg-type]
    elif edit.after or edit.before:
        at = names.index(edit.after) + 1 if edit.after else names.index(edit.before)
        entries.insert(at, (head, edit.shape))
    else:
        entries[names.index(head)] = (head, edit.shape)
    return ("mapping", *entries)
