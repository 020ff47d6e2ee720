"""Judges of the host: images, certificates, memory, clock, drift, repositories."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from ...base import times
from ...base.text import duration, size
from ..facts import (
    DAY,
    HOUR,
    Backup,
    Certificate,
    Clock,
    Drift,
    Fact,
    Image,
    Memory,
    Pressure,
    Reboot,
    Workspaces,
    Worktrees,
)
from ..findings import MINUTE, Answer, Context, Status, each, some


def image(images: Mapping[str, Fact[Image]], context: Context) -> Iterator[Answer]:
    """Judge whether an image is there, its age and the outcome of its smoke test."""

    def judge(name: str, image: Image) -> Iterator[Answer]:
        days = (context.now - image.built_at) / DAY
        status, lingers = context.by("image_age_days", days)
        detail = f"built {duration(days * DAY)} ago"
        if image.smoke != "ok":
            status, detail = Status.PROBLEM, f"its smoke test failed: {image.detail}"
        if image.presence == "gone":
            status, detail = Status.PROBLEM, f"it is not in the engine any more; {detail}"
        elif image.presence == "another":
            status, detail = Status.PROBLEM, f"another image has its name; this one was {detail}"
        yield Answer(name, status, detail, round(days, 1), lingers)

    return each(images, judge)


def backup(backup: Backup, context: Context) -> Iterator[Answer]:
    """Judge how the last backup ended, and the age of the last good one."""
    if backup.last_success_at is None:
        yield Answer("", Status.PROBLEM, f"none has been good yet: {backup.state} {backup.detail}")
        return
    hours = (context.now - backup.last_success_at) / HOUR
    status, lingers = context.by("backup_age_hours", hours)
    detail = f"the last good one was made {duration(hours * HOUR)} ago"
    if backup.state != "ok":
        status, detail = Status.PROBLEM, f"{backup.state}: {backup.detail}; {detail}"
    yield Answer("", status, detail, round(hours, 1), lingers)


def certificate(
    certificates: Mapping[str, Fact[Certificate]], context: Context
) -> Iterator[Answer]:
    """Judge how soon a certificate ends."""

    def judge(name: str, certificate: Certificate) -> Iterator[Answer]:
        days = (certificate.ends_at - context.now) / DAY
        status, lingers = context.by("certificate_days", days)
        verb = "ends in" if days >= 0 else "ended"
        ago = "" if days >= 0 else " ago"
        detail = (
            f"{verb} {duration(abs(days) * DAY)}{ago}, {times.iso_or_none(certificate.ends_at)}"
        )
        yield Answer(name, status, detail, round(days, 1), lingers)

    return each(certificates, judge)


def memory(memory: Memory, context: Context) -> Iterator[Answer]:
    """Judge the share of memory that is available."""
    share = 100.0 * memory.available_bytes / memory.total_bytes
    status, lingers = context.by("memory_available_percent", share)
    detail = f"{size(memory.available_bytes)} of {size(memory.total_bytes)} ({share:.1f} %) are available"
    yield Answer("", status, detail, round(share, 1), lingers)


def pressure(pressure: Pressure, context: Context) -> Iterator[Answer]:
    """Judge how much work stood still for want of memory, disk or processors."""
    for kind, value in (
        ("memory", pressure.memory_full),
        ("io", pressure.io_full),
        ("cpu", pressure.cpu_some),
    ):
        status, lingers = context.by(f"{kind}_pressure_percent", value)
        detail = f"work waited for {kind} in {value:g} % of the last five minutes"
        yield Answer(kind, status, detail, value, lingers)


def reboot(reboot: Reboot, context: Context) -> Iterator[Answer]:
    """Judge how long the host asks for a reboot."""
    if reboot.required_since is None:
        yield Answer("", Status.OK, "no reboot is asked for", 0)
        return
    days = (context.now - reboot.required_since) / DAY
    status, lingers = context.by("reboot_required_days", days)
    why = f" by {some(reboot.packages)}" if reboot.packages else ""
    yield Answer(
        "", status, f"asked for{why} since {duration(days * DAY)}", round(days, 1), lingers
    )


def clock(clock: Clock, context: Context) -> Iterator[Answer]:
    """Judge whether the clock is synchronised and did not go back."""
    if clock.newest_trace_at is not None and clock.newest_trace_at > context.now + MINUTE:
        ahead = duration(clock.newest_trace_at - context.now)
        yield Answer("", Status.PROBLEM, f"it went back: an earlier run was {ahead} ahead of now")
        return
    status, lingers = context.by("clock_error_seconds", clock.max_error_seconds)
    detail = f"off by at most {clock.max_error_seconds:.3f} s"
    if not clock.synchronised:
        status, detail = Status.PROBLEM, "nothing synchronises it"
    yield Answer("", status, detail, clock.max_error_seconds, lingers)


def drift(drift: Drift, context: Context) -> Iterator[Answer]:
    """Report what differs from the declared state."""
    age = (context.now - drift.checked_at) / HOUR
    if context.limits["drift_age_hours"].exceeded(age):
        yield Answer("", Status.UNKNOWN, f"last looked at {duration(age * HOUR)} ago")
    elif drift.error:
        yield Answer("", Status.UNKNOWN, f"the look failed: {drift.error}")
    elif drift.changes:
        detail = f"differs from the declared state: {some(drift.changes)}"
        yield Answer("", Status.PROBLEM, detail, len(drift.changes))
    else:
        yield Answer("", Status.OK, "as declared", 0)


def workspace(workspaces: Workspaces, _context: Context) -> Iterator[Answer]:
    """Report workspaces in which git cannot work, by their exact reason."""
    reasons: dict[str, list[str]] = {}
    for workspace in workspaces.broken:
        reasons.setdefault(workspace.reason, []).append(workspace.path)
    for reason, paths in sorted(reasons.items()):
        yield Answer(reason, Status.PROBLEM, f"{len(paths)}: {some(sorted(paths))}", len(paths))
    for root in workspaces.missing:
        detail = f"{root} is declared (heal.workspace_roots), and there is no such directory"
        yield Answer(root, Status.UNKNOWN, detail)
    if not reasons and not workspaces.missing:
        yield Answer("", Status.OK, f"git works in all {workspaces.count}", 0)


def worktree(worktrees: Worktrees, _context: Context) -> Iterator[Answer]:
    """Report registered worktrees that have lost their directory."""
    for path in worktrees.missing:
        yield Answer(path, Status.UNKNOWN, f"{path} is a project's path, and holds no repository")
    found = len(worktrees.dangling)
    if found:
        detail = f"registered, but their directory is gone: {some(worktrees.dangling)}"
        yield Answer("", Status.PROBLEM, detail, found)
    elif not worktrees.missing:
        yield Answer("", Status.OK, f"all {worktrees.count} are where git expects them", 0)
