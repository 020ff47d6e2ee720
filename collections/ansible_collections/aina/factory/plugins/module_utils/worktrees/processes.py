"""Which processes sit in which directories: one pass over ``/proc`` for all of them.

A process in a container sees other paths than we do. Every path is therefore translated
to (device, path within the file system) through the mount table of the process that
holds it, and so is the directory that is asked about.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ..base.mounts import unescaped

PROC = "/proc"


@dataclass(frozen=True)
class _Mount:
    point: str
    device: str
    root: str
    # What an overlay is made of, as paths of whoever mounted it.
    layers: tuple[str, ...] = ()


@dataclass
class Occupants:
    """Who uses which directory.

    ``inside`` maps a directory to descriptions of the processes in it; ``unknown`` names
    processes that could not be inspected: any of them may be anywhere.
    """

    inside: dict[str, list[str]] = field(default_factory=dict)
    unknown: list[str] = field(default_factory=list)


def find(directories: Iterable[str], proc: str = PROC) -> Occupants:
    """Look at every process once.

    ``directories`` are absolute paths without symbolic links.
    """
    result = Occupants()
    own_table = _mounts(f"{proc}/self/mountinfo") or []
    wanted = {_located(path, own_table): path for path in directories}
    if not wanted:
        return result
    tables: dict[str, _Table | None] = {}
    for entry in os.scandir(proc):
        if entry.name.isdigit():
            _look_at(entry.name, proc, wanted, own_table, tables, result)
    return result


@dataclass
class _Table:
    """The mounts that some processes see, and what has been found out about their paths."""

    mounts: list[_Mount]
    covering: dict[str, str | None] = field(default_factory=dict)


def _look_at(
    pid: str,
    proc: str,
    wanted: dict[tuple[str, str], str],
    own_table: Sequence[_Mount],
    tables: dict[str, _Table | None],
    result: Occupants,
) -> None:
    base = f"{proc}/{pid}"
    try:
        namespace = os.readlink(f"{base}/ns/mnt")  # noqa: PTH115 - speed
        if namespace not in tables:
            mounts = _mounts(f"{base}/mountinfo")
            tables[namespace] = None if mounts is None else _Table(mounts)
            for directory in _mounted_elsewhere(mounts or [], own_table, wanted):
                result.inside.setdefault(directory, []).append(
                    f"a mount seen by {_name(base, pid)}"
                )
        table = tables[namespace]
        if table is None:
            raise PermissionError
        covering = set()
        for path in _paths_in_use(base):  # libraries recur in nearly every process
            if path not in table.covering:
                table.covering[path] = _covering(path, table.mounts, wanted)
            covering.add(table.covering[path])
    except PermissionError:
        # Init works in the root directory; in a container it can have more rights than root.
        if pid != "1":
            result.unknown.append(_name(base, pid))
        return
    except (FileNotFoundError, ProcessLookupError):
        return  # it has ended
    for occupied in covering - {None}:
        result.inside.setdefault(occupied or "", []).append(_name(base, pid))


def _paths_in_use(base: str) -> Iterator[str]:
    for link in ("cwd", "root", "exe"):
        try:
            yield os.readlink(f"{base}/{link}")  # noqa: PTH115 - speed
        except FileNotFoundError:
            continue  # a kernel thread has no executable
    for descriptor in os.listdir(f"{base}/fd"):  # noqa: PTH208 - speed
        try:
            target = os.readlink(f"{base}/fd/{descriptor}")  # noqa: PTH115 - speed
        except FileNotFoundError:
            continue
        if target.startswith("/"):
            yield target
    with open(f"{base}/maps", "rb") as maps:  # noqa: PTH123 - speed
        seen = {line[73:].rstrip(b"\n") for line in maps if b"/" in line[73:74]}
    yield from (os.fsdecode(path) for path in seen)


def _covering(path: str, table: Sequence[_Mount], wanted: dict[tuple[str, str], str]) -> str | None:
    return _wanted_around(*_located(path.removesuffix(" (deleted)"), table), wanted)


def _wanted_around(device: str, inner: str, wanted: dict[tuple[str, str], str]) -> str | None:
    while inner != "":
        if (device, inner) in wanted:
            return wanted[(device, inner)]
        if inner == "/":
            return None
        inner = inner.rpartition("/")[0] or "/"
    return None


def _mounted_elsewhere(
    table: Sequence[_Mount], own_table: Sequence[_Mount], wanted: dict[tuple[str, str], str]
) -> set[str]:
    """Return directories of which a part is a mount of its own, or the layer of an overlay.

    ``docker run -v`` makes the one, a sandbox that copies on write the other. An overlay has
    a device of its own, and names its layers as the process saw them that mounted it: that
    is most often our own view, and else the one that the process has.
    """
    hits = set()
    for mount in table:
        places = [(mount.device, mount.root)] if mount.root != "/" else []
        for layer in mount.layers:
            places += [_located(layer, view) for view in (table, own_table)]
        hits |= {_wanted_around(device, inner, wanted) for device, inner in places}
    return {hit for hit in hits if hit is not None}


def _located(path: str, table: Sequence[_Mount]) -> tuple[str, str]:
    """Return (device, path within the file system) of a path; the deepest mount decides."""
    for mount in table:  # deepest first
        if mount.point == "/" or path == mount.point or path.startswith(mount.point + "/"):
            rest = path if mount.point == "/" else path[len(mount.point) :]
            inner = mount.root.rstrip("/") + rest
            return mount.device, inner.rstrip("/") or "/"
    return "", path


def _mounts(file: str) -> list[_Mount] | None:
    try:
        content = Path(file).read_bytes()
    except OSError:
        return None
    mounts = []
    for line in content.splitlines():
        words = line.split(b" ")
        root, point = unescaped(words[3]), unescaped(words[4])
        layers = _layers(words[-1]) if words[-3] == b"overlay" else ()
        mounts.append(_Mount(point, words[2].decode(), root, layers))
    # Of two mounts on one point the later one is seen.
    mounts.reverse()
    mounts.sort(key=lambda mount: -len(mount.point))
    return mounts


def _layers(options: bytes) -> tuple[str, ...]:
    """Return the directories that an overlay's options name."""
    found: list[str] = []
    for option in options.split(b","):
        name, _equals, value = option.partition(b"=")
        if name.rstrip(b"+") in {b"lowerdir", b"upperdir"}:
            found += [unescaped(part) for part in value.split(b":") if part.startswith(b"/")]
    return tuple(found)


def _name(base: str, pid: str) -> str:
    try:
        return f"{Path(base, 'comm').read_text(errors='replace').strip()} ({pid})"
    except OSError:
        return f"process {pid}"
