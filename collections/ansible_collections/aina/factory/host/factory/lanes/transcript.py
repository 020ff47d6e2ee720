"""A lane's standard error as one JSON line per event, bounded and without secrets."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import re
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any

from factory.core.base import text

_log = logging.getLogger(__name__)
_LINE_MAX_BYTES = 1 << 20
# Of what a command has printed.
_OUTPUT_MAX_LINES, _OUTPUT_MAX_LENGTH = 20, 500
# What looks like a secret is none of a transcript's business, wherever it came from.
_SECRET = re.compile(
    rb"sk-[A-Za-z0-9_-]{16,}|gh[pousr]_[A-Za-z0-9]{20,}|github_pat_[A-Za-z0-9_]{20,}"
    rb"|(?i:bearer )[A-Za-z0-9._~+/-]{20,}|-----BEGIN [A-Z ]*PRIVATE KEY-----"
)


class Lines:
    """Cuts a stream into lines; an endless one comes in pieces."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, piece: bytes) -> Iterator[bytes]:
        """Take more bytes and yield the lines that are complete now."""
        *whole, self._rest = (self._rest + piece).split(b"\n")
        yield from (line.rstrip(b"\r") for line in whole)
        while len(self._rest) > _LINE_MAX_BYTES:
            yield self._rest[:_LINE_MAX_BYTES]
            self._rest = self._rest[_LINE_MAX_BYTES:]

    def end(self) -> Iterator[bytes]:
        if self._rest:
            yield self._rest


class Writer:
    """Writes events until the limit, and then one last line that says so."""

    def __init__(self, path: Path, max_bytes: int, *, is_new: bool = True) -> None:
        """Begin a file, or go on with one that another has begun."""
        self._file = path.open("wb" if is_new else "ab", buffering=0)
        os.fchmod(self._file.fileno(), 0o640)
        self._left = max_bytes - self._file.tell()
        self._full = False

    def __enter__(self) -> Writer:
        return self

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        """Have everything on disk that can be."""
        with contextlib.suppress(OSError):
            os.fsync(self._file.fileno())
        self._file.close()

    def write(self, line: bytes) -> bytes:
        """Write one event and return it as written; empty when nothing was."""
        if not line or self._full:
            return b""
        kept = _SECRET.sub(b"[left out]", line)
        if not _is_event(kept):
            kept = json.dumps({"type": "stderr", "text": kept.decode(errors="replace")}).encode()
        kept += b"\n"
        if len(kept) > self._left:
            self._full = True
            kept = b'{"type":"lane","what":"the transcript is full; the rest is left out"}\n'
        self._left -= len(kept)
        try:
            self._file.write(kept)
        except OSError as error:
            # The rest is still read, and the lane's work is taken.
            self._full = True
            _log.warning("%s cannot be written: %s", self._file.name, error)
        return kept


def _is_event(line: bytes) -> bool:
    # Deep nesting is no value that Python could not read: it is too deep.
    try:
        return isinstance(json.loads(line), dict)
    except (ValueError, RecursionError):
        return False


def events(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the events of a file; what is no event is passed over."""
    try:
        with path.open("rb") as file:
            for line in file:
                try:
                    event = json.loads(line)
                except (ValueError, RecursionError):
                    continue
                if isinstance(event, dict):
                    yield event
    except FileNotFoundError:
        return


def describe(event: dict[str, Any]) -> str:
    """Return an event as one line for people; empty when it says nothing to them.

    Whatever an agent wrote, a terminal that shows it obeys none of it.
    """
    return text.printable(_described(event).rstrip("\n"))


def output(event: dict[str, Any]) -> list[str]:
    """Return how a command ended and the end of what it printed, as lines for people."""
    item = event.get("item")
    if event.get("type") != "item.completed" or not isinstance(item, dict):
        return []
    if item.get("type") != "command_execution":
        return []
    lines = str(item.get("aggregated_output") or "").splitlines()
    left_out = [f"    ({len(lines) - _OUTPUT_MAX_LINES} lines before)"]
    shown = [
        f"    {text.printable(line[:_OUTPUT_MAX_LENGTH])}" for line in lines[-_OUTPUT_MAX_LINES:]
    ]
    ended = f"    exit {text.printable(str(item.get('exit_code')))[:20]}"
    return [*(left_out if len(lines) > _OUTPUT_MAX_LINES else []), *shown, ended]


def _described(event: dict[str, Any]) -> str:
    kind = str(event.get("type", ""))
    item = event.get("item") if isinstance(event.get("item"), dict) else {}
    if kind == "lane":
        return f"· {event.get('what')}"
    if kind == "stderr":
        return f"  {event.get('text')}"
    if kind == "turn.completed":
        usage = event.get("usage") or {}
        return (
            f"✓ turn: {usage.get('input_tokens', 0)} tokens in, {usage.get('output_tokens', 0)} out"
        )
    if kind in ("turn.failed", "error"):
        return f"✗ {event.get('message') or (event.get('error') or {}).get('message') or kind}"
    if kind.startswith("item.") and isinstance(item, dict):
        words = item.get("command") or item.get("text") or item.get("message") or item.get("type")
        mark = "▸" if kind == "item.started" else "▪"
        return f"{mark} {' '.join(str(words).split())[:160]}"
    return f"· {kind} {_telling(event)}".rstrip() if kind else ""


# What people want to read of an event whose form nobody here knows, the most telling first.
_TELLING = ("command", "text", "result", "message", "content", "file_path")
_TELLING_MAX_DEPTH = 8


def _telling(value: Any, depth: int = 0) -> str:
    """Return the first words of an event that say something, wherever they lie."""
    if depth > _TELLING_MAX_DEPTH:
        return ""
    if isinstance(value, dict):
        for name in _TELLING:
            if isinstance(value.get(name), str) and value[name].strip():
                return " ".join(value[name].split())[:160]
    parts = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return next((words for part in parts if (words := _telling(part, depth + 1))), "")
