"""YAML as this repository writes it: 120 columns, quotes where they are needed, double ones."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Mapping
from typing import Any

import yaml

WIDTH = 120


def flow(value: Any) -> str:
    """Return a value on one line."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{flow(key)}: {flow(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(flow, value)) + "]"
    if isinstance(value, str):
        return value if _is_plain(value) else json.dumps(value, ensure_ascii=False)
    return json.dumps(value)


def _is_plain(text: str) -> bool:
    try:
        return bool(text) and yaml.safe_load(f"[{text}]") == [text] and "\n" not in text
    except yaml.YAMLError:
        return False


def _holds(text: str) -> bool:
    """Whether a text needs no quotes behind a key."""
    try:
        return bool(yaml.safe_load(f"x: {text}") == {"x": text})
    except yaml.YAMLError:
        return False


def entry(key: str, value: Any, indent: int = 0) -> list[str]:
    """Return the lines of one key: its value behind it, or below it where it is too long."""
    margin = " " * indent
    if isinstance(value, str) and value and _holds(value):
        return [f"{margin}{key}: {value}"]
    line = f"{margin}{key}: {flow(value)}"
    is_deep = isinstance(value, list) and any(isinstance(item, Mapping) for item in value)
    if not isinstance(value, list | Mapping) or (len(line) <= WIDTH and not is_deep):
        return [line]
    if isinstance(value, list):
        return [f"{margin}{key}:", *(f"{margin}  - {flow(item)}" for item in value)]
    below = (line for name, item in value.items() for line in entry(name, item, indent + 2))
    return [f"{margin}{key}:", *below]


def prose(key: str, text: str, indent: int) -> list[str]:
    """Return the lines of a key whose value is a sentence."""
    margin = " " * indent
    line = f"{margin}{key}: {text}"
    if _holds(text) and len(line) <= WIDTH:
        return [line]
    return [f"{margin}{key}: >-", *wrapped(text, f"{margin}  ")]


def wrapped(text: str, margin: str) -> list[str]:
    """Return a text as lines that begin with ``margin``."""
    return textwrap.wrap(
        text,
        WIDTH,
        initial_indent=margin,
        subsequent_indent=margin,
        break_long_words=False,
        break_on_hyphens=False,
    )
