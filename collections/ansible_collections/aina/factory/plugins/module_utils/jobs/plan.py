"""Decide which units are stopped, cleaned, enabled and started; pure.

The order makes every moment of a killed run recognisable to the next one: timers whose
definition changes are stopped before their files are touched, so that what is left is
either a file that differs, a timer that does not run, or a unit that wants a reload.
"""

from __future__ import annotations

from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

from . import layout
from .observe import JobsOnDisk, Unit
from .settings import Job, Jobs


@dataclass(frozen=True)
class Action:
    """One ``systemctl`` call; no units for ``daemon-reload``."""

    verb: str
    units: tuple[str, ...] = ()
    option: str | None = None


@dataclass(frozen=True)
class UnitPlan:
    """What is done to units, around the change of files."""

    before_files: tuple[Action, ...]
    after_files: tuple[Action, ...]
    absent_paths: tuple[str, ...]
    states_before: dict[str, str]
    states_after: dict[str, str]


@dataclass(frozen=True)
class Installed:
    """The host as observed."""

    units: Mapping[str, Unit]
    disk: JobsOnDisk
    runtime_pauses: AbstractSet[str]


def undeclared_paths(disk: JobsOnDisk, wanted: AbstractSet[str]) -> tuple[str, ...]:
    """Return what is removed from disk: prefix units, drop-ins and links nobody declares.

    A foreign drop-in of a declared job stays: it is an operator's, and only reported.
    """
    directories = {path.rpartition("/")[0] for path in wanted}
    doomed = {path for path in disk.unit_paths if path not in wanted | directories}
    kept = set()
    for path in doomed:
        name = path.rpartition("/")[2]
        declared_unit = f"{layout.UNIT_DIR}/{name.removesuffix('.d')}"
        if name.endswith(".d") and declared_unit in wanted:
            kept.add(path)
    doomed -= kept
    # Our own file in a declared job's directory, no longer wanted (on_failure went back to alert).
    doomed |= {
        path
        for path in disk.drop_in_paths
        if path.endswith("/10-on-failure.conf")
        and path not in wanted
        and path.rpartition("/")[0] not in doomed
    }
    doomed |= {
        path
        for path in disk.link_paths
        if f"{layout.UNIT_DIR}/{path.rpartition('/')[2]}" not in wanted
    }
    return tuple(sorted(doomed))


def foreign_drop_ins(disk: JobsOnDisk, wanted: AbstractSet[str]) -> list[str]:
    """Return drop-ins of declared jobs that somebody else wrote."""
    doomed = undeclared_paths(disk, wanted)
    return sorted(
        path
        for path in disk.drop_in_paths
        if path not in wanted and path not in doomed and path.rpartition("/")[0] not in doomed
    )


def plan(
    jobs: Jobs,
    installed: Installed,
    wanted_paths: AbstractSet[str],
    changed_paths: AbstractSet[str],
) -> UnitPlan:
    """Return the actions; ``changed_paths`` are the unit files that will be written."""
    running = {
        layout.timer(job.name)
        for job in jobs.declared
        if job.is_active and job.name not in installed.runtime_pauses
    }
    resting = {layout.timer(job.name) for job in jobs.declared} - running
    declared = running | resting | {layout.service(job.name) for job in jobs.declared}
    units = installed.units
    undeclared = _undeclared(installed, declared)
    changed = {timer for timer in running | resting if _path(timer) in changed_paths}
    removed = undeclared_paths(installed.disk, wanted_paths)

    stop = {name for name in undeclared | resting | changed if _runs(units, name)}
    stop |= {
        trigger for timer in resting | changed | undeclared for trigger in _triggers(units, timer)
    }
    # An active slice outlives its file.
    stop |= {
        name
        for name, unit in units.items()
        if name.endswith(".slice") and unit.is_running and _path(name) not in wanted_paths
    }
    start = {name for name in running if name in stop or not _runs(units, name)}
    stale = _stale(jobs, installed, start, changed, undeclared)
    disable = {name for name in undeclared | resting if _enabled(units, name)}
    enable = {name for name in running if not _enabled(units, name)}
    reload = (
        bool(changed_paths)
        or bool(removed)
        or any(unit.needs_reload for name, unit in units.items() if name in declared)
    )
    failed = {
        name for name in undeclared if name in units and units[name].active_state == "failed"
    } | {name for name in stop if name in undeclared and name.endswith(".service")}
    # The stamp is on disk and, for a timer that stays loaded, in memory too; "clean" drops both,
    # but only once the new definition is loaded and says that there is a stamp.
    remembered = {
        layout.timer(job.name)
        for job in jobs.declared
        if job.catch_up and _loaded(units, layout.timer(job.name))
    }
    clean = {
        name for name in start & remembered if name in changed or name not in installed.disk.stamps
    }
    return UnitPlan(
        before_files=_actions(("stop", stop), ("disable", disable)),
        after_files=(
            *([Action("daemon-reload")] if reload else []),
            *_actions(
                ("reset-failed", failed),
                ("clean", clean, "--what=state"),
                ("enable", enable),
                ("start", start),
            ),
        ),
        absent_paths=tuple(
            sorted(set(removed) | {f"{layout.STAMP_DIR}/stamp-{name}" for name in stale})
        ),
        **_states(units, running, resting, undeclared),
    )


