"""The step of :mod:`aina.factory.bystanders`: what a converge means for others on the host."""

from __future__ import annotations

from typing import Any

from ..host.steps import Context
from ..host.way_in import root_holders
from . import foreign

ARGUMENTS: dict[str, Any] = {}
_ZONE = "/etc/localtime"


def _moved() -> list[dict[str, str]]:
    """Return the tables of others whose lines run at another time in another time zone."""
    told = []
    for path, lines in sorted(foreign.clocked(foreign.crontabs()).items()):
        more = f" and {len(lines) - 1} more" if len(lines) > 1 else ""
        told.append(
            {
                "kind": "moved",
                "what": f"{path}: {lines[0]!r}{more}",
                "why": "the host's time zone changes, and with it all timers that name an hour",
            }
        )
    return told


def execute(_parameters: dict[str, Any], context: Context) -> dict[str, Any]:
    """Look; nothing is changed."""
    moved = _moved() if _ZONE in context.changed_paths else []
    return {
        "changed": False,
        "consequences": [*moved, *root_holders.read(context.run)],
        "diff": [],
    }
