"""Run the programs that clean something of their own."""

from __future__ import annotations

import pwd
from collections.abc import Sequence

from ..base.ports import Completed, Run
from .model import KindError, SkipError

TIMEOUT_SECONDS = 1800.0
# What env says when there is no such program.
NOT_FOUND = 127


def call(run: Run, argv: Sequence[str]) -> Completed:
    """Return how a program ended.

    Raises:
        SkipError: it is not installed.

    """
    try:
        return run(argv, timeout_seconds=TIMEOUT_SECONDS, environment={"LC_ALL": "C.UTF-8"})
    except FileNotFoundError:
        raise SkipError("not_installed") from None


def check(done: Completed, argv: Sequence[str]) -> None:
    """Raise what a program said that failed."""
    if not done.ok:
        words = (done.stderr or done.stdout).decode(errors="replace").strip().splitlines()
        raise KindError(
            f"{' '.join(argv)} ended with status {done.returncode}: {words[-1] if words else ''}"
        )


def as_owner(user: str, *words: str) -> list[str]:
    """Return the call of a program by the user, in his home's environment."""
    return ["runuser", "--user", user, "--", "env", f"HOME={home(user)}", *words]


def home(user: str) -> str:
    """Return the home of a user.

    Raises:
        KindError: there is no such user.

    """
    try:
        return pwd.getpwnam(user).pw_dir
    except KeyError:
        raise KindError(f"user {user!r} does not exist; correct his name") from None
