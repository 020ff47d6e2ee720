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


def page(promises: list[Promise]) -> str:
    """Return the document."""
    parts = [_HEAD]
    for area, rows in groupby(promises, lambda promise: promise.area):
        parts.append(
            f"\n## {area.capitalize()}\n\n| promise | decided in | shown by |\n|---|---|---|\n"
        )
        parts += [_row(row) for row in rows]
    return "".join(parts)


def _row(promise: Promise) -> str:
    test_path, _, test = promise.payer.partition("::")
    sentence = " ".join(promise.promise.split()).replace("|", "\\|")
    decided, shown = _link(promise.decided_in), _link(Path(test_path))
    return f"| {_said(promise, sentence)} | {decided} | {shown} `{test}` |\n"


def _said(promise: Promise, sentence: str) -> str:
    return f"{sentence} ([{promise.said_in.name}]({os.path.relpath(promise.said_in, PAGE.parent)}))"


def _link(path: Path) -> str:
    return f"[{'/'.join(path.parts[-2:])}]({os.path.relpath(path, PAGE.parent)})"
