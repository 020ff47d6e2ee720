"""One slot tries for all: while the slots of an instance fail, the others wait for its success.

The kernel drops a ``flock`` with its holder, so a probing slot that dies is followed by another.
"""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from factory.core.base import documents


class Probe:
    """The right to try, of one slot; ``path`` is the document that its instance shares."""

    def __init__(self, path: Path) -> None:
        """Nothing is held yet."""
        self._path = path
        self._held: int | None = None

    @property
    def held(self) -> bool:
        """Whether this slot has the right."""
        return self._held is not None

    def take(self) -> bool:
        """Take the right to try; whether this slot has it now."""
        if self._held is not None:
            return True
        self._path.parent.mkdir(parents=True, exist_ok=True)
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        descriptor = os.open(self._path.with_suffix(".lock"), flags, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(descriptor)
            return False
        self._held = descriptor
        return True

    def release(self) -> None:
        """Let another slot try."""
        if self._held is not None:
            os.close(self._held)
            self._held = None

    def successes(self) -> int:
        """Return how often a slot has come up while another one probed."""
        count = (documents.read(self._path) or {}).get("successes_count")
        return count if isinstance(count, int) else 0

    def succeed(self) -> None:
        """Tell the slots that wait that a runner came up, and let go."""
        if self._held is not None or not self.take():
            documents.replace(self._path, {"successes_count": self.successes() + 1})
        self.release()
