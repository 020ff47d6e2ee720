"""What a kind of the janitor is told about this host, and what it acts with."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from ..base.ports import Fetch, Run
from ..base.presence import Presence
from ..base.processes import Process, running
from .model import Kind

# One reap of all projects, told whether it is a dry run; returns the worktrees' verdicts as
# ``factory reap --json`` prints them (path, verdict, reason, bytes, reaped), and what failed.
Reap = Callable[[bool], tuple[Sequence[Mapping[str, Any]], Sequence[str]]]


@dataclass(frozen=True)
class Host:
    """The watched disk, the time, and the effects; the kinds share what they learn.

    ``at`` returns how a server behind a socket file is reached. What a kind wants to keep after
    a run that was none for show, it adds to ``keep``.
    """

    device: int
    now: float
    lock_directory: Path
    image_use_path: Path
    image_heard_path: Path
    run: Run
    at: Callable[[str], Fetch]
    reap: Reap
    processes: Callable[[], Iterable[Process]] = running
    presence: Callable[[], Presence] = Presence
    keep: list[Callable[[], None]] = field(default_factory=list)


class Settings(Protocol):
    """The declared settings of one file of ``kinds/``."""

    def kinds(self, host: Host) -> Sequence[Kind]:
        """Return the kinds as they are on this host; none where they are switched off."""
