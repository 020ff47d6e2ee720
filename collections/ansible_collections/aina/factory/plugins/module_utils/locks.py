"""One advisory lock per shared resource, held by an open file.

The kernel drops a ``flock`` with its holder, so a killed run leaves no lock behind.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

_PAUSE_SECONDS = 1.0


class LockedError(Exception):
    """Another process holds the lock; the message names the lock and its holder."""


def _never() -> bool:
    return False


def patience(
    seconds: float, monotonic: Callable[[], float], sleep: Callable[[float], None]
) -> Callable[[], bool]:
    """Return an ``again`` for :func:`exclusive` that waits for ``seconds`` in all, from now."""
    deadline = monotonic() + seconds

    def again() -> bool:
        if monotonic() >= deadline:
            return False
        sleep(_PAUSE_SECONDS)
        return True

    return again


@contextmanager
def exclusive(path: Path, again: Callable[[], bool] = _never) -> Iterator[None]:
    """Hold the lock file at ``path``; it is created when missing and never removed.

    While another process holds it, ``again`` waits a moment and says whether to try again.

    Raises:
        LockedError: another process holds it.
        OSError: the file cannot be opened.

    """
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        while not _took(descriptor):
            if not again():
                holder = os.pread(descriptor, 64, 0).decode(errors="replace").strip() or "unknown"
                raise LockedError(
                    f"another run holds {path} (process {holder}); try again when it has ended"
                )
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        yield
    finally:
        os.close(descriptor)


def _took(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
