"""Declared paths, in which wildcards are allowed, as what is really there."""

from __future__ import annotations

import glob
from collections.abc import Iterable
from pathlib import Path


def expand(patterns: Iterable[str]) -> list[str]:
    """Return every path once, sorted; a wildcard stands for what exists, a plain path for itself."""
    found: set[str] = set()
    for pattern in patterns:
        if glob.has_magic(pattern):
            found.update(str(path) for path in Path("/").glob(pattern.lstrip("/")))
        else:
            found.add(pattern)
    return sorted(found)
