"""Processes that ended and that nobody collects."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from ..check import Answer, AtLimit, Check, JudgeContext, some
from ..limits import Limit
from ..sources import Host, Source

COUNT = Limit("zombies_count", "Ended processes that nobody collects.", raise_at=100, clear_at=50)


@dataclass(frozen=True)
class Zombies:
    """How many there are, and of which parents, by ``name (process)``."""

    count: int
    parents: Mapping[str, int] = field(default_factory=dict)


def read(host: Host) -> Zombies:
    """Look through the kernel's table of processes."""
    parents: Counter[str] = Counter()
    for directory in host.proc.iterdir():
        if directory.name.isdecimal():
            words = _stat(directory)
            if words[:1] == ["Z"]:
                parents[words[1]] += 1
    named = {f"{_name(host.proc / key)} ({key})": count for key, count in parents.most_common(9)}
    return Zombies(sum(parents.values()), named)


def _stat(directory: Path) -> list[str]:
    """Return state and parent of a process; nothing where it is gone meanwhile."""
    try:
        text = (directory / "stat").read_bytes()
    except OSError:
        return []
    # Its name may hold anything, brackets as well.
    return text.rpartition(b")")[2].decode(errors="replace").split()[:2]


def _name(directory: Path) -> str:
    try:
        return (directory / "comm").read_text(errors="replace").strip()
    except OSError:
        return "?"


def judge(zombies: Zombies, context: JudgeContext) -> Iterator[Answer]:
    """Judge how many ended processes are left, and name who does not collect them."""
    status, lingers = context.by(COUNT, zombies.count)
    detail = f"{zombies.count} ended processes are not collected"
    if zombies.count:
        detail += f", by {some(f'{name}: {count}' for name, count in zombies.parents.items())}"
    yield Answer("", status, detail, zombies.count, lingers)


SOURCE = Source("zombies", read)
CHECKS = (
    Check(
        name="zombies",
        title="Zombie processes",
        advice="restart the unit or container of the parent that is named",
        source=SOURCE,
        judge=judge,
        selftest=AtLimit(COUNT, lambda count, _now: Zombies(round(count), {"x (7)": 1})),
        stages=(1000, 10000),
    ),
)
