"""Declared paths, in which wildcards are allowed, as what is really there."""

from __future__ import annotations

import glob
from collections.abc import Iterable, Mapping
from pathlib import Path


def expand(patterns: Iterable[str]) -> list[str]:
    """Return every path once, sorted; a wildcard stands for what exists, a plain path for itself."""
    return sorted({path for paths in resolve(patterns).values() for path in paths})


def resolve(patterns: Iterable[str]) -> Mapping[str, list[str]]:
    """Return the paths that each pattern stands for; none where a wildcard fits nothing."""
    return {
        pattern: [str(path) for path in Path("/").glob(pattern.lstrip("/"))]
        if glob.has_magic(pattern)
        else [pattern]
        for pattern in patterns
    }
