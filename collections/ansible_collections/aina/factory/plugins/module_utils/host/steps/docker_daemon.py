"""The step of :mod:`aina.factory.docker_daemon`: the container engine's settings."""

from __future__ import annotations

import time
from typing import Any

from ...base.ports import Run
from .. import docker_daemon, docker_engine, managed_files
from . import Context, StepError

# In check mode the engine may be what this very run would install.
_ASSUMED_MAJOR = 28
_LIMIT = {"type": "int", "required": True}
ARGUMENTS: dict[str, Any] = {
    "settings": {"type": "dict", "default": {}},
    "build_cache": {
        "type": "dict",
        "options": {
            "reserved_bytes": _LIMIT,
            "max_used_bytes": _LIMIT,
            "min_free_bytes": _LIMIT,
        },
    },
    "published_address": {"type": "str"},
    "restart_policy": {
        "type": "str",
        "choices": ["drained", "survivable", "never"],
        "default": "drained",
    },
    "image_store_switch_allowed": {"type": "bool", "default": False},
    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
}


def wish(parameters: dict[str, Any], run: Run) -> docker_engine.DesiredEngine:
    """Return what is declared, as the installed engine understands it."""
    settings = dict(parameters["settings"])
    cache, address = parameters["build_cache"], parameters["published_address"]
    major = docker_engine.dockerd_major(run) or _ASSUMED_MAJOR
    if parameters["state"] == "absent":
        settings = {}
    elif cache:
        builder = dict(settings.get("builder") or {})
        settings["builder"] = {**builder, "gc": docker_daemon.build_cache_limits(major, **cache)}
    if parameters["state"] == "present" and address:
        settings = {**docker_daemon.published_address(major, address), **settings}
    return docker_engine.DesiredEngine(
        settings,
        docker_daemon.RestartPolicy(parameters["restart_policy"]),
        parameters["image_store_switch_allowed"],
        validates=major >= docker_daemon.FIRST_ENGINE_THAT_VALIDATES,
    )


def _refuse_removal_under_load(engine: docker_daemon.RunningEngine | None) -> None:
    if engine is not None and engine.containers:
        names = ", ".join(container.name for container in engine.containers)
        raise StepError(
            f"the engine's settings are not given back while containers run: {names}; stop them"
        )


def execute(parameters: dict[str, Any], context: Context) -> dict[str, Any]:
    """Compare with what the engine runs with, and act."""
    boot_time = time.time() - time.monotonic()
    try:
        plan = docker_engine.plan(wish(parameters, context.run), context.run, boot_time)
        if parameters["state"] == "absent":
            _refuse_removal_under_load(plan.engine)
        decision = plan.decision
        if not context.check_mode:
            decision = docker_engine.apply(plan, context.run, boot_time)
    except (
        docker_daemon.DockerDaemonError,
        managed_files.ManagedFilesError,
        OSError,
    ) as error:
        raise StepError(str(error)) from error
    if decision.deferred:
        context.warn(
            f"the container engine still runs without its new settings "
            f"({', '.join(decision.restart)}): {decision.deferred}. Converge again when it is drained"
        )
    waits = {
        "what": f"the container engine's new settings ({', '.join(decision.restart)})",
        "for": f"a restart of it ({decision.deferred})",
        "remedy": "converge again when it is drained",
    }
    return {
        "changed": bool(plan.actions),
        "waiting": [waits] if decision.deferred else [],
        "actions": plan.actions,
        "foreign": list(plan.merged.foreign),
        "overridden": list(plan.merged.overridden),
        "restart_pending": {
            "keys": list(decision.restart) if decision.deferred else [],
            "why": decision.deferred,
        },
        "image_store": plan.engine.image_store if plan.engine else "",
        "diff": [
            {
                "before_header": change.path,
                "after_header": change.path,
                "before": change.before,
                "after": change.after,
            }
            for change in plan.changes
        ],
    }
