"""Memory of the host that is available."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from ...base.text import size
from ..check import Answer, AtLimit, Check, JudgeContext
from ..limits import Limit
from ..readings import ReadingError
from ..sources import Host, Source

AVAILABLE = Limit(
    "memory_available_percent",
    "Share of the memory that is available.",
    raise_at=5,
    clear_at=10,
    high_is_bad=False,
    maximum=100,
)


@dataclass(frozen=True)
class MemoryUse:
    """Memory of the host."""

    total_bytes: int
    available_bytes: int
    swap_total_bytes: int
    swap_free_bytes: int


def read(host: Host) -> MemoryUse:
    return parse((host.proc / "meminfo").read_text())


def parse(text: str) -> MemoryUse:
    if not text.endswith("\n"):
        raise ReadingError("/proc/meminfo was not read to its end")
    values = {}
    for line in text.splitlines():
        name, _colon, rest = line.partition(":")
        words = rest.split()
        if words and words[0].isdigit():
            values[name] = int(words[0]) * (1024 if words[-1] == "kB" else 1)
    try:
        return MemoryUse(
            values["MemTotal"], values["MemAvailable"], values["SwapTotal"], values["SwapFree"]
        )
    except KeyError as error:
        raise ReadingError(f"/proc/meminfo does not say {error}") from None


def judge(memory: MemoryUse, context: JudgeContext) -> Iterator[Answer]:
    """Judge the share of memory that is available."""
    share = 100.0 * memory.available_bytes / memory.total_bytes
    status, lingers = context.by(AVAILABLE, share)
    of = f"{size(memory.available_bytes)} of {size(memory.total_bytes)}"
    yield Answer("", status, f"{of} ({share:.1f} %) are available", round(share, 1), lingers)


SOURCE = Source("memory", read)
CHECKS = (
    Check(
        name="memory",
        title="Memory",
        advice="systemd-cgtop -m",
        source=SOURCE,
        judge=judge,
        selftest=AtLimit(
            AVAILABLE,
            lambda percent, _now: MemoryUse(10_000, round(100 * min(100, percent)), 0, 0),
        ),
        severity="critical",
        stages=(2,),
    ),
)
