"""Names and places of everything that the jobs consist of on a host."""

from __future__ import annotations

from ..base import locks

LOCK_DIR = str(locks.DIRECTORY)
# Every job's user may take one of these; nobody but root can make or replace one.
SHARED_LOCK_DIR = "/run/factory-job-locks"
LOCK_PATH = locks.DIRECTORY / "factory-jobs.lock"  # of converge, pause and resume
PREFIX = "factory-job-"
UNIT_DIR = "/etc/systemd/system"
PAUSED_DIR = "/etc/aina-factory/paused"  # declared pauses, owned by the converge
RUNTIME_PAUSED_DIR = "/var/lib/aina-factory/paused"  # an operator's, owned by the command
CONFIGURATION_PATH = "/etc/aina-factory/conf.d/jobs.json"
LIBRARY_DIR = "/usr/local/lib/aina-factory-jobs"
RUNS_DIR = "/var/lib/aina-factory/job-runs"
FAILURES_DIR = "/var/lib/aina-factory/failures"
# What runs after every failure of a unit that calls the notifier; other roles own the files.
ON_FAILURE_DIR = "/etc/aina-factory/on-failure.d"
TMPFILES_PATH = "/etc/tmpfiles.d/factory-jobs.conf"
CRON_PATH = "/etc/cron.d/aina-factory"
STAMP_DIR = "/var/lib/systemd/timers"
SYSTEMD_MARK = "/run/systemd/system"  # exists exactly where PID 1 is systemd
BOOTED_DIR = "/run/aina-factory-booted"  # per job at boot: it had its run, or came later
SKIPPED = 75  # sysexits' EX_TEMPFAIL: a lock was held, nothing was done


def timer(name: str) -> str:
    """Return the timer unit of the job ``name``."""
    return f"{PREFIX}{name}.timer"


def service(name: str) -> str:
    """Return the service unit of the job ``name``."""
    return f"{PREFIX}{name}.service"


def booted_path(name: str) -> str:
    """Return what says that the job ``name`` is not to run before the next boot."""
    return f"{BOOTED_DIR}/{name}"


def lock_path(lock: str) -> str:
    """Return the lock file of the shared lock ``lock``."""
    return f"{SHARED_LOCK_DIR}/factory-{lock}.lock"


def job_of(unit: str) -> str | None:
    """Return the job a unit name belongs to, or ``None`` when it is not a job's unit."""
    stem, _dot, suffix = unit.rpartition(".")
    if suffix in ("timer", "service") and stem.startswith(PREFIX) and stem != PREFIX:
        return stem.removeprefix(PREFIX)
    return None
