"""One slot tries for all: while the slots of an instance fail, the others wait for its success."""

from __future__ import annotations

import logging
from contextlib import ExitStack
from pathlib import Path

from factory.core.base import documents, locks

_log = logging.getLogger(__name__)


class Probe:
    """The right to try, of one slot; ``path`` is the document that its instance shares."""

    def __init__(self, path: Path) -> None:
        """Nothing is held yet."""
        self._path = path
        self._held: ExitStack | None = None

    @property
    def held(self) -> bool:
        """Whether this slot has the right."""
        return self._held is not None

    def take(self) -> bool:
        """Take the right to try; whether this slot has it now."""
        if self._held is not None:
            return True
        held = ExitStack()
        try:
            held.enter_context(locks.exclusive(self._path.with_suffix(".lock")))
        except locks.LockedError:
            return False
        except OSError as error:
            _log.warning("whether another slot tries already is unknown: %s", error)
            return False
        self._held = held
        return True

    def release(self) -> None:
        """Let another slot try."""
        if self._held is not None:
            self._held.close()
            self._held = None

    def successes(self) -> int:
        """Return how often a slot has come up while another one probed."""
        count = (documents.read(self._path) or {}).get("successes_count")
        return count if isinstance(count, int) else 0

    def succeed(self) -> None:
        """Tell the slots that wait that a runner came up, and let go; untold they try a little later."""
        try:
            if self._held is not None or not self.take():
                documents.replace(self._path, {"successes_count": self.successes() + 1})
        except OSError as error:
            _log.warning("the other slots are not told that a runner came up: %s", error)
        self.release()
