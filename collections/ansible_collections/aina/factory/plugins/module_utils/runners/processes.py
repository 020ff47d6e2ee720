"""Which runner has a job, and whether this very program is part of one. Read from /proc."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from ..base.processes import Process, ancestry, running

WORKER = "Runner.Worker"
# What the application consists of while it waits for jobs: itself, and the scripts that start it.
_WAITING = frozenset({"Runner.Listener", "run.sh", "run-helper.sh", "runsvc.sh"})


def has_worker(tree: str, proc: Path = Path("/proc")) -> bool:
    """Whether a job of the runner in ``tree`` is running."""
    return any(_is_worker(process.arguments, process.executable, tree) for process in running(proc))


def _is_worker(arguments: tuple[str, ...], executable: str, tree: str) -> bool:
    program = f"{tree}/bin/{WORKER}"
    return program == executable or program in arguments[:2]


def hosts_us(tree: str, proc: Path = Path("/proc")) -> bool:
    """Whether this process was started by a job of the runner in ``tree``."""
    return is_part_of(
        {
            process.pid
            for process in running(proc)
            if _is_worker(process.arguments, process.executable, tree)
        },
        proc,
    )


def is_part_of(pids: set[int], proc: Path = Path("/proc")) -> bool:
    """Whether one of these processes started this one."""
    return any(pid in pids for pid in ancestry(os.getpid(), proc) if pid != os.getpid())


def of_hand_made(tree: Path, proc: Path = Path("/proc")) -> dict[int, bool]:
    """Return the processes of a runner that somebody started by hand, and which of them has a job.

    A hand types relative paths, and an application that updates itself replaces ``bin`` by a
    link to another directory. Who merely reads a file in there is none of them.
    """
    found = {}
    for process in running(proc):
        if process.contained or not (words := set(_words_below(process, tree, proc))):
            continue
        if WORKER in words or words & _WAITING or _is_below(Path(process.executable), tree):
            found[process.pid] = WORKER in words
    return found


def _words_below(process: Process, tree: Path, proc: Path) -> Iterator[str]:
    """Yield the names of the programs below the tree that a process may be."""
    try:
        directory = (proc / str(process.pid) / "cwd").readlink()
    except OSError:
        directory = Path("/")
    for word in (process.executable, *process.arguments[:2]):
        path = Path(os.path.normpath(directory / word))
        if word and _is_below(path, tree):
            yield path.name


def _is_below(path: Path, tree: Path) -> bool:
    return path.is_relative_to(tree) or path.is_relative_to(tree.resolve())
