"""Logs: old closed ones go, large ones are cut down to their newest part."""

from __future__ import annotations

import errno
import gzip
import os
import shutil
import stat
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from ...base import paths
from ...base.disk import Removal
from ...base.paths import PathEntry
from ...base.presence import Presence
from ...base.settings import setting
from ..file_kinds import open_holder
from ..host import Host
from ..limits import MIB, Rooted
from ..model import Candidate, Kind, KindError, KindLimits, present

ROTATE = "rotate"
_COPY_BYTES = 1 << 20


@dataclass(frozen=True)
class Rotation:
    """Above ``max_file_bytes`` only the newest ``keep_bytes`` stay, in ``NAME.1``.

    Earlier parts become ``NAME.2.gz`` and so on, at most ``count`` in all.
    """

    max_file_bytes: int
    keep_bytes: int
    count: int


@dataclass(frozen=True)
class LogsSettings(Rooted):
    """Which logs, when they go, and when they are cut."""

    globs: tuple[str, ...] = setting(("*.log",), "Names to take into account.", adds=False)
    max_file_mib: float = setting(
        50, "A log larger than this is cut down to its newest part, open or not.", minimum=0
    )
    keep_mib: float = setting(10, "How much of a log that is cut down stays.", minimum=0)
    rotated_count: int = setting(
        3,
        "How many earlier parts of a log stay, compressed but the newest.",
        minimum=1,
        maximum=100,
    )

    def contradictions(self) -> Iterator[tuple[str, str]]:
        """Yield limits that do not fit together."""
        yield from super().contradictions()
        if self.keep_mib > self.max_file_mib:
            yield "keep_mib", f"not exceed max_file_mib, which is {self.max_file_mib:g}"

    def kinds(self, host: Host) -> Sequence[Kind]:
        rotation = Rotation(
            int(self.max_file_mib * MIB), int(self.keep_mib * MIB), self.rotated_count
        )
        logs = LogKind(self.limits, rotation, self.roots, self.globs, host.presence, host.device)
        return [logs]


DEFAULT = LogsSettings(max_age_days=14, min_age_hours=24, max_total_mib=2048)


class LogKind:
    """Log files of declared directories."""

    name = "logs"

    def __init__(
        self,
        limits: KindLimits,
        rotation: Rotation,
        roots: Sequence[str],
        globs: Sequence[str],
        presence: Callable[[], Presence],
        watched_device: int,
    ) -> None:
        """Describe the kind; ``presence`` looks at the processes anew each time."""
        self.limits = limits
        self._rotation = rotation
        self._roots = roots
        self._globs = globs
        self._presence = presence
        self._watched_device = watched_device

    def inventory(self) -> Sequence[Candidate]:
        """List the logs and their rotated parts; see ``Kind``."""
        rotated = [f"{pattern}.[0-9]*" for pattern in self._globs]
        presence = self._presence()
        found: list[Candidate] = []
        for root in present(self._roots):
            for item in paths.files(root, [*self._globs, *rotated], recursive=False):
                is_live = not paths.name_matches(item.parts[-1], rotated)
                found.append(self._candidate(item, presence, may_rotate=is_live))
        return found

    def _candidate(self, found: PathEntry, presence: Presence, *, may_rotate: bool) -> Candidate:
        large = may_rotate and found.bytes > self._rotation.max_file_bytes
        freed = max(found.bytes - self._rotation.keep_bytes, 0) if large else found.bytes
        return Candidate(
            kind=self.name,
            target=found.path,
            bytes=freed,
            last_used=found.last_used,
            # Cutting a log down is safe while somebody writes to it; unlinking is not.
            held_by=_mapped(found, presence) if large else open_holder(presence)(found),
            due=ROTATE if large else "",
            counted=found.device == self._watched_device,
            handle=found,
        )

    def remove(self, candidate: Candidate) -> Removal:
        """Cut down or remove the log; see ``Kind``."""
        found = candidate.handle
        if not isinstance(found, PathEntry):
            raise TypeError(f"{candidate.target} was not listed by {self.name}")
        presence = self._presence()
        cuts = candidate.due == ROTATE
        reason = _mapped(found, presence) if cuts else open_holder(presence)(found)
        if reason:
            return Removal(False, 0, reason)
        if cuts:
            return self._rotate(found)
        if not paths.remove(found):
            return Removal(False, 0, "changed")
        return Removal(True, candidate.bytes, "")

    def _rotate(self, found: PathEntry) -> Removal:
        name = found.parts[-1]
        with paths.opened(found.root, found.parts[:-1]) as directory:
            flags = os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC
            log = os.open(name, flags, dir_fd=directory)
            try:
                before = os.fstat(log)
                if (before.st_dev, before.st_ino) != (found.device, found.inode):
                    return Removal(False, 0, "changed")
                _shift(name, directory, self._rotation.count)
                kept = _cut(log, name, directory, self._rotation.keep_bytes)
                after = os.fstat(log)
            finally:
                os.close(log)
        freed = (before.st_blocks - after.st_blocks) * paths.BLOCK_BYTES - kept
        return Removal(True, max(freed, 0), "")


