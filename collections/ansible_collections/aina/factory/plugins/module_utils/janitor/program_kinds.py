"""Kinds that a program of their own cleans: package stores, the journal, apt's cache."""

from __future__ import annotations

import os
import pwd
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path

from ..base import paths
from ..base.disk import Removal
from ..base.ports import Completed, Run
from ..base.processes import Process
from .model import Candidate, KindError, Limits, SkipError

TIMEOUT_SECONDS = 1800.0
_INSTALLING = frozenset({"install", "i", "add", "ci", "fetch", "update", "up", "import", "dlx"})
# What env says when there is no such program.
_NOT_FOUND = 127
_JOURNALS = ("*.journal", "*.journal~")
_APT_ARCHIVES = "/var/cache/apt/archives"


def _call(run: Run, argv: Sequence[str]) -> Completed:
    try:
        return run(argv, timeout_seconds=TIMEOUT_SECONDS, environment={"LC_ALL": "C.UTF-8"})
    except FileNotFoundError:
        raise SkipError("not_installed") from None


def _check(done: Completed, argv: Sequence[str]) -> None:
    if not done.ok:
        words = (done.stderr or done.stdout).decode(errors="replace").strip().splitlines()
        raise KindError(
            f"{' '.join(argv)} ended with status {done.returncode}: {words[-1] if words else ''}"
        )


@dataclass(frozen=True)
class Store:
    """A pnpm store, whose it is, and how pnpm is called."""

    path: str
    user: str
    command: tuple[str, ...] = ("pnpm",)


@dataclass
class PackageStores:
    """Packages in pnpm stores that no installation uses any more.

    ``lock`` is held while pnpm works, so that installations which take it can wait.
    """

    limits: Limits
    stores: Sequence[Store]
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
            done = _call(self.run, argv)
            if done.returncode == _NOT_FOUND:
                raise SkipError("not_installed")
            _check(done, argv)
        held = "installation_running" if self._installing() else ""
        found = [self._candidate(store, held) for store in present]
        return [candidate for candidate in found if candidate.bytes]

    def _candidate(self, store: Store, held: str) -> Candidate:
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

    def _as_owner(self, store: Store, *arguments: str) -> list[str]:
        switch = ["runuser", "--user", store.user, "--", "env", f"HOME={_home(store.user)}"]
        return [*switch, *store.command, *arguments]

    def _installing(self) -> bool:
        return any(is_installation(process) for process in self.processes())

    def remove(self, candidate: Candidate) -> Removal:
        """Prune one store; see ``Kind``."""
        store = candidate.handle
        if not isinstance(store, Store):
            raise TypeError(f"{candidate.target} was not listed by {self.name}")
        with self.lock():
            if self._installing():
                return Removal(False, 0, "installation_running")
            before = unreferenced_bytes(store.path)
            argv = self._as_owner(store, "store", "prune", "--store-dir", store.path)
            _check(_call(self.run, argv), argv)
            return Removal(True, max(before - unreferenced_bytes(store.path), 0), "")


def _home(user: str) -> str:
    try:
        return pwd.getpwnam(user).pw_dir
    except KeyError:
        raise KindError(f"user {user!r} of a package store does not exist") from None


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


@dataclass
class Journal:
    """Archived files of the systemd journal beyond its size or age."""

    limits: Limits
    run: Run
    watched_device: int
    directory: str = "/var/log/journal"
    name: str = field(default="journal", init=False)

    def inventory(self) -> Sequence[Candidate]:
        """List the archived journal files, and the active ones as held; see ``Kind``."""
        if not Path(self.directory).is_dir():
            raise SkipError("not_present")
        found = paths.files(self.directory, _JOURNALS, recursive=True)
        return [
            Candidate(
                kind=self.name,
                target=item.path,
                bytes=item.bytes,
                last_used=item.last_used,
                held_by="" if "@" in item.parts[-1] else "active",
                counted=item.device == self.watched_device,
                handle=item,
            )
            for item in found
        ]

    def remove(self, candidate: Candidate) -> Removal:
        """Let journald's own tool drop everything up to this file; see ``Kind``.

        Files go oldest first, so what is left when this one has gone is known in advance.
        """
        if not os.path.lexists(candidate.target):
            return Removal(True, candidate.bytes, "")
        directory = str(Path(candidate.target).parent)
        found = paths.files(directory, _JOURNALS, recursive=False)
        stays = max(sum(item.bytes for item in found) - candidate.bytes, 1)
        argv = ["journalctl", f"--vacuum-size={stays}", f"--directory={directory}"]
        _check(_call(self.run, argv), argv)
        if os.path.lexists(candidate.target):
            return Removal(False, 0, "kept_by_journald")
        return Removal(True, candidate.bytes, "")


@dataclass
class AptCache:
    """Package files that apt downloaded and installed."""

    limits: Limits
    run: Run
    watched_device: int
    directory: str = _APT_ARCHIVES
    name: str = field(default="apt_cache", init=False)

    def inventory(self) -> Sequence[Candidate]:
        """List the cache as one thing; see ``Kind``."""
        if not Path(self.directory).is_dir():
            raise SkipError("not_present")
        found = self._packages()
        total = sum(item.bytes for item in found)
        if not total:
            return []
        return [
            Candidate(
                kind=self.name,
                target=self.directory,
                bytes=total,
                last_used=max(item.last_used for item in found),
                counted=found[0].device == self.watched_device,
            )
        ]

    def _packages(self) -> list[paths.Found]:
        return paths.files(self.directory, ("*.deb",), recursive=True)

    def remove(self, candidate: Candidate) -> Removal:
        """Let apt empty its cache under its own lock; see ``Kind``."""
        argv = ["apt-get", "clean"]
        done = _call(self.run, argv)
        if not done.ok and b"lock" in done.stderr:
            return Removal(False, 0, "locked")
        _check(done, argv)
        left = sum(item.bytes for item in self._packages())
        return Removal(True, max(candidate.bytes - left, 0), "")
