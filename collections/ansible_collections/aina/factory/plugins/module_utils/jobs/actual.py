"""Read the host's side of the declared jobs."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from ..base.ports import Run
from . import layout, observe
from .report import Actual
from .settings import Jobs


def read(jobs: Jobs, run: Run) -> Actual:
    """Return units, pauses and the records of the last runs.

    Raises:
        ObservationError: systemd did not answer.

    """
    units, scheduled = None, None
    if observe.systemd_is_running():
        names = [unit(job.name) for job in jobs.declared for unit in (layout.timer, layout.service)]
        units = observe.units(names, run)
    else:
        scheduled = _scheduled()
    directory = Path(layout.RUNS_DIR)
    records = {job.name: _record(directory / f"{job.name}.json") for job in jobs.declared}
    successes = {job.name: _record(directory / f"{job.name}.success.json") for job in jobs.declared}
    return Actual(
        units,
        observe.pauses(layout.RUNTIME_PAUSED_DIR, "runtime"),
        {name: record for name, record in records.items() if record is not None},
        {name: record for name, record in successes.items() if record is not None},
        scheduled,
    )


def _record(path: Path) -> dict[str, Any] | None:
    """Return a record; an empty one where it is damaged, ``None`` where there is none."""
    return observe.read_json(path) or ({} if path.exists() else None)


def _scheduled() -> set[str] | None:
    """Return the jobs that the owned cron file runs; ``None`` when it cannot be read."""
    try:
        text = Path(layout.CRON_PATH).read_text(encoding="utf-8")
    except OSError:
        return None
    return set(re.findall(rf"^[^#\n]*{re.escape(layout.LIBRARY_DIR)}/cron-run (\S+)", text, re.M))
