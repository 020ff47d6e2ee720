"""Who is at work where: one look at all processes, and at what the kernel itself holds.

A process in a container sees other paths than we do. Every path is therefore translated
to (device, path within the file system) through the mount table of the process that
holds it, and so is the place that is asked about. A place is in use when anything at or below
it is: a thread's working or root directory, an open or mapped file, a program, the path of a
socket, what is mounted elsewhere or lies under an overlay, the file behind a loop device.
"""

from __future__ import annotations

import os
import re
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from .mounts import unescaped

PROC, SYS = "/proc", "/sys"
# A file by its device and number, whatever its name.
FileKey = tuple[int, int]
# A file by the device of its file system and its path within that.
_Place = tuple[str, str]
_SYS_PTRACE = 19
_SOCKET = re.compile(r"socket:\[(\d+)\]")
# Kept by a file, they live on without a process. Those of snapd hold snaps alone.
_NAMESPACES_OF_OTHERS = ("/run/snapd/ns/",)


@dataclass(frozen=True)
class _Mount:
    point: str
    device: str
    root: str
    kind: str = ""
    options: str = ""
    # What an overlay is made of, as paths of whoever mounted it.
    layers: tuple[str, ...] = ()


@dataclass
class Occupants:
    """Who uses which directory.

    ``inside`` maps a directory to descriptions of who is in it; ``unknown`` names
    processes that could not be inspected: any of them may be anywhere.
    """

    inside: dict[str, list[str]] = field(default_factory=dict)
    unknown: list[str] = field(default_factory=list)


def find(directories: Iterable[str], proc: str = PROC, sys: str = SYS) -> Occupants:
    """Look at every process once.

    ``directories`` are absolute paths without symbolic links.
    """
    wanted = list(directories)
    if not wanted:
        return Occupants()
    presence = Presence(proc, sys)
    inside = {path: names for path in wanted if (names := presence.inside(path))}
    return Occupants(inside, presence.unknown)


@dataclass
class _Table:
    """The mounts that some processes see, and what has been found out about their paths."""

    mounts: list[_Mount]
    places: dict[str, _Place] = field(default_factory=dict)

    def place(self, path: str) -> _Place:
        found = self.places.get(path)
        if found is None:  # libraries recur in nearly every process
            found = _located(path.removesuffix(" (deleted)"), self.mounts)
            self.places[path] = found
        return found


@dataclass(frozen=True)
class _Socket:
    path: str
    table: _Table


