"""The step of :mod:`aina.factory.units`: systemd units in their declared state."""

from __future__ import annotations

import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from ...base import text
from .. import units, user_managers
from ..way_in import way_back
from . import Context, StepError, lacks_file

ARGUMENTS: dict[str, Any] = {
    "units": {
        "type": "list",
        "elements": "dict",
        "required": True,
        "options": {
            "name": {"type": "str", "required": True},
            "enabled": {"type": "bool"},
            "state": {"type": "str", "choices": ["started", "stopped"]},
            "restarted_by": {"type": "list", "elements": "str", "default": []},
            "optional": {"type": "bool", "default": False},
            "needs": {"type": "list", "elements": "str", "default": []},
        },
    },
    "credentials_of": {"type": "list", "elements": "str", "default": []},
    "changed_paths": {"type": "list", "elements": "str", "default": []},
    "user": {"type": "str"},
}


def _specs(parameters: dict[str, Any]) -> list[units.UnitSpec]:
    return [
        units.UnitSpec(
            name=item["name"],
            enabled=item["enabled"],
            state=units.Running(item["state"]) if item["state"] else None,
            restarted_by=tuple(item["restarted_by"]),
            optional=item["optional"],
            needs=tuple(item["needs"]),
        )
        for item in parameters["units"]
    ]


@dataclass
class _Told:
    """What waits, for the operator: a file that is missing, or the end of something that runs."""

    waiting: list[dict[str, str]] = field(default_factory=list)

    def ends(self, name: str, credential: units.Credential) -> None:
        what, until = f"the newer {credential.name} of {credential.path}", f"the end of {name}"
        remedy = "it runs with the older one; let it end, or stop it"
        self.waiting.append({"what": what, "for": until, "remedy": remedy})


def _without_what_lacks(
    specs: Sequence[units.UnitSpec], context: Context, changed_paths: Collection[str], told: _Told
) -> list[units.UnitSpec]:
    """Return what can be brought about; a unit that lacks a file is started once that is there.

    In check mode a role before this one may be about to write the file.
    """
    able = []
    for spec in specs:
        missing = units.lacking(spec, changed_paths)
        told.waiting += [lacks_file(spec.name, path) for path in missing]
        waits = missing and not context.check_mode
        able.append(replace(spec, state=None, restarted_by=()) if waits else spec)
    return able


def _renew(
    patterns: Sequence[str], context: Context, changed_paths: Collection[str], told: _Told
) -> list[units.Action]:
    """Return the restarts of what runs with a secret that its file does not hold any more."""
    names = units.holders(patterns)
    statuses = units.read(names, context.run, time.time() - time.monotonic())
    # What was written is there to be compared, unless this is a prediction.
    coming = changed_paths if context.check_mode else ()
    actions = []
    for name, status in statuses.items():
        handed = units.credentials(name, context.run) if status.active else []
        old = units.outdated(name, status, handed, coming)
        if old and status.kept_running:
            words = ", ".join(f"{item.name} than {item.path} holds" for item in old)
            actions.append(units.Action("restart", name, f"it runs with another {words}"))
        for item in old if not status.kept_running else ():
            told.ends(name, item)
    return actions


def execute(parameters: dict[str, Any], context: Context) -> dict[str, Any]:
    """Compare with what runs, and act."""
    changed_paths = (*parameters["changed_paths"], *context.changed_paths)
    told = _Told()
    specs = _without_what_lacks(_specs(parameters), context, changed_paths, told)
    user = parameters["user"]
    done: list[str] = []
    try:
        names = [spec.name for spec in specs]
        done += user_managers.provide(user, context.run, check_mode=context.check_mode)
        run = user_managers.commanded(user, context.run)
        if done and context.check_mode:
            # There is no manager to ask yet: nothing runs.
            statuses = dict.fromkeys(names, user_managers.NOTHING)
        else:
            statuses = units.read(names, run, time.time() - time.monotonic())
        actions = units.plan(specs, statuses, changed_paths, units.changed_at)
        actions += _renew(parameters["credentials_of"], context, changed_paths, told)
        phrases = [*done, *map(str, actions)]
        if undo := way_back.of_units([action.unit for action in actions]):
            context.protect(undo)
        if not context.check_mode:
            units.apply(actions, run, done)
    except (units.UnitsError, OSError, TimeoutError) as error:
        raise StepError(str(error), actions=() if context.check_mode else done) from error
    for item in told.waiting if not context.check_mode else ():
        context.warn(text.waits(item))
    after = "".join(f"{phrase}\n" for phrase in phrases)
    return {
        "changed": bool(phrases),
        "actions": phrases,
        "waiting": told.waiting,
        "diff": [{"before": "", "after": after}] if phrases else [],
    }
