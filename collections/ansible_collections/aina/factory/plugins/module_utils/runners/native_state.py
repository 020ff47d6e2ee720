"""What a native runner tells about itself, from its unit, its log and GitHub; pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime

from ..base import times
from . import exits, state
from .native import LocalRunner, RegisteredState, RegistrationStatus
from .settings import Instance
from .state import Condition, State

_STARTING_SECONDS = 180.0
_COMPLETED = re.compile(
    r"^(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d)Z: Job (.+) completed with result: (\w+)$", re.MULTILINE
)


def condition(
    local: LocalRunner, remote: RegisteredState, rests: str, problem: str, now: float
) -> tuple[Condition, str]:
    """Return how the runner is and what there is to say about it.

    ``rests`` says why it does not run on purpose, ``problem`` what its last converge met.
    """
    unit = local.unit
    if rests and not unit.active:
        return Condition.STOPPED, rests
    if not unit.active and unit.exit_status == exits.OUTDATED_CODE:
        return Condition.OUTDATED, exits.words(exits.OUTDATED_CODE)
    if problem:
        return Condition.FAILED, problem
    if unit.sub_state == "auto-restart":
        return Condition.BACKOFF, exits.words(unit.exit_status)
    if not unit.active:
        return Condition.FAILED, f"it does not run; {exits.words(unit.exit_status)}"
    if remote.known is RegistrationStatus.UNASKED:
        return Condition.IDLE, "GitHub cannot be asked whether it is online"
    if remote.runner is None:
        return Condition.FAILED, "GitHub does not know it"
    if remote.runner.busy:
        return Condition.BUSY, ""
    if remote.runner.online:
        return Condition.IDLE, ""
    if unit.started_at is not None and now - unit.started_at < _STARTING_SECONDS:
        return Condition.STARTING, "not online yet"
    return Condition.FAILED, "it runs, but GitHub says that it is offline"


def last_job(log: str) -> Mapping[str, str | None] | None:
    """Return the last job that the application's words tell of."""
    found = _COMPLETED.findall(log)
    if not found:
        return None
    when, name, outcome = found[-1]
    ended = datetime.strptime(when, "%Y-%m-%d %H:%M:%S").replace(tzinfo=UTC)
    return {
        "name": state.printable(name),
        "finished_at": times.iso(ended.timestamp()),
        "outcome": outcome,
    }


def first(instance: Instance, now: float) -> State:
    """Return the state of an instance that nobody has told of yet."""
    return State(
        instance=instance.name,
        mode=instance.mode,
        project=instance.project,
        state=Condition.UNKNOWN,
        since=times.iso(now),
    )
