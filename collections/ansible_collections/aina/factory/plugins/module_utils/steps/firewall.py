"""The step of :mod:`aina.factory.firewall`: who may connect."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from ansible_collections.aina.factory.plugins.module_utils import (
    firewall,
    managed_files,
    ssh_server,
)
from ansible_collections.aina.factory.plugins.module_utils.ports import Run
from ansible_collections.aina.factory.plugins.module_utils.steps import Context, StepError

_OPENINGS: dict[str, Any] = {
    "type": "list",
    "elements": "dict",
    "default": [],
    "options": {
        "port": {"type": "str", "required": True},
        "protocol": {"type": "str", "choices": ["tcp", "udp"], "default": "tcp"},
        "sources": {"type": "list", "elements": "str", "default": []},
    },
}
ARGUMENTS: dict[str, Any] = {
    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
    "allowed": _OPENINGS,
    "published": _OPENINGS,
    "trusted_interfaces": {"type": "list", "elements": "str", "default": []},
    "guard_containers": {"type": "bool", "default": True},
}
_NOTE = Path("/var/lib/aina-factory/firewall.json")
_NOTHING = firewall.Situation(False, "", (), (), False, False, {})


def _policy(parameters: dict[str, Any]) -> firewall.Policy:
    openings = {
        key: tuple(
            firewall.Opening(item["port"], item["protocol"], tuple(item["sources"]))
            for item in parameters[key]
        )
        for key in ("allowed", "published")
    }
    return firewall.Policy(
        openings["allowed"],
        openings["published"],
        tuple(parameters["trusted_interfaces"]),
        parameters["guard_containers"],
    )


def _situation(run: Run) -> firewall.Situation | None:
    if not shutil.which("ufw"):
        return None
    has_server = Path(ssh_server.PROGRAM).exists()
    return firewall.read(run, sshd_ports=ssh_server.ports(run) if has_server else ())


def _enabled_by_us() -> bool:
    return _NOTE.exists() and bool(json.loads(_NOTE.read_text(encoding="utf-8"))["enabled"])


def _note(situation: firewall.Situation, run: Run) -> None:
    """Write down, before anything is done, that the firewall was off when we came."""
    if _NOTE.exists():
        return
    text = json.dumps({"schema": 1, "enabled": not situation.active}) + "\n"
    attributes = managed_files.Attributes("root", "root", 0o644)
    file = managed_files.FileSpec(str(_NOTE), text.encode(), attributes)
    managed_files.apply(managed_files.plan((), [file], ()), run)


def _converge(parameters: dict[str, Any], run: Run, *, check_mode: bool) -> firewall.Plan:
    situation = _situation(run)
    if parameters["state"] == "absent":
        changes = firewall.files(None)
        plan = firewall.plan_absence(situation, changes, enabled_by_us=_enabled_by_us())
        if not check_mode:
            firewall.apply(plan, run, files_first=False)
            _NOTE.unlink(missing_ok=True)
        return plan
    if situation is None and not check_mode:
        raise firewall.FirewallError("ufw is not installed; install it first")
    policy = _policy(parameters)
    firewall.check(policy, situation.ssh_ports if situation else ())
    plan = firewall.plan(policy, situation or _NOTHING, firewall.files(policy))
    if not check_mode and plan.actions and situation is not None:
        _note(situation, run)
        firewall.apply(plan, run)
    return plan


def execute(parameters: dict[str, Any], context: Context) -> dict[str, Any]:
    """Compare with what ufw and the kernel have, and act."""
    try:
        plan = _converge(parameters, context.run, check_mode=context.check_mode)
    except (
        firewall.FirewallError,
        managed_files.ManagedFilesError,
        ValueError,
        OSError,
        TimeoutError,
    ) as error:
        raise StepError(str(error)) from error
    diff = [
        {
            "before_header": item.path,
            "after_header": f"{item.path} ({item.kind})",
            "before": item.before,
            "after": item.after,
        }
        for item in plan.files
    ]
    if plan.commands:
        commands = "".join(f"{phrase}\n" for phrase, _argv in plan.commands)
        diff.append({"before": "", "after": commands})
    return {
        "changed": bool(plan.actions),
        "actions": plan.actions,
        "changed_paths": [item.path for item in plan.files],
        "diff": diff,
    }
