"""JSON documents on disk: read when they are there, replaced as a whole."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any


def read_json(path: Path) -> dict[str, Any]:
    """Return the document; an empty one where there is none that can be read."""
    try:
        document = json.loads(path.read_bytes())
    except (FileNotFoundError, ValueError):
        return {}
    return document if isinstance(document, dict) else {}


def replace_json(path: Path, document: dict[str, Any]) -> None:
    """Put the document in the place of the old one, at once."""
    path.parent.mkdir(parents=True, exist_ok=True)
    candidate = path.with_name(f".{path.name}.{os.getpid()}")
    candidate.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
    candidate.replace(path)
