"""The step of :mod:`aina.factory.docker_daemon`: the container engine's settings."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from typing import Any

from ...base.ports import Run
from .. import docker_daemon, docker_engine, managed_files
from ..way_in import connection
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
    "defaults": {"type": "list", "elements": "str", "default": []},
    "restart_policy": {
        "type": "str",
        "choices": ["drained", "survivable", "never"],
        "default": "drained",
    },
    "image_store_switch_allowed": {"type": "bool", "default": False},
    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
}


def _settings(parameters: Mapping[str, Any], major: int, *, default: bool) -> dict[str, Any]:
    """Return those settings that are declared, or those that are defaults, as the file has them."""

    def is_meant(name: str) -> bool:
        return parameters["state"] == "present" and (name in parameters["defaults"]) is default

    settings = {name: value for name, value in parameters["settings"].items() if is_meant(name)}
    cache, address = parameters["build_cache"], parameters["published_address"]
    if cache and is_meant("build_cache"):
        builder = dict(settings.get("builder") or {})
        settings["builder"] = {**builder, "gc": docker_daemon.build_cache_limits(major, **cache)}
    if address and is_meant("published_address"):
        settings = {**docker_daemon.published_address(major, address), **settings}
    return settings


def wish(parameters: dict[str, Any], run: Run) -> docker_engine.DesiredEngine:
    """Return what is declared, as the installed engine understands it."""
    major = docker_engine.dockerd_major(run) or _ASSUMED_MAJOR
    return docker_engine.DesiredEngine(
        _settings(parameters, major, default=False),
        docker_daemon.RestartPolicy(parameters["restart_policy"]),
        parameters["image_store_switch_allowed"],
        validates=major >= docker_daemon.FIRST_ENGINE_THAT_VALIDATES,
        defaults=_settings(parameters, major, default=True),
    )


def _sessions(run: Run) -> list[connection.Session]:
    """Return the run's own session and those of others."""
    own, others = connection.read_all(connection.read_listeners(run))
    return [*own, *others]


def guard(parameters: dict[str, Any], context: Context) -> None:
    """Refuse, before anything else is done, networks by which somebody has come in."""
    try:
        found = wish(parameters, context.run)
        problems = docker_engine.swallowed(found, _sessions(context.run), context.run)
    except (docker_daemon.DockerDaemonError, OSError) as error:
        raise StepError(str(error)) from error
    if problems:
        raise StepError(f"{'; '.join(problems)}. The engine's settings were not changed")


def _told(plan: docker_engine.EnginePlan) -> list[dict[str, str]]:
    """Return what is replaced of somebody else's, and what stays, as results list ``consequences``."""
    found = [("replaced", *item) for item in plan.overridden.items()]
    found += [("left", *item) for item in plan.kept.items()] if plan.actions else []
    told = []
    for kind, key, (theirs, ours) in found:
        before, after = json.dumps(theirs), json.dumps(ours)
        if docker_engine.CREDENTIALS.search(f"{before} {after}".encode()):
            before, after = "(an address with a password)", "(not shown)"
        why = f"{before} -> {after}"
        if kind == "left":
            why = (
                f"{before} was there, and {after} is a default that the inventory does not declare"
            )
        told.append({"kind": kind, "what": f"the engine's {key}", "why": why})
    return told


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
        undo = docker_engine.undo(plan)
        if undo is not None and _sessions(context.run):
            context.protect(undo)
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
        "consequences": _told(plan),
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
