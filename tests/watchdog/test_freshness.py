"""Every input of the status aged, post-dated, emptied, removed or half-read: never an "ok"."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import pytest

from factory import effects
from factory.core.base import times
from factory.core.base.disk import Disk
from factory.core.jobs import layout, observe
from factory.core.watchdog import filesystems
from factory.core.watchdog.checks import BY_NAME, memory, pressure, reboot
from factory.core.watchdog.facts import Known, Unknown, written
from factory.core.watchdog.filesystems import Filesystem, read_mounts
from factory.core.watchdog.sources import Host, fact_of, told
from factory.watchdog import gather
from watchdog.conftest import START, Server, statuses
from watchdog.test_real_facts import certificate

HOUR, DAY = 3600.0, 86400.0
QUEUE = ("merge_report", "merge_halted", "main_red", "merge_waiting")
# What the watchdog reads of what others wrote down, and which checks tell of it.
INPUTS: Mapping[str, tuple[str, ...]] = {
    "runners/r.json": ("runner", "runner_queue", "runner_version"),
    "lanes/l1/state.json": ("lane_stuck",),
    "lanes/residue.json": ("lane_residue",),
    "images/ci.json": ("image",),
    "drift.json": ("drift",),
    "backup/report.json": ("backup",),
    "marshal/demo/report.json": QUEUE,
    "runs/tick.json": ("job_failed",),
    "runs/tick.success.json": ("job_missed",),
    "watchdog/owners.json": ("disk_owners", "disk_deleted_open"),
    "proofs.json": ("local_drift",),
}
# What it remembers itself: without it, it begins anew, and says nothing of what it lost.
MEMORY: Mapping[str, tuple[str, ...]] = {
    "watchdog/state.json": ("run_gap",),
    "watchdog/samples.jsonl": ("disk_trend",),
}
ALL = dict((*INPUTS.items(), *MEMORY.items()))
# Of results of ended lanes only the time counts, by which the look at what they left is judged.
_NO_INPUT = (
    "watchdog/silences.json",
    "docker-restart-pending.json",
    "lanes/l0/result.json",
    # What was brought about until now: no check reads it.
    "watchdog/work.json",
)


def moved(content: bytes, seconds: float) -> bytes:
    """Return a document in which every moment is another one."""

    def iso(found: re.Match[str]) -> str:
        return times.iso(times.seconds(found[0]) + seconds)

    def number(found: re.Match[str]) -> str:
        return str(int(found[0]) + round(seconds))

    text = re.sub(r"\d{4}-\d\d-\d\dT[\d:]+Z", iso, content.decode())
    return re.sub(r"\b1[789]\d{8}(?=\D|$)", number, text).encode()


CHANGES: Mapping[str, Callable[[bytes], bytes | None]] = {
    "aged": lambda content: moved(content, -60 * DAY),
    "post-dated": lambda content: moved(content, 2 * DAY),
    "emptied": lambda _content: b"",
    "emptied of keys": lambda _content: b"{}",
    "removed": lambda _content: None,
    "half-read": lambda content: content[: len(content) * 2 // 5],
}


@pytest.fixture
def well(server: Server, monkeypatch: pytest.MonkeyPatch) -> Server:
    """Return a server on which every input is there and says that all is well."""
    monkeypatch.setattr(layout, "RUNS_DIR", str(server.data / "runs"))
    monkeypatch.setattr(observe, "systemd_is_running", lambda: False)
    cron = server.root / "cron"
    cron.write_text(f"*/5 * * * * root {layout.LIBRARY_DIR}/cron-run tick\n")
    monkeypatch.setattr(layout, "CRON_PATH", str(cron))
    # How full this machine is must not decide a test.
    half = Filesystem(Disk("/", 200 << 30, 100 << 30, 100 << 30), 1000, 900, 1)
    monkeypatch.setattr(filesystems, "filesystem", lambda _path: half)
    job: dict[str, Any] = {"name": "tick", "schedule": "*:0/5", "command": ["/bin/true"]}
    job |= {"expect_every_seconds": 3600}
    checkout = server.root / "checkout"
    subprocess.run(["git", "init", "--quiet", str(checkout)], check=True)
    project = {"name": "demo", "repository": "a/demo", "path": str(checkout)}
    server.section |= {"measure": {"roots": ["/srv"]}, "disks": ["/"]}
    server.others |= {
        "jobs": {"jobs": [job]},
        "drift": {},
        "backup": {"repository": "/srv/r", "paths": ["/etc"]},
        "images": {},
        "lanes": {},
        "marshal": {"state_dir": str(server.data / "marshal"), "projects": [project]},
        "projects": [{**project, "runner": {"mode": "native"}}],
    }
    return server


def put_well(server: Server, now: float) -> None:
    """Let every part say at ``now`` that all is well."""
    at = times.iso_or_none(now)
    runner = {"schema": 1, "instance": "r", "project": "demo", "mode": "native", "state": "idle"}
    more = {"since": at, "updated_at": at, "oldest_queued_seconds": 0, "version_age_days": 0}
    server.put("runners/r.json", {**runner, **more})
    lane = {"schema": 1, "state": "running", "project": "demo", "issue": 7}
    moments = {"started_at": at, "last_output_at": at, "updated_at": at}
    server.put("lanes/l1/state.json", {**lane, **moments})
    os.utime(server.put("lanes/l0/result.json", {"schema": 1}), (now, now))
    server.put("lanes/residue.json", {"schema": 1, "checked_at": at, "differences": []})
    server.put("watchdog/local-baseline.json", {"schema": 1})
    server.put("proofs.json", {"schema": 1, "checked_at": at, "images": [], "changes": []})
    image = {"schema": 1, "image": "ci", "smoke": "ok", "size_bytes": 1, "built_at": at}
    server.put("images/ci.json", image)
    server.put("drift.json", {"schema": 1, "checked_at": at, "changes": []})
    backup = {"schema": 1, "state": "ok", "detail": "", "updated_at": at, "last_success_at": at}
    server.put("backup/report.json", backup)
    report = {
        **{"schema": 1, "project": "demo", "repository": "a/demo", "mode": "fast"},
        **{"time": now, "failed": False, "pull_requests": [], "merged": [], "requests": 2},
        **{"gate": "", "stopped": "", "halted_since": 0, "halted_reason": "", "main_red_since": 0},
        **{"incomplete": "", "points": 2, "points_remaining": 4998},
    }
    server.put("marshal/demo/report.json", report)
    ran = {"result": "success", "exit_status": "0", "ended_at_seconds": int(now)}
    server.put("runs/tick.json", ran)
    server.put("runs/tick.success.json", ran)
    disk = {
        **{"path": "/", "measured_at": now, "used_bytes": 9, "owners": []},
        **{"deleted_open_bytes": 0, "deleted_open": [], "unattributed_bytes": 0, "complete": True},
    }
    server.put("watchdog/owners.json", {"disks": [disk]})


def put_samples(server: Server, now: float) -> None:
    """Let the disk have been half full for three days."""
    lines = [
        json.dumps([now - 900 * ago, "/", 100 << 30, 100 << 30, 5]) for ago in range(3 * 96, 0, -1)
    ]
    server.put("watchdog/samples.jsonl", "\n".join(lines) + "\n")


_opened: list[str] | None = None


def _hook(event: str, arguments: tuple[Any, ...]) -> None:
    if _opened is not None and event == "open" and isinstance(arguments[0], str | os.PathLike):
        _opened.append(os.fspath(arguments[0]))


@pytest.fixture
def opened() -> Iterator[list[str]]:
    """Return the paths that are opened from now on."""
    global _opened
    if not getattr(sys, "_watchdog_hook", False):
        sys.addaudithook(_hook)
        sys._watchdog_hook = True  # type: ignore[attr-defined]
    _opened = []
    yield _opened
    _opened = None


def ready(server: Server) -> None:
    put_samples(server, server.now)
    for _turn in range(2):
        put_well(server, server.now + 900)
        document = server.run()
    judged = {check for found in (*INPUTS.values(), *MEMORY.values()) for check in found}
    odd = [item for item in document["checks"] if item["check"] in judged]
    assert [item for item in odd if item["status"] != "ok"] == []
    doubted = [item for item in document["checks"] if item["status"] not in ("ok", "absent")]
    assert (document["overall"], doubted) == ("ok", [])
    put_well(server, server.now + 900)


def test_every_input_that_is_read_is_changed_here(well: Server, opened: list[str]) -> None:
    ready(well)
    opened.clear()

    well.run()

    prefix = f"{well.data}/"
    read = {path.removeprefix(prefix) for path in opened if path.startswith(prefix)}
    own = {path for path in read if re.search(r"(^|/)\.|^status\.|^[^/]+$", path)} - set(INPUTS)
    assert read - own - set(_NO_INPUT) == {*INPUTS, *MEMORY}


@pytest.mark.parametrize("name", ALL)
def test_no_input_that_says_nothing_of_now_is_ok(well: Server, name: str) -> None:
    ready(well)
    path, before, now = well.data / name, well.root / "before", well.now
    shutil.copytree(well.data, before)
    for change, changed in CHANGES.items():
        shutil.rmtree(well.data)
        shutil.copytree(before, well.data)
        content = changed(path.read_bytes())
        path.unlink()
        if content is not None:
            path.write_bytes(content)
        well.now = now

        document = well.run()

        for check in ALL[name]:
            told = [item for item in document["checks"] if item["check"] == check]
            assert "ok" not in statuses(document, check).values(), (change, told)
        assert name in MEMORY or document["overall"] != "ok", change


KERNEL: Mapping[str, Callable[[Host], object]] = {
    "meminfo": memory.read,
    "pressure/memory": pressure.read,
    "pressure/io": pressure.read,
    "pressure/cpu": pressure.read,
    "self/mountinfo": lambda host: read_mounts(host)["/"],
}


@pytest.mark.parametrize(
    ("name", "change"), list(product(KERNEL, ("emptied", "removed", "half-read")))
)
def test_what_the_kernel_says_in_part_is_not_known(well: Server, name: str, change: str) -> None:
    proc = well.root / "proc"
    for kind in ("memory", "io", "cpu"):
        line = "avg10=0 avg60=0 avg300=0.0 total=1"
        (proc / "pressure").mkdir(parents=True, exist_ok=True)
        (proc / "pressure" / kind).write_text(f"some {line}\nfull {line}\n")
    (proc / "self").mkdir()
    (proc / "self/mountinfo").write_bytes(Path("/proc/self/mountinfo").read_bytes())
    (proc / "meminfo").write_bytes(Path("/proc/meminfo").read_bytes())
    watchdog = well.watchdog()
    host = replace(gather.host(watchdog.policy, watchdog.whole, well.now, effects.run), proc=proc)
    assert isinstance(told(lambda: fact_of(KERNEL[name](host))), Known)

    content = CHANGES[change]((proc / name).read_bytes())
    (proc / name).unlink()
    if content is not None:
        (proc / name).write_bytes(content)

    assert isinstance(told(lambda: fact_of(KERNEL[name](host))), Unknown)


def test_a_mark_of_a_reboot_from_the_future_is_not_known(well: Server) -> None:
    (well.root / "reboot-required").touch()
    os.utime(well.root / "reboot-required", (START + DAY, START + DAY))
    watchdog = well.watchdog()
    real = gather.host(watchdog.policy, watchdog.whole, START, effects.run)

    found = told(lambda: fact_of(reboot.read(replace(real, system_run_dir=well.root))))

    assert isinstance(found, Unknown)
    assert "1 d ahead of now" in found.reason


@pytest.mark.parametrize("days", [-10, 40])
def test_a_certificate_that_does_not_hold_now_is_a_problem(server: Server, days: int) -> None:
    server.now = time.time() + days * DAY
    path = server.root / "site.pem"
    certificate(path, 30)
    server.section["certificates"] = [str(path)]

    assert statuses(server.run(), "certificate") == {str(path): "problem"}


def test_the_rule_of_freshness_holds_to_the_second() -> None:
    def age(seconds: float, **options: Any) -> type:
        return type(written("x", START - seconds, "it", START, **options))

    assert age(0) is age(10 * DAY) is Known
    assert age(59, lasts_seconds=60) is Known
    assert age(60, lasts_seconds=60) is Unknown
    assert age(-60) is Known
    assert age(-61) is Unknown
    assert age(0, moments=[None, START + 61]) is Unknown
    assert written("x", START, "it", START) == Known("x", START, "it")


def test_a_sign_of_life_that_is_old_is_not_ok_though_nothing_went_wrong() -> None:
    from factory.core.watchdog import checks, selftest
    from factory.core.watchdog.check import JudgeContext
    from factory.core.watchdog.checks.dead_man import SOURCE, DeadMan

    def said(found: DeadMan) -> str:
        given = selftest.alone(START, SOURCE, Known(found))
        limits = {limit.name: limit for limit in checks.LIMITS}
        (finding,) = BY_NAME["dead_man"].findings(JudgeContext(given, limits))
        return finding.status.value

    assert said(DeadMan(START - 60, "")) == "ok"
    assert said(DeadMan(START - 2 * HOUR, "")) == "problem"
    assert said(DeadMan(None, "")) == "absent"
