"""The step of :mod:`aina.factory.login_users`: users that somebody logs in as."""

from __future__ import annotations

import contextlib
import grp
import json
import pwd
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from ...base.ports import Run
from .. import group_members, login_users, managed_files
from ..way_in import way_back
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
    "record_path": {"type": "path"},
}
_REFUSALS = (
    login_users.LoginUsersError,
    group_members.GroupMembersError,
    managed_files.ManagedFilesError,
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


def _read(record: Path | None) -> dict[str, login_users.Given]:
    if record is None or not record.exists():
        return {}
    return login_users.parse_given(record.read_text(encoding="utf-8"))


def _write(record: Path | None, given: dict[str, login_users.Given], run: Run) -> None:
    if record is None or given == _read(record):
        return
    if not given:
        record.unlink(missing_ok=True)
        return
    text = json.dumps({"schema": 1, "given": {name: asdict(given[name]) for name in sorted(given)}})
    attributes = managed_files.Attributes("root", "root", 0o644)
    file = managed_files.FileSpec(str(record), f"{text}\n".encode(), attributes)
    managed_files.apply(managed_files.plan((), [file], ()), run)


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
    record = Path(parameters["record_path"]) if parameters["record_path"] else None
    try:
        given = _read(record)
        names = dict.fromkeys([*(spec.name for spec in specs), *given])
        accounts = {name: found for name in names if (found := _account(name)) is not None}
        plan = login_users.plan(specs, accounts, {group.gr_name for group in grp.getgrall()})
        returned = login_users.give_back(specs, accounts, given)
        told = "".join(f"{phrase}\n" for phrase, *_command in returned)
        commands = (*plan.commands, *((phrase, argv) for phrase, argv, _back in returned))
        plan = replace(plan, commands=commands, after=f"{plan.after}{told}")
        for undo in login_users.undos(specs, accounts):
            context.protect(undo)
        for phrase, _argv, back in returned:
            context.protect(way_back.Undo(phrase, then=(back,)))
        if not context.check_mode:
            after = login_users.given_after(specs, accounts, given)
            # Before anything is given, and until all is taken back: a killed run must not forget.
            _write(record, {**given, **after}, context.run)
            login_users.apply(plan, context.run)
            _write(record, after, context.run)
    except _REFUSALS as error:
        raise StepError(str(error)) from error
    return {
        "changed": bool(plan.actions),
        "actions": plan.actions,
        "diff": [{"before": plan.before, "after": plan.after}] if plan.actions else [],
    }
