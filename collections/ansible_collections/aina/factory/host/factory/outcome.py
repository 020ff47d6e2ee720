"""What every subcommand returns, and the exit codes it may end with."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import Any

from factory.core.base.errors import FactoryError
from factory.core.base.locks import LockedError

__all__ = ["SCHEMA", "Exit", "LockedError", "Outcome", "UsageError"]

SCHEMA = 1


class Exit(IntEnum):
    """The four ways in which ``factory`` ends."""

    DONE = 0
    FAILED = 1
    USAGE = 2
    LOCKED = 75


@dataclass(frozen=True)
class Outcome:
    """A subcommand's end.

    ``document`` is what ``--json`` prints (``schema`` is added); ``text`` is what a
    person reads instead.
    """

    exit: Exit
    document: dict[str, Any]
    text: str


class UsageError(FactoryError):
    """Wrong usage or configuration: names what is wrong, where, and what to do."""
