"""Where the watched filesystems are mounted, by the kernel's own table; pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ..base.configuration import Section
from ..base.mounts import unescaped
from .facts import Fact, Known
from .readings import ReadingError

_TAGS = ("UUID=", "LABEL=", "PARTUUID=", "PARTLABEL=")
_OTHER_KINDS = ("zfs", "nfs", "nfs4", "cifs", "ceph", "fuse.sshfs", "9p", "virtiofs")
# What is read alone by its nature.
_IMAGES = ("squashfs", "iso9660", "udf", "erofs", "swap")


@dataclass(frozen=True)
class Mount:
    """What is mounted at one declared path.

    ``holder`` is the mount point on which the path really lies; ``identity`` names the
    filesystem, ``before`` the one that was there until ``replaced_at``. ``fault`` is what is
    wrong with it: another device than the declared one, or that nothing can be written.
    """

    holder: str
    mounted: bool
    identity: str = ""
    read_only: bool = False
    before: str = ""
    replaced_at: float | None = None
    fault: str = ""


@dataclass(frozen=True)
class MountEntry:
    """One line of the table: what is mounted at one place; ``root`` is the part of it that is."""

    device: str
    kind: str
    source: str
    root: str = "/"
    options: tuple[str, ...] = ()

    @property
    def is_real(self) -> bool:
        """Whether it is a disk's or another server's whole filesystem that is to hold data."""
        own = self.source.startswith("/dev/") and (self.root == "/" or self.kind == "btrfs")
        return (own or self.kind in _OTHER_KINDS) and self.kind not in _IMAGES


def parse(table: bytes) -> Mapping[str, MountEntry]:
    """Return what is mounted where, from ``/proc/self/mountinfo``; the uppermost mount counts."""
    if not table.endswith(b"\n"):
        raise ReadingError("the table of mounts was not read to its end")
    found = {}
    for line in table.splitlines():
        left, _dash, right = line.partition(b" - ")
        words, rest = left.split(b" "), right.split(b" ")
        found[unescaped(words[4])] = MountEntry(
            words[2].decode(),
            rest[0].decode(),
            unescaped(rest[1]),
            unescaped(words[3]),
            tuple(words[5].decode(errors="replace").split(",")),
        )
    return found


def declared(fstab: str) -> Mapping[str, MountEntry]:
    """Return what ``/etc/fstab`` says is mounted at each start, by its place."""
    found = {}
    for line in fstab.splitlines():
        words = line.split()
        if len(words) < 4 or line.lstrip().startswith("#") or not words[1].startswith("/"):
            continue
        options = tuple(words[3].split(","))
        path = unescaped(words[1].encode())
        entry = MountEntry("", words[2], unescaped(words[0].encode()), "/", options)
        is_disk = entry.source.startswith(("/dev/", *_TAGS)) or entry.kind in _OTHER_KINDS
        if is_disk and entry.kind not in _IMAGES and not {"noauto", "bind"} & {*options}:
            found[path] = entry
    return found


def watched(
    given: Sequence[str], table: Mapping[str, MountEntry], fstab: Mapping[str, MountEntry]
) -> tuple[str, ...]:
    """Return the mount points to watch: the given ones, the declared ones, and each real one.

    A filesystem that is mounted at several places is watched at one of them; one that is only
    to be read is nobody's place to fill.
    """
    found = dict.fromkeys(given)
    seen = {table[path].device for path in given if path in table}
    for path in fstab:
        if "ro" not in fstab[path].options and path not in found:
            found[path] = None
            seen |= {table[path].device} if path in table else set()
    for path, entry in sorted(table.items(), key=lambda item: (len(item[0]), item[0])):
        if entry.is_real and "ro" not in entry.options and entry.device not in seen:
            found[path] = None
            seen.add(entry.device)
    return tuple(found)


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
