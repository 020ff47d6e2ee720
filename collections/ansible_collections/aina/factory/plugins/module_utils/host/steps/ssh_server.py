"""The step of :mod:`aina.factory.ssh_server`: the SSH server's settings."""

from __future__ import annotations

import time
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from ...base.ports import Run
from .. import managed_files, ssh_server, units
from ..way_in import accounts, connection, logins
from . import Context, StepError

ARGUMENTS: dict[str, Any] = {
    "settings": {"type": "dict", "default": {}},
    "administrators": {"type": "list", "elements": "str", "default": []},
}
_GREETING_SECONDS = 20.0
_REFUSALS = (
    ssh_server.SshServerError,
    accounts.WayInError,
    managed_files.ManagedFilesError,
    units.UnitsError,
    OSError,
    TimeoutError,
)


def _answer_problem(run: Run) -> str:
    """Ask the server whether it greets; it may take a moment to listen."""
    deadline = time.monotonic() + _GREETING_SECONDS
    while problem := ssh_server.answer_problem(run):
        if time.monotonic() > deadline:
            return problem
        time.sleep(0.5)
    return ""


def _plan(
    parameters: dict[str, Any], context: Context
) -> tuple[list[managed_files.Change], list[units.Action], list[dict[str, str]]]:
    """Return what is to be done, once the server has judged it, and for whom it does not hold."""
    settings, run = ssh_server.spelt(parameters["settings"]), context.run
    changes = ssh_server.change(settings)
    if not Path(logins.PROGRAM).exists():
        return changes, [], []
    boot_time = time.time() - time.monotonic()
    actions = ssh_server.restart(run, boot_time, bool(changes))
    exempt: list[dict[str, str]] = []
    if settings or changes:
        account = partial(accounts.read_account, today=int(time.time() // 86400))
        listeners = connection.read_listeners(run)
        sessions, others = connection.read_all(listeners)
        with ssh_server.runtime_dir(stays=not context.check_mode):
            exempt = ssh_server.judge(
                settings,
                parameters["administrators"],
                run,
                account,
                sessions[0] if sessions else None,
                listeners,
                others=others,
                restarts=bool(actions),
            )
    return changes, actions, exempt


def guard(parameters: dict[str, Any], context: Context) -> None:
    """Refuse, before anything else is done, settings that lock somebody out."""
    try:
        _plan(parameters, replace(context, check_mode=True))
    except _REFUSALS as error:
        raise StepError(str(error)) from error


def execute(parameters: dict[str, Any], context: Context) -> dict[str, Any]:
    """Let the server judge the settings, then put them in force."""
    run = context.run
    try:
        installed = Path(logins.PROGRAM).exists()
        if parameters["settings"] and not installed and not context.check_mode:
            raise StepError(f"{logins.PROGRAM} is not installed; install openssh-server")
        changes, actions, exempt = _plan(parameters, context)
        if changes or actions:
            context.protect(ssh_server.undo(changes, actions))
        if not context.check_mode:
            ssh_server.apply(changes, actions, run, lambda: _answer_problem(run))
    except _REFUSALS as error:
        raise StepError(str(error)) from error
    steps = [*(f"{item.kind} {item.path}" for item in changes), *map(str, actions)]
    return {
        "changed": bool(steps),
        "actions": steps,
        "changed_paths": [item.path for item in changes],
        "consequences": exempt,
        "diff": [
            {
                "before_header": item.path,
                "after_header": f"{item.path} ({item.kind})",
                "before": item.before,
                "after": item.after,
            }
            for item in changes
        ],
    }
