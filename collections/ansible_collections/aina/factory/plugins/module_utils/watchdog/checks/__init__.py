"""The one list of all checks, and one run over them.

Status page, metrics, Prometheus' rules, the dashboard, the documents and the self-test are
made from :data:`CHECKS`; a check that is not in it does not exist.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..check import Check, Finding, JudgeContext
from ..limits import Limit
from ..sources import Facts, Source
from . import (
    backup,
    certificates,
    clock,
    configuration,
    containers,
    dead_man,
    delivery,
    disk_owners,
    disk_trend,
    disks,
    drift,
    engine,
    firewall,
    healing,
    images,
    jobs,
    lane_residue,
    lanes,
    local_drift,
    memory,
    merge_queues,
    out_of_memory,
    paperclip,
    planned_work,
    pressure,
    reachability,
    reboot,
    run_gap,
    runners,
    services,
    units,
    workspaces,
    worktrees,
    zombies,
)

CHECKS: tuple[Check[Any], ...] = (
    *disks.CHECKS,
    *disk_trend.CHECKS,
    *disk_owners.CHECKS,
    *engine.CHECKS,
    *units.CHECKS,
    *services.CHECKS,
    *jobs.CHECKS,
    *runners.CHECKS,
    *lanes.CHECKS,
    *lane_residue.CHECKS,
    *merge_queues.CHECKS,
    *paperclip.CHECKS,
    *images.CHECKS,
    *containers.CHECKS,
    *backup.CHECKS,
    *certificates.CHECKS,
    *reachability.CHECKS,
    *firewall.CHECKS,
    *memory.CHECKS,
    *out_of_memory.CHECKS,
    *zombies.CHECKS,
    *pressure.CHECKS,
    *reboot.CHECKS,
    *clock.CHECKS,
    *drift.CHECKS,
    *local_drift.CHECKS,
    *planned_work.CHECKS,
    *workspaces.CHECKS,
    *worktrees.CHECKS,
    *healing.CHECKS,
    *delivery.CHECKS,
    *dead_man.CHECKS,
    *run_gap.CHECKS,
    *configuration.CHECKS,
)

BY_NAME: Mapping[str, Check[Any]] = {check.name: check for check in CHECKS}
LIMITS: tuple[Limit, ...] = tuple(
    dict.fromkeys(limit for check in CHECKS for limit in check.limits)
)
SOURCES: tuple[Source[Any], ...] = tuple(dict.fromkeys(check.source for check in CHECKS))


def run(facts: Facts, limits: Mapping[str, Limit]) -> list[Finding]:
    """Return what every check says; one that crashes is unknown and stops no other."""
    context = JudgeContext(facts, limits)
    return [finding for check in CHECKS for finding in check.findings(context)]
