"""What roles have brought to this host, as each says in its own file: section ``brings``.

``{"brings": {"ROLE": {"units": [...], "certificates": [...], "backup_paths": [...]}}}`` in
``conf.d/ROLE.json``; whoever watches or saves what a host has need not know the role.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import chain

from .configuration import Section
from .settings import read as read_settings
from .settings import setting

SECTION = "brings"


@dataclass(frozen=True)
class Brought:
    """Units that must run, certificates that must not end, and paths worth a backup."""

    units: tuple[str, ...] = setting((), "Units that run, and are started again when they fail.")
    certificates: tuple[str, ...] = setting((), "Certificates that are told of before they end.")
    backup_paths: tuple[str, ...] = setting((), "What a backup saves.", kind="path")


def read(whole: Section) -> Brought:
    """Return what all roles together have brought, each once.

    Raises:
        ConfigurationError: a value is wrong or a key is unknown; the message names it.

    """
    brings = whole.section(SECTION, {})
    found = [read_settings(Brought, brings.section(role)) for role, _value in brings.items()]

    def together(of: Callable[[Brought], Iterable[str]]) -> tuple[str, ...]:
        return tuple(dict.fromkeys(chain.from_iterable(map(of, found))))

    return Brought(
        units=together(lambda each: each.units),
        certificates=together(lambda each: each.certificates),
        backup_paths=together(lambda each: each.backup_paths),
    )
