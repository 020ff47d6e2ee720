"""Find and read the server's configuration files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from factory.core.base import brought
from factory.core.base.configuration import Section
from factory.outcome import UsageError


def load(path: Path) -> Section:
    """Return the configuration: ``path`` and the ``conf.d/*.json`` beside it.

    Every file is one mapping of sections (``projects``, ``janitor``, ``jobs``, ...). A
    section belongs to exactly one file, so that each role owns its file alone; of ``brings``,
    each role has a part of its own.

    Raises:
        UsageError: a file is missing, unreadable, no JSON mapping, or repeats a section.

    """
    sections: dict[str, Any] = {}
    origins: dict[str, Path] = {}
    for file in [path, *sorted((path.parent / "conf.d").glob("*.json"))]:
        for name, value in _read(file).items():
            is_shared = name == brought.SECTION and isinstance(value, dict)
            parts = [f"{name}.{part}" for part in value] if is_shared else [name]
            for part in parts:
                if part in origins:
                    raise UsageError(f"section {part!r} stands in {origins[part]} and in {file}")
                origins[part] = file
            sections[name] = {**sections.get(name, {}), **value} if is_shared else value
    return Section(sections, "configuration")


def load_fragment(path: Path) -> Section:
    """Return the sections of one file alone.

    Raises:
        UsageError: the file is missing, unreadable or no JSON mapping.

    """
    return Section(_read(path), "configuration")


def _read(file: Path) -> dict[str, Any]:
    try:
        document = json.loads(file.read_bytes())
    except FileNotFoundError:
        raise UsageError(
            f"configuration file {file} does not exist; converge the host or pass --config FILE"
        ) from None
    except OSError as error:
        raise UsageError(f"configuration file {file}: {error.strerror}") from error
    except ValueError as error:
        raise UsageError(f"configuration file {file} is not JSON: {error}") from error
    if not isinstance(document, dict):
        raise UsageError(f"configuration file {file} must hold one JSON object")
    return document
