"""The step of :mod:`aina.factory.systemd_jobs`: scheduled jobs."""

from __future__ import annotations

import re
from typing import Any

from ..base.configuration import ConfigurationError
from ..base.locks import LockFileError
from ..host.managed_files import ManagedFilesError
from ..host.steps import Context, StepError, lacks_file, lacks_program
from ..host.system_users import SystemUsersError
from . import converge
from .observe import ObservationError
from .validate import ValidationError

_REFUSALS = (
    ConfigurationError,
    ValidationError,
    ObservationError,
    ManagedFilesError,
    converge.ConvergeError,
    LockFileError,
    SystemUsersError,
)
_OWN_PROGRAM = re.compile(
    r"Command /usr/local/bin/(?:factory|run-lane|codex-lane) is not executable: No such file"
)
ARGUMENTS: dict[str, Any] = {
    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
    "jobs": {"type": "list", "elements": "dict", "default": []},
    "resource_classes": {"type": "dict", "default": {}},
    "replaces": {
        "type": "list",
        "elements": "dict",
        "default": [],
        "options": {
            "user": {"type": "str", "required": True},
            "matches": {"type": "str", "required": True},
            "job": {"type": "str"},
            "park": {"type": "path"},
        },
    },
}


def _section(parameters: dict[str, Any]) -> dict[str, Any]:
    return {key: parameters[key] for key in ("jobs", "resource_classes", "replaces")}


def execute(parameters: dict[str, Any], context: Context) -> dict[str, Any]:
    """Compare with what is installed and what runs, and act."""
    try:
        result = converge.converge(
            _section(parameters),
            present=parameters["state"] == "present",
            check=context.check_mode,
            run=context.run,
        )
    except _REFUSALS as error:
        raise StepError(str(error)) from error
    for warning in result.warnings:
        # In a plan these are what another role of the same run brings.
        if not (context.check_mode and _OWN_PROGRAM.search(warning)):
            context.warn(warning)
    return {
        "changed": result.changed,
        "diff": result.diff,
        "backend": result.backend,
        "actions": result.actions,
        "runtime_paused": result.runtime_paused,
        "foreign": result.foreign,
        "replaced_lines": result.replaced_lines,
        "consequences": result.consequences,
        "waiting": [
            *(lacks_program("what the jobs call", path) for path in sorted(result.lacking)),
            *(lacks_file(f"the job {name}", path) for name, path in result.unfed),
        ],
    }
