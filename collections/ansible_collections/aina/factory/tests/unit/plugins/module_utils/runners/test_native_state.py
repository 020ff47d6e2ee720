"""What is told of a native runner, by its unit and by GitHub."""

from __future__ import annotations

from typing import Any

import pytest

from factory.core.host.units import UnitStatus
from factory.core.runners import native_state
from factory.core.runners.api import Registered
from factory.core.runners.native import LocalRunner, RegisteredState, RegistrationStatus

NOW = 1_800_000_000.0


def condition(
    *,
    online: bool | None = True,
    busy: bool = False,
    rests: str = "",
    problem: str = "",
    **unit: Any,
) -> tuple[str, str]:
    given = {"active": True, "started_at": NOW - 600, **unit}
    status = UnitStatus(exists=True, enabled=True, needs_reload=False, **given)
    local = LocalRunner(True, "2.330.0", None, True, False, False, status, False, False)
    shown = None if online is None else Registered(7, "x", online, busy, frozenset(), True, 1, None)
    remote = RegisteredState(
        RegistrationStatus.GONE if shown is None else RegistrationStatus.REGISTERED, shown
    )
    return native_state.condition(local, remote, rests, problem, NOW)


@pytest.mark.parametrize(
    ("facts", "expected"),
    [
        ({}, "idle"),
        ({"busy": True}, "busy"),
        ({"online": False, "started_at": NOW - 10}, "starting"),
        ({"online": False}, "failed"),
        ({"online": None}, "failed"),
        ({"active": False, "exit_status": 137}, "failed"),
        ({"active": False, "exit_status": 7}, "outdated"),
        ({"active": False, "rests": "it is drained"}, "stopped"),
        ({"problem": "it is public"}, "failed"),
        ({"sub_state": "auto-restart", "exit_status": 1}, "backoff"),
    ],
)
def test_a_native_runner_is_told_as_its_unit_and_github_show_it(
    facts: dict[str, Any], expected: str
) -> None:
    assert condition(**facts)[0] == expected


@pytest.mark.parametrize("code", [1, 2, 3, 4, 5, 6, 11])
def test_the_end_of_a_native_runner_is_told_with_its_status(code: int) -> None:
    told = condition(sub_state="auto-restart", exit_status=code)

    assert told[0] == "backoff"
    assert told[1].endswith(f"(status {code})")
