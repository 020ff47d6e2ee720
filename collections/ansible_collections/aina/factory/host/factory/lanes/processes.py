"""Supervisors of lanes, known by number and start: a number alone may be another's by now."""

from __future__ import annotations

import os
from pathlib import Path


def identity(pid: int | None = None) -> str:
    """Return what names this process, or another, for as long as the host is up.

    Empty when there is no such process.
    """
    number = os.getpid() if pid is None else pid
    try:
        stat = Path(f"/proc/{number}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
    # The program's name may hold blanks and parentheses.
    return f"{number}:{stat.rpartition(')')[2].split()[19]}"


def alive(supervisor: str) -> bool:
    """Whether the process that ``supervisor`` names still runs."""
    number = supervisor.partition(":")[0]
    return number.isdigit() and identity(int(number)) == supervisor
