"""YAML of Ansible, read for its structure."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml


class _Loader(yaml.CSafeLoader):
    """Knows that Ansible's own tags (!vault, !unsafe) stand before plain values."""


def _plain(loader: _Loader, _suffix: str, node: yaml.Node) -> object:
    return loader.construct_scalar(node) if isinstance(node, yaml.ScalarNode) else None


_Loader.add_multi_constructor("!", _plain)


def load(path: Path) -> Any:
    """Return the document of ``path``; its shape is the caller's to know."""
    with path.open(encoding="utf-8") as file:
        return yaml.load(file, Loader=_Loader)  # noqa: S506 - the loader derives from CSafeLoader


def walk(value: Any) -> list[dict[str, Any]]:
    """Return every mapping inside ``value``, itself included, outermost first."""
    if isinstance(value, dict):
        return [value, *(inner for item in value.values() for inner in walk(item))]
    if isinstance(value, list):
        return [inner for item in value for inner in walk(item)]
    return []
