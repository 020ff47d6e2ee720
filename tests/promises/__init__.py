"""The map of promises: what users are promised, and the one test that pays each of them.

Each ``*.yml`` beside this file is one area, a list of rows:

``name``
    By which the row is called, in letters, digits and ``-``; unique.
``promise``
    One sentence, as a user would say it.
``said_in``
    The document in which the user reads it.
``decided_in``
    The file whose lines decide whether it is kept.
``payer``
    The one test that shows it in every run of ``script/test``.
``deep``
    More tests of it, most of which only ``script/test deep`` runs; optional.
``fault``
    ``replace`` and ``by``: a passage of ``decided_in`` (or of ``file``) that stands there once,
    and what takes its place. After that the payer fails, or it does not show the promise.

A path is from the root of the repository, or from that of the collection. A test is PATH::NAME, and
may name one of its examples in brackets.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

HERE = Path("tests/promises")
COLLECTION = Path("collections/ansible_collections/aina/factory")
_TEXTS = ("name", "promise", "said_in", "decided_in", "payer")


class MapError(Exception):
    """A row cannot be understood; the message names its file, the row and what is wrong."""


@dataclass(frozen=True)
class Fault:
    """A passage of a file, and what takes its place."""

    file: Path
    replace: str
    by: str

    def apply(self, root: Path) -> None:
        """Put the fault into the tree under ``root``.

        Raises:
            MapError: the passage does not stand there once.

        """
        text = (root / self.file).read_text(encoding="utf-8")
        if text.count(self.replace) != 1:
            raise MapError(
                f"{self.file} holds {self.replace!r} {text.count(self.replace)} times, not once"
            )
        (root / self.file).write_text(text.replace(self.replace, self.by), encoding="utf-8")


@dataclass(frozen=True)
class Promise:
    """One row. Paths and tests are from the root of the repository."""

    area: str
    name: str
    promise: str
    said_in: Path
    decided_in: Path
    payer: str
    deep: tuple[str, ...]
    fault: Fault


def read(root: Path) -> list[Promise]:
    """Return all rows, in the order of their files.

    Raises:
        MapError: a row cannot be understood.

    """
    found: list[Promise] = []
    for path in sorted((root / HERE).glob("*.yml")):
        rows = yaml.safe_load(path.read_text(encoding="utf-8"))
        if not isinstance(rows, list):
            raise MapError(f"{HERE / path.name}: not a list of promises")
        found += _rows(root, path.stem, rows)
    return found


def _rows(root: Path, area: str, rows: list[Any]) -> Iterator[Promise]:
    for number, row in enumerate(rows, 1):
        where = f"{HERE}/{area}.yml, row {number}"
        if not isinstance(row, Mapping):
            raise MapError(f"{where}: not a mapping")
        where += f" ({row.get('name')})"
        unknown = row.keys() - {*_TEXTS, "deep", "fault"}
        if unknown:
            raise MapError(f"{where}: unknown key {', '.join(sorted(map(str, unknown)))}")
        for key in _TEXTS:
            if not isinstance(row.get(key), str) or not row[key].strip():
                raise MapError(f"{where}: {key} is not a text")
        fault = row.get("fault")
        if not isinstance(fault, Mapping) or not fault.keys() <= {"file", "replace", "by"}:
            raise MapError(f"{where}: fault is not a mapping of replace, by and perhaps file")
        if not isinstance(fault.get("replace"), str) or not isinstance(fault.get("by"), str):
            raise MapError(f"{where}: replace and by of a fault are texts")
        file = fault.get("file", row["decided_in"])
        yield Promise(
            area,
            row["name"],
            row["promise"].strip(),
            resolve(root, row["said_in"]),
            resolve(root, row["decided_in"]),
            _test(root, row["payer"]),
            tuple(_test(root, test) for test in row.get("deep", ())),
            Fault(resolve(root, file), fault["replace"], fault["by"]),
        )


def resolve(root: Path, name: str) -> Path:
    """Return a path from the root of the repository."""
    if not (root / name).exists():
        return COLLECTION / name
    # Not by a link such as that to the roles: nobody follows it on GitHub.
    return (root / name).resolve().relative_to(root.resolve())


def _test(root: Path, test: str) -> str:
    path, _, name = test.partition("::")
    return f"{resolve(root, path)}::{name}"
