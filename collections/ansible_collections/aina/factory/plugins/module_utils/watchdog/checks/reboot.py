"""Whether the host asks for a reboot, and for how long."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from ...base.text import duration
from ..check import Answer, AtLimit, Check, JudgeContext, Status, some
from ..facts import DAY, Fact
from ..limits import Limit
from ..sources import Host, Source

REQUIRED = Limit(
    "reboot_required_days", "How long the host wants to be restarted.", raise_at=7, clear_at=7
)


@dataclass(frozen=True)
class Reboot:
    """Whether the host asks for a reboot, and since when."""

    required_since: float | None
    packages: tuple[str, ...] = ()


def read(host: Host) -> Reboot | Fact[Reboot]:
    """Look for the distribution's own mark."""
    mark = host.system_run_dir / "reboot-required"
    if not mark.exists():
        return Reboot(None)
    packages = host.system_run_dir / "reboot-required.pkgs"
    names = packages.read_text().split() if packages.exists() else []
    asked_at = mark.stat().st_mtime
    found = Reboot(asked_at, tuple(dict.fromkeys(names)))
    return host.written(found, asked_at, str(mark))


def judge(reboot: Reboot, context: JudgeContext) -> Iterator[Answer]:
    """Judge how long the host asks for a reboot."""
    if reboot.required_since is None:
        yield Answer("", Status.OK, "no reboot is asked for", 0)
        return
    days = (context.now - reboot.required_since) / DAY
    status, lingers = context.by(REQUIRED, days)
    why = f" by {some(reboot.packages)}" if reboot.packages else ""
    detail = f"asked for{why} since {duration(days * DAY)}"
    yield Answer("", status, detail, round(days, 1), lingers)


SOURCE = Source[Reboot]("reboot", read)
CHECKS = (
    Check(
        name="reboot",
        title="Reboot required",
        advice="drain the host, then reboot",
        source=SOURCE,
        judge=judge,
        selftest=AtLimit(REQUIRED, lambda days, now: Reboot(now - days * DAY)),
        raise_after=(1, 1),
        stages=(30,),
    ),
)