class Presence:
    """What was in use at one moment."""

    def __init__(self, proc: str = PROC, sys: str = SYS) -> None:
        """Look at everything now."""
        self.unknown: list[str] = []
        self._proc = proc
        self._own = _Table(_mounts(f"{proc}/self/mountinfo") or [])
        self._used: dict[_Place, set[str]] = {}
        self._mapped: set[_Place] = set()
        self._held: set[FileKey] = set()
        self._mapped_files: set[FileKey] = set()
        self._tables: dict[str, _Table] = {}
        self._sockets: dict[str, _Socket] = {}
        self._networks: set[str] = set()
        # Number of an open socket -> where it is used: name, working directory, mounts.
        self._open_sockets: list[tuple[str, str, str, _Table]] = []
        for entry in os.scandir(proc):
            if entry.name.isdigit():
                self._look_at(entry.name)
        self._look_at_sockets()
        self._look_at_the_kernel(sys)
        self._order = sorted(self._used)

    def inside(self, path: str) -> list[str]:
        """Return who uses ``path`` or anything below it; it has no symbolic links."""
        device, inner = self._own.place(path)
        names = set(self._used.get((device, inner), ()))
        prefix = inner.rstrip("/") + "/"
        at = bisect_left(self._order, (device, prefix))
        while at < len(self._order):
            place = self._order[at]
            if place[0] != device or not place[1].startswith(prefix):
                break
            names |= self._used[place]
            at += 1
        return sorted(names)

    def holds_any(self, keys: Iterable[FileKey]) -> bool:
        """Whether a process is known to hold one of the files open."""
        return not self._held.isdisjoint(keys)

    def maps(self, path: str, keys: Iterable[FileKey] = ()) -> bool:
        """Whether a process is known to have the file in its memory: it must not get shorter."""
        return self._own.place(path) in self._mapped or not self._mapped_files.isdisjoint(keys)

    @property
    def complete(self) -> bool:
        """Whether every process could be looked at."""
        return not self.unknown

    def _use(self, place: _Place, name: str) -> None:
        self._used.setdefault(place, set()).add(name)

    def _look_at(self, pid: str) -> None:
        base = f"{self._proc}/{pid}"
        try:
            name, whole = _name(base, pid), False
            for thread in [pid, *(other for other in _threads(base) if other != pid)]:
                place = base if thread == pid else f"{base}/task/{thread}"
                try:
                    table = self._table(place, pid)
                    # All threads have the same files; where the first one has ended, these tell.
                    paths = set() if whole else set(self._paths_in_use(place, name, table))
                    paths |= set(_links(place, ("cwd", "root")))
                    whole = True
                except (FileNotFoundError, ProcessLookupError):
                    continue
                for path in paths:
                    self._use(table.place(path), name)
        except PermissionError:
            # Init works in the root directory; in a container it can have more rights than root.
            if pid != "1":
                self.unknown.append(_name(base, pid))
        except (FileNotFoundError, ProcessLookupError):
            return  # it has ended

    def _table(self, base: str, pid: str) -> _Table:
        namespace = os.readlink(f"{base}/ns/mnt")  # noqa: PTH115 - speed
        if namespace not in self._tables:
            mounts = _mounts(f"{base}/mountinfo")
            if mounts is None:
                os.readlink(f"{base}/ns/mnt")  # noqa: PTH115 - or it has ended meanwhile
                raise PermissionError
            self._tables[namespace] = _Table(mounts)
            self._look_at_mounts(mounts, f"a mount seen by {_name(base, pid)}")
        table = self._tables[namespace]
        try:
            network = os.readlink(f"{base}/ns/net")  # noqa: PTH115 - speed
            if network not in self._networks:
                self._networks.add(network)
                self._sockets |= {
                    number: _Socket(path, table) for number, path in _bound(f"{base}/net/unix")
                }
        except FileNotFoundError:
            pass
        return table

    def _look_at_mounts(self, table: Sequence[_Mount], name: str) -> None:
        """Note directories of which a part is a mount of its own, or the layer of an overlay.

        ``docker run -v`` makes the one, a sandbox that copies on write the other. An overlay has
        a device of its own, and names its layers as the process saw them that mounted it: that
        is most often our own view, and else the one that the process has.
        """
        for mount in table:
            if mount.root != "/":
                self._use((mount.device, mount.root), name)
            for layer in mount.layers:
                for view in (table, self._own.mounts):
                    self._use(_located(layer, view), name)

    def _paths_in_use(self, base: str, name: str, table: _Table) -> Iterator[str]:
        links = _links(base, ("cwd", "root", "exe"))
        yield from links
        for descriptor in os.listdir(f"{base}/fd"):  # noqa: PTH208 - speed
            link = f"{base}/fd/{descriptor}"
            try:
                target = os.readlink(link)  # noqa: PTH115 - speed
                if target.startswith("/"):
                    yield target
                    self._hold(link)
                elif socket := _SOCKET.fullmatch(target):
                    self._open_sockets.append((socket[1], name, links[0] if links else "/", table))
            except FileNotFoundError:
                continue
        for link in ("cwd", "exe"):
            self._hold(f"{base}/{link}")
        with open(f"{base}/maps", "rb") as maps:  # noqa: PTH123 - speed
            seen = {line[73:].rstrip(b"\n"): line for line in maps if b"/" in line[73:74]}
        for name_of_file, line in seen.items():
            path = os.fsdecode(name_of_file)
            self._mapped.add(table.place(path))
            device, number = line.split(None, 5)[3:5]
            major, _colon, minor = device.partition(b":")
            key = (os.makedev(int(major, 16), int(minor, 16)), int(number))
            self._held.add(key)
            self._mapped_files.add(key)
            yield path

    def _hold(self, link: str) -> None:
        try:
            status = os.stat(link)  # noqa: PTH116 - speed
        except FileNotFoundError:
            return
        self._held.add((status.st_dev, status.st_ino))

    def _look_at_sockets(self) -> None:
        """Note where sockets of processes are bound, listening ones of nobody known too."""
        unheld = dict(self._sockets)
        for number, name, directory, table in self._open_sockets:
            if number in self._sockets:
                unheld.pop(number, None)
                path = os.path.join(directory, self._sockets[number].path)  # noqa: PTH118
                self._use(table.place(os.path.normpath(path)), name)
        for socket in unheld.values():
            if socket.path.startswith("/"):
                self._use(socket.table.place(socket.path), "a socket")

    def _look_at_the_kernel(self, sys: str) -> None:
        """Note what is held without any process, and what is hidden from us."""
        for file in sorted(Path(sys, "block").glob("loop*/loop/backing_file")):
            device = file.parts[-3]
            try:
                path = os.fsdecode(file.read_bytes().rstrip(b"\n"))
            except OSError:
                continue  # it was let go
            self._use(self._own.place(path), f"the loop device {device}")
        try:
            for line in Path(self._proc, "swaps").read_bytes().splitlines()[1:]:
                self._use(self._own.place(unescaped(line.split()[0])), "swap space")
        except OSError:
            pass
        for mount in self._own.mounts:
            hidden = mount.kind == "nsfs" and mount.root.startswith("mnt:")
            if hidden and mount.root not in self._tables:
                if not mount.point.startswith(_NAMESPACES_OF_OTHERS):
                    self.unknown.append(f"the mounts that {mount.point} keeps")
            elif mount.kind == "proc" and mount.point == "/proc" and self._hides(mount.options):
                self.unknown.append("processes that /proc does not show (hidepid)")

    def _hides(self, options: str) -> bool:
        told = dict(option.partition("=")[::2] for option in options.split(","))
        if told.get("hidepid", "0") in {"0", "off"}:
            return False
        group = told.get("gid", "")
        if group.isdigit() and int(group) in {os.getegid(), *os.getgroups()}:
            return False
        try:
            status = Path(self._proc, "self/status").read_text(errors="replace")
        except OSError:
            return True
        rights = re.search(r"^CapEff:\s*([0-9a-f]+)$", status, re.MULTILINE)
        return rights is None or not int(rights[1], 16) >> _SYS_PTRACE & 1


