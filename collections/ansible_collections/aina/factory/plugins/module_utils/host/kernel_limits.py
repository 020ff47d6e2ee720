"""Raise running kernel settings to at least a declared value.

Files in sysctl.d take effect at boot; this brings the running kernel to the same limits.
A value that somebody has set higher stays.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..base.errors import FactoryError

PROC_SYS = Path("/proc/sys")


class KernelLimitsError(FactoryError):
    """A setting does not exist or cannot be written; the message names it."""


@dataclass(frozen=True)
class KernelLimit:
    """One setting; ``writable`` is false where /proc/sys is read-only."""

    name: str
    current: int
    minimum: int
    writable: bool


def read(minimums: Mapping[str, int], root: Path = PROC_SYS) -> list[KernelLimit]:
    """Return what the kernel runs with.

    Raises:
        KernelLimitsError: a setting is unknown to this kernel, or holds no whole number.

    """
    return [_read(name, minimum, root) for name, minimum in sorted(minimums.items())]


def _read(name: str, minimum: int, root: Path) -> KernelLimit:
    path = root / name.replace(".", "/")
    try:
        text = path.read_text(encoding="ascii").strip()
    except OSError as error:
        raise KernelLimitsError(f"{name}: {path}: {error.strerror}") from error
    if not text.isdigit():
        raise KernelLimitsError(f"{name} is {text!r}, not a whole number; it cannot be raised")
    return KernelLimit(name, int(text), minimum, os.access(path, os.W_OK))


def plan(limits: Sequence[KernelLimit]) -> list[KernelLimit]:
    """Return the settings that are too low and can be raised."""
    return [limit for limit in limits if limit.current < limit.minimum and limit.writable]


def unreachable(limits: Sequence[KernelLimit]) -> list[str]:
    """Return a warning for every setting that is too low and cannot be raised here."""
    return [
        f"{limit.name} is {limit.current} instead of at least {limit.minimum}, and {PROC_SYS} is "
        "read-only here (a container?); raise it on the machine that owns the kernel"
        for limit in limits
        if limit.current < limit.minimum and not limit.writable
    ]


def apply(changes: Sequence[KernelLimit], root: Path = PROC_SYS) -> None:
    """Raise the settings.

    Raises:
        KernelLimitsError: the kernel refused a value.

    """
    for limit in changes:
        path = root / limit.name.replace(".", "/")
        try:
            path.write_text(f"{limit.minimum}\n", encoding="ascii")
        except OSError as error:
            raise KernelLimitsError(
                f"{limit.name} could not be raised to {limit.minimum}: {error.strerror}"
            ) from error
