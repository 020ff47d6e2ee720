"""Which runner has a job, and whether this very program is part of one. Read from /proc."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from ansible_collections.aina.factory.plugins.module_utils.janitor.processes import running

WORKER = "Runner.Worker"


def has_worker(tree: str, proc: Path = Path("/proc")) -> bool:
    """Whether a job of the runner in ``tree`` is running."""
    return any(_is_worker(process.arguments, process.executable, tree) for process in running(proc))


def _is_worker(arguments: tuple[str, ...], executable: str, tree: str) -> bool:
    program = f"{tree}/bin/{WORKER}"
    return program == executable or program in arguments[:2]


def hosts_us(tree: str, proc: Path = Path("/proc")) -> bool:
    """Whether this process was started by a job of the runner in ``tree``."""
    pids = {
        process.pid
        for process in running(proc)
        if _is_worker(process.arguments, process.executable, tree)
    }
    return any(pid in pids for pid in _ancestors(os.getpid(), proc))


def _ancestors(pid: int, proc: Path) -> Iterator[int]:
    while pid > 1:
        try:
            fields = (proc / str(pid) / "stat").read_text(errors="replace").rpartition(")")[2]
        except OSError:
            return
        pid = int(fields.split()[1])
        yield pid
