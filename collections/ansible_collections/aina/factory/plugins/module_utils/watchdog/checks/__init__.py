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
    dead_man,
    delivery,
    disk_owners,
    disk_trend,
    disks,
    drift,
    engine,
    healing,
    images,
    jobs,
    lane_residue,
    lanes,
    memory,
    merge_queues,
    paperclip,
    pressure,
    reboot,
    run_gap,
    runners,
    services,
    units,
    workspaces,
    worktrees,
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
    *backup.CHECKS,
    *certificates.CHECKS,
    *memory.CHECKS,
    *pressure.CHECKS,
    *reboot.CHECKS,
    *clock.CHECKS,
    *drift.CHECKS,
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
