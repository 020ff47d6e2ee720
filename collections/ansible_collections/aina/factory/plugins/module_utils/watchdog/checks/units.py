"""Units that have failed."""

from __future__ import annotations

from collections.abc import Iterator

from ...base.text import duration
from ...jobs import layout, observe
from ..check import Answer, BadOrGood, Check, JudgeContext, Status
from ..failures import RECENT_SECONDS, FailedUnit, notes, systemctl
from ..sources import AbsentError, Host, Source


def read(host: Host) -> tuple[FailedUnit, ...]:
    """Return the units that have failed, and those of whose failure a note was left.

    Jobs are left out: their own check tells more.
    """
    if not observe.systemd_is_running():
        raise AbsentError("no systemd runs here")
    listed = systemctl(host, "list-units", "--state=failed", "--plain", "--no-legend", "--full")
    names = [line.split()[0] for line in listed.splitlines() if line.split()]
    found: dict[str, FailedUnit] = {}
    if names:
        properties = "--property=Id,Result,InactiveEnterTimestamp"
        for block in systemctl(host, "show", properties, "--", *names).split("\n\n"):
            values = dict(line.partition("=")[::2] for line in block.splitlines())
            name = values.get("Id", "")
            at = observe.timestamp(values.get("InactiveEnterTimestamp", ""))
            found[name] = FailedUnit(name, True, at, values.get("Result", "unknown"))
    recent = host.now - RECENT_SECONDS
    since = recent if host.last_look_at is None else min(recent, host.last_look_at)
    for unit in notes(host):
        if unit.at is None or unit.at >= since:
            found.setdefault(unit.name, unit)
    return tuple(u for name, u in sorted(found.items()) if not name.startswith(layout.PREFIX))


def judge(units: tuple[FailedUnit, ...], context: JudgeContext) -> Iterator[Answer]:
    """Report every unit that has failed."""
    for unit in units:
        when = f" {duration(context.now - unit.at)} ago" if unit.at is not None else ""
        detail = f"failed{when}: {unit.result}" + ("" if unit.failed else "; it has come back")
        yield Answer(unit.name, Status.PROBLEM, detail)
    if not units:
        yield Answer("", Status.OK, "no unit has failed")


SOURCE = Source("units", read)
CHECKS = (
    Check(
        name="unit_failed",
        title="Failed units",
        advice="systemctl status UNIT; journalctl -u UNIT",
        source=SOURCE,
        judge=judge,
        selftest=BadOrGood(lambda bad, now: (FailedUnit("u", True, now, "x"),) if bad else ()),
        raise_after=(1, 1),
    ),
)
