"""One look at everything, never two at once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from factory import locks
from factory.core.base.configuration import Section
from factory.core.watchdog import filesystems
from factory.core.watchdog import policy as policies
from factory.core.watchdog.settings import WatchdogSettings

_LOCK = "factory-watchdog.lock"


def watched(whole: Section) -> tuple[WatchdogSettings, tuple[str, ...]]:
    """Return the policy of this host with all its disks, and what is wrong with it."""
    policy, errors = policies.of(whole)
    return filesystems.with_found(policy, Path("/proc"), Path("/etc/fstab")), errors


def look(whole: Section) -> dict[str, Any]:
    """Judge everything once and return the status.

    Raises:
        LockedError: another run is at work.

    """
    # Slow to load, and only who looks needs it.
    from factory.watchdog.run import Watchdog

    policy, errors = watched(whole)
    with locks.exclusive(locks.directory_of(whole) / _LOCK):
        return Watchdog(policy, whole, errors=errors).once()