def _mapped(found: PathEntry, presence: Presence) -> str:
    """A process that has a file in its memory ends when the file gets shorter."""
    if presence.maps(found.path, found.inodes):
        return "mapped"
    return "" if presence.complete else "open_unknown"


def _cut(log: int, name: str, directory: int, keep_bytes: int) -> int:
    """Keep the newest part in ``NAME.1``, empty the log; return the part's allocated bytes.

    The log keeps its inode, so a writer that appends goes on at the start. One that does not
    append goes on at its old offset: the file then has a hole in front, which takes no space.
    What is written between the last read and the cut is lost, as with every such rotation.
    """
    part = os.open(
        f"{name}.1", os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600, dir_fd=directory
    )
    try:
        status = os.fstat(log)
        os.fchown(part, status.st_uid, status.st_gid)
        os.fchmod(part, status.st_mode & 0o777)
        position = max(status.st_size - keep_bytes, 0)
        try:
            _copy(log, part, position)
            os.ftruncate(log, 0)
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise
            _cut_on_full_disk(log, part, keep_bytes)
        return os.fstat(part).st_blocks * paths.BLOCK_BYTES
    finally:
        os.close(part)


def _copy(log: int, part: int, position: int) -> None:
    while chunk := os.pread(log, _COPY_BYTES, position):
        _write_all(part, chunk)
        position += len(chunk)


def _cut_on_full_disk(log: int, part: int, keep_bytes: int) -> None:
    # Nothing fits beside the log, so its newest part waits in memory until it has gone.
    os.ftruncate(part, 0)
    os.lseek(part, 0, os.SEEK_SET)
    size = os.fstat(log).st_size
    newest = os.pread(log, min(keep_bytes, size), max(size - keep_bytes, 0))
    os.ftruncate(log, 0)
    _write_all(part, newest)


def _write_all(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


def _shift(name: str, directory: int, count: int) -> None:
    """Make room for a new ``NAME.1``; the oldest part beyond ``count`` goes."""
    for number in range(count, 1, -1):
        older = f"{name}.{number}.gz"
        if not _exists(older, directory):
            continue
        if number == count:
            os.unlink(older, dir_fd=directory)
        else:
            os.rename(older, f"{name}.{number + 1}.gz", src_dir_fd=directory, dst_dir_fd=directory)
    if _exists(f"{name}.1", directory):
        if count > 1 and _is_plain(f"{name}.1", directory):
            _compress_if_it_fits(f"{name}.1", f"{name}.2.gz", directory)
        os.unlink(f"{name}.1", dir_fd=directory)


def _compress_if_it_fits(source: str, target: str, directory: int) -> None:
    try:
        _compress(source, target, directory)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        os.unlink(f"{target}.partial", dir_fd=directory)


def _exists(name: str, directory: int) -> bool:
    try:
        os.stat(name, dir_fd=directory, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return True


def _is_plain(name: str, directory: int) -> bool:
    return stat.S_ISREG(os.stat(name, dir_fd=directory, follow_symlinks=False).st_mode)


def _compress(source: str, target: str, directory: int) -> None:
    source_descriptor = os.open(
        source, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=directory
    )
    with os.fdopen(source_descriptor, "rb") as plain:
        if not stat.S_ISREG(os.fstat(source_descriptor).st_mode):
            raise KindError(f"{source} is no plain file; look at it and remove it")
        partial = f"{target}.partial"
        if _exists(partial, directory):
            os.unlink(partial, dir_fd=directory)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        status = os.fstat(plain.fileno())
        descriptor = os.open(partial, flags, 0o600, dir_fd=directory)
        with (
            os.fdopen(descriptor, "wb") as raw,
            gzip.GzipFile("", "wb", fileobj=raw, mtime=0) as packed,
        ):
            os.fchown(descriptor, status.st_uid, status.st_gid)
            os.fchmod(descriptor, status.st_mode & 0o777)
            shutil.copyfileobj(plain, packed)
    os.rename(partial, target, src_dir_fd=directory, dst_dir_fd=directory)
