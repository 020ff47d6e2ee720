"""A server as its owner found it one day: full disk, dead runner, thirty pull requests."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from factory.core.base import times
from factory.core.base.configuration import Section
from factory.core.base.disk import Disk
from factory.core.marshal import status
from factory.core.status import document
from factory.core.watchdog import alerts, checks, heal, messages, policy
from factory.core.watchdog.attribution import Attribution, RootUsage
from factory.core.watchdog.checks.certificates import Certificate
from factory.core.watchdog.checks.clock import Clock
from factory.core.watchdog.checks.dead_man import DeadMan
from factory.core.watchdog.checks.delivery import Delivery
from factory.core.watchdog.checks.drift import Drift
from factory.core.watchdog.checks.engine import EngineState
from factory.core.watchdog.checks.healing import Healing
from factory.core.watchdog.checks.images import ImageState
from factory.core.watchdog.checks.lanes import LaneState
from factory.core.watchdog.checks.memory import MemoryUse
from factory.core.watchdog.checks.reboot import Reboot
from factory.core.watchdog.checks.run_gap import Previous
from factory.core.watchdog.checks.runners import Runner
from factory.core.watchdog.facts import Absent, Fact, Known, Unknown
from factory.core.watchdog.failures import FailedUnit
from factory.core.watchdog.filesystems import Filesystem
from factory.core.watchdog.paperclip import BoardRun, Company, Paperclip
from factory.core.watchdog.silences import Silence
from factory.core.watchdog.sources import Facts
from factory.core.watchdog.trend import DiskSample
from factory.core.watchdog.workspaces import RegisteredWorktrees, Workspace, Workspaces

NOW = 1_782_832_800.0  # 2026-06-30T15:20:00Z
GIB = 1 << 30
HOUR, DAY = 3600.0, 86400.0
HOSTILE = "<script>alert(1)</script>\"&' \x1b[31m"

POLICY = policy.from_section(
    Section(
        {
            "heal": {"mode": "repair", "workspace_roots": ["/w"], "units": ["docker.service"]},
            "notify": {"apprise_path": "/etc/a", "dead_man_path": "/etc/d"},
            "measure": {"roots": ["/srv"]},
        },
        "watchdog",
    )
)

OWNERS = {
    "/home/ali/agent-workspaces": (71.0, 9.0),
    "/srv/repos": (24.0, 1.5),
    "/var/lib/containerd": (38.0, 4.0),
    "/var/lib/docker": (1.2, 0.0),
    "/home/ali/.codex": (5.4, 0.2),
    "/home/ali/.paperclip": (3.5, 0.1),
    "/home/ali/.local/share/pnpm": (3.3, -0.4),
    "/srv/aina/ops": (3.0, 0.3),
    "/var/log/journal": (4.0, 0.0),
    "/usr": (6.0, 0.0),
}


def having(given: Facts, **facts: Fact[Any]) -> Facts:
    """Return the facts with others, by the names of their sources."""
    sources = {source.name: source for source in checks.SOURCES}
    for name, fact in facts.items():
        given = given.having(sources[name], fact)
    return given


def known_facts(now: float = NOW) -> Facts:
    """Return everything that is known about the server."""
    used = 229 * GIB
    disk = Disk("/", 232 * GIB, used, 3 * GIB)
    owners = tuple(
        RootUsage(path, round(size * GIB), round(growth * GIB))
        for path, (size, growth) in OWNERS.items()
    )
    rest = used - sum(owner.bytes or 0 for owner in owners) - 2 * GIB
    attribution = Attribution(
        "/",
        now - 1800,
        used,
        owners,
        2 * GIB,
        (("codex (812)", 2 * GIB),),
        rest,
        5 * GIB,
        True,
        312,
    )
    history = tuple(
        DiskSample(
            now - ago * HOUR / 4,
            round((229 - 0.1 * ago + 3 * math.sin(ago / 15)) * GIB),
            3 * GIB,
            0,
        )
        for ago in range(14 * 96, -1, -1)
    )
    return having(
        Facts(now, {"disks": 0.001, "pressure": 20.0}, otherwise=Absent("not declared")),
        engine=Known(EngineState(True, "answers at /run/docker.sock")),
        disks=Known({"/": Known(Filesystem(disk, 1_000_000, 400_000, 1))}),
        samples=Known({"/": history}),
        owners=Known({"/": Known(attribution)}),
        jobs=Known(_jobs(now)),
        units=Known((FailedUnit("earlyoom.service", True, now - 7200, "exit-code"),)),
        runners=Known(_runners(now)),
        lanes=Known(_lanes(now)),
        merge_queues=Known(_queue(now)),
        paperclip=Known(_board(now)),
        images=Known(
            {
                "factory-base": Known(
                    ImageState("factory-base", now - 3 * DAY, None, 900 << 20, "ok", "")
                )
            }
        ),
        certificates=Known(
            {"/etc/ssl/site.pem": Known(Certificate("/etc/ssl/site.pem", now + 40 * DAY))}
        ),
        memory=Known(MemoryUse(31 * GIB, 9 * GIB, 8 * GIB, 8 * GIB)),
        pressure=Unknown("no answer within 20 s"),
        reboot=Known(Reboot(now - 2 * DAY, ("linux-image-amd64",))),
        clock=Known(Clock(True, 0.02)),
        drift=Known(Drift(now - 8 * HOUR, "", ("/etc/docker/daemon.json",))),
        workspaces=Known(Workspaces(321, (Workspace("/w/" + HOSTILE, "dangling_gitfile"),))),
        worktrees=Known(RegisteredWorktrees(108, ())),
        healing=Known(Healing((), ())),
        delivery=Known(Delivery(0, None, "")),
        dead_man=Known(DeadMan(now - 900, "")),
        previous=Known(Previous(now - 900)),
        configuration=Known(()),
    )


def _jobs(now: float) -> Mapping[str, Any]:
    def job(name: str, **changes: Any) -> dict[str, Any]:
        return {
            "name": name,
            "description": name,
            "state": "present",
            "declared_state": "present",
            "paused": None,
            "schedule": "*:0/15",
            "timezone": "UTC",
            "running": False,
            "running_since": None,
            "interval_seconds": 900,
            "next_elapse_at": times.iso_or_none(now + 300),
            "last_run": {
                "result": "success",
                "exit_status": "0",
                "started_at": times.iso_or_none(now - 620),
                "ended_at": times.iso_or_none(now - 600),
                "duration_seconds": 20,
            },
            "last_success_at": times.iso_or_none(now - 600),
            "expect_every_seconds": 3600,
            "missed": False,
            "review_due": False,
            "drift": [],
            **changes,
        }

    failed = {"result": "exit-code", "exit_status": "1", "ended_at": times.iso_or_none(now - 40000)}
    pause = {"reason": "save GitHub CI minutes", "by": "ali", "since": "2026-06-30"}
    return {
        "jobs": [
            job("watchdog"),
            job("janitor", last_run=failed, missed=True, last_success_at=None),
            job("coo-ops-loop", state="paused", paused={**pause, "review_after": "2026-07-14"}),
        ],
        "drift": [],
        "failures": {},
    }


def _runners(now: float) -> Mapping[str, Fact[Runner]]:
    values: dict[str, Any] = {"project": "aina-academy", "mode": "native"}
    dead = Runner(
        **values,
        name="vds-1",
        consecutive_failures=0,
        state="failed",
        since=now - 3540,
        updated_at=now - 60,
        detail="offline at GitHub while its unit is active",
        version="2.335.1",
        version_age_days=3,
        oldest_queued_seconds=3500,
    )
    return {"vds-1": Known(dead), "vds-2": Unknown("vds-2.json is no JSON")}


def _lanes(now: float) -> Mapping[str, Fact[LaneState]]:
    return {
        "lane-17": Known(
            LaneState("lane-17", "aina-academy", "252", "running", now - 900, now - 30, now)
        ),
        "lane-18": Known(
            LaneState("lane-18", "aina-academy", "253", "running", now - 9000, now - 8000, now)
        ),
    }


def _queue(now: float) -> Mapping[str, Fact[Mapping[str, Any]]]:
    pulls = [
        {
            "number": 400 + number,
            "title": f"AIN-{200 + number}: {'practice arena' if number else HOSTILE}",
            "author": "codex",
            "decision": "wait" if number % 3 else "merge",
            "reason": {
                "code": "checks_pending" if number % 3 else "ready",
                "detail": "ci (in progress)" if number % 3 else "",
                "owner": "ci" if number % 3 else "marshal",
                "since": now - number * HOUR,
            },
            "result": "",
        }
        for number in range(30)
    ]
    report = {
        **{"schema": 1, "project": "aina-academy", "repository": "ainative-academy/aina-academy"},
        **{
            "mode": "fast",
            "time": now - 300,
            "failed": True,
            "gate": "",
            "incomplete": "",
            "stopped": "halted",
        },
        **{"halted_since": now - 600, "halted_reason": "#402: what landed is not what was judged"},
        **{
            "incomplete": "",
            "main_red_since": now - 2 * HOUR,
            "merged": [],
            "pull_requests": pulls,
        },
        **{"requests": 2, "points": 2, "points_remaining": 4998},
    }
    return {"aina-academy": Known(status.facts(report, now))}


def _board(now: float) -> Paperclip:
    run = BoardRun("Founding Engineer", now - 120, now - 600)
    company = Company(
        "AINA", 66, 3, 1, 134, 66, False, 4, 1, 0, 2, now - 1200, (run,)
    )  # fmt: skip
    return Paperclip(
        True, "version 2026.824.1 is healthy", "2026.824.1", Known((company,)), Known(()), Known(())
    )


def report(given: Facts | None = None, runs: int = 3) -> document.WatchdogReport:
    """Return what the watchdog makes of the facts after some runs."""
    chosen = given or known_facts()
    found = checks.run(chosen, POLICY.limits)
    tracks: Mapping[str, alerts.Track] = {}
    gone = {"key": "engine", "severity": "critical", "detail": "gone"}
    timeline: list[dict[str, Any]] = [
        {"at": times.iso(NOW - 9 * DAY), "change": "raised", **gone},
        {"at": times.iso(NOW - 8 * DAY), "change": "recovered", **gone},
    ]
    silences = (Silence("drift", NOW + DAY, "being worked on", "ali"),)
    for number in range(runs):
        now = NOW - (runs - 1 - number) * 900
        step = alerts.step(tracks, found, POLICY, silences, now)
        tracks = step.tracks
        timeline += [
            {
                "at": times.iso_or_none(now),
                "change": edge.change.value,
                "key": edge.track.key,
                "severity": edge.track.severity,
                "detail": edge.track.detail,
            }
            for edge in step.edges
        ]
    return document.WatchdogReport(
        host="vds",
        facts=chosen,
        findings=found,
        step=step,
        policy=POLICY,
        silences=silences,
        repairs=[heal.Repair(heal.INIT_WORKSPACE, "/w/7", heal.COOLING)],
        attempts=[heal.Attempt(NOW - HOUR, heal.INIT_WORKSPACE, "/w/3", "done", "")],
        outbox=messages.Outbox(),
        timeline=timeline,
        dead_man_ok_at=NOW - 900,
        dead_man_error="",
        seconds=0.21,
        problems=[],
    )


def well_facts(now: float = NOW) -> Facts:
    """Return a server on which all is well."""
    disk = Disk("/", 232 * GIB, 100 * GIB, 132 * GIB)
    return having(
        Facts(now, otherwise=Absent("not declared")),
        disks=Known({"/": Known(Filesystem(disk, 1_000_000, 900_000, 1))}),
        engine=Known(EngineState(True, "answers")),
    )
