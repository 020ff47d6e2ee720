"""The watched filesystems: what is mounted where, and how full it is."""

from __future__ import annotations

import errno
import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from ..base.disk import Disk
from . import mounts
from .facts import Fact, Known, Unknown
from .mounts import Mount
from .settings import WatchdogSettings
from .sources import Facts, Host, Source, answered, side_by_side


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
    # Side by side: another server's disk that does not answer hides no other.
    return side_by_side(
        {path: (lambda path=path: _mounted(path, places[path])) for path in host.policy.disks},  # type: ignore[misc]
        host.policy.gather_seconds / 3,
    )


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
    flags = side_by_side(
        {path: (lambda path=path: _tried(path)) for path in host.policy.disks},  # type: ignore[misc]
        host.policy.gather_seconds / 3,
    )
    table = mounts.parse((host.proc / "self/mountinfo").read_bytes())
    names = _names_of_devices(host.device_dir)
    fstab = mounts.declared(host.fstab.read_text(errors="replace")) if host.fstab.exists() else {}

    def one(path: str, answer: Fact[_Tried]) -> Mount:
        real = os.path.realpath(path)
        place = mounts.holder(real, table)
        if place != real:
            return Mount(place, mounted=False)
        entry = table[real]
        number = entry.device if entry.device in names else _device_number(entry.source)
        identity = f"{entry.kind} {names.get(number, entry.source)}"
        if not isinstance(answer, Known):
            raise OSError(answer.reason)
        wanted = fstab[path].source if path in fstab else ""
        fault = _other_device(wanted, number, names, host.device_dir)
        return Mount(
            place, True, identity, answer.value.read_only, fault=fault or answer.value.fault
        )

    return {path: answered(lambda path=path: one(path, flags[path])) for path in flags}  # type: ignore[misc]


@dataclass(frozen=True)
class _Tried:
    """How a place answers: whether it may be written at all, and why it cannot be."""

    read_only: bool
    fault: str = ""


def _tried(path: str) -> _Tried:
    """Ask for the state of a filesystem, and write a block into a file without a name."""
    if os.statvfs(path).f_flag & os.ST_RDONLY:
        return _Tried(read_only=True)
    try:
        descriptor = os.open(path, os.O_TMPFILE | os.O_WRONLY | os.O_CLOEXEC, 0o600)
    except OSError as error:
        return _Tried(read_only=False, fault=_fault(error))
    try:
        os.write(descriptor, b"\0" * 4096)
        os.fsync(descriptor)
    except OSError as error:
        return _Tried(read_only=False, fault=_fault(error))
    finally:
        os.close(descriptor)
    return _Tried(read_only=False)


def _fault(error: OSError) -> str:
    # Full is told by another check; not every filesystem has files without a name.
    broken = error.errno in (errno.EIO, errno.EROFS, errno.ENXIO, errno.ESTALE, errno.EUCLEAN)
    return f"it cannot be written: {error.strerror}" if broken else ""


def _other_device(wanted: str, number: str, names: Mapping[str, str], directory: Path) -> str:
    """Return that another device is mounted than ``/etc/fstab`` says; "" where that is not known."""
    tag, equals, value = wanted.partition("=")
    if not equals:
        there = _device_number(wanted)
    elif tag == "UUID":
        there = next((key for key, name in names.items() if name.lower() == value.lower()), "")
        there = there or ("gone" if number in names else "")
    else:
        there = _device_number_of(directory.parent / f"by-{tag.lower()}" / value.strip('"'))
    if not there or not number or there == number:
        return ""
    return f"/etc/fstab says {wanted}, which is another device"


def with_found(policy: WatchdogSettings, proc: Path, fstab: Path) -> WatchdogSettings:
    """Return the policy with every real mount of this host among its disks."""
    try:
        table = mounts.parse((proc / "self/mountinfo").read_bytes())
        entries = mounts.declared(fstab.read_text(errors="replace")) if fstab.exists() else {}
    except (OSError, ValueError):
        # The given ones are told as unknown then.
        return policy
    return replace(policy, disks=mounts.watched(policy.disks, table, entries))


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
    return _device_number_of(Path(source)) if source.startswith("/dev/") else ""


def _device_number_of(file: Path) -> str:
    try:
        number = file.stat().st_rdev
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
