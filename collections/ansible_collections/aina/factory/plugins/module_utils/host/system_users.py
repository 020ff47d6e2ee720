"""Users that own a service and never log in."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from ..base.errors import FactoryError
from ..base.ports import Run
from ..base.run import checked

SECONDS = 60.0


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
