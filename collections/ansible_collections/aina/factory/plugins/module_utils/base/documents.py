"""State that others read: one JSON document per file, replaced as a whole."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from . import files

SCHEMA = 1


def replace(path: Path, document: Mapping[str, Any], mode: int = 0o644) -> None:
    """Let ``path`` hold ``document`` (``schema`` is added): the old one or the new one is there."""
    text = json.dumps({"schema": SCHEMA, **document}, indent=1, sort_keys=False) + "\n"
    files.write(path, text.encode(), mode)


def read(path: Path) -> dict[str, Any] | None:
    """Return the document; ``None`` when there is none or it is damaged."""
    try:
        document = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return None
    return document if isinstance(document, dict) else None
