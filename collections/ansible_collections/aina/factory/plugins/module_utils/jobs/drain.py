"""Empty a server of work before its engine is upgraded or it is booted anew; pure.

While the mark :data:`MARK` exists nothing new is begun: jobs are paused, and runners and
lanes refuse. What still works is told by what each part writes down of itself, and a part
that says nothing readable counts as working.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

MARK = "/var/lib/aina-factory/draining.json"
PAUSED_BY = "factory drain"
# Goes on, since it watches over the work itself.
KEPT_JOBS = frozenset({"watchdog"})
# An idle runner is not among them: until it is closed GitHub may give it a job.
_RESTING = frozenset({"stopped", "backoff", "failed", "outdated"})


def mark(reason: str, by: str, since: str) -> dict[str, Any]:
    """Return the content of the mark."""
    return {"schema": 1, "reason": reason, "by": by, "since": since}


def working_jobs(units: Iterable[tuple[str, str]], kept: Iterable[str]) -> Iterator[str]:
    """Yield the jobs that run at this moment; ``units`` are services and their active states."""
    names = {f"factory-job-{name}.service" for name in kept}
    for unit, state in units:
        if unit not in names and state not in ("inactive", "failed"):
            yield f"job {unit.removeprefix('factory-job-').removesuffix('.service')} runs"


def working_runners(documents: Mapping[str, Mapping[str, Any] | None]) -> Iterator[str]:
    """Yield the runners that have a job or may get one; ``None`` is a file that cannot be read."""
    for name, document in sorted(documents.items()):
        state = str((document or {}).get("state", "unknown"))
        if state not in _RESTING:
            yield f"runner {name} is {state}"


def working_lanes(
    documents: Mapping[str, Mapping[str, Any] | None], containers: Iterable[str]
) -> Iterator[str]:
    """Yield the lanes that have begun and not ended, by their state or by their container."""
    running = set(containers)
    for name, document in sorted(documents.items()):
        if document is None or document.get("state") not in ("done", "failed", "stopped"):
            running.add(name)
    for name in sorted(running):
        yield f"lane {name} works"
