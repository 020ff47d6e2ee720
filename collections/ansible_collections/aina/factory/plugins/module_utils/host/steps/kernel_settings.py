"""The step of :mod:`aina.factory.kernel_settings`: running kernel settings, strict ones."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from .. import kernel_settings, managed_files
from . import Context, StepError

_HEADER = "# Managed by Ansible (aina.factory.kernel_settings); edits are lost.\n"
ARGUMENTS: dict[str, Any] = {
    "settings": {
        "type": "list",
        "elements": "dict",
        "default": [],
        "options": {
            "name": {"type": "str", "required": True},
            "at_least": {"type": "int"},
            "at_most": {"type": "int"},
            "why": {"type": "str", "required": True},
        },
        "mutually_exclusive": [["at_least", "at_most"]],
        "required_one_of": [["at_least", "at_most"]],
    },
    "path": {"type": "path", "required": True},
    "record_path": {"type": "path", "required": True},
}


def _settings(items: list[dict[str, Any]]) -> list[kernel_settings.KernelSetting]:
    return [
        kernel_settings.KernelSetting(
            item["name"],
            item["at_least"] if item["at_most"] is None else item["at_most"],
            highest=item["at_most"] is not None,
            why=" ".join(item["why"].split()),
        )
        for item in items
    ]


def execute(parameters: dict[str, Any], context: Context) -> dict[str, Any]:
    """Compare with the running kernel, record what was, and tighten or give back."""
    settings, path = _settings(parameters["settings"]), parameters["path"]
    done: list[str] = []
    try:
        former = kernel_settings.read_former(parameters["record_path"])
        files = list(kernel_settings.DIRECTORY.glob("*.conf")) if settings else []
        situation = kernel_settings.KernelSituation(
            kernel_settings.read_current([*(item.name for item in settings), *former]),
            former,
            kernel_settings.read_others(Path(path), kernel_settings.packaged(files, context.run)),
            contained=kernel_settings.contained(context.run),
        )
        plan = kernel_settings.plan(settings, situation)
        text = kernel_settings.content(settings, plan.former, _HEADER)
        # What is ours is recorded before it is changed, and forgotten once it was given back.
        before = kernel_settings.record(
            parameters["record_path"], {**former, **plan.former} if plan.writes else plan.former
        )
        changes = kernel_settings.drop_in(path, text)
        actions = plan.actions(situation.current)
        if not context.check_mode:
            managed_files.apply(before, context.run)
            managed_files.apply(changes, context.run)
            done += [item.path for item in changes]
            refused = kernel_settings.apply(plan.writes, [item.name for item in settings])
            done += actions
            managed_files.apply(
                kernel_settings.record(parameters["record_path"], plan.former), context.run
            )
            if refused:
                context.warn(f"{', '.join(refused)}: read-only here; in force after the next boot")
    except (kernel_settings.KernelSettingsError, managed_files.ManagedFilesError, OSError) as error:
        raise StepError(str(error), actions=done) from error
    return {
        "changed": bool(actions or changes),
        "actions": [*(item.path for item in changes), *actions],
        "kept": list(plan.kept),
        "diff": [
            {
                "before_header": item.path,
                "after_header": f"{item.path} ({item.kind})",
                "before": item.before,
                "after": item.after,
            }
            for item in changes
        ]
        + (
            [{"before": "", "after": "".join(f"{action}\n" for action in actions)}]
            if actions
            else []
        ),
    }
