"""What was taken over from crontabs, and how it is given back; pure but for its record."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from ..base import documents
from ..base.errors import FactoryError

RECORD_PATH = "/var/lib/aina-factory/taken-over.json"


class TakeoverError(FactoryError):
    """What was taken over cannot be told, or not be given back; says why."""


@dataclass(frozen=True)
class Taken:
    """One thing that was taken over.

    ``kind`` is ``line`` (of the crontab of ``user``, kept whole in ``before``) or ``script``
    (from ``what`` to ``before``).
    """

    kind: str
    what: str
    before: str
    user: str = ""


def recorded() -> list[Taken]:
    """Return all that was taken over and not given back, in its order.

    Raises:
        TakeoverError: the record cannot be read.

    """
    path = Path(RECORD_PATH)
    if not path.exists():
        return []
    try:
        return [Taken(**item) for item in json.loads(path.read_text(encoding="utf-8"))["taken"]]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise TakeoverError(
            f"{path} cannot be read: {error}; its lines say what was taken"
        ) from error


def record(items: Sequence[Taken]) -> None:
    """Write down what is about to be taken; a killed run may have written it before."""
    known = recorded()
    fresh = [item for item in items if item not in known]
    if fresh:
        keep([*known, *fresh])


def keep(items: Sequence[Taken]) -> None:
    """Let the record hold exactly these."""
    documents.replace(Path(RECORD_PATH), {"taken": [asdict(item) for item in items]}, 0o600)


def given_back(now: str, before: str, lines: Sequence[str]) -> str:
    """Return a crontab with taken lines at their place again; lines that it has stay alone.

    ``before``: how it was. Where somebody has changed it since, a line goes behind the nearest one
    that stood before it then, so that it finds the same variables; nothing else is touched.
    """
    present, former = now.splitlines(keepends=True), before.splitlines(keepends=True)
    shown = [line.rstrip("\n") for line in former]
    for line in lines:
        if [kept.rstrip("\n") for kept in present].count(line) >= max(1, shown.count(line)):
            continue
        at = shown.index(line) if line in shown else len(former)
        places = [present.index(earlier) + 1 for earlier in former[:at] if earlier in present]
        whole = former[at] if line in shown else f"{line}\n"
        present.insert(max(places, default=0) if line in shown else len(present), whole)
    return "".join(line if line.endswith("\n") else f"{line}\n" for line in present)
