"""The step of :mod:`aina.factory.system_users`: users that own a service."""

from __future__ import annotations

import pwd
from typing import Any

from .. import system_users
from . import Context, StepError

ARGUMENTS: dict[str, Any] = {
    "present": {"type": "list", "elements": "str", "default": []},
    "absent": {"type": "list", "elements": "str", "default": []},
}


def execute(parameters: dict[str, Any], context: Context) -> dict[str, Any]:
    """Make who is missing, remove who is to go."""
    existing = {entry.pw_name for entry in pwd.getpwall()}
    plan = system_users.plan(parameters["present"], parameters["absent"], existing)
    try:
        if not context.check_mode:
            system_users.apply(plan, context.run)
    except (system_users.SystemUsersError, OSError, TimeoutError) as error:
        raise StepError(str(error)) from error
    after = "".join(f"{action}\n" for action in plan.actions)
    return {
        "changed": bool(plan.actions),
        "actions": plan.actions,
        "diff": [{"before": "", "after": after}] if plan.actions else [],
    }
