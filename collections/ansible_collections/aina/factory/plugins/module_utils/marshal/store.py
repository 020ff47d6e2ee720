"""What a project's marshal keeps on disk: state, audit log, the last report."""

from __future__ import annotations

import json
import os
from contextlib import suppress
from pathlib import Path
from typing import Any

from ..base import files
from ..base.errors import FactoryError
from . import audit, saved_state
from .snapshot import SavedState

# The log begins a new file at this size, and so many older ones are kept.
LOG_BYTES = 8 * 1024 * 1024
LOGS_COUNT = 8


class StoreError(FactoryError):
    """What a project's marshal remembered is damaged; the message says what to do."""


class StateStore:
    """The directory of one project."""

    def __init__(self, directory: Path) -> None:
        """Keep the paths; nothing is read or made yet."""
        self.directory = directory
        self.state_path = directory / "memory.json"
        self.audit_path = directory / "audit.jsonl"
        self.report_path = directory / "report.json"
        self._last_hash = audit.GENESIS
        # The last record when the state was saved: the log must still have it.
        self._anchor = ""

    def load(self) -> SavedState:
        """Return the saved state, an empty one when there is none.

        Raises:
            StoreError: the file is damaged: nothing is merged on a guess.

        """
        try:
            document = json.loads(self.state_path.read_bytes())
            saved = saved_state.from_document(document)
            self._anchor = str(document.get("audit", ""))
            return saved
        except FileNotFoundError:
            return SavedState()
        except ValueError as error:
            raise StoreError(
                f"{self.state_path}: {error}; look at it, then move it away to begin anew"
            ) from error

    def save(self, saved: SavedState) -> None:
        """Replace the saved state atomically."""
        _write(self.state_path, {**saved_state.to_document(saved), "audit": self._last_hash})

    def report(self, document: dict[str, Any]) -> None:
        """Replace the last report atomically; the status page reads it."""
        _write(self.report_path, {"schema": 1, **document})

    def open_log(self, *, resume: bool = False) -> None:
        """Go on from what is on disk: what cannot be logged is not begun.

        With ``resume`` somebody has looked why its end is gone.

        Raises:
            StoreError: the log was damaged, or its end is gone.

        """
        self._last_hash = self._resume("" if resume else self._anchor)
        # What is anchored is anywhere in the file that is looked at.
        with suppress(FileNotFoundError):
            if self.audit_path.stat().st_size > LOG_BYTES:
                self._set_aside()

    def _set_aside(self) -> None:
        """Begin a new file, which goes on where the old one ends; the oldest one goes."""
        for number in range(LOGS_COUNT - 1, 0, -1):
            with suppress(FileNotFoundError):
                self._older(number).replace(self._older(number + 1))
        self.audit_path.replace(self._older(1))

    def _older(self, number: int) -> Path:
        return self.audit_path.with_name(f"audit.{number}.jsonl")

    def audit(self, record: dict[str, Any]) -> None:
        """Append one record to the log that was opened."""
        self.audit_path.parent.mkdir(parents=True, exist_ok=True)
        text, last_hash = audit.line(record, self._last_hash)
        with self.audit_path.open("a") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        self._last_hash = last_hash

    def _resume(self, holds: str) -> str:
        content, begins = b"", audit.GENESIS
        with suppress(FileNotFoundError):
            content = self.audit_path.read_bytes()
        # A run that was killed while writing leaves half a line: it never was a record.
        whole = content[: content.rfind(b"\n") + 1]
        if len(whole) != len(content):
            os.truncate(self.audit_path, len(whole))
        try:
            with suppress(FileNotFoundError):
                lines = self._older(1).read_bytes().splitlines()
                begins = str(json.loads(lines[-1])["hash"]) if lines else begins
            return audit.verify(whole.decode().splitlines(), begins, holds)
        except (ValueError, KeyError, TypeError) as error:
            raise StoreError(
                f"{self.audit_path}: {error}; look what happened, move it away if it is damaged, then"
                " factory marshal --project NAME --resume"
            ) from error


def _write(path: Path, document: dict[str, Any]) -> None:
    files.write(path, json.dumps(document, sort_keys=True).encode())
