"""What an image is made of, as one hash: equal inputs need no second build."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path

from .catalogue import Spec

# Rises when the way in which images are built changes, so that all are built anew.
_FORMAT = 1


def inputs(spec: Spec, parent: str, generation: str) -> dict[str, str]:
    """Return the hashes of everything that goes into an image, by kind.

    ``parent`` is the content of the image of ours below it, or the base's identity;
    ``generation`` changes when the distribution's packages are to be fetched again.

    Raises:
        OSError: a source cannot be read.

    """
    return {
        "tree": _digest(list(_tree(Path(spec.context)))),
        "arguments": _digest(dict(sorted(spec.arguments.items()))),
        "artifacts": _digest([[item.name, item.sha256] for item in spec.artifacts]),
        "parent": parent,
        "generation": generation,
        "format": str(_FORMAT),
    }


def content(parts: Mapping[str, str]) -> str:
    """Return the hash over all inputs."""
    return _digest(dict(sorted(parts.items())))


def difference(before: Mapping[str, str], after: Mapping[str, str]) -> list[str]:
    """Return the kinds of input that differ."""
    return sorted(kind for kind in after if before.get(kind) != after[kind])


def _tree(root: Path) -> Iterator[list[object]]:
    for directory, names, files in os.walk(root):
        names.sort()
        for name in sorted(files):
            path = Path(directory, name)
            executable = bool(path.stat().st_mode & 0o111)
            digest = hashlib.sha256(path.read_bytes()).hexdigest()
            yield [str(path.relative_to(root)), executable, digest]


def _digest(value: object) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()
