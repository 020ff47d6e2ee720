"""The step of :mod:`aina.factory.allocated_files`: files of a fixed size."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from .. import allocated_files
from . import Context, StepError

ARGUMENTS: dict[str, Any] = {
    "files": {
        "type": "list",
        "elements": "dict",
        "required": True,
        "options": {
            "path": {"type": "str", "required": True},
            "size_mib": {"type": "int", "required": True},
            "min_free_mib": {"type": "int", "default": 1024},
            "swap": {"type": "bool", "default": False},
        },
    },
}
_MIB = 1 << 20


def execute(parameters: dict[str, Any], context: Context) -> dict[str, Any]:
    """Compare with what is there, and allocate or remove."""
    items = [
        allocated_files.AllocatedFile(
            item["path"], item["size_mib"] * _MIB, item["min_free_mib"] * _MIB, item["swap"]
        )
        for item in parameters["files"]
    ]
    try:
        swaps = Path("/proc/swaps").read_text(encoding="utf-8")
        plan = allocated_files.plan(items, lambda item: allocated_files.read(item, swaps))
        if not context.check_mode:
            allocated_files.apply(plan, context.run)
    except (allocated_files.AllocatedFilesError, OSError, TimeoutError) as error:
        raise StepError(str(error)) from error
    for warning in plan.warnings:
        context.warn(warning)
    after = "".join(f"{action}\n" for action in plan.actions)
    return {
        "changed": bool(plan.actions),
        "actions": plan.actions,
        "diff": [{"before": "", "after": after}] if plan.actions else [],
    }
