"""How much work stands still for want of memory, disk or processors."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from ..check import Answer, AtLimit, Check, JudgeContext
from ..limits import Limit
from ..readings import ReadingError
from ..sources import AbsentError, Host, Source

MEMORY = Limit(
    "memory_pressure_percent",
    "Share of time in which work waits for memory.",
    raise_at=10,
    clear_at=5,
    maximum=100,
)
IO = Limit(
    "io_pressure_percent",
    "Share of time in which work waits for the disks.",
    raise_at=40,
    clear_at=20,
    maximum=100,
)
CPU = Limit(
    "cpu_pressure_percent",
    "Share of time in which work waits for a processor.",
    raise_at=80,
    clear_at=60,
    maximum=100,
)


@dataclass(frozen=True)
class Pressure:
    """Shares of the last five minutes in which work stood still, in percent (kernel: PSI)."""

    memory_full: float
    io_full: float
    cpu_some: float


def read(host: Host) -> Pressure:
    """Return the host's pressure, where the kernel measures it."""
    directory = host.proc / "pressure"
    if not directory.is_dir():
        raise AbsentError("this kernel does not measure pressure")
    return parse(*((directory / name).read_text() for name in ("memory", "io", "cpu")))


def parse(memory: str, io: str, cpu: str) -> Pressure:
    """Read the three files of ``/proc/pressure``."""
    return Pressure(_average(memory, "full"), _average(io, "full"), _average(cpu, "some"))


def _average(text: str, kind: str) -> float:
    if not text.endswith("\n"):
        raise ReadingError(f"/proc/pressure was not read to the end of its line {kind}")
    for line in text.splitlines():
        words = line.split()
        if words and words[0] == kind:
            return float(dict(word.partition("=")[::2] for word in words[1:])["avg300"])
    raise ReadingError(f"/proc/pressure has no line {kind!r}")


def judge(pressure: Pressure, context: JudgeContext) -> Iterator[Answer]:
    """Judge each kind by its limit."""
    for kind, limit, value in (
        ("memory", MEMORY, pressure.memory_full),
        ("io", IO, pressure.io_full),
        ("cpu", CPU, pressure.cpu_some),
    ):
        status, lingers = context.by(limit, value)
        detail = f"work waited for {kind} in {value:g} % of the last five minutes"
        yield Answer(kind, status, detail, value, lingers)


SOURCE = Source("pressure", read)
CHECKS = (
    Check(
        name="pressure",
        title="Pressure",
        advice="systemd-cgtop",
        source=SOURCE,
        judge=judge,
        selftest=AtLimit(MEMORY, lambda percent, _now: Pressure(percent, 0, 0)),
        raise_after=(3, 4),
        other_limits=(IO, CPU),
    ),
)
