"""Processes that the kernel killed for want of memory, in containers as well."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlencode

from ...base.errors import FactoryError
from ...base.ports import Request
from ..check import Answer, BadOrGood, Check, JudgeContext, Status, some
from ..facts import HOUR
from ..readings import ReadingError
from ..sources import AbsentError, Host, Source

# In a container of its own the host sees its own kills here, and those of all others below.
_OWN_GROUP = Path("/sys/fs/cgroup/memory.events")


@dataclass(frozen=True)
class MemoryKills:
    """How often the kernel killed since the host started, and since the run before this one.

    ``containers`` are those in which it happened, as far as the engine remembers.
    """

    total: int
    recent: int | None = None
    containers: tuple[str, ...] = ()


def read(host: Host) -> MemoryKills:
    """Ask the kernel for the count, which forgets nothing, and the engine for names."""
    table = _OWN_GROUP if _OWN_GROUP.exists() else host.proc / "vmstat"
    total = count(table.read_text())
    return MemoryKills(total, containers=_containers(host))


def count(text: str) -> int:
    """Return the kernel's count of kills.

    Raises:
        AbsentError: this kernel does not count them.

    """
    if not text.endswith("\n"):
        raise ReadingError("the kernel's table was not read to its end")
    for line in text.splitlines():
        name, _space, value = line.partition(" ")
        if name == "oom_kill" and value.isdigit():
            return int(value)
    raise AbsentError("this kernel does not count kills for want of memory")


def _containers(host: Host) -> tuple[str, ...]:
    """Return in which containers somebody was killed lately; an engine that is away names none."""
    if not host.policy.engine_socket_path:
        return ()
    since = host.now - HOUR if host.last_look_at is None else host.last_look_at
    filters = json.dumps({"type": ["container"], "event": ["oom"]})
    span = {"since": f"{since:.0f}", "until": f"{host.now:.0f}", "filters": filters}
    request = Request("GET", f"http://engine/events?{urlencode(span)}")
    try:
        answer = host.engine(request, timeout_seconds=host.policy.gather_seconds / 4)
        events = [json.loads(line) for line in answer.body.splitlines() if line.strip()]
        names = [str(item["Actor"]["Attributes"].get("name", "?")) for item in events]
    except (OSError, ValueError, KeyError, TypeError, AttributeError, FactoryError):
        return ()
    return tuple(dict.fromkeys(names)) if answer.status == 200 else ()


def judge(kills: MemoryKills, _context: JudgeContext) -> Iterator[Answer]:
    """Report kills since the last look."""
    if kills.recent is None:
        yield Answer("", Status.ABSENT, "how many there were before is not known yet")
        return
    if not kills.recent:
        yield Answer("", Status.OK, "nothing was killed since the last look", 0)
        return
    where = f", in {some(kills.containers)}" if kills.containers else ""
    detail = f"the kernel killed {kills.recent} processes since the last look{where}"
    yield Answer("", Status.PROBLEM, detail, kills.recent)


def since(kills: MemoryKills, before: int | None) -> MemoryKills:
    """Return the kills with those since the last look; a host that was restarted counts anew."""
    if before is None:
        return kills
    recent = kills.total - before if kills.total >= before else kills.total
    return MemoryKills(kills.total, recent, kills.containers)


SOURCE = Source("out_of_memory", read)
CHECKS = (
    Check(
        name="out_of_memory",
        title="Killed for want of memory",
        advice="journalctl -k --grep 'Out of memory|oom-kill'; docker ps -a --filter exited=137",
        source=SOURCE,
        judge=judge,
        selftest=BadOrGood(lambda bad, _now: MemoryKills(9, int(bad), ("c",))),
        raise_after=(1, 1),
        value_unit="count",
    ),
)
