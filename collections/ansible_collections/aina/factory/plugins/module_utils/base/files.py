"""Put a file in the place of another, so that at every moment, and after a power loss, there is one of the two."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO


@contextmanager
def replacing(
    path: Path, candidate: Path | None = None, *, exclusive: bool = False
) -> Iterator[BinaryIO]:
    """Give a new file, readable by its maker alone, that takes the place of ``path`` at the end.

    A block that fails leaves the former file. ``candidate`` is where the new one is made, beside
    ``path``: a fixed name is made anew by whoever comes after a killed run. An ``exclusive`` one
    takes nobody's place.

    Raises:
        FileExistsError: it is ``exclusive``, and there is one.

    """
    if candidate is None:
        descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        candidate = Path(name)
    else:
        candidate.unlink(missing_ok=True)
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        descriptor = os.open(candidate, flags, 0o600)
    try:
        with os.fdopen(descriptor, "w+b") as stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        if exclusive:
            os.link(candidate, path)
        else:
            candidate.replace(path)
    finally:
        candidate.unlink(missing_ok=True)
    flush(path.parent)


def write(path: Path, content: bytes, mode: int = 0o644, *, exclusive: bool = False) -> None:
    """Let ``path`` hold ``content``, as :func:`replacing` does; its directory is made where it is missing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path, exclusive=exclusive) as stream:
        os.fchmod(stream.fileno(), mode)
        stream.write(content)


def flush(directory: Path) -> None:
    """Have on disk which names a directory holds."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
