"""Typed reading of what the other capabilities write down.

Every function raises the configuration's own error where a document does not say what it
should: whoever asked then knows nothing of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..base import times
from ..base.configuration import Section
from ..base.errors import FactoryError

SCHEMA = 1


class ReadingError(FactoryError, ValueError):
    """What was read is not what it should be; the message says where and why."""


def section(values: Any, name: str) -> Section:
    """Return a document as a section, if it has the schema that is known here."""
    found = Section(values, name)
    if found.value("schema") != SCHEMA:
        raise found.error("schema", found.value("schema"), f"be {SCHEMA}")
    return found


def time(section: Section, key: str) -> float:
    """Return an ISO 8601 time as seconds since the epoch."""
    text = section.text(key)
    try:
        return times.seconds(text)
    except ValueError:
        raise section.error(key, text, "be an ISO 8601 time") from None


def time_or_none(section: Section, key: str) -> float | None:
    """Return an ISO 8601 time, or ``None`` where there is none."""
    return time(section, key) if section.has(key) else None


def number_or_none(section: Section, key: str) -> float | None:
    """Return a number, or ``None`` where there is none."""
    return section.number(key) if section.has(key) else None


def flag_or_none(section: Section, key: str) -> bool | None:
    """Return a truth value, or ``None`` where there is none."""
    return section.boolean(key) if section.has(key) else None


def sentences(section: Section, key: str) -> tuple[str, ...]:
    """Return a list of texts, or of mappings with ``what`` or ``detail``, as sentences."""
    found = section.value(key, [])
    if not isinstance(found, list):
        raise section.error(key, found, "be a list")
    return tuple(map(_sentence, found))


def _sentence(item: Any) -> str:
    if not isinstance(item, Mapping):
        return str(item)
    what = str(item.get("what") or item.get("detail") or dict(item))
    return f"{what} (since {item['since']})" if item.get("since") else what
