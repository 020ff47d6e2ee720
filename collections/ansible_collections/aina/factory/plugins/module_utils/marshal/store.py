"""What a project's marshal keeps on disk: state, audit log, the last report."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from ..base import files
from ..base.errors import FactoryError
from . import audit, saved_state
from .snapshot import SavedState


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

    def load(self) -> SavedState:
        """Return the saved state, an empty one when there is none.

        Raises:
            StoreError: the file is damaged: nothing is merged on a guess.

        """
        try:
            return saved_state.from_document(json.loads(self.state_path.read_bytes()))
        except FileNotFoundError:
            return SavedState()
        except ValueError as error:
            raise StoreError(
                f"{self.state_path}: {error}; look at it, then move it away to begin anew"
            ) from error

    def save(self, saved: SavedState) -> None:
        """Replace the saved state atomically."""
        _write(self.state_path, saved_state.to_document(saved))

    def report(self, document: dict[str, Any]) -> None:
        """Replace the last report atomically; the status page reads it."""
        _write(self.report_path, {"schema": 1, **document})

    def open_log(self) -> None:
        """Go on from what is on disk: what cannot be logged is not begun.

        Raises:
            StoreError: the log was damaged.

        """
        self._last_hash = self._resume()

    def audit(self, record: dict[str, Any]) -> None:
        """Append one record to the log that was opened."""
        self.audit_path.parent.mkdir(parents=True, exist_ok=True)
        text, self._last_hash = audit.line(record, self._last_hash)
        with self.audit_path.open("a") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())

    def _resume(self) -> str:
        try:
            content = self.audit_path.read_bytes()
        except FileNotFoundError:
            return audit.GENESIS
        # A run that was killed while writing leaves half a line: it never was a record.
        whole = content[: content.rfind(b"\n") + 1]
        if len(whole) != len(content):
            os.truncate(self.audit_path, len(whole))
        try:
            return audit.verify(whole.decode().splitlines())
        except ValueError as error:
            raise StoreError(f"{self.audit_path}: {error}; move it away to begin anew") from error


def _write(path: Path, document: dict[str, Any]) -> None:
    files.write(path, json.dumps(document, sort_keys=True).encode())
