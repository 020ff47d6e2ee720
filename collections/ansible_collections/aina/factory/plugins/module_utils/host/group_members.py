"""Decide who belongs to a Unix group; nobody is taken out who was not added by us."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from ..base.errors import FactoryError
from ..base.ports import Run
from ..base.run import checked
from .way_in import way_back

CHANGE_SECONDS = 30.0


class GroupMembersError(FactoryError):
    """A member could not be added; the message quotes the tool."""


@dataclass(frozen=True)
class MembersPlan:
    """Users to add, ours to take out again, and members that nobody declared."""

    group: str
    add: tuple[str, ...]
    remove: tuple[str, ...]
    others: tuple[str, ...]

    @property
    def actions(self) -> list[str]:
        """Return one phrase per step."""
        return [
            *(f"add {name} to {self.group}" for name in self.add),
            *(f"take {name} out of {self.group}" for name in self.remove),
        ]


def plan(
    group: str, declared: Sequence[str], actual: Collection[str], own: Collection[str] = ()
) -> MembersPlan:
    """Compare the declared members with the actual ones; ``own`` were added by earlier runs."""
    undeclared = set(actual) - set(declared)
    return MembersPlan(
        group,
        tuple(name for name in dict.fromkeys(declared) if name not in actual),
        tuple(sorted(undeclared & set(own))),
        tuple(sorted(undeclared - set(own))),
    )


def undo(group: str, joined: Sequence[str], left: Sequence[str]) -> way_back.Undo:
    """Return what gives a group its former members back; a server of SSH may ask for groups."""
    words = [*(f"add {name} to {group}" for name in joined)]
    words += [f"take {name} out of {group}" for name in left]
    commands = [("gpasswd", "--delete", name, group) for name in joined]
    commands += [("gpasswd", "--add", name, group) for name in left]
    return way_back.Undo(", ".join(words), then=tuple(commands))


def apply(plan_: MembersPlan, run: Run) -> None:
    """Add the missing members, take out those of ours that are declared no longer.

    Raises:
        GroupMembersError: a user or the group does not exist.

    """
    steps = [("--add", name, "join") for name in plan_.add]
    steps += [("--delete", name, "leave") for name in plan_.remove]
    for option, name, verb in steps:
        argv = ["gpasswd", option, name, plan_.group]
        failure = f"{name} could not {verb} group {plan_.group}"
        checked(run, argv, name=failure, error=GroupMembersError, timeout_seconds=CHANGE_SECONDS)
