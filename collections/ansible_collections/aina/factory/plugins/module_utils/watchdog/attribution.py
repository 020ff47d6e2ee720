"""Who is eating the disk: places measured each without what lies in a deeper one."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..base.configuration import Section
from .facts import DAY, HOUR
from .places import expand

UNATTRIBUTED = "unattributed"
DELETED_OPEN = "deleted but still open"
_DEVIATION = 6 * HOUR


@dataclass(frozen=True)
class RootUsage:
    """What one root holds; ``bytes`` is ``None`` while it was never measured."""

    path: str
    bytes: int | None
    growth_bytes: int | None
    stale: bool = False


@dataclass(frozen=True)
class Attribution:
    """Who holds the used bytes of one filesystem; the buckets add up to ``used_bytes``."""

    path: str
    measured_at: float
    used_bytes: int
    owners: tuple[RootUsage, ...]
    deleted_open_bytes: int
    deleted_open: tuple[tuple[str, int], ...]
    unattributed_bytes: int
    unattributed_growth_bytes: int | None
    complete: bool
    seconds: float = 0.0

    @property
    def explained_percent(self) -> float:
        """The share of the used bytes that has a name."""
        if not self.used_bytes:
            return 100.0
        return round(100.0 * (1 - max(0, self.unattributed_bytes) / self.used_bytes), 1)


@dataclass(frozen=True)
class Measured:
    """One measurement as it is kept: what every place held at one moment."""

    at: float
    path: str
    used_bytes: int
    owners: Mapping[str, int]
    unattributed_bytes: int


def places(patterns: Iterable[str], device: int) -> list[str]:
    """Return the places on one device, the deepest first, so that none is counted twice.

    A place that is reached through a symbolic link counts where it really lies.
    """
    found: set[str] = set()
    for path in expand(patterns):
        real = os.path.realpath(path)
        try:
            if os.lstat(real).st_dev == device:
                found.add(real)
        except OSError:
            continue
    return sorted(found, key=lambda path: (-path.rstrip("/").count("/"), path))


def du_arguments(chosen: Sequence[str]) -> list[str]:
    """Return the call that measures them all: each inode once, in the order given."""
    return [
        "du",
        "--one-file-system",
        "--summarize",
        "--block-size=1",
        "--null",
        "--",
        *chosen,
    ]


def parse_du(output: bytes) -> dict[str, int]:
    """Return bytes by path; a line that was cut off is left out."""
    found = {}
    for record in output.split(b"\0")[:-1]:
        count, _tab, path = record.partition(b"\t")
        if count.strip().isdigit():
            found[os.fsdecode(path)] = int(count)
    return found


def attribute(
    path: str,
    used_bytes: int,
    chosen: Sequence[str],
    measured: Mapping[str, int],
    deleted: Mapping[str, int],
    history: Sequence[Measured],
    now: float,
    seconds: float,
) -> Attribution:
    """Put the measurements together; the buckets add up to ``used_bytes`` by construction.

    A place that was not reached in time keeps its last known size and is marked stale. What
    remains is unattributed; it is negative where bytes are shared or went meanwhile.
    """
    last = history[-1].owners if history else {}
    yesterday = day_before(history, now)
    owners = []
    for place in chosen:
        stale = place not in measured
        count = last.get(place) if stale else measured[place]
        before = yesterday.owners.get(place) if yesterday is not None else None
        growth = count - before if count is not None and before is not None else None
        owners.append(RootUsage(place, count, growth, stale))
    holders = sorted(deleted.items(), key=lambda item: -item[1])
    deleted_bytes = sum(deleted.values())
    rest = used_bytes - deleted_bytes - sum(owner.bytes or 0 for owner in owners)
    grown = rest - yesterday.unattributed_bytes if yesterday is not None else None
    return Attribution(
        path=path,
        measured_at=now,
        used_bytes=used_bytes,
        owners=tuple(sorted(owners, key=lambda owner: -(owner.bytes or 0))),
        deleted_open_bytes=deleted_bytes,
        deleted_open=tuple(holders[:10]),
        unattributed_bytes=rest,
        unattributed_growth_bytes=grown,
        complete=not any(owner.stale for owner in owners),
        seconds=seconds,
    )


def day_before(history: Sequence[Measured], now: float) -> Measured | None:
    """Return the measurement nearest to a day ago, if there is one near enough."""
    near = [item for item in history if abs(now - DAY - item.at) <= _DEVIATION]
    return min(near, key=lambda item: abs(now - DAY - item.at), default=None)


def kept(attribution: Attribution) -> dict[str, Any]:
    """Return the line that is appended to the history."""
    return {
        "at": attribution.measured_at,
        "path": attribution.path,
        "used": attribution.used_bytes,
        "owners": {
            owner.path: owner.bytes for owner in attribution.owners if owner.bytes is not None
        },
        "unattributed": attribution.unattributed_bytes,
    }


def measured_from(values: Mapping[str, Any]) -> Measured:
    """Read a line of the history."""
    return Measured(
        float(values["at"]),
        str(values["path"]),
        int(values["used"]),
        {str(path): int(count) for path, count in values["owners"].items()},
        int(values["unattributed"]),
    )


def document(attribution: Attribution) -> dict[str, Any]:
    """Return the JSON form of the newest measurement."""
    return {
        "path": attribution.path,
        "measured_at": attribution.measured_at,
        "used_bytes": attribution.used_bytes,
        "owners": [vars(owner) for owner in attribution.owners],
        "deleted_open_bytes": attribution.deleted_open_bytes,
        "deleted_open": [list(item) for item in attribution.deleted_open],
        "unattributed_bytes": attribution.unattributed_bytes,
        "unattributed_growth_bytes": attribution.unattributed_growth_bytes,
        "complete": attribution.complete,
        "seconds": attribution.seconds,
    }


def from_section(section: Section) -> Attribution:
    """Read what :func:`document` wrote.

    Raises:
        ConfigurationError: it is damaged.

    """

    def number(part: Section, key: str) -> int | None:
        return part.integer(key) if part.has(key) else None

    return Attribution(
        path=section.text("path"),
        measured_at=section.number("measured_at"),
        used_bytes=section.integer("used_bytes"),
        owners=tuple(
            RootUsage(
                item.text("path"),
                number(item, "bytes"),
                number(item, "growth_bytes"),
                item.boolean("stale", False),
            )
            for item in section.sections("owners")
        ),
        deleted_open_bytes=section.integer("deleted_open_bytes"),
        deleted_open=tuple(
            (str(name), int(count)) for name, count in section.value("deleted_open")
        ),
        unattributed_bytes=section.integer("unattributed_bytes"),
        unattributed_growth_bytes=number(section, "unattributed_growth_bytes"),
        complete=section.boolean("complete"),
        seconds=section.number("seconds", 0),
    )


def buckets(attribution: Attribution) -> list[tuple[str, int]]:
    """Return every bucket with its bytes; they add up to the used bytes."""
    named = [(owner.path, owner.bytes or 0) for owner in attribution.owners]
    named.append((DELETED_OPEN, attribution.deleted_open_bytes))
    named.append((UNATTRIBUTED, attribution.unattributed_bytes))
    return named


def engine_places(info: Mapping[str, Any], containerd_root: str) -> list[str]:
    """Return where an engine keeps its bytes: with containerd's store not in its own root."""
    found = [str(info.get("DockerRootDir") or "")]
    rows = [list(row) for row in info.get("DriverStatus") or []]
    if ["driver-type", "io.containerd.snapshotter.v1"] in rows:
        found.append(containerd_root)
    return [path for path in found if path]


def containerd_root(configuration: str) -> str:
    """Return the ``root`` of containerd's configuration file, or its default."""
    for line in configuration.splitlines():
        key, equals, value = line.partition("=")
        if key.strip() == "root" and equals:
            return value.strip().strip("'\"")
        if line.startswith("["):
            break
    return "/var/lib/containerd"
