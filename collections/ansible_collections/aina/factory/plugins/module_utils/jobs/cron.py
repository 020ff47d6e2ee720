"""Render declared jobs as one crontab, where PID 1 is not systemd; pure."""

from __future__ import annotations

import hashlib
import shlex

from ..base.configuration import ConfigurationError
from . import calendar, layout
from .settings import Job, Jobs

_UTC = {"UTC", "Etc/UTC", "Etc/UCT", "UCT", "Zulu", "Etc/Zulu", "Universal", "GMT", "Etc/GMT"}
_LINE_MAX_BYTES = 998  # cron's own limit for a command
_HEADER = """\
# Managed by aina.factory.systemd_jobs (role: factory_crons); edits are lost.
SHELL=/bin/sh
PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
MAILTO=""
# Times are the host's own: {timezone}
"""


def crontab(jobs: Jobs, host_timezone: str) -> str:
    """Return the whole of the owned cron file.

    Raises:
        ConfigurationError: cron cannot do what a job asks for; names the job and the field.

    """
    lines = [_entry(job, jobs, host_timezone) for job in jobs.declared]
    return _HEADER.format(timezone=host_timezone) + "".join(lines)


def unsupported(jobs: Jobs) -> list[str]:
    """Return one sentence for each wish that cron silently could not fulfil."""
    notes = []
    for job in jobs.declared:
        ignored = [
            field
            for field, asked in (
                ("catch_up", job.catch_up),
                ("requires", job.requires),
                ("needs", job.needs),
                ("on_failure (unit names)", job.failure_units is not None),
            )
            if asked
        ]
        if ignored:
            notes.append(
                f"jobs.{job.name}: cron cannot honour {', '.join(ignored)}; systemd as PID 1 would"
            )
    return notes


def _entry(job: Job, jobs: Jobs, host_timezone: str) -> str:
    if not job.at_boot and not _same_timezone(job.timezone, host_timezone):
        raise ConfigurationError(
            f"jobs.{job.name}.timezone is {job.timezone!r}, but this host's cron runs in "
            f"{host_timezone!r}; set that, or change the host's time zone"
        )
    try:
        schedule = calendar.to_cron(job.schedule, job.timezone)
    except calendar.ScheduleError as error:
        raise ConfigurationError(
            f"jobs.{job.name}.schedule: {error}; write cron's five fields for this host"
        ) from None
    if job.credentials:
        raise ConfigurationError(
            f"jobs.{job.name}.credentials needs systemd as PID 1; cron has none"
        )
    comment = f"# {job.name}: {job.title}\n"
    line = f"{schedule} root {_command(job, jobs)}\n"
    if job.paused is not None:
        reason = f"{job.paused.reason} (since {job.paused.since} by {job.paused.by})"
        return f"{comment}# paused: {reason}\n# {line}"
    return comment + line


def _command(job: Job, jobs: Jobs) -> str:
    environment = [f"{name}={value}" for name, value in sorted(job.environment.items())]
    words = [
        f"{layout.LIBRARY_DIR}/cron-run",
        job.name,
        job.user,
        str(job.timeout_seconds),
        job.on_overlap,
        str(_delay_seconds(job)),
        str(jobs.resource_classes[job.resource_class].nice),
        "alert" if job.failure_units else str(job.on_failure),
        ",".join(job.lock_names) or "-",
        "--",
        *(["env", *environment] if environment else []),
        *job.command,
    ]
    line = shlex.join(words)
    if "\n" in line:
        raise ConfigurationError(
            f"jobs.{job.name}.command or environment holds a newline; a cron line cannot"
        )
    line = line.replace("%", "\\%")  # cron reads a bare % as a newline
    if len(line.encode()) > _LINE_MAX_BYTES:
        raise ConfigurationError(
            f"jobs.{job.name}.command is {len(line.encode())} bytes long as a cron line; cron "
            f"takes {_LINE_MAX_BYTES}; put it into a script"
        )
    return line


def _delay_seconds(job: Job) -> int:
    """Return the job's own stable share of its jitter."""
    if job.jitter_seconds == 0:
        return 0
    digest = hashlib.sha256(job.name.encode()).digest()
    return int.from_bytes(digest[:8], "big") % (job.jitter_seconds + 1)


def _same_timezone(wanted: str, actual: str) -> bool:
    return wanted == actual or (wanted in _UTC and actual in _UTC)
