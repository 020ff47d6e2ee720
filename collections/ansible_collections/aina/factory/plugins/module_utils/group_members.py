"""Decide who is to be added to a Unix group; nobody is ever taken out of one."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from ansible_collections.aina.factory.plugins.module_utils.ports import Run

ADD_SECONDS = 30.0


class GroupMembersError(Exception):
    """A member could not be added; the message quotes the tool."""


@dataclass(frozen=True)
class Plan:
    """Users to add, and members that nobody declared."""

    group: str
    add: tuple[str, ...]
    others: tuple[str, ...]


def plan(group: str, declared: Sequence[str], actual: Collection[str]) -> Plan:
    """Compare the declared members with the actual ones."""
    return Plan(
        group,
        tuple(name for name in dict.fromkeys(declared) if name not in actual),
        tuple(sorted(set(actual) - set(declared))),
    )


def apply(plan_: Plan, run: Run) -> None:
    """Add the missing members.

    Raises:
        GroupMembersError: a user or the group does not exist.

    """
    for name in plan_.add:
        done = run(["gpasswd", "--add", name, plan_.group], timeout_seconds=ADD_SECONDS)
        if not done.ok:
            words = done.stderr.decode(errors="replace").strip()
            raise GroupMembersError(f"{name} could not join group {plan_.group}: {words}")
