"""Bind the janitor's kinds to this host: its processes, programs, engine and state."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from factory import effects, locks
from factory.core.base import processes
from factory.core.base.docker import Engine
from factory.core.base.processes import OpenFiles
from factory.core.janitor import file_kinds, image_use
from factory.core.janitor.docker_kinds import BuildCache, Images, LaneContainers
from factory.core.janitor.file_kinds import FileKind
from factory.core.janitor.image_use import ImageUse
from factory.core.janitor.logs import LogKind
from factory.core.janitor.model import Kind, SkipError
from factory.core.janitor.policy import DockerPolicy, Policy, Roots
from factory.core.janitor.program_kinds import AptCache, Journal, PackageStores
from factory.outcome import LockedError
from factory.unix_http import fetch_through

STORE_LOCK = "factory-package-store.lock"


def program_and_file_kinds(policy: Policy, lock_directory: Path, device: int) -> list[Kind]:
    """Return the kinds that need no engine, the cheapest loss first."""
    stores = PackageStores(
        policy.package_stores,
        policy.stores,
        effects.run,
        processes.running,
        lambda: _store_lock(lock_directory),
        device,
    )
    return [
        AptCache(policy.apt_cache, effects.run, device),
        Journal(policy.journal, effects.run, device),
        _temporary(policy.temporary, device),
        _runner(policy.runner, device),
        LogKind(
            policy.logs.limits,
            policy.rotation,
            policy.logs.roots,
            policy.logs.globs,
            OpenFiles,
            device,
        ),
        _codex(policy.codex_sessions, device),
        stores,
    ]


def _temporary(policy: Roots, device: int) -> Kind:
    return FileKind(
        "temporary",
        policy.limits,
        lambda: file_kinds.temporary(policy.roots, policy.globs),
        OpenFiles,
        device,
    )


def _runner(policy: Roots, device: int) -> Kind:
    return FileKind(
        "runner",
        policy.limits,
        lambda: file_kinds.runner_leftovers(policy.roots),
        OpenFiles,
        device,
        busy=lambda: file_kinds.job_holder(policy.roots, processes.running()),
    )


def _codex(policy: Roots, device: int) -> Kind:
    return FileKind(
        "codex_sessions",
        policy.limits,
        lambda: file_kinds.codex_sessions(policy.roots),
        OpenFiles,
        device,
        prune_parents=True,
    )


@contextmanager
def _store_lock(lock_directory: Path) -> Iterator[None]:
    try:
        with locks.exclusive(lock_directory / STORE_LOCK):
            yield
    except LockedError as error:
        raise SkipError("store_locked") from error


@dataclass
class DockerMemory:
    """What is known about the use of images: read once, learned once, kept if told to."""

    engine: Engine
    path: Path
    now: float
    _use: ImageUse | None = field(default=None, init=False)

    def use(self) -> ImageUse:
        """Return what is known now, this run's observations included."""
        if self._use is None:
            known = image_use.load(self._read())
            self._use = image_use.learn(
                known,
                self.engine.images(),
                self.engine.containers(),
                self.engine.image_uses(known.learned_at or 0.0, self.now),
                self.now,
                store=self.engine.store(),
            )
        return self._use

    def _read(self) -> str:
        try:
            return self.path.read_text()
        except FileNotFoundError:
            return ""

    def keep(self) -> None:
        """Write what was learned, if anything was."""
        if self._use is None:
            return
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(
            "w", dir=self.path.parent, prefix=f".{self.path.name}.", delete=False
        ) as file:
            file.write(image_use.dump(self._use))
            file.flush()
            os.fsync(file.fileno())
        Path(file.name).replace(self.path)


def docker_kinds(
    policy: DockerPolicy, engine: Engine, memory: DockerMemory, device: int
) -> list[Kind]:
    """Return Docker's kinds in the order that keeps builds fast."""

    def counted() -> bool:
        return _lies_on(engine.root_directory(), device)

    return [
        LaneContainers(policy.containers, engine, policy.marks, counted),
        Images(policy.dangling_images, engine, policy.marks, counted, True, memory.use),
        BuildCache(policy.build_cache, engine, counted),
        Images(policy.images, engine, policy.marks, counted, False, memory.use),
    ]


def _lies_on(directory: str, device: int) -> bool:
    try:
        return Path(directory).stat().st_dev == device
    except OSError:
        return False


def docker_engine(policy: DockerPolicy) -> Engine:
    """Return the engine of the configuration."""
    return Engine(fetch_through(policy.socket_path), policy.socket_path)
