"""The step of :mod:`aina.factory.group_members`: who belongs to a group."""

from __future__ import annotations

import grp
from typing import Any

from .. import group_members, install_manifest, managed_files
from ..way_in import root_equivalents, root_holders
from . import Context, StepError

ARGUMENTS: dict[str, Any] = {
    "group": {"type": "str", "required": True},
    "members": {"type": "list", "elements": "str", "required": True},
    "record_path": {"type": "path"},
    "kept_reported": {"type": "bool", "default": False},
}
_RECORDED = "added"


def _members(group: str) -> list[str]:
    try:
        return list(grp.getgrnam(group).gr_mem)
    except KeyError:
        return []


def execute(parameters: dict[str, Any], context: Context) -> dict[str, Any]:
    """Add who is missing, take back who was added; tell who else belongs to the group."""
    group, before = parameters["group"], _members(parameters["group"])
    path = parameters["record_path"]
    try:
        own = install_manifest.read(path, _RECORDED)
        plan = group_members.plan(group, parameters["members"], before, own)
        if plan.actions:
            context.protect(group_members.undo(group, plan.add, plan.remove))
        if not context.check_mode:
            # Before they join: a killed run must not forget whom it has added.
            install_manifest.write(path, _RECORDED, own | set(plan.add), context.run)
            group_members.apply(plan, context.run)
            # Who is no longer there is not ours to take out, should somebody else bring him back.
            left = (own | set(plan.add)) & set(parameters["members"])
            install_manifest.write(path, _RECORDED, left, context.run)
    except (
        group_members.GroupMembersError,
        managed_files.ManagedFilesError,
        ValueError,
        OSError,
    ) as error:
        raise StepError(str(error)) from error
    if plan.others:
        context.warn(
            f"{', '.join(plan.others)}: member of group {group}, which nobody declared; "
            f"declare it, or take it back by 'gpasswd --delete USER {group}'"
        )
    after = sorted({*before, *plan.add} - {*plan.remove})
    return {
        "changed": bool(plan.actions),
        "actions": plan.actions,
        "others": list(plan.others),
        "consequences": [
            root_holders.holder(name, f"group {group}")
            for name in plan.add
            if group in root_equivalents.GROUPS
        ],
        "kept": [f"{name} in group {group}" for name in plan.others]
        if parameters["kept_reported"]
        else [],
        "diff": [
            {
                "before": "".join(f"{name}\n" for name in sorted(before)),
                "after": "".join(f"{name}\n" for name in after),
            }
        ]
        if plan.actions
        else [],
    }
