"""What a job's matrix holds."""

from __future__ import annotations

from .document import Document, Node, NodeKind


def axis(document: Document, job: Node, path: list[str]) -> list[str]:
    """Return every value of a matrix's axis, or of what lies within its values; none if unknown."""
    strategy = document.get(job, "strategy")
    matrix = document.get(strategy, "matrix") if strategy is not None else None
    if matrix is None or matrix.kind is not NodeKind.MAPPING:
        return []
    values, include = document.get(matrix, path[0]), document.get(matrix, "include")
    if any(node is not None and node.kind is not NodeKind.SEQUENCE for node in (values, include)):
        return []
    nodes = list(values.items) if values is not None else []
    for item in include.items if include is not None else ():
        given = document.get(item, path[0])
        nodes += [given] if given is not None else []
    found = []
    for node in nodes:
        inner: Node | None = document.resolve(node)
        for step in path[1:]:
            inner = document.get(inner, step) if inner is not None else None
        if inner is None:
            continue
        if inner.kind is not NodeKind.SCALAR or "${{" in inner.value:
            return []
        found.append(inner.value)
    return list(dict.fromkeys(found))
