"""The step of :mod:`aina.factory.packages`: distribution packages."""

from __future__ import annotations

import fcntl
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from ...base.ports import Run
from .. import install_manifest, managed_files, packages
from . import Context, StepError

_RECORDED = "installed"
# What came along with those.
_BROUGHT = "brought"
_NAMES = {"type": "list", "elements": "str", "default": []}
ARGUMENTS: dict[str, Any] = {
    "present": _NAMES,
    "optional": _NAMES,
    "absent": _NAMES,
    "unless_installed": _NAMES,
    "record_path": {"type": "path"},
    "kept_reported": {"type": "bool", "default": False},
    "lists_max_age_seconds": {"type": "int", "default": 86400},
    "lock_wait_seconds": {"type": "int", "default": 300},
}


@contextmanager
def _frontend_lock(wait_seconds: int) -> Iterator[None]:
    """Hold the lock that package managers hold around their calls of dpkg."""
    deadline = time.monotonic() + wait_seconds
    with packages.LOCK_PATH.open("w") as stream:
        while True:
            try:
                fcntl.lockf(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise TimeoutError(
                        f"another package manager held {packages.LOCK_PATH} for more than "
                        f"{wait_seconds} s; see 'ps -C apt-get,dpkg,unattended-upgr'"
                    ) from None
                time.sleep(1)
        yield


def _foresee(plan: packages.PackagesPlan, context: Context) -> packages.PackagesPlan:
    """Predict also what apt would take away, as far as it can say: it may lack its lists still."""
    try:
        return packages.foresee(plan, context.run)
    except packages.RemovalError:
        raise
    except packages.PackagesError:
        return plan


def _settle(
    parameters: dict[str, Any], plan: packages.PackagesPlan, before: set[str] | None, run: Run
) -> None:
    """Record what came along with the packages, and let go what did with those that went."""
    path = parameters["record_path"]
    brought = install_manifest.read(path, _BROUGHT)
    if before is not None:
        brought |= packages.every(run) - before - {*plan.install}
    if plan.remove and brought:
        brought = packages.let_go(brought, run, parameters["lock_wait_seconds"])
    if not install_manifest.read(path, _RECORDED):
        # What stays is needed by something that is not ours.
        brought = set()
    install_manifest.write(path, _BROUGHT, brought, run)


def execute(parameters: dict[str, Any], context: Context) -> dict[str, Any]:
    """Compare with what is installed, and install or remove."""
    keys = ("present", "optional", "absent", "unless_installed")
    names = {key: tuple(parameters[key]) for key in keys}
    record_path = parameters["record_path"]
    spec = packages.PackagesSpec(**names, own_only=record_path is not None)
    wait_seconds = parameters["lock_wait_seconds"]
    try:
        own = install_manifest.read(record_path, _RECORDED)
        age = packages.lists_age_seconds(time.time())
        plan = packages.plan(spec, packages.read(spec, context.run, age is not None, own))
        if plan.actions and context.check_mode:
            plan = _foresee(plan, context)
        elif plan.actions:
            stale = age is None or age > parameters["lists_max_age_seconds"]
            lock = _frontend_lock(wait_seconds)
            # Before they are there: a killed run must not forget what it has begun to install.
            install_manifest.write(record_path, _RECORDED, own | set(plan.install), context.run)
            before = packages.every(context.run) if record_path and plan.install else None
            try:
                plan = packages.apply(plan, context.run, lock, wait_seconds, stale)
            except packages.RemovalError:
                install_manifest.write(record_path, _RECORDED, own, context.run)
                raise
            left = (own | set(plan.install)) - set(plan.remove)
            install_manifest.write(record_path, _RECORDED, left, context.run)
            _settle(parameters, plan, before, context.run)
        # What another part has installed is judged when that part goes.
        ours = install_manifest.read_siblings(record_path, _RECORDED) if plan.needed else set()
    except (packages.PackagesError, managed_files.ManagedFilesError, ValueError, OSError) as error:
        raise StepError(str(error)) from error
    kept = list(plan.kept) if parameters["kept_reported"] else []
    if kept:
        context.warn(
            f"{', '.join(kept)}: nothing records that an earlier run has installed them, so they stay. They were here "
            "before, or come from a release that kept no record. If nobody needs them: "
            f"'apt-get remove {' '.join(kept)}'"
        )
    needed = {name: others for name, others in plan.needed.items() if not set(others) <= ours}
    for name, others in needed.items():
        context.warn(
            f"{name} stays, for {', '.join(others)} would go with it and nobody declared that. If they may go: "
            f"'apt-get remove {name}'"
        )
    kept += needed
    after = "".join(f"{action}\n" for action in plan.actions)
    return {
        "changed": bool(plan.actions),
        "actions": plan.actions,
        "adopted": plan.adopted,
        "interrupted": plan.interrupted,
        "kept": [f"package {name}" for name in kept],
        "consequences": [
            {
                "kind": "removed",
                "what": f"package {name}",
                "why": "an earlier run has installed it, and nothing declared needs it any more",
            }
            for name in plan.remove
        ],
        "diff": [{"before": "", "after": after}] if plan.actions else [],
    }
