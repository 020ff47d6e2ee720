"""The map of promises as a document."""

from __future__ import annotations

import os
from itertools import groupby
from pathlib import Path

from promises import Promise

PAGE = Path("docs/promises.md")
_HEAD = """\
# What is promised, and what shows it

Each row is one promise of this project: a sentence of its documents, where the decision stands, and the one test by
which `script/test` shows it in every run. `script/test deep` runs further tests of it, and
`script/test planted` breaks each promise in a copy and looks whether its test fails.

Written from `tests/promises/*.yml` by `PYTHONPATH=tests python -m promises page`; a gate compares.
"""


class _Links:
    """The files that a page leads to; each address stands once, at its end."""

    def __init__(self) -> None:
        self._numbers: dict[Path, int] = {}

    def to(self, path: Path, words: str) -> str:
        number = self._numbers.setdefault(path, len(self._numbers) + 1)
        return f"[{words}][{number}]"

    def addresses(self) -> str:
        rows = self._numbers.items()
        return "".join(
            f"[{number}]: {os.path.relpath(path, PAGE.parent)}\n" for path, number in rows
        )


def page(promises: list[Promise]) -> str:
    links, parts = _Links(), [_HEAD]
    for area, rows in groupby(promises, lambda promise: promise.area):
        parts.append(
            f"\n## {area.capitalize()}\n\n| promise | decided in | shown by |\n|---|---|---|\n"
        )
        parts += [_row(row, links) for row in rows]
    return "".join([*parts, "\n", links.addresses()])


def _row(row: Promise, links: _Links) -> str:
    path, _, test = row.payer.partition("::")
    sentence = " ".join(row.promise.split()).replace("|", "\\|")
    said = links.to(row.said_in, row.said_in.name)
    decided = links.to(row.decided_in, row.decided_in.name)
    test = test.replace("|", "\\|")
    return (
        f"| {sentence} ({said}) | {decided} | {links.to(Path(path), Path(path).name)} `{test}` |\n"
    )
