"""Users that people and agents log in as; one that is there already stays as it is.

A home is never moved: keys, work and running processes are in it.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..base.errors import FactoryError
from ..base.ports import Run
from ..base.run import checked
from . import group_members
from .way_in import way_back

SECONDS = 120.0
DEFAULT_SHELL = "/bin/bash"
# They end a session at once.
_CLOSED_SHELLS = frozenset({"nologin", "false"})


class LoginUsersError(FactoryError):
    """The declaration is refused or a program failed; the message says why."""


@dataclass(frozen=True)
class UserSpec:
    """A declared user; an empty home or shell is the usual one, and any that is there."""

    name: str
    home: str = ""
    shell: str = ""
    groups: tuple[str, ...] = ()

    @property
    def usual_home(self) -> str:
        """Return the home of a user that is made."""
        return self.home or f"/home/{self.name}"


@dataclass(frozen=True)
class ObservedAccount:
    """An account of the host, wherever it is kept."""

    home: str
    shell: str
    groups: frozenset[str]
    home_exists: bool


@dataclass(frozen=True)
class LoginUsersPlan:
    """Commands with the phrase that tells each, and groups to join."""

    commands: tuple[tuple[str, tuple[str, ...]], ...]
    joins: tuple[tuple[str, str], ...]
    before: str
    after: str

    @property
    def actions(self) -> list[str]:
        """Return one phrase per step."""
        return [
            *(phrase for phrase, _argv in self.commands),
            *(f"add {name} to {group}" for name, group in self.joins),
        ]


def check(
    spec: UserSpec,
    found: ObservedAccount | None,
    same_place: Callable[[str, str], bool],
    may_run: Callable[[str], bool],
) -> None:
    """Refuse what would take an existing account's home or its way in.

    Raises:
        LoginUsersError: says what is declared and what is there.

    """
    if found is None:
        return
    if spec.home and not same_place(spec.home, found.home):
        raise LoginUsersError(
            f"{spec.name}'s home is {found.home}, and {spec.home} is declared: a home is never "
            f"moved, nothing was changed; declare {found.home}, or none, which keeps it"
        )
    if spec.shell and spec.shell != found.shell:
        if not may_run(spec.shell):
            raise LoginUsersError(
                f"{spec.name}'s shell is {found.shell}, and {spec.shell}, which is declared, is no "
                "program here: nobody could log in with it, nothing was changed; install it first"
            )
        if Path(spec.shell).name in _CLOSED_SHELLS:
            raise LoginUsersError(
                f"{spec.name}'s shell is {found.shell}, and {spec.shell} is declared, with which "
                "nobody can log in; nothing was changed"
            )


def plan(
    specs: Sequence[UserSpec], accounts: Mapping[str, ObservedAccount], groups: Collection[str]
) -> LoginUsersPlan:
    """Return what leads to the declared users; ``groups`` are those of the host."""
    commands: list[tuple[str, tuple[str, ...]]] = []
    joins: list[tuple[str, str]] = []
    before, after = "", ""
    for spec in specs:
        found = accounts.get(spec.name)
        joined = [name for name in spec.groups if found is None or name not in found.groups]
        if found is None:
            shell = spec.shell or DEFAULT_SHELL
            own_group = ["--gid", spec.name] if spec.name in groups else ["--user-group"]
            home = ["--create-home", "--home-dir", spec.usual_home]
            argv = ("useradd", *own_group, *home, "--shell", shell, "--", spec.name)
            commands.append((f"make user {spec.name}", argv))
            then = ObservedAccount(spec.usual_home, shell, frozenset(joined), True)
        else:
            shell = spec.shell or found.shell
            if shell != found.shell:
                argv = ("usermod", "--shell", shell, "--", spec.name)
                commands.append((f"{spec.name}: shell {found.shell} -> {shell}", argv))
            # A run that was killed has left the account without its home.
            if not found.home_exists and found.home == spec.usual_home:
                commands.append((f"make {found.home}", ("mkhomedir_helper", spec.name)))
            then = ObservedAccount(found.home, shell, found.groups | {*joined}, True)
        joins += [(spec.name, name) for name in joined]
        lines_before = _lines(spec.name, found, spec.groups) if found else ""
        lines_after = _lines(spec.name, then, spec.groups)
        if lines_before != lines_after:
            before, after = before + lines_before, after + lines_after
    return LoginUsersPlan(tuple(commands), tuple(joins), before, after)


def _lines(name: str, account: ObservedAccount, declared: Sequence[str]) -> str:
    listed = " ".join(group for group in declared if group in account.groups)
    home = account.home if account.home_exists else f"{account.home} (missing)"
    return f"{name}: home {home}, shell {account.shell}, among its groups: {listed or '-'}\n"


@dataclass(frozen=True)
class Given:
    """What runs have given to an account that was there: a shell, for its ``former`` one; groups."""

    former: str = ""
    shell: str = ""
    groups: tuple[str, ...] = ()


def parse_given(text: str) -> dict[str, Given]:
    """Return the record of what was given, by account.

    Raises:
        LoginUsersError: it cannot be read.

    """
    try:
        found = json.loads(text)["given"]
        return {
            name: Given(item["former"], item["shell"], tuple(item["groups"]))
            for name, item in found.items()
        }
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise LoginUsersError(
            f"the record of accounts is damaged ({error!r}); remove it"
        ) from error


def given_after(
    specs: Sequence[UserSpec],
    accounts: Mapping[str, ObservedAccount],
    given: Mapping[str, Given],
) -> dict[str, Given]:
    """Return the record once the declaration is in force; of accounts that are made none is kept."""
    after = {}
    for spec in specs:
        account, before = accounts.get(spec.name), given.get(spec.name, Given())
        if account is None:
            continue
        former, shell = (before.former, before.shell) if spec.shell else ("", "")
        if spec.shell and spec.shell != account.shell:
            former, shell = before.former or account.shell, spec.shell
        joined = [name for name in spec.groups if name not in account.groups]
        groups = (*(name for name in before.groups if name in spec.groups), *joined)
        found = Given(former, shell, tuple(dict.fromkeys(groups)))
        if found != Given():
            after[spec.name] = found
    return after


def give_back(
    specs: Sequence[UserSpec],
    accounts: Mapping[str, ObservedAccount],
    given: Mapping[str, Given],
) -> list[tuple[str, tuple[str, ...], tuple[str, ...]]]:
    """Return what takes back what is declared no longer: phrase, command, and what undoes it.

    A shell that somebody has changed since is his.
    """
    declared = {spec.name: spec for spec in specs}
    found: list[tuple[str, tuple[str, ...], tuple[str, ...]]] = []
    for name, item in given.items():
        account, spec = accounts.get(name), declared.get(name, UserSpec(name))
        if account is None:
            continue
        if item.former and not spec.shell and account.shell == item.shell:
            phrase = f"{name}: shell {item.shell} -> {item.former}, as before"
            back, forth = (
                ("usermod", "--shell", shell, "--", name) for shell in (item.former, item.shell)
            )
            found.append((phrase, back, forth))
        for group in item.groups:
            if group not in spec.groups and group in account.groups:
                leave, join = (("gpasswd", verb, name, group) for verb in ("--delete", "--add"))
                found.append((f"take {name} out of {group}", leave, join))
    return found


def undos(
    specs: Sequence[UserSpec], accounts: Mapping[str, ObservedAccount]
) -> list[way_back.Undo]:
    """Return what gives accounts that exist their shells and groups back."""
    found = []
    for spec in specs:
        account = accounts.get(spec.name)
        if account is not None and spec.shell and spec.shell != account.shell:
            what = f"{spec.name}: shell {account.shell} -> {spec.shell}"
            then = (("usermod", "--shell", account.shell, "--", spec.name),)
            found.append(way_back.Undo(what, then=then))
        if account is not None:
            joins = [(spec.name, group) for group in spec.groups if group not in account.groups]
            found += [group_members.undo(group, [name], []) for name, group in joins]
    return found


def apply(plan_: LoginUsersPlan, run: Run) -> None:
    """Carry the plan out.

    Raises:
        LoginUsersError: a program failed.
        GroupMembersError: a group does not exist.

    """
    for phrase, argv in plan_.commands:
        checked(
            run,
            argv,
            name=phrase,
            error=LoginUsersError,
            environment={"LC_ALL": "C"},
            timeout_seconds=SECONDS,
        )
    for name, group in plan_.joins:
        group_members.apply(group_members.MembersPlan(group, (name,), (), ()), run)


def same_place(first: str, second: str) -> bool:
    """Whether two paths are one directory, links followed."""
    return os.path.realpath(first) == os.path.realpath(second)


def may_run(path: str) -> bool:
    """Whether this is a program."""
    return Path(path).is_file() and os.access(path, os.X_OK)