def _undeclared(installed: Installed, declared: AbstractSet[str]) -> set[str]:
    """Return prefix units, in memory or on disk, that nobody declares."""
    names = {path.rpartition("/")[2] for path in installed.disk.unit_paths}
    names |= {name for name, unit in installed.units.items() if unit.is_loaded or unit.is_running}
    return {
        name
        for name in names
        if name.startswith(layout.PREFIX) and not name.endswith(".d") and name not in declared
    }


def _stale(
    jobs: Jobs,
    installed: Installed,
    start: AbstractSet[str],
    changed: AbstractSet[str],
    undeclared: AbstractSet[str],
) -> set[str]:
    """Return timers whose stamp would make them fire by surprise when they start.

    A stamp counts only for a job that catches up and whose timer is as it was: a new
    schedule has missed nothing yet.
    """
    catching_up = {layout.timer(job.name) for job in jobs.declared if job.catch_up}
    starting = {name for name in start if name in changed or name not in catching_up}
    known = {layout.timer(job.name) for job in jobs.declared}
    orphans = {name for name in installed.disk.stamps if name not in known}
    return ((starting | undeclared) & installed.disk.stamps) | orphans


def _triggers(units: Mapping[str, Unit], timer: str) -> set[str]:
    job = layout.job_of(timer)
    names = (f"factory-trigger-{kind}@{job}.service" for kind in ("queue", "replace"))
    return {name for name in names if _runs(units, name)}


def _runs(units: Mapping[str, Unit], name: str) -> bool:
    return name in units and units[name].is_running


def _loaded(units: Mapping[str, Unit], name: str) -> bool:
    return name in units and units[name].is_loaded


def _enabled(units: Mapping[str, Unit], name: str) -> bool:
    return name in units and units[name].is_enabled


def _path(unit: str) -> str:
    return f"{layout.UNIT_DIR}/{unit}"


def _actions(
    *steps: tuple[str, AbstractSet[str]] | tuple[str, AbstractSet[str], str],
) -> tuple[Action, ...]:
    return tuple(
        Action(step[0], tuple(sorted(step[1])), step[2] if len(step) == 3 else None)
        for step in steps
        if step[1]
    )


def _states(
    units: Mapping[str, Unit],
    running: AbstractSet[str],
    resting: AbstractSet[str],
    undeclared: AbstractSet[str],
) -> dict[str, dict[str, str]]:
    before, after = {}, {}
    for name in sorted(running | resting | undeclared):
        if _loaded(units, name) or name in undeclared:
            active = "active" if _runs(units, name) else "inactive"
            before[name] = f"{active}, {'enabled' if _enabled(units, name) else 'disabled'}"
        else:
            before[name] = "absent"
        if name in undeclared:
            after[name] = "absent"
        else:
            after[name] = "active, enabled" if name in running else "inactive, disabled"
    differing = [name for name in before if before[name] != after[name]]
    return {
        "states_before": {name: before[name] for name in differing},
        "states_after": {name: after[name] for name in differing},
    }


def is_settled(job: Job, installed: Installed) -> bool:
    """Whether the job's timer is in its declared state, so that a predecessor may go."""
    unit = installed.units.get(layout.timer(job.name))
    if unit is None or not unit.is_loaded:
        return False
    rests = not job.is_active or job.name in installed.runtime_pauses
    return not unit.is_running if rests else unit.active_state == "active" and unit.is_enabled
