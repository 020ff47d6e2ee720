"""The watched filesystems: what is mounted where, and how full it is."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ..base.disk import Disk
from . import mounts
from .facts import Fact, Known, Unknown
from .mounts import Mount
from .sources import Facts, Host, Source, answered


@dataclass(frozen=True)
class Filesystem:
    """One watched filesystem."""

    disk: Disk
    inodes_total: int
    inodes_free: int
    device: int

    @property
    def inodes_used_percent(self) -> float | None:
        """The used share of its inodes; ``None`` where it does not count them."""
        if not self.inodes_total:
            return None
        return round(100.0 * (self.inodes_total - self.inodes_free) / self.inodes_total, 1)


Disks = Mapping[str, Fact[Filesystem]]
Mounts = Mapping[str, Fact[Mount]]


def read(host: Host) -> Disks:
    """Return the watched filesystems; one that cannot be asked is unknown alone."""
    places = read_mounts(host)
    return {
        path: answered(lambda path=path: _mounted(path, places[path]))  # type: ignore[misc]
        for path in host.policy.disks
    }


def _mounted(path: str, mount: Fact[Mount]) -> Filesystem:
    if isinstance(mount, Known) and not mount.value.mounted:
        # Its numbers would be those of another filesystem.
        raise OSError(f"{path} is not mounted")
    return filesystem(path)


def filesystem(path: str) -> Filesystem:
    """Return the state of the filesystem that holds ``path``."""
    answer = os.statvfs(path)
    unit = answer.f_frsize
    used = (answer.f_blocks - answer.f_bfree) * unit
    disk = Disk(path, answer.f_blocks * unit, used, answer.f_bavail * unit)
    return Filesystem(disk, answer.f_files, answer.f_ffree, Path(path).stat().st_dev)


def read_mounts(host: Host) -> Mounts:
    """Return what is mounted at the watched paths."""
    # Asked first: a mount on demand is there afterwards.
    flags = {path: answered(lambda path=path: os.statvfs(path)) for path in host.policy.disks}  # type: ignore[misc]
    table = mounts.parse((host.proc / "self/mountinfo").read_bytes())
    names = _names_of_devices(host.device_dir)

    def one(path: str, answer: Fact[os.statvfs_result]) -> Mount:
        real = os.path.realpath(path)
        place = mounts.holder(real, table)
        if place != real:
            return Mount(place, mounted=False)
        entry = table[real]
        number = entry.device if entry.device in names else _device_number(entry.source)
        identity = f"{entry.kind} {names.get(number, entry.source)}"
        if not isinstance(answer, Known):
            raise OSError(answer.reason)
        return Mount(place, True, identity, bool(answer.value.f_flag & os.ST_RDONLY))

    return {path: answered(lambda path=path: one(path, flags[path])) for path in flags}  # type: ignore[misc]


def _names_of_devices(directory: Path) -> Mapping[str, str]:
    """Return the UUID of the filesystem on each device: numbers and names change at a boot."""
    found = {}
    for link in directory.iterdir() if directory.is_dir() else ():
        try:
            number = link.stat().st_rdev
        except OSError:
            continue
        found[f"{os.major(number)}:{os.minor(number)}"] = link.name
    return found


def _device_number(source: str) -> str:
    """Return the number of a device file; "" for any other source, such as a server's."""
    try:
        number = Path(source).stat().st_rdev if source.startswith("/dev/") else 0
    except OSError:
        return ""
    return f"{os.major(number)}:{os.minor(number)}" if number else ""


DISKS = Source("disks", read)
MOUNTS = Source("mounts", read_mounts)


def hidden(path: str, facts: Facts) -> Unknown | None:
    """Return why nothing can be said of a filesystem, whatever was written down of it before."""
    disks = facts[DISKS]
    fact = disks.value.get(path) if isinstance(disks, Known) else None
    return fact if isinstance(fact, Unknown) else None
