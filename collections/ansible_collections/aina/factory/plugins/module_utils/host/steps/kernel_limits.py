"""The step of :mod:`aina.factory.kernel_limits`: running kernel settings."""

from __future__ import annotations

from typing import Any

from .. import kernel_limits
from . import Context, StepError

ARGUMENTS: dict[str, Any] = {"minimums": {"type": "dict", "required": True}}


def execute(parameters: dict[str, Any], context: Context) -> dict[str, Any]:
    """Raise what is below its minimum."""
    try:
        minimums = {name: int(value) for name, value in parameters["minimums"].items()}
        limits = kernel_limits.read(minimums)
        changes = kernel_limits.plan(limits)
        if not context.check_mode:
            kernel_limits.apply(changes)
    except (kernel_limits.KernelLimitsError, ValueError) as error:
        raise StepError(str(error)) from error
    for warning in kernel_limits.unreachable(limits):
        context.warn(warning)
    before = "".join(f"{limit.name} = {limit.current}\n" for limit in changes)
    after = "".join(f"{limit.name} = {limit.minimum}\n" for limit in changes)
    return {
        "changed": bool(changes),
        "actions": [f"{limit.name}: {limit.current} -> {limit.minimum}" for limit in changes],
        "diff": [{"before": before, "after": after}] if changes else [],
    }
