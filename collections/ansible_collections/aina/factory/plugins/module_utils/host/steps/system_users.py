"""The step of :mod:`aina.factory.system_users`: users that own a service."""

from __future__ import annotations

import pwd
from typing import Any

from .. import system_users
from . import Context, StepError

ARGUMENTS: dict[str, Any] = {
    "present": {"type": "list", "elements": "str", "default": []},
    "absent": {"type": "list", "elements": "str", "default": []},
    "owns": {"type": "dict", "default": {}},
}


def execute(parameters: dict[str, Any], context: Context) -> dict[str, Any]:
    """Make who is missing, remove who is to go."""
    existing = {entry.pw_name for entry in pwd.getpwall()}
    plan = system_users.plan(parameters["present"], parameters["absent"], existing)
    owns = {str(path): str(name) for path, name in parameters["owns"].items()}
    try:
        handed = system_users.foreign(owns)
        if not context.check_mode:
            # Whoever goes owns nothing any more by then.
            system_users.apply(system_users.SystemUsersPlan(plan.add, ()), context.run)
            for path in handed:
                system_users.hand_over(path, owns[path])
            system_users.apply(system_users.SystemUsersPlan((), plan.remove), context.run)
    except (system_users.SystemUsersError, OSError, TimeoutError) as error:
        raise StepError(str(error)) from error
    actions = [*plan.actions, *(f"give {path} to {owns[path]}" for path in handed)]
    after = "".join(f"{action}\n" for action in actions)
    return {
        "changed": bool(actions),
        "actions": actions,
        "diff": [{"before": "", "after": after}] if actions else [],
    }
