"""Keep files of a fixed size: a reserve against a full disk, or a place to swap to.

Nothing is allocated that would leave too little free space: a reserve that fills the disk
is no reserve.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..base import files
from ..base.errors import FactoryError
from ..base.ports import Run
from ..base.run import checked

FORMAT_SECONDS = 120.0
SWAPOFF_SECONDS = 600.0
_MODE = 0o600


class AllocatedFilesError(FactoryError):
    """A file cannot be made; the message names it and the remedy."""


@dataclass(frozen=True)
class AllocatedFile:
    """A file of exactly this size; 0 means that there is none."""

    path: str
    size_bytes: int
    min_free_bytes: int
    swap: bool = False


@dataclass(frozen=True)
class ObservedFile:
    """What is there: size on disk (``None``: nothing), free space beside it, and its use."""

    size_bytes: int | None
    free_bytes: int
    swapping: bool


@dataclass(frozen=True)
class AllocationPlan:
    """The files to make and to remove, and why some are left as they are."""

    allocate: tuple[AllocatedFile, ...]
    remove: tuple[AllocatedFile, ...]
    swapped: frozenset[str]
    warnings: tuple[str, ...]

    @property
    def actions(self) -> list[str]:
        """Return one phrase per step."""
        return [
            *(f"remove {item.path}" for item in self.remove),
            *(f"allocate {item.path} ({item.size_bytes >> 20} MiB)" for item in self.allocate),
        ]


def read(item: AllocatedFile, swaps: str) -> ObservedFile:
    """Look at one file; ``swaps`` is the text of /proc/swaps."""
    path = Path(item.path)
    above = next(parent for parent in path.parents if parent.is_dir())
    statistics = os.statvfs(above)
    free = statistics.f_bavail * statistics.f_frsize
    swapping = any(line.split()[0] == item.path for line in swaps.splitlines()[1:])
    if not os.path.lexists(path):
        return ObservedFile(None, free, swapping)
    if path.is_symlink() or not path.is_file():
        raise AllocatedFilesError(f"{path} must be a file of its own but is none; move it away")
    status = path.stat()
    # A hole promises space that is not there.
    full = status.st_blocks * 512 >= status.st_size
    return ObservedFile(status.st_size if full else 0, free, swapping)


def plan(
    items: Sequence[AllocatedFile], look: Callable[[AllocatedFile], ObservedFile]
) -> AllocationPlan:
    """Return what leads to the declared files."""
    allocate, remove, swapped, warnings = [], [], set(), []
    for item in items:
        found = look(item)
        if found.swapping:
            swapped.add(item.path)
        if not item.size_bytes:
            remove += [item] if found.size_bytes is not None else []
        elif found.size_bytes != item.size_bytes:
            left = found.free_bytes + (found.size_bytes or 0) - item.size_bytes
            if left >= item.min_free_bytes:
                allocate.append(item)
            else:
                warnings.append(
                    f"{item.path} of {item.size_bytes >> 20} MiB is not made: only "
                    f"{max(left, 0) >> 20} MiB would stay free, at least "
                    f"{item.min_free_bytes >> 20} MiB must; free some space and run again"
                )
    return AllocationPlan(tuple(allocate), tuple(remove), frozenset(swapped), tuple(warnings))


def apply(plan_: AllocationPlan, run: Run) -> None:
    """Carry the plan out. A file is complete when it gets its name.

    Raises:
        AllocatedFilesError: the disk or a tool refused.

    """
    try:
        for item in (*plan_.remove, *plan_.allocate):
            if item.path in plan_.swapped:
                _ask(["swapoff", "--", item.path], run, SWAPOFF_SECONDS)
            Path(item.path).unlink(missing_ok=True)
        for item in plan_.allocate:
            _allocate(item, run)
    except OSError as error:
        raise AllocatedFilesError(f"{error.filename or 'the disk'}: {error.strerror}") from error


def _allocate(item: AllocatedFile, run: Run) -> None:
    target = Path(item.path)
    target.parent.mkdir(parents=True, exist_ok=True)
    candidate = target.with_name(f".{target.name}.managed-tmp")
    with files.replacing(target, candidate) as stream:
        os.posix_fallocate(stream.fileno(), 0, item.size_bytes)
        if item.swap:
            _ask(["mkswap", "--", str(candidate)], run, FORMAT_SECONDS)


def _ask(argv: list[str], run: Run, seconds: float) -> None:
    name = f"{argv[0]} {argv[-1]}"
    checked(
        run,
        argv,
        name=name,
        error=AllocatedFilesError,
        environment={"LC_ALL": "C"},
        timeout_seconds=seconds,
    )
