"""What the subcommands ``jobs``, ``pause`` and ``resume`` share."""

from __future__ import annotations

import getpass
import os
from pathlib import Path

from factory import configuration
from factory.core.base import settings
from factory.core.jobs import layout
from factory.core.jobs.settings import Job, Jobs
from factory.outcome import UsageError

LOCK_PATH = layout.LOCK_PATH


def declared(configuration_path: str) -> Jobs:
    """Return the declared jobs of the server's configuration.

    Raises:
        UsageError: there is no ``jobs`` section.
        ConfigurationError: a value in it is wrong.

    """
    whole = configuration.load(Path(configuration_path))
    if not whole.has("jobs"):
        raise UsageError(
            f"{configuration_path} and its conf.d hold no section 'jobs'; converge the host with "
            "the role factory_crons"
        )
    return settings.read(Jobs, whole.section("jobs"))


def one(jobs: Jobs, name: str) -> Job:
    """Return the job ``name``.

    Raises:
        UsageError: there is no such job.

    """
    job = jobs.get(name)
    if job is None:
        known = ", ".join(job.name for job in jobs.declared) or "none"
        raise UsageError(f"there is no job {name!r}; declared are: {known}")
    return job


def person() -> str:
    """Return who gave the command, also through sudo."""
    return os.environ.get("SUDO_USER") or getpass.getuser()


def require_root() -> None:
    """Refuse early what only root may do.

    Raises:
        UsageError: the caller is not root.

    """
    if os.geteuid() != 0:
        raise UsageError("this changes system timers; run it with sudo")