def _threads(base: str) -> list[str]:
    try:
        return os.listdir(f"{base}/task")  # noqa: PTH208 - speed
    except FileNotFoundError:
        return []


def _links(base: str, names: Iterable[str]) -> list[str]:
    found = []
    for name in names:
        try:
            found.append(os.readlink(f"{base}/{name}"))  # noqa: PTH115 - speed
        except FileNotFoundError:
            continue  # a kernel thread has no executable
    return found


def _bound(file: str) -> Iterator[tuple[str, str]]:
    """Yield (number, path) of the sockets in a file like ``/proc/net/unix``."""
    try:
        content = Path(file).read_bytes()
    except OSError:
        return
    for line in content.splitlines()[1:]:
        words = line.split(None, 7)
        if len(words) == 8 and not words[7].startswith(b"@"):
            yield words[6].decode(), os.fsdecode(words[7])


def _located(path: str, table: Sequence[_Mount]) -> _Place:
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
        kind, options = words[-3].decode(), words[-1]
        layers = _layers(options) if kind == "overlay" else ()
        device = words[2].decode()
        mounts.append(_Mount(point, device, root, kind, os.fsdecode(options), layers))
    # Of two mounts on one point the later one is seen.
    mounts.reverse()
    mounts.sort(key=lambda mount: -len(mount.point))
    return mounts


def _layers(options: bytes) -> tuple[str, ...]:
    """Return the directories that an overlay's options name.

    The kernel writes a comma in a path as an octal number, and a colon after a backslash.
    """
    found: list[str] = []
    for option in options.split(b","):
        name, _equals, value = option.partition(b"=")
        if name.rstrip(b"+") in {b"lowerdir", b"upperdir", b"workdir", b"datadir"}:
            parts = re.split(rb"(?<!\\):", os.fsencode(unescaped(value)))
            found += [
                os.fsdecode(part.replace(b"\\:", b":")) for part in parts if part.startswith(b"/")
            ]
    return tuple(found)


def _name(base: str, pid: str) -> str:
    try:
        return f"{Path(base, 'comm').read_text(errors='replace').strip()} ({pid})"
    except OSError:
        return f"process {pid}"
