"""What roles have brought to this host, as each says in its own file: section ``brings``.

``{"brings": {"ROLE": {"units": [...], "certificates": [...], "backup_paths": [...]}}}`` in
``conf.d/ROLE.json``; whoever watches or saves what a host has need not know the role.
"""

from __future__ import annotations

from dataclasses import dataclass

from .configuration import Section

SECTION = "brings"


@dataclass(frozen=True)
class Brought:
    """Units that must run, certificates that must not end, and paths worth a backup."""

    units: tuple[str, ...] = ()
    certificates: tuple[str, ...] = ()
    backup_paths: tuple[str, ...] = ()


def read(whole: Section) -> Brought:
    """Return what all roles together have brought, each once.

    Raises:
        ConfigurationError: a value is wrong or a key is unknown; the message names it.

    """
    units: list[str] = []
    certificates: list[str] = []
    paths: list[str] = []
    brings = whole.section(SECTION, {})
    for role, _value in brings.items():
        own = brings.section(role)
        units += own.strings("units", ())
        certificates += own.strings("certificates", ())
        paths += own.absolute_paths("backup_paths", ())
        own.done()
    return Brought(*(tuple(dict.fromkeys(found)) for found in (units, certificates, paths)))
