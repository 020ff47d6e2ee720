"""The step of :mod:`aina.factory.ssh_server`: the SSH server's settings."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from ansible_collections.aina.factory.plugins.module_utils import managed_files, ssh_server, units
from ansible_collections.aina.factory.plugins.module_utils.ports import Run
from ansible_collections.aina.factory.plugins.module_utils.steps import Context, StepError

ARGUMENTS: dict[str, Any] = {
    "settings": {"type": "dict", "default": {}},
    "administrators": {"type": "list", "elements": "str", "default": []},
}
_GREETING_SECONDS = 20.0
_REFUSALS = (
    ssh_server.SshServerError,
    managed_files.ManagedFilesError,
    units.UnitsError,
    OSError,
    TimeoutError,
)


def _greeting_problem(run: Run) -> str:
    """Ask each port of the server whether it greets; it may take a moment to listen."""
    ports = ssh_server.ports(run)
    deadline = time.monotonic() + _GREETING_SECONDS
    problem = "" if ports else "no port is configured"
    for port in ports:
        while problem := ssh_server.greeting_problem(port, run):
            if time.monotonic() > deadline:
                return problem
            time.sleep(0.5)
    return problem


def execute(parameters: dict[str, Any], context: Context) -> dict[str, Any]:
    """Let the server judge the settings, then put them in force."""
    # YAML reads "no" as a boolean.
    words = {True: "yes", False: "no"}
    settings = {
        str(name): words[value] if isinstance(value, bool) else str(value)
        for name, value in parameters["settings"].items()
    }
    run = context.run
    try:
        changes = ssh_server.change(settings)
        installed = Path(ssh_server.PROGRAM).exists()
        if not context.check_mode and settings:
            ssh_server.RUNTIME_DIR.mkdir(mode=0o755, exist_ok=True)
        if installed and settings and ssh_server.RUNTIME_DIR.is_dir():
            ssh_server.judge(settings, parameters["administrators"], run, ssh_server.read_account)
        elif settings and not context.check_mode:
            raise StepError(f"{ssh_server.PROGRAM} is not installed; install openssh-server")
        boot_time = time.time() - time.monotonic()
        actions = ssh_server.restart(run, boot_time, bool(changes)) if installed else []
        if not context.check_mode:
            ssh_server.apply(changes, actions, run, lambda: _greeting_problem(run))
    except _REFUSALS as error:
        raise StepError(str(error)) from error
    steps = [*(f"{item.kind} {item.path}" for item in changes), *map(str, actions)]
    return {
        "changed": bool(steps),
        "actions": steps,
        "changed_paths": [item.path for item in changes],
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
