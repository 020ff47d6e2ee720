"""This server's claims at GitHub: which issue a lane here works on, so that no other server does."""

from __future__ import annotations

import logging
import socket
import time
from collections.abc import Callable
from pathlib import Path

from factory.core.base.errors import FactoryError
from factory.core.lanes.claims import ENDED, UNDELIVERED, Claim, Claims
from factory.core.lanes.collect import LaneMirror

# How long after a lane's deadline, or its last try to deliver, others leave its issue alone.
GRACE_SECONDS, UNDELIVERED_SECONDS = 3600.0, 86400.0
_MACHINE = Path("/etc/machine-id")
_log = logging.getLogger(__name__)


def host() -> str:
    """Return this server's name, and what tells it from another of the same name."""
    try:
        machine = _MACHINE.read_text(encoding="ascii").strip()
    except OSError:
        machine = ""
    return f"{socket.gethostname()} {machine[:8]}".strip()


def take(results: LaneMirror, number: int, lane: str, until: float) -> Claim:
    """Claim an issue or a pull request for a lane of this server, until a time in seconds.

    Raises:
        ClaimedError: another server has it.
        CollectError: GitHub does not say.

    """
    return Claims(results).take(number, Claim(host(), lane, until=until), time.time())


def keep(results: LaneMirror, number: int, lane: str) -> Claim:
    """Have it once more to deliver: what was done here long ago may be another server's by now.

    Raises:
        ClaimedError: another server has it.
        CollectError: GitHub does not say.

    """
    now = time.time()
    wanted = Claim(host(), lane, UNDELIVERED, until=now + UNDELIVERED_SECONDS)
    return Claims(results).take(number, wanted, now)


def release(results: LaneMirror, number: int, claim: Claim) -> None:
    """Take a claim back; where that fails it runs out, which is no reason for anything."""
    try:
        Claims(results).release(number, claim)
    except (FactoryError, OSError) as error:
        _log.warning("the claim on #%d is not taken back, and runs out: %s", number, error)


def ended(
    results: Callable[[], LaneMirror], number: int, claim: Claim, outcome: str, *, is_attempt: bool
) -> None:
    """Say at GitHub that a lane has ended without solving it; where that fails its claim runs out."""
    now = time.time()
    count = claim.attempts_count + is_attempt
    said = {"state": ENDED, "until": now, "outcome": outcome, "attempts_count": count}
    try:
        Claims(results()).record(number, claim, now, **said)
    except (FactoryError, OSError) as error:
        _log.warning("what became of #%d is not said at GitHub: %s", number, error)
