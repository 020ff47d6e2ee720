"""The step of :mod:`aina.factory.group_members`: who belongs to a group."""

from __future__ import annotations

import grp
from typing import Any

from ansible_collections.aina.factory.plugins.module_utils import group_members
from ansible_collections.aina.factory.plugins.module_utils.steps import Context, StepError

ARGUMENTS: dict[str, Any] = {
    "group": {"type": "str", "required": True},
    "members": {"type": "list", "elements": "str", "required": True},
}


def _members(group: str) -> list[str]:
    try:
        return list(grp.getgrnam(group).gr_mem)
    except KeyError:
        return []


def execute(parameters: dict[str, Any], context: Context) -> dict[str, Any]:
    """Add who is missing; tell who else belongs to the group."""
    group, before = parameters["group"], _members(parameters["group"])
    plan = group_members.plan(group, parameters["members"], before)
    try:
        if not context.check_mode:
            group_members.apply(plan, context.run)
    except (group_members.GroupMembersError, OSError) as error:
        raise StepError(str(error)) from error
    if plan.others:
        context.warn(
            f"{', '.join(plan.others)}: member of group {group}, which nobody declared; "
            f"declare it, or take it back by 'gpasswd --delete USER {group}'"
        )
    after = "".join(f"{name}\n" for name in sorted({*before, *plan.add}))
    return {
        "changed": bool(plan.add),
        "actions": [f"add {name} to {group}" for name in plan.add],
        "others": list(plan.others),
        "diff": [{"before": "".join(f"{name}\n" for name in sorted(before)), "after": after}]
        if plan.add
        else [],
    }
