"""The step of :mod:`aina.factory.login_users`: users that somebody logs in as."""

from __future__ import annotations

import contextlib
import grp
import pwd
from pathlib import Path
from typing import Any

from .. import group_members, login_users
from . import Context, StepError

ARGUMENTS: dict[str, Any] = {
    "users": {
        "type": "list",
        "elements": "dict",
        "default": [],
        "options": {
            "name": {"type": "str", "required": True},
            "home": {"type": "str", "default": ""},
            "shell": {"type": "str", "default": ""},
            "groups": {"type": "list", "elements": "str", "default": []},
        },
    },
}
_REFUSALS = (
    login_users.LoginUsersError,
    group_members.GroupMembersError,
    OSError,
    TimeoutError,
)


def _specs(parameters: dict[str, Any]) -> list[login_users.UserSpec]:
    return [
        login_users.UserSpec(item["name"], item["home"], item["shell"], tuple(item["groups"]))
        for item in parameters["users"]
    ]


def _account(name: str) -> login_users.ObservedAccount | None:
    try:
        entry = pwd.getpwnam(name)
    except KeyError:
        return None
    joined = [group.gr_name for group in grp.getgrall() if name in group.gr_mem]
    with contextlib.suppress(KeyError):  # a number without a name
        joined.append(grp.getgrgid(entry.pw_gid).gr_name)
    home = entry.pw_dir
    return login_users.ObservedAccount(home, entry.pw_shell, frozenset(joined), Path(home).is_dir())


def guard(parameters: dict[str, Any], context: Context) -> None:
    """Refuse, before anything else is done, to move a home or to take a login away."""
    del context
    for spec in _specs(parameters):
        try:
            login_users.check(
                spec, _account(spec.name), login_users.same_place, login_users.may_run
            )
        except login_users.LoginUsersError as error:
            raise StepError(str(error)) from error


def execute(parameters: dict[str, Any], context: Context) -> dict[str, Any]:
    """Make who is missing; let who is there join the declared groups."""
    guard(parameters, context)
    specs = _specs(parameters)
    accounts = {spec.name: found for spec in specs if (found := _account(spec.name)) is not None}
    plan = login_users.plan(specs, accounts, {group.gr_name for group in grp.getgrall()})
    try:
        if not context.check_mode:
            login_users.apply(plan, context.run)
    except _REFUSALS as error:
        raise StepError(str(error)) from error
    return {
        "changed": bool(plan.actions),
        "actions": plan.actions,
        "diff": [{"before": plan.before, "after": plan.after}] if plan.actions else [],
    }
