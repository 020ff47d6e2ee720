"""A healthy, busy host says nothing for a day: builds, CI, converges, upgrades, a drain, a reboot."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from factory.core.base import times
from factory.core.base.disk import Disk
from factory.core.watchdog import filesystems
from factory.core.watchdog.checks import clock, engine, memory, out_of_memory, pressure
from factory.core.watchdog.checks import reachability as reach
from factory.core.watchdog.facts import Known
from factory.core.watchdog.filesystems import Filesystem
from factory.watchdog import prove
from watchdog.conftest import Server
from watchdog.test_freshness import put_samples, put_well, well
from watchdog.test_proofs import no_tables
from watchdog.test_run import notifying

__all__ = ["well"]

GIB = 1 << 30
RUNS = 96
CONVERGES, UPGRADE, DRAIN, REBOOT, AGAIN = (8, 30, 80), 48, 52, 58, 64
DRAINED = range(DRAIN, AGAIN)


class Day:
    """What happens on the host in each quarter of an hour."""

    def __init__(self, server: Server, root: Path) -> None:
        self.server, self.root = server, root
        self.killed = 0

    def kernel(self, run: int) -> None:
        """A build takes memory and all cores for one look; after the boot the clock is not set yet."""
        given, busy = self.server.given, run % 7 == 3
        given[memory.SOURCE] = Known(memory.MemoryUse(32 * GIB, (2 if busy else 12) * GIB, 0, 0))
        given[pressure.SOURCE] = Known(
            pressure.Pressure(12.0 if busy else 0.0, 30.0, 90.0 if busy else 20.0)
        )
        given[clock.SOURCE] = Known(clock.Clock(run != REBOOT, 0.01))
        given[out_of_memory.SOURCE] = Known(out_of_memory.MemoryKills(0))

    def outside(self, run: int) -> None:
        """One look in passing finds GitHub, names or the engine away."""
        given = self.server.given
        given[reach.GITHUB] = Known(reach.Reached(run != 70, "as told"))
        given[reach.NAMES] = Known({"api.github.com": Known(reach.Reached(run != 75, "as told"))})
        down = run in CONVERGES or DRAIN + 2 <= run <= REBOOT
        given[engine.SOURCE] = Known(engine.EngineState(not down, "as told"))

    def work(self, run: int) -> None:
        """Runners take and end jobs, lanes begin and end, pull requests wait for a while."""
        server, now = self.server, self.server.now + 900
        at = times.iso_or_none(now)
        states = ("idle", "busy", "busy", "starting")
        state = "stopped" if run in DRAINED else states[run % 4]
        runner = {"schema": 1, "instance": "r", "project": "demo", "mode": "ephemeral"}
        more = {"state": state, "since": at, "updated_at": at, "version_age_days": 3}
        server.put("runners/r.json", {**runner, **more, "oldest_queued_seconds": 600 * (run % 3)})
        lane = server.data / "lanes/l1/state.json"
        if run % 9 == 8 or run in DRAINED:
            shutil.rmtree(lane.parent, ignore_errors=True)
        if run in DRAINED:
            report = server.data / "marshal/demo/report.json"
            told = json.loads(report.read_bytes())
            told["time"] = self.drained_at
            report.write_text(json.dumps(told))

    def administration(self, run: int) -> None:
        """Packages come and bring files; a converge changes what is declared, and records it."""
        server = self.server
        (self.root / "etc/passwd").write_text(
            f"root:x:0:0::/root:/bin/bash\nx{run}:x:1:1::/:/false\n"
        )
        if run in CONVERGES:
            (self.root / "etc/cron.d/ours").write_text(f"{run} * * * * root true\n")
            prove.remember(server.watchdog().policy, no_tables, root=self.root)
        if run == DRAIN:
            self.drained_at = server.now
            at = times.iso_or_none(server.now)
            server.put("draining.json", {"schema": 1, "reason": "kernel", "by": "ali", "since": at})
        if run == REBOOT:
            # Off for half an hour beside the turn itself.
            server.now += 2700
        if run == AGAIN:
            (server.data / "draining.json").unlink()
        if run % 4 == 0 and run not in DRAINED:
            prove.prove(server.watchdog().policy, no_tables, server.now, root=self.root)


def test_a_healthy_busy_host_says_nothing_for_a_day(
    well: Server,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    root = well.root / "host"
    for name in ("var/lib/dpkg/status", "etc/passwd", "etc/group", "etc/cron.d/ours"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text("x\n")
    used: Callable[[int], int] = lambda run: 120 + 30 * (run % 24) // 24  # noqa: E731 - a table
    program = notifying(well, "json://chat")
    day = Day(well, root)
    put_samples(well, well.now)
    put_well(well, well.now)
    prove.remember(well.watchdog().policy, no_tables, root=root)
    overall: list[str] = []
    for run in range(RUNS):
        disk = Disk("/", 200 * GIB, used(run) * GIB, (200 - used(run)) * GIB)
        monkeypatch.setattr(filesystems, "filesystem", lambda _path, d=disk: Filesystem(d, 9, 9, 1))
        day.administration(run)
        if run not in DRAINED:
            put_well(well, well.now + 900)
        else:
            # The job that watches goes on; all else rests.
            prepare_rest(well)
        day.kernel(run)
        day.outside(run)
        day.work(run)
        overall.append(well.run()["overall"])

    status = well.status()
    assert status["timeline"] == []
    assert program.sent == []
    assert status["planned"] is None
    assert {*overall[DRAIN + 1 : REBOOT]} == {"ok"}, "planned work is a state"


def prepare_rest(server: Server) -> None:
    """Let what tells of itself at each turn do so, though nothing works."""
    at = times.iso_or_none(server.now + 900)
    record = {"result": "success", "exit_status": "0", "ended_at_seconds": int(server.now + 900)}
    server.put("runs/tick.json", record)
    server.put("runs/tick.success.json", record)
    server.put("lanes/residue.json", {"schema": 1, "checked_at": at, "differences": []})
