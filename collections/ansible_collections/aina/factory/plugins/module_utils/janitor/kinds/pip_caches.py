"""What pip and uv have cached in the homes of declared users: it can be fetched again.

A home belongs to its user, who can put a link in the place of any directory. Everything in it is
therefore listed and removed by programs that run as that user.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ...base.disk import Removal
from ...base.ports import Run
from ...base.processes import Process
from ...base.settings import setting
from .. import programs
from ..host import Host
from ..limits import Limited
from ..model import Candidate, Kind, KindLimits, SkipError

# pip takes any file of its cache for missing that is not there. uv's refer to each other, so
# that it goes as a whole.
_PIP, _UV = ".cache/pip", ".cache/uv"
_BLOCK_BYTES = 512
# A time with nine digits behind the point does not fit into a number.
_SLACK_SECONDS = 0.002
# A user can have any number of files: what is not listed now is listed by a later run.
_LISTED_BYTES = 16 << 20
# Last reading, last change, blocks, device and path, of each plain file.
_LIST = (
    'test -d "$1" || exit 0; '
    f"find \"$1\" -xdev -type f -printf '%A@ %T@ %b %D %P\\0' | head --bytes={_LISTED_BYTES}"
)
# Only if nobody has read or written it since it was listed.
_REMOVE = 'find "$1" -maxdepth 0 -type f ! -newerat "@$2" ! -newermt "@$2" -printf x -delete'
_PROGRAMS = frozenset({"pip", "pip3", "uv", "uvx"})


@dataclass(frozen=True)
class _File:
    path: str
    bytes: int
    last_used: float
    device: int


@dataclass(frozen=True)
class _Cached:
    """What goes at once, and whose it is: one file of pip's, or all of uv's."""

    user: str
    path: str
    is_tree: bool


@dataclass
class PipCaches:
    """Files of pip's caches one by one, and uv's caches each as a whole, by their last use."""

    limits: KindLimits
    users: Sequence[str]
    run: Run
    processes: Callable[[], Iterable[Process]]
    watched_device: int
    name: str = field(default="pip_caches", init=False)

    def inventory(self) -> Sequence[Candidate]:
        """List what is cached; see ``Kind``."""
        if not self.users:
            raise SkipError("not_declared")
        held = "installation_running" if self._installing() else ""
        found: list[Candidate] = []
        for user in self.users:
            home = programs.home(user)
            pip, uv = f"{home}/{_PIP}", f"{home}/{_UV}"
            found += [
                self._candidate(_Cached(user, file.path, False), [file], held)
                for file in self._files(user, pip)
            ]
            files = self._files(user, uv)
            if files:
                found.append(self._candidate(_Cached(user, uv, True), files, held))
        return found

    def _installing(self) -> bool:
        return any(is_installation(process) for process in self.processes())

    def _files(self, user: str, directory: str) -> list[_File]:
        argv = programs.as_owner(user, "sh", "-c", _LIST, "list", directory)
        done = programs.call(self.run, argv)
        programs.check(done, argv)
        # The last one may have been cut off.
        return [_file(directory, record) for record in done.stdout.split(b"\0")[:-1]]

    def _candidate(self, cached: _Cached, files: Sequence[_File], held: str) -> Candidate:
        return Candidate(
            kind=self.name,
            target=cached.path,
            bytes=sum(file.bytes for file in files),
            last_used=max(file.last_used for file in files),
            held_by=held,
            counted=files[0].device == self.watched_device,
            handle=cached,
        )

    def remove(self, candidate: Candidate) -> Removal:
        """Remove it as its user, unless it has been used since; see ``Kind``."""
        cached = candidate.handle
        if not isinstance(cached, _Cached) or candidate.last_used is None:
            raise TypeError(f"{candidate.target} was not listed by {self.name}")
        if self._installing():
            return Removal(False, 0, "installation_running")
        if cached.is_tree:
            words = ["rm", "--recursive", "--force", "--one-file-system", "--", cached.path]
        else:
            words = [
                "sh",
                "-c",
                _REMOVE,
                "remove",
                cached.path,
                f"{candidate.last_used + _SLACK_SECONDS:.3f}",
            ]
        argv = programs.as_owner(cached.user, *words)
        done = programs.call(self.run, argv)
        programs.check(done, argv)
        if not cached.is_tree and not done.stdout:
            return Removal(False, 0, "changed")
        return Removal(True, candidate.bytes, "")


def _file(directory: str, record: bytes) -> _File:
    read, written, blocks, device, path = record.decode(errors="surrogateescape").split(" ", 4)
    used = max(float(read), float(written))
    return _File(f"{directory}/{path}", int(blocks) * _BLOCK_BYTES, used, int(device))


def is_installation(process: Process) -> bool:
    """Whether the program may be filling or using a cache."""
    return any(Path(word).name in _PROGRAMS for word in process.arguments[:3])


@dataclass(frozen=True)
class PipCachesSettings(Limited):
    """Whose caches are looked at, and when something goes."""

    users: tuple[str, ...] = setting(
        (), "Whose caches go; each is looked at and emptied as that user."
    )

    def kinds(self, host: Host) -> Sequence[Kind]:
        return [PipCaches(self.limits, self.users, host.run, host.processes, host.device)]


DEFAULT = PipCachesSettings(max_age_days=30, min_age_hours=24, max_total_mib=4096)
