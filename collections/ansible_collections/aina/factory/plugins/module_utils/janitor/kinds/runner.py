"""Leftovers of runner installations, while no job may need them."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ...base import paths
from ...base.paths import PathEntry
from ...base.processes import Process
from ...base.settings import setting
from ..file_kinds import FileKind, Holder
from ..host import Host
from ..limits import Rooted
from ..model import Kind, present


@dataclass(frozen=True)
class RunnerSettings(Rooted):
    """Where is looked, and when something goes."""

    roots: tuple[str, ...] = setting(
        ("/opt/gha-runner/instances/*", "/var/lib/gha-runner/*"),
        "Absolute paths of installations; wildcards are allowed. Those of declared runners are"
        " among them.",
        kind="path",
        adds=True,
    )

    def kinds(self, host: Host) -> Sequence[Kind]:
        return [
            FileKind(
                "runner",
                self.limits,
                lambda: listed(self.roots),
                host.presence,
                host.device,
                busy=lambda: job_holder(self.roots, host.processes()),
            )
        ]


def listed(directories: Sequence[str]) -> list[PathEntry]:
    """List what is in ``_work/_temp`` and ``_diag`` of the runners."""
    found: list[PathEntry] = []
    for root in present(directories):
        if os.path.lexists(f"{root}/_work/_temp"):
            found += paths.entries(f"{root}/_work/_temp")
        if os.path.lexists(f"{root}/_diag"):
            found += paths.files(f"{root}/_diag", ("*.log",), recursive=True)
    return found


def job_holder(directories: Sequence[str], processes: Iterable[Process]) -> Holder:
    """Return a function that holds what belongs to a runner that may have a job."""
    roots = present(directories)
    # A job in a container has nothing of a runner of the host.
    workers = [process for process in processes if _is_worker(process) and not process.contained]
    busy = {root for root in roots if any(_may_serve(w, root, roots) for w in workers)}

    def held_by(found: PathEntry) -> str:
        return "job_running" if any(found.path.startswith(f"{root}/") for root in busy) else ""

    return held_by


def _is_worker(process: Process) -> bool:
    programs = (process.executable, process.arguments[0])
    return "Runner.Worker" in {process.name, *(Path(program).name for program in programs)}


def _may_serve(worker: Process, root: str, roots: Sequence[str]) -> bool:
    """Whether the job may be this runner's: only proof of another home clears it."""
    homes = [home for home in roots if worker.executable.startswith(f"{home}/")]
    return root in homes or not homes


DEFAULT = RunnerSettings(max_age_days=2, min_age_hours=12)
