"""Contracts of the map of promises."""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from gates.tree import files, report
from promises import HERE, MapError, Promise, read
from promises.page import PAGE, page

# Tests that start containers; each is there for a promise.
_CONTAINER_TESTS = ("molecule/*/test_*.py", "tests/adopt/test_*.py", "tests/e2e/test_*.py")
_DEEP = "deep"


def promises(root: Path) -> str:
    """Each promise has one payer that exists, and no test of containers is without a promise."""
    try:
        rows = read(root)
    except MapError as error:
        return str(error)
    if not rows:
        return f"{HERE} holds no promise"
    return report([*_of_rows(root, rows), *_left_out(root, rows), *_page(root, rows)])


def _of_rows(root: Path, rows: list[Promise]) -> Iterator[str]:
    known: dict[Path, dict[str, bool]] = {}
    for name, count in Counter(row.name for row in rows).items():
        if count > 1:
            yield f"{name}: {count} promises have this name"
    for row in rows:
        where = f"{row.area}: {row.name}"
        for path in (row.said_in, row.decided_in):
            if not (root / path).is_file():
                yield f"{where}: there is no {path}"
        for test in (row.payer, *row.deep):
            path = Path(test.partition("::")[0])
            if path not in known:
                known[path] = tests(root / path)
            name = function(test)
            if name not in known[path]:
                yield f"{where}: there is no {test}"
            elif test == row.payer and known[path][name]:
                yield f"{where}: {test} pays it, but runs in deep only"
        yield from _of_fault(root, row)


def _of_fault(root: Path, row: Promise) -> Iterator[str]:
    path = root / row.fault.file
    count = path.read_text(encoding="utf-8").count(row.fault.replace) if path.is_file() else 0
    if count != 1:
        yield (
            f"{row.area}: {row.name}: the passage that its fault replaces stands {count} times in "
            f"{row.fault.file}, not once"
        )
    if row.fault.replace == row.fault.by:
        yield f"{row.area}: {row.name}: its fault changes nothing"


def _left_out(root: Path, rows: list[Promise]) -> Iterator[str]:
    named = {
        (Path(test.partition("::")[0]), function(test))
        for row in rows
        for test in (row.payer, *row.deep)
    }
    for path in files(root, *_CONTAINER_TESTS):
        for name in tests(root / path):
            if (path, name) not in named:
                yield f"{path}::{name} starts containers and shows no promise of {HERE}"


def _page(root: Path, rows: list[Promise]) -> Iterator[str]:
    shown = root / PAGE
    if not shown.is_file() or shown.read_text(encoding="utf-8") != page(rows):
        yield f"{PAGE} is not what {HERE} says: PYTHONPATH=tests python -m promises page >{PAGE}"


def function(test: str) -> str:
    """Return the name of the function in PATH::NAME[EXAMPLE]."""
    return test.partition("::")[2].partition("[")[0].rpartition("::")[2]


def tests(path: Path) -> dict[str, bool]:
    """Return the test functions of a file, and whether they run in deep only."""
    if not path.is_file():
        return {}
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return {
        node.name: any(_is_deep(mark) for mark in node.decorator_list)
        for node in tree.body
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")
    }


def _is_deep(mark: ast.expr) -> bool:
    return ast.unparse(mark) == f"pytest.mark.{_DEEP}"
