from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from ansible_collections.aina.factory.plugins.module_utils import units
from ansible_collections.aina.factory.plugins.module_utils.ports import Completed
from ansible_collections.aina.factory.plugins.module_utils.units import (
    Running,
    UnitSpec,
    UnitStatus,
)

RUNNING = UnitStatus(True, True, True, False, 1000.0)
STOPPED = UnitStatus(True, False, True, False, None)
DISABLED = UnitStatus(True, True, False, False, 1000.0)
MISSING = UnitStatus(False, False, False, False, None)
STALE = UnitStatus(True, True, True, True, 1000.0)
DECLINED = UnitStatus(True, False, True, False, None, 1000.0)

CONF = "/etc/example.conf"
STARTED = UnitSpec("x.service", True, Running.STARTED, (CONF,))


def never(path: str) -> float | None:
    return None


# declared, actual, paths written by this run, change time of CONF, expected verbs
CASES = [
    (STARTED, RUNNING, [], None, []),
    (STARTED, RUNNING, [], 999.0, []),
    (STARTED, RUNNING, [], 1000.5, ["restart"]),
    (STARTED, RUNNING, [CONF], None, ["restart"]),
    (STARTED, RUNNING, ["/etc/other"], None, []),
    (STARTED, STOPPED, [CONF], 5000.0, ["start"]),
    (STARTED, DISABLED, [], None, ["enable"]),
    (STARTED, MISSING, [], None, ["enable", "start"]),
    (STARTED, STALE, [], None, ["daemon-reload"]),
    (UnitSpec("x.service", False, Running.STOPPED), RUNNING, [], None, ["disable", "stop"]),
    (UnitSpec("x.service", False, Running.STOPPED), MISSING, [], None, []),
    (UnitSpec("x.service", None, None, (CONF,)), RUNNING, [CONF], 5000.0, ["restart"]),
    (UnitSpec("x.service", None, None, (CONF,)), STOPPED, [CONF], 5000.0, []),
    (UnitSpec("x.service", None, None), RUNNING, [CONF], 5000.0, []),
    (STARTED, DECLINED, [], 999.0, []),
    (STARTED, DECLINED, [], 1000.5, ["start"]),
    (UnitSpec("x.service", True, Running.STARTED, (CONF,), True), MISSING, [CONF], None, []),
    (UnitSpec("x.service", True, Running.STARTED, (CONF,), True), STOPPED, [], None, ["start"]),
]


@pytest.mark.parametrize(("spec", "status", "written", "changed", "verbs"), CASES)
def test_the_plan_is_what_separates_declared_from_actual(
    spec: UnitSpec, status: UnitStatus, written: list[str], changed: float | None, verbs: list[str]
) -> None:
    actions = units.plan([spec], {"x.service": status}, written, lambda path: changed)

    assert [action.verb for action in actions] == verbs


def test_all_units_are_read_by_one_call_and_start_times_become_wall_clock() -> None:
    calls: list[Sequence[Any]] = []

    def run(argv: Sequence[str | bytes], **_: Any) -> Completed:
        calls.append(argv)
        return Completed(
            0,
            b"Id=a.service\nLoadState=loaded\nActiveState=active\nUnitFileState=enabled\n"
            b"NeedDaemonReload=no\nInactiveExitTimestampMonotonic=2500000\n\n"
            b"Id=b.service\nLoadState=not-found\nActiveState=inactive\nUnitFileState=\n"
            b"NeedDaemonReload=no\nInactiveExitTimestampMonotonic=0\n",
            b"",
        )

    statuses = units.read(["a.service", "b.service"], run, boot_time=100.0)

    assert len(calls) == 1
    assert statuses["a.service"] == UnitStatus(True, True, True, False, 102.5)
    assert statuses["b.service"] == MISSING


def test_an_answer_that_misses_a_unit_is_an_error_and_not_a_stopped_unit() -> None:
    def run(argv: Sequence[str | bytes], **_: Any) -> Completed:
        return Completed(0, b"Id=a.service\nLoadState=loaded\n", b"")

    with pytest.raises(units.UnitsError, match="described 1 units instead of 2"):
        units.read(["a.service", "b.service"], run, boot_time=0.0)


def test_a_failed_start_quotes_systemd_and_the_log() -> None:
    def run(argv: Sequence[str | bytes], **_: Any) -> Completed:
        if argv[0] == "journalctl":
            return Completed(0, b"address already in use\n", b"")
        return Completed(1, b"", b"Job for x.service failed\n")

    with pytest.raises(units.UnitsError) as caught:
        units.apply([units.Action("start", "x.service", "it was not running")], run)

    assert "Job for x.service failed" in str(caught.value)
    assert "address already in use" in str(caught.value)


def test_a_file_moved_into_place_with_an_old_date_counts_as_changed(tmp_path: Any) -> None:
    import os

    path = tmp_path / "conf"
    path.write_text("x")
    os.utime(path, (1, 1))

    changed = units.changed_at(str(path))

    assert changed is not None
    assert changed > 1_000_000_000
