"""Where the watched filesystems are mounted, by the kernel's own table; pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ..base.configuration import Section
from ..base.mounts import unescaped
from .facts import Fact, Known
from .readings import ReadingError


@dataclass(frozen=True)
class Mount:
    """What is mounted at one declared path.

    ``holder`` is the mount point on which the path really lies; ``identity`` names the
    filesystem, ``before`` the one that was there until ``replaced_at``.
    """

    holder: str
    mounted: bool
    identity: str = ""
    read_only: bool = False
    before: str = ""
    replaced_at: float | None = None


@dataclass(frozen=True)
class MountEntry:
    """One line of the table: what is mounted at one place."""

    device: str
    kind: str
    source: str


def parse(table: bytes) -> Mapping[str, MountEntry]:
    """Return what is mounted where, from ``/proc/self/mountinfo``; the uppermost mount counts."""
    if not table.endswith(b"\n"):
        raise ReadingError("the table of mounts was not read to its end")
    found = {}
    for line in table.splitlines():
        left, _dash, right = line.partition(b" - ")
        words, rest = left.split(b" "), right.split(b" ")
        found[unescaped(words[4])] = MountEntry(
            words[2].decode(), rest[0].decode(), unescaped(rest[1])
        )
    return found


def holder(path: str, table: Mapping[str, MountEntry]) -> str:
    """Return the mount point under which an absolute path without links lies."""
    places = (path, *map(str, Path(path).parents))
    return next((place for place in places if place in table), "/")


@dataclass(frozen=True)
class LastSeenMount:
    """Which filesystem was last seen at a path, which one before it, and since when."""

    path: str
    identity: str
    before: str = ""
    since: float | None = None


def remember(
    mounts: Mapping[str, Fact[Mount]], known: Mapping[str, LastSeenMount], now: float
) -> Mapping[str, LastSeenMount]:
    """Return what is to be remembered; what is not mounted changes nothing."""
    kept = {path: memory for path, memory in known.items() if path in mounts}
    for path, fact in mounts.items():
        if not isinstance(fact, Known) or not fact.value.mounted:
            continue
        last = kept.get(path)
        if last is None:
            kept[path] = LastSeenMount(path, fact.value.identity)
        elif last.identity != fact.value.identity:
            kept[path] = LastSeenMount(path, fact.value.identity, last.identity, now)
    return kept


def with_memory(
    mounts: Mapping[str, Fact[Mount]], known: Mapping[str, LastSeenMount]
) -> Mapping[str, Fact[Mount]]:
    """Return the mounts with what was there before."""
    return {
        path: Known(replace(fact.value, before=known[path].before, replaced_at=known[path].since))
        if isinstance(fact, Known) and path in known
        else fact
        for path, fact in mounts.items()
    }


def from_section(section: Section) -> LastSeenMount:
    return LastSeenMount(
        section.text("path"),
        section.text("identity"),
        section.text("before", ""),
        section.number("since") if section.has("since") else None,
    )


def to_document(memory: LastSeenMount) -> dict[str, Any]:
    """Return the form that is kept between runs."""
    return dict(vars(memory))
