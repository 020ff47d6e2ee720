"""Running processes: which there are, what they hold, who started them. Read from /proc."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

FileKey = tuple[int, int]


@dataclass(frozen=True)
class Process:
    """A running program; ``executable`` is empty when the kernel does not tell.

    ``contained`` says that it has another root directory than we have: its paths are others.
    """

    pid: int
    name: str
    executable: str
    arguments: tuple[str, ...]
    contained: bool = False


def running(proc: Path = Path("/proc")) -> Iterator[Process]:
    """Yield the running programs; kernel threads, which have no arguments, are left out."""
    own_root = _identity(proc / "self" / "root")
    for directory in _directories(proc):
        try:
            words = (directory / "cmdline").read_bytes().split(b"\0")[:-1]
            name = os.fsdecode((directory / "comm").read_bytes().rstrip(b"\n"))
        except (FileNotFoundError, ProcessLookupError):
            continue
        if words:
            arguments = tuple(os.fsdecode(word) for word in words)
            root = _identity(directory / "root")
            contained = None not in (root, own_root) and root != own_root
            pid, executable = int(directory.name), _link(directory / "exe")
            yield Process(pid, name, executable, arguments, contained)


def ancestry(pid: int, proc: Path = Path("/proc")) -> Iterator[int]:
    """Yield a process, the one that started it, and so on."""
    seen: set[int] = set()
    while pid > 0 and pid not in seen:
        seen.add(pid)
        yield pid
        pid = parent(pid, proc)


def parent(pid: int, proc: Path = Path("/proc")) -> int:
    """Return the process that started another one; 0 where there is none."""
    fields = stat(pid, proc)
    return int(fields[1]) if len(fields) > 1 and fields[1].isdigit() else 0


def stat(pid: int, proc: Path = Path("/proc")) -> list[str]:
    """Return the fields of a process from its state on; none where it has ended."""
    try:
        text = (proc / str(pid) / "stat").read_text(errors="replace")
    except OSError:
        return []
    # The name before them, in parentheses, may hold anything.
    return text.rpartition(")")[2].split()


def identity(pid: int | None = None, proc: Path = Path("/proc")) -> str:
    """Return what names this process, or another, for as long as the host is up.

    The number alone may be another's by now: the time of its start comes with it. Empty when
    there is no such process.
    """
    number = os.getpid() if pid is None else pid
    fields = stat(number, proc)
    return f"{number}:{fields[19]}" if len(fields) > 19 else ""


def alive(identity_: str) -> bool:
    """Whether the process that :func:`identity` has named still runs."""
    number = identity_.partition(":")[0]
    return number.isdigit() and identity(int(number)) == identity_


def _identity(path: Path) -> FileKey | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return (status.st_dev, status.st_ino)


def _directories(proc: Path) -> list[Path]:
    return [path for path in proc.iterdir() if path.name.isdecimal()]


def _link(path: Path) -> str:
    try:
        return str(path.readlink())
    except OSError:
        return ""


def is_open_elsewhere(descriptor: int) -> bool | None:
    """Ask the kernel whether anybody else holds this regular file; ``None``: it cannot say.

    A write lease is granted only on a file that nobody else has open.
    """
    try:
        fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_WRLCK)
    except BlockingIOError:
        return True
    except OSError:
        return None
    fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_UNLCK)
    return False
