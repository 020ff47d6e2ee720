"""One advisory lock per shared resource, held by an open file.

The kernel drops a ``flock`` with its holder, so a killed run leaves no lock behind. Whoever
can open a lock's file can hold it: therefore it is its owner's alone, and no link is followed.
"""

from __future__ import annotations

import fcntl
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from .errors import FactoryError

# Root's locks of this host. In /run/lock anybody could make one first, or hold it for ever.
DIRECTORY = Path("/run/aina-factory/locks")
_PAUSE_SECONDS = 1.0
_FLAGS = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK


class LockedError(FactoryError):
    """Another process holds the lock; the message names the lock and its holder."""


class LockFileError(FactoryError, OSError):
    """A lock's file cannot be used; the message says why and what to do."""


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
        LockFileError: the file cannot be opened, or somebody else could hold or change it.

    """
    descriptor = _opened(path)
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


@contextmanager
def waiting(path: Path) -> Iterator[None]:
    """Hold the lock file at ``path`` once whoever holds it has ended, however long that takes.

    Raises:
        LockFileError: see :func:`exclusive`.

    """
    descriptor = _opened(path)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _opened(path: Path) -> int:
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(path, _FLAGS, 0o600)
    except OSError as error:
        raise LockFileError(
            f"the lock {path} cannot be opened ({error.strerror}); it must be a plain file of "
            f"user {os.geteuid()} in a directory of that user"
        ) from error
    try:
        _judge(path, os.fstat(descriptor))
        os.fchmod(descriptor, 0o600)
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


def _judge(path: Path, status: os.stat_result) -> None:
    if not stat.S_ISREG(status.st_mode):
        what = "is no plain file"
    elif status.st_uid != os.geteuid():
        what = f"belongs to user {status.st_uid} and not to user {os.geteuid()}"
    elif status.st_nlink != 1:
        what = f"has {status.st_nlink} names"
    else:
        return
    raise LockFileError(f"the lock {path} {what}; see who put it there and remove it")


def _took(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
