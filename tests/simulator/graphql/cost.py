"""What a query costs, by the formula that GitHub documents.

Every connection is asked for once per parent node; a hundred such requests are
one point, and every query costs at least one. Connections without ``first`` or
``last`` are not counted.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from graphql import (
    DocumentNode,
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    InlineFragmentNode,
    IntValueNode,
    OperationDefinitionNode,
    SelectionSetNode,
    VariableNode,
)

MAXIMUM_NODES = 500_000
LARGEST_PAGE = 100


@dataclass
class Cost:
    """Points and nodes of a query, and what is wrong with its page sizes."""

    requests: int = 0
    nodes: int = 0
    problems: list[dict[str, Any]] = field(default_factory=list)

    @property
    def points(self) -> int:
        return max(1, (self.requests + 50) // 100)


def fragments_of(document: DocumentNode) -> dict[str, FragmentDefinitionNode]:
    """Return the fragments by name."""
    found = (d for d in document.definitions if isinstance(d, FragmentDefinitionNode))
    return {definition.name.value: definition for definition in found}


def fields_of(
    selection: SelectionSetNode | None, fragments: dict[str, FragmentDefinitionNode]
) -> Iterator[FieldNode]:
    """Return the fields of a selection, those of its fragments included."""
    for node in (selection.selections or ()) if selection else ():
        if isinstance(node, FieldNode):
            yield node
        elif isinstance(node, InlineFragmentNode):
            yield from fields_of(node.selection_set, fragments)
        elif isinstance(node, FragmentSpreadNode):
            yield from fields_of(fragments[node.name.value].selection_set, fragments)


def measure(
    document: DocumentNode, operation: OperationDefinitionNode, variables: dict[str, Any]
) -> Cost:
    """Return the cost of an operation."""
    cost = Cost()
    _walk(cost, operation.selection_set, fragments_of(document), variables, 1, [])
    if cost.nodes > MAXIMUM_NODES:
        message = f"This query requests up to {cost.nodes:,} possible nodes which exceeds the"
        message += f" maximum limit of {MAXIMUM_NODES:,}."
        cost.problems.append({"type": "MAX_NODE_LIMIT_EXCEEDED", "message": message})
    return cost


def _walk(
    cost: Cost,
    selection: SelectionSetNode | None,
    fragments: dict[str, FragmentDefinitionNode],
    variables: dict[str, Any],
    parents: int,
    path: list[str],
) -> None:
    for node in fields_of(selection, fragments):
        here = [*path, (node.alias or node.name).value]
        size = _page_size(node, variables)
        children = parents
        if size is not None:
            cost.requests += parents
            children = parents * size
            cost.nodes += children
            if not 1 <= size <= LARGEST_PAGE:
                cost.problems.append(_excess(node.name.value, size, here))
        elif _is_connection(node, fragments):
            cost.problems.append(_missing(node.name.value, here))
        _walk(cost, node.selection_set, fragments, variables, children, here)


def _is_connection(node: FieldNode, fragments: dict[str, FragmentDefinitionNode]) -> bool:
    names = {child.name.value for child in fields_of(node.selection_set, fragments)}
    return bool(names & {"nodes", "edges"}) and node.name.value not in {"nodes", "edges"}


def _page_size(node: FieldNode, variables: dict[str, Any]) -> int | None:
    for argument in node.arguments or ():
        if argument.name.value in {"first", "last"}:
            if isinstance(argument.value, IntValueNode):
                return int(argument.value.value)
            if isinstance(argument.value, VariableNode):
                value = variables.get(argument.value.name.value)
                if isinstance(value, int):
                    return value
    return None


def _excess(name: str, size: int, path: list[str]) -> dict[str, Any]:
    message = f"Requesting {size} records on the `{name}` connection exceeds the `first` limit of"
    return {
        "type": "EXCESSIVE_PAGINATION",
        "message": f"{message} {LARGEST_PAGE} records.",
        "path": path,
    }


def _missing(name: str, path: list[str]) -> dict[str, Any]:
    message = f"You must provide a `first` or `last` value to properly paginate the `{name}`"
    return {
        "type": "MISSING_PAGINATION_BOUNDARIES",
        "message": f"{message} connection.",
        "path": path,
    }
