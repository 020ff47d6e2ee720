"""What earlier runs have added to a host, so that it can be told from what was there before."""

from __future__ import annotations

import json
from collections.abc import Collection
from pathlib import Path

from ..base.ports import Run
from . import managed_files


def read(path: str | None, kind: str) -> set[str]:
    """Return the recorded names; none where nothing is recorded.

    Raises:
        ValueError: the file is damaged.

    """
    if path is None or not Path(path).exists():
        return set()
    try:
        return set(json.loads(Path(path).read_text(encoding="utf-8")).get(kind, ()))
    except (AttributeError, TypeError) as error:
        raise ValueError(f"{path} is damaged ({error!r}); remove it") from error


def read_siblings(path: str | None, kind: str) -> set[str]:
    """Return what the records beside this one hold, those of other parts of the declaration.

    Raises:
        ValueError: a file is damaged.

    """
    if path is None:
        return set()
    stem = Path(path).name.partition("-")[0]
    found = Path(path).parent.glob(f"{stem}-*.json")
    return {name for record in found for name in read(str(record), kind)}


def write(path: str | None, kind: str, names: Collection[str], run: Run) -> None:
    """Record the names of this kind, or remove the record when there are none of any."""
    if path is None or set(names) == read(path, kind):
        return
    known = json.loads(Path(path).read_text(encoding="utf-8")) if Path(path).exists() else {}
    known = {key: value for key, value in known.items() if key not in {kind, "schema"}}
    known |= {kind: sorted(names)} if names else {}
    if not known:
        Path(path).unlink(missing_ok=True)
        return
    content = json.dumps({"schema": 1, **known}) + "\n"
    attributes = managed_files.Attributes("root", "root", 0o644)
    file = managed_files.FileSpec(path, content.encode(), attributes)
    managed_files.apply(managed_files.plan((), [file], ()), run)
