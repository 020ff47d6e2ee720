"""The one list of all checks, and one run over them.

Status page, metrics, Prometheus' rules, the dashboard and the self-test are made from
:data:`CHECKS`; a check that is not in it does not exist.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from .facts import Fact, Facts, Known
from .findings import Answer, Check, Context, Finding, Status, not_known
from .judges import board, disk, host, own, work
from .limits import Limit


def run(facts: Facts, limits: Mapping[str, Limit]) -> list[Finding]:
    """Return what every check says; one that crashes is unknown and stops no other."""
    context = Context(facts, limits)
    return [finding for check in CHECKS for finding in _findings(check, context)]


def _findings(check: Check, context: Context) -> Iterator[Finding]:
    fact: Fact[Any] = getattr(context.facts, check.fact)
    if not isinstance(fact, Known):
        answer = not_known("", fact)
        yield Finding(check.name, "", answer.status, answer.detail, source=check.fact)
        return
    try:
        answers = list(check.judge(fact.value, context))
    except Exception as error:
        words = f"the check itself failed: {type(error).__name__}: {error}"
        answers = [Answer("", Status.UNKNOWN, words)]
    for answer in answers:
        source = f"{check.fact}:{answer.source}" if answer.source else ""
        yield Finding(check.name, **{**vars(answer), "source": source})


_DISK_ADVICE = "factory status shows who holds the disk; factory janitor --dry-run what may go"
_JOB_ADVICE = "factory jobs; journalctl -u factory-job-NAME"
_RUNNER_ADVICE = "factory runner heal; journalctl of its unit"
_MERGE_ADVICE = "factory marshal --dry-run"
_BOARD_ADVICE = "open the board; journalctl --user-unit paperclipai"

CHECKS: tuple[Check, ...] = (
    Check(
        "disk_space",
        "Disk space",
        _DISK_ADVICE,
        "disks",
        disk.disk_space,
        "critical",
        unit="percent",
        limit="disk_used_percent",
    ),
    Check(
        "disk_inodes",
        "Inodes",
        _DISK_ADVICE,
        "disks",
        disk.disk_inodes,
        "critical",
        unit="percent",
        limit="inodes_used_percent",
    ),
    Check(
        "disk_mount",
        "Mounted disks",
        "findmnt; mount it, or declare the mount point that is meant (watchdog_disks)",
        "mounts",
        disk.disk_mount,
        "critical",
    ),
    Check(
        "disk_trend",
        "Disk fills",
        _DISK_ADVICE,
        "samples",
        disk.disk_trend,
        "critical",
        (3, 3),
        "hours",
        "disk_full_within_hours",
    ),
    Check(
        "disk_owners",
        "Unattributed disk use",
        "add the missing place to watchdog_measure_roots",
        "owners",
        disk.disk_owners,
        unit="percent",
        limit="unattributed_percent",
    ),
    Check(
        "disk_deleted_open",
        "Deleted but open files",
        "restart the named programs",
        "owners",
        disk.disk_deleted,
        unit="mebibytes",
        limit="deleted_open_mib",
    ),
    Check(
        "engine",
        "Container engine",
        "systemctl status docker; journalctl -u docker",
        "engine",
        work.engine,
        "critical",
    ),
    Check(
        "unit_failed",
        "Failed units",
        "systemctl status UNIT; journalctl -u UNIT",
        "units",
        work.unit_failed,
        raise_after=(1, 1),
    ),
    Check(
        "unit_running",
        "Units that do not keep running",
        "systemctl status UNIT; journalctl -u UNIT; systemctl disable what is not wanted",
        "services",
        work.unit_running,
        unit="count",
        limit="unit_restarts_count",
    ),
    Check(
        "job_missed",
        "Jobs that did not run",
        _JOB_ADVICE,
        "jobs",
        work.jobs(work.job_missed),
        raise_after=(1, 1),
    ),
    Check(
        "job_failed",
        "Jobs that failed",
        _JOB_ADVICE,
        "jobs",
        work.job_failed,
        raise_after=(1, 1),
    ),
    Check(
        "job_overlapping",
        "Jobs that overlap",
        _JOB_ADVICE,
        "jobs",
        work.jobs(work.job_overlapping),
        raise_after=(3, 4),
    ),
    Check(
        "job_review",
        "Pauses to review",
        "factory resume JOB, or a new date in the inventory",
        "jobs",
        work.jobs(work.job_review),
        "info",
        (1, 1),
    ),
    Check(
        "job_drift", "Jobs unlike their declaration", "converge the host", "jobs", work.job_drift
    ),
    Check(
        "runner",
        "Runners",
        _RUNNER_ADVICE,
        "runners",
        work.runner,
        "critical",
        unit="minutes",
        limit="runner_down_minutes",
    ),
    Check(
        "runner_queue",
        "Queued CI jobs",
        _RUNNER_ADVICE,
        "runners",
        work.runner_queue,
        unit="minutes",
        limit="runner_queued_minutes",
    ),
    Check(
        "runner_version",
        "Runner versions",
        "converge the host; GitHub refuses runners that are 30 days behind",
        "runners",
        work.runner_version,
        raise_after=(1, 1),
        unit="days",
        limit="runner_version_days",
    ),
    Check(
        "lane_stuck",
        "Lanes",
        "factory lane logs ID; factory lane stop ID",
        "lanes",
        work.lane_stuck,
        unit="minutes",
        limit="lane_silent_minutes",
    ),
    Check(
        "lane_residue",
        "Leftovers of lanes",
        "factory janitor --dry-run",
        "residue",
        work.lane_residue,
        unit="count",
    ),
    Check("merge_report", "Merge cycles", _MERGE_ADVICE, "merge_queues", work.merge_report),
    Check(
        "merge_halted",
        "Merge queue halted",
        "look at what landed, then factory marshal --project NAME --resume",
        "merge_queues",
        work.merge_halted,
        "critical",
        (1, 1),
        "seconds",
    ),
    Check(
        "main_red",
        "Default branch red",
        _MERGE_ADVICE,
        "merge_queues",
        work.main_red,
        "critical",
        (1, 1),
        "minutes",
        "main_red_minutes",
    ),
    Check(
        "merge_waiting",
        "Pull requests that wait",
        _MERGE_ADVICE,
        "merge_queues",
        work.merge_waiting,
        unit="hours",
        limit="merge_waiting_hours",
    ),
    Check("paperclip", "Paperclip", _BOARD_ADVICE, "paperclip", board.paperclip, "critical"),
    Check(
        "paperclip_exposed",
        "Paperclip's ports",
        "bind it to the loopback address: it trusts every local caller",
        "paperclip",
        board.paperclip_exposed,
        "critical",
        (1, 1),
    ),
    Check(
        "paperclip_progress",
        "Agents' results",
        _BOARD_ADVICE,
        "paperclip",
        board.companies(board.paperclip_progress),
        unit="hours",
        limit="paperclip_success_hours",
    ),
    Check(
        "paperclip_runs",
        "Agents' failed runs",
        _BOARD_ADVICE,
        "paperclip",
        board.companies(board.paperclip_runs),
        unit="percent",
        limit="paperclip_failed_percent",
    ),
    Check(
        "paperclip_silent",
        "Silent agent runs",
        _BOARD_ADVICE,
        "paperclip",
        board.companies(board.paperclip_silent),
        unit="minutes",
        limit="paperclip_silent_minutes",
    ),
    Check(
        "paperclip_agents",
        "Agents in error",
        _BOARD_ADVICE,
        "paperclip",
        board.companies(board.paperclip_agents),
        unit="count",
        limit="paperclip_agents_error_count",
    ),
    Check(
        "paperclip_codex",
        "Codex homes",
        "Paperclip copies the user's config.toml once: copy it again by hand",
        "paperclip",
        board.paperclip_codex,
        "info",
        unit="count",
    ),
    Check(
        "image",
        "Images",
        "images builds them: converge the host",
        "images",
        host.image,
        unit="days",
        limit="image_age_days",
    ),
    Check(
        "backup",
        "Backup",
        "factory backup says what is wrong; docs/operations.md tells of a restore",
        "backup",
        host.backup,
        raise_after=(1, 1),
        unit="hours",
        limit="backup_age_hours",
    ),
    Check(
        "certificate",
        "Certificates",
        "renew it",
        "certificates",
        host.certificate,
        raise_after=(1, 1),
        unit="days",
        limit="certificate_days",
    ),
    Check(
        "memory",
        "Memory",
        "systemd-cgtop -m",
        "memory",
        host.memory,
        "critical",
        unit="percent",
        limit="memory_available_percent",
    ),
    Check(
        "pressure",
        "Pressure",
        "systemd-cgtop",
        "pressure",
        host.pressure,
        raise_after=(3, 4),
        unit="percent",
        limit="memory_pressure_percent",
    ),
    Check(
        "reboot",
        "Reboot required",
        "drain the host, then reboot",
        "reboot",
        host.reboot,
        raise_after=(1, 1),
        unit="days",
        limit="reboot_required_days",
    ),
    Check(
        "clock",
        "Clock",
        "timedatectl status",
        "clock",
        host.clock,
        unit="seconds",
        limit="clock_error_seconds",
    ),
    Check(
        "drift",
        "Drift from the declared state",
        "script/plan, then script/converge",
        "drift",
        host.drift,
        raise_after=(1, 1),
        unit="count",
    ),
    Check(
        "workspace",
        "Agent workspaces",
        "see the reasons in docs/watchdog.md; git worktree repair mends a dangling link",
        "workspaces",
        host.workspace,
        unit="count",
    ),
    Check(
        "worktree",
        "Worktrees",
        "git worktree repair, or git worktree prune once nobody wants them",
        "worktrees",
        host.worktree,
        unit="count",
    ),
    Check(
        "healing",
        "Repairs given up",
        "mend it by hand; the watchdog begins anew a day later",
        "healing",
        own.healing,
        raise_after=(1, 1),
    ),
    Check(
        "delivery",
        "Undelivered messages",
        "look at the addresses in the apprise file",
        "delivery",
        own.delivery,
        unit="minutes",
        limit="undelivered_minutes",
    ),
    Check(
        "dead_man",
        "Outside watcher",
        "look at the network and the address in the dead-man file",
        "dead_man",
        own.dead_man,
        unit="minutes",
        limit="dead_man_silent_minutes",
    ),
    Check(
        "run_gap",
        "Gap between the watchdog's runs",
        "factory jobs; was the host off?",
        "previous",
        own.run_gap,
        "info",
        (1, 1),
        "minutes",
        "run_gap_minutes",
    ),
    Check(
        "configuration",
        "The watchdog's configuration",
        "correct the named key in the inventory, then converge",
        "configuration",
        own.configuration,
        "critical",
        raise_after=(1, 1),
        unit="count",
    ),
)

BY_NAME: Mapping[str, Check] = {check.name: check for check in CHECKS}
