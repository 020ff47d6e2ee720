"""Units of a user's own systemd manager, which runs from boot on without a login."""

from __future__ import annotations

import pwd
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..base.ports import Completed, Run
from .units import UnitsError, UnitStatus

NOTHING = UnitStatus(exists=False, active=False, enabled=False, needs_reload=False, started_at=None)
_LINGER = Path("/var/lib/systemd/linger")
_RUNTIME = Path("/run/user")
_SECONDS = 120.0


def provide(user: str | None, run: Run, *, check_mode: bool) -> list[str]:
    """Let the user's manager run now and from boot on; return what had to be done.

    Raises:
        UnitsError: there is no such user, or systemd refused.

    """
    if user is None:
        return []
    try:
        number = pwd.getpwnam(user).pw_uid
    except KeyError:
        if check_mode:
            return [f"let the units of {user} run without a login"]
        raise UnitsError(f"there is no user {user}") from None
    calls = []
    if not (_LINGER / user).exists():
        calls.append(["loginctl", "enable-linger", user])
    if not (_RUNTIME / str(number) / "systemd" / "private").exists():
        calls.append(["systemctl", "start", f"user@{number}.service"])
    for argv in calls if not check_mode else ():
        done = run(argv, timeout_seconds=_SECONDS)
        if not done.ok:
            words = done.stderr.decode(errors="replace").strip()
            raise UnitsError(f"{' '.join(argv)}: {words}")
    return [f"let the units of {user} run without a login"] if calls else []


def commanded(user: str | None, run: Run) -> Run:
    """Return a port that speaks to the user's manager where the system's is meant."""
    if user is None:
        return run

    def ask(argv: Sequence[str | bytes], **options: Any) -> Completed:
        words = list(argv)
        if words[0] == "systemctl":
            words[1:1] = ["--user", f"--machine={user}@.host"]
        elif words[0] == "journalctl":
            words = [
                f"_SYSTEMD_USER_UNIT={str(word).removeprefix('--unit=')}"
                if str(word).startswith("--unit=")
                else word
                for word in words
            ]
        return run(words, **options)

    return ask
