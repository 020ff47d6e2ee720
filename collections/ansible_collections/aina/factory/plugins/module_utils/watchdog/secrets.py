"""Which files with secrets a capability waits for."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path


def waits_for(paths: Iterable[str]) -> str:
    """Say which of the files are missing; "" when all are there."""
    missing = [path for path in paths if not Path(path).exists()]
    return f": {' and '.join(missing)} must be put there, then converge" if missing else ""
