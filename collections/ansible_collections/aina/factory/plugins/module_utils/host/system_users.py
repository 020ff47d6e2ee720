"""Users that own a service and never log in."""

from __future__ import annotations

import os
import pwd
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..base.errors import FactoryError
from ..base.ports import Run
from ..base.run import checked

SECONDS = 60.0
# Accounts of the factory's own services; whoever needs one of them first makes it.
SERVICE_PREFIX = "factory-"


class SystemUsersError(FactoryError):
    """A user could not be made or removed; the message quotes the program."""


@dataclass(frozen=True)
class SystemUsersPlan:
    """Who is made and who goes."""

    add: tuple[str, ...]
    remove: tuple[str, ...]

    @property
    def actions(self) -> list[str]:
        """Return one phrase per step."""
        return [
            *(f"make user {name}" for name in self.add),
            *(f"remove user {name}" for name in self.remove),
        ]


def plan(
    present: Sequence[str], absent: Sequence[str], existing: Collection[str]
) -> SystemUsersPlan:
    """Return what leads from ``existing`` to the declared users."""
    return SystemUsersPlan(
        tuple(name for name in present if name not in existing),
        tuple(name for name in absent if name in existing),
    )


def service_accounts(names: Collection[str]) -> list[str]:
    """Return those of the names that are accounts of the factory's own services."""
    return sorted({name for name in names if name.startswith(SERVICE_PREFIX)})


def foreign(owns: Mapping[str, str]) -> list[str]:
    """Return the directories in which something does not belong to whom they are to belong to."""
    return [
        path
        for path, name in owns.items()
        if os.path.lexists(path) and any(True for _other in _others(path, _number(name)))
    ]


def hand_over(path: str, name: str) -> None:
    """Give a directory and everything in it to an account; what links name stays whose it is.

    Raises:
        SystemUsersError: there is no such account.

    """
    number = _number(name)
    if number is None:
        raise SystemUsersError(f"{path} is to belong to {name}, which is no account of this host")
    for directory, entry in _others(path, number):
        os.chown(
            entry, number, pwd.getpwuid(number).pw_gid, dir_fd=directory, follow_symlinks=False
        )


def _number(name: str) -> int | None:
    try:
        return pwd.getpwnam(name).pw_uid
    except KeyError:
        return None


def _others(path: str, number: int | None) -> Iterator[tuple[int, str]]:
    """Yield what belongs to somebody else, as a name in an open directory: no name is followed."""
    if Path(path).is_symlink():
        return
    for _top, _names, files, directory in os.fwalk(path, follow_symlinks=False):
        # A directory itself is seen as "." of its own, so that it is passed once.
        for entry in (".", *files):
            try:
                status = os.stat(entry, dir_fd=directory, follow_symlinks=False)
            except FileNotFoundError:
                continue
            # What has two names may be somebody's elsewhere.
            if status.st_uid != number and (entry == "." or status.st_nlink == 1):
                yield directory, entry


def apply(plan_: SystemUsersPlan, run: Run) -> None:
    """Carry the plan out.

    Raises:
        SystemUsersError: a program failed.

    """
    add = ["useradd", "--system", "--user-group", "--no-create-home", "--home-dir", "/nonexistent"]
    for name in plan_.add:
        _do([*add, "--shell", "/usr/sbin/nologin", "--", name], run)
    for name in plan_.remove:
        _do(["userdel", "--", name], run)


def _do(argv: Sequence[str], run: Run) -> None:
    name = f"{argv[0]} {argv[-1]}"
    checked(
        run,
        argv,
        name=name,
        error=SystemUsersError,
        environment={"LC_ALL": "C"},
        timeout_seconds=SECONDS,
    )
