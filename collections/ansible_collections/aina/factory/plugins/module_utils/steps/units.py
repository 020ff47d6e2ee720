"""The step of :mod:`aina.factory.units`: systemd units in their declared state."""

from __future__ import annotations

import time
from typing import Any

from ansible_collections.aina.factory.plugins.module_utils import units, user_managers
from ansible_collections.aina.factory.plugins.module_utils.steps import Context, StepError

ARGUMENTS: dict[str, Any] = {
    "units": {
        "type": "list",
        "elements": "dict",
        "required": True,
        "options": {
            "name": {"type": "str", "required": True},
            "enabled": {"type": "bool"},
            "state": {"type": "str", "choices": ["started", "stopped"]},
            "restarted_by": {"type": "list", "elements": "str", "default": []},
            "optional": {"type": "bool", "default": False},
        },
    },
    "changed_paths": {"type": "list", "elements": "str", "default": []},
    "user": {"type": "str"},
}


def _specs(parameters: dict[str, Any]) -> list[units.UnitSpec]:
    return [
        units.UnitSpec(
            name=item["name"],
            enabled=item["enabled"],
            state=units.Running(item["state"]) if item["state"] else None,
            restarted_by=tuple(item["restarted_by"]),
            optional=item["optional"],
        )
        for item in parameters["units"]
    ]


def execute(parameters: dict[str, Any], context: Context) -> dict[str, Any]:
    """Compare with what runs, and act."""
    specs = _specs(parameters)
    changed_paths = (*parameters["changed_paths"], *context.changed_paths)
    user = parameters["user"]
    try:
        names = [spec.name for spec in specs]
        done = user_managers.provide(user, context.run, check_mode=context.check_mode)
        run = user_managers.commanded(user, context.run)
        if done and context.check_mode:
            # There is no manager to ask yet: nothing runs.
            statuses = dict.fromkeys(names, user_managers.NOTHING)
        else:
            statuses = units.read(names, run, time.time() - time.monotonic())
        actions = units.plan(specs, statuses, changed_paths, units.changed_at)
        if not context.check_mode:
            units.apply(actions, run)
    except (units.UnitsError, OSError, TimeoutError) as error:
        raise StepError(str(error)) from error
    told = [*done, *map(str, actions)]
    after = "".join(f"{action}\n" for action in told)
    return {
        "changed": bool(told),
        "actions": told,
        "diff": [{"before": "", "after": after}] if told else [],
    }
