"""One look at everything, never two at once."""

from __future__ import annotations

from typing import Any

from factory import locks
from factory.core.base.configuration import Section
from factory.core.watchdog import policy as policies

_LOCK = "factory-watchdog.lock"


def look(whole: Section) -> dict[str, Any]:
    """Judge everything once and return the status.

    Raises:
        LockedError: another run is at work.

    """
    # Slow to load, and only who looks needs it.
    from factory.watchdog.run import Watchdog

    policy, errors = policies.of(whole)
    with locks.exclusive(locks.directory_of(whole) / _LOCK):
        return Watchdog(policy, whole, errors=errors).once()
