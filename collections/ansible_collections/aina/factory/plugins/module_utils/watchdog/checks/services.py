"""Units that restart again and again, were stopped, or cannot be started."""

from __future__ import annotations

from collections.abc import Iterator

from ...base.text import duration
from ...jobs import observe
from .. import services
from ..check import Answer, AtLimit, Check, JudgeContext, Status
from ..failures import systemctl
from ..limits import Limit
from ..services import Service
from ..sources import AbsentError, Host, Source

RESTARTS = Limit(
    "unit_restarts_count",
    "How often systemd restarts a unit within an hour.",
    raise_at=3,
    clear_at=1,
)


def read(host: Host) -> tuple[Service, ...]:
    """Return the units that have not failed, and do not keep running either."""
    if not observe.systemd_is_running():
        raise AbsentError("no systemd runs here")
    declared = host.policy.heal.units
    words = [f"--type={services.TYPES}", "--all", "--plain", "--no-legend", "--full"]
    listing = systemctl(host, "list-units", *words)
    enabled = {link.name for link in host.unit_dir.glob("*.wants/*")}
    names = services.candidates(listing, enabled, declared)
    if not names:
        return ()
    properties = f"--property={services.PROPERTIES}"
    answer = systemctl(host, "show", properties, "--", *names)
    return services.parse(answer, declared, observe.timestamp)


def judge(found: tuple[Service, ...], context: JudgeContext) -> Iterator[Answer]:
    """Report units that restart again and again, were stopped, or cannot be started."""
    is_well = True
    for unit in found:
        times = unit.recent_restarts
        status, lingers = context.by(RESTARTS, times)
        since = context.now - (unit.counted_since or context.now)
        detail = f"restarted {times} times within {duration(since)} (last result: {unit.result})"
        if unit.is_broken:
            status, lingers, detail = Status.PROBLEM, True, f"it is {unit.load_state}"
            detail += ", and heal.units names it" if unit.is_declared else ""
        elif status is Status.OK and unit.stopped_at is not None:
            ago = duration(context.now - unit.stopped_at)
            status, lingers, detail = Status.PROBLEM, True, f"stopped {ago} ago, though enabled"
        if status is Status.PROBLEM or lingers:
            is_well = False
            yield Answer(unit.name, status, detail, times, lingers)
    if is_well:
        yield Answer("", Status.OK, "no unit is stopped, masked or restarts again and again")


SOURCE = Source("services", read)
CHECKS = (
    Check(
        name="unit_running",
        title="Units that do not keep running",
        advice="systemctl status UNIT; journalctl -u UNIT; systemctl disable what is not wanted",
        source=SOURCE,
        judge=judge,
        selftest=AtLimit(
            RESTARTS,
            lambda times, now: (Service("u", recent_restarts=round(times), counted_since=now),),
        ),
    ),
)
