"""Packages in pnpm stores that no installation uses any more."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from ...base import locks, paths
from ...base.disk import Removal
from ...base.ports import Run
from ...base.processes import Process
from ...base.settings import REQUIRED, setting
from .. import programs
from ..host import Host
from ..model import Candidate, Kind, KindLimits, SkipError

LOCK = "factory-package-store.lock"
_INSTALLING = frozenset({"install", "i", "add", "ci", "fetch", "update", "up", "import", "dlx"})


@dataclass(frozen=True)
class PackageStore:
    """A pnpm store, whose it is, and how pnpm is called."""

    path: str = setting(REQUIRED, "The store's directory.", kind="path")
    user: str = setting(REQUIRED, "The user the store belongs to, as whom pnpm runs.")
    command: tuple[str, ...] = setting(("pnpm",), "How pnpm is called, word by word.", adds=False)


@dataclass(frozen=True)
class PackageStoresSettings:
    """Which stores are pruned."""

    stores: tuple[PackageStore, ...]

    def kinds(self, host: Host) -> Sequence[Kind]:
        @contextmanager
        def lock() -> Iterator[None]:
            try:
                with locks.exclusive(host.lock_directory / LOCK):
                    yield
            except locks.LockedError as error:
                raise SkipError("store_locked") from error

        stores = PackageStores(
            KindLimits(), self.stores, host.run, host.processes, lock, host.device
        )
        return [stores]


@dataclass
class PackageStores:
    """Packages in pnpm stores that no installation uses any more.

    ``lock`` is held while pnpm works, so that installations which take it can wait.
    """

    limits: KindLimits
    stores: Sequence[PackageStore]
    run: Run
    processes: Callable[[], Iterable[Process]]
    lock: Callable[[], AbstractContextManager[None]]
    watched_device: int
    name: str = field(default="package_stores", init=False)

    def inventory(self) -> Sequence[Candidate]:
        """List the stores that hold unreferenced packages; see ``Kind``."""
        present = [store for store in self.stores if Path(store.path).is_dir()]
        if not present:
            raise SkipError("not_present")
        for store in present:
            argv = self._as_owner(store, "--version")
            done = programs.call(self.run, argv)
            if done.returncode == programs.NOT_FOUND:
                raise SkipError("not_installed")
            programs.check(done, argv)
        held = "installation_running" if self._installing() else ""
        found = [self._candidate(store, held) for store in present]
        return [candidate for candidate in found if candidate.bytes]

    def _candidate(self, store: PackageStore, held: str) -> Candidate:
        return Candidate(
            kind=self.name,
            target=store.path,
            bytes=unreferenced_bytes(store.path),
            last_used=None,
            held_by=held,
            due="unreferenced",
            counted=Path(store.path).stat().st_dev == self.watched_device,
            handle=store,
        )

    def _as_owner(self, store: PackageStore, *arguments: str) -> list[str]:
        return programs.as_owner(store.user, *store.command, *arguments)

    def _installing(self) -> bool:
        return any(is_installation(process) for process in self.processes())

    def remove(self, candidate: Candidate) -> Removal:
        """Prune one store; see ``Kind``."""
        store = candidate.handle
        if not isinstance(store, PackageStore):
            raise TypeError(f"{candidate.target} was not listed by {self.name}")
        with self.lock():
            if self._installing():
                return Removal(False, 0, "installation_running")
            before = unreferenced_bytes(store.path)
            argv = self._as_owner(store, "store", "prune", "--store-dir", store.path)
            programs.check(programs.call(self.run, argv), argv)
            return Removal(True, max(before - unreferenced_bytes(store.path), 0), "")


def is_installation(process: Process) -> bool:
    """Whether the program may be filling a package store."""
    words = [Path(word).name for word in process.arguments[:3]]
    for position, word in enumerate(words):
        if word in ("pnpm", "pnpm.cjs", "pnpx", "corepack"):
            rest = process.arguments[position + 1 :]
            return any(argument in _INSTALLING for argument in rest)
    return False


def unreferenced_bytes(store: str) -> int:
    """Return the allocated bytes of a store's files that nothing is linked to.

    pnpm links installed files to its store, and prunes those with a single name.
    """
    return sum(
        item.bytes
        for item in paths.files(store, ("*",), recursive=True)
        if "files" in item.parts[:-1]
    )
