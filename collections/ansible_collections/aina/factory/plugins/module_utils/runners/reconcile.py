"""What becomes of a container that the engine has, and of an entry that GitHub has; pure.

A supervisor watches its own container. What nobody watches is found here, from the engine's
side and from GitHub's: by the healer every few minutes, and by a supervisor before it starts
anything. The rows are read in order, and the first that fits decides.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import Enum, auto

JOB_MAX_MINUTES = 360.0


class Act(Enum):
    """What to do with a container or an entry.

    ``WITHDRAW`` asks GitHub to send no more jobs, which it grants only to an idle runner, and
    ends the container then. ``ADOPT`` starts the slot's supervisor, which takes it over.
    """

    KEEP = auto()
    ADOPT = auto()
    WITHDRAW = auto()
    END = auto()
    REMOVE = auto()


@dataclass(frozen=True)
class SeenContainer:
    """A container of ours; None is unknown.

    ``stopped``: somebody wants its slot empty. ``forgotten_seconds``: for how long GitHub has
    answered that it knows no such runner; 0 when it does, or did not answer.
    """

    running: bool
    declared: bool
    supervised: bool
    stopped: bool = False
    worker: bool | None = None
    age_seconds: float = 0.0
    forgotten_seconds: float = 0.0
    job_max_minutes: float = JOB_MAX_MINUTES
    forgotten_max_seconds: float = 900.0


@dataclass(frozen=True)
class SeenEntry:
    """A runner at GitHub whose name says that it is ours."""

    online: bool
    busy: bool
    known_slot: bool
    is_current: bool
    has_container: bool
    age_seconds: float
    young_seconds: float = 900.0


@dataclass(frozen=True)
class ContainerRow:
    """One row: when it fits, what follows, why, and what may undo it."""

    fits: Callable[[SeenContainer], bool]
    act: Act
    reason: str
    undone_by: str


CONTAINERS = (
    ContainerRow(lambda c: c.supervised, Act.KEEP, "its supervisor watches it", "the supervisor"),
    ContainerRow(lambda c: not c.running, Act.REMOVE, "it ended, and nobody watches it", "nobody"),
    ContainerRow(
        lambda c: c.forgotten_seconds > c.forgotten_max_seconds,
        Act.END,
        "nobody watches it, and GitHub does not know it any more",
        "an answer of GitHub's that knows it",
    ),
    ContainerRow(
        lambda c: c.declared and not c.stopped,
        Act.ADOPT,
        "its supervisor is gone",
        "the supervisor, which takes it over",
    ),
    ContainerRow(
        lambda c: c.age_seconds > c.job_max_minutes * 60 and c.worker is True,
        Act.END,
        "nobody watches it, and its job takes too long",
        "nobody",
    ),
    ContainerRow(
        lambda c: c.worker is not False, Act.KEEP, "it has a job, or may have one", "its end"
    ),
    ContainerRow(
        lambda c: True, Act.WITHDRAW, "nobody watches it or wants it", "a job that it has"
    ),
)


@dataclass(frozen=True)
class EntryRow:
    """One row of the table of entries."""

    fits: Callable[[SeenEntry], bool]
    act: Act
    reason: str
    undone_by: str


ENTRIES = (
    # Another host's name may begin like ours; only a slot that this host knows is ours.
    EntryRow(lambda e: not e.known_slot, Act.KEEP, "no slot of this host has it", "its host"),
    EntryRow(lambda e: e.online or e.busy, Act.KEEP, "it works", "its runner"),
    EntryRow(lambda e: e.is_current, Act.KEEP, "its supervisor speaks of it", "the supervisor"),
    EntryRow(lambda e: e.has_container, Act.KEEP, "its container is there", "its container's end"),
    EntryRow(
        lambda e: e.age_seconds <= e.young_seconds, Act.KEEP, "it may still come up", "its age"
    ),
    EntryRow(lambda e: True, Act.REMOVE, "it never came to life", "nobody"),
)


def container(seen: SeenContainer) -> ContainerRow:
    """Return the row that decides over a container."""
    return next(row for row in CONTAINERS if row.fits(seen))


def entry(seen: SeenEntry) -> EntryRow:
    """Return the row that decides over an entry at GitHub."""
    return next(row for row in ENTRIES if row.fits(seen))


class Start(Enum):
    """What a supervisor may do next."""

    WAIT = auto()
    TAKE_OVER = auto()
    START = auto()


def may_start(running: Iterable[str] | None) -> Start:
    """Return whether a supervisor may start a runner; ``running`` is None when the engine is silent."""
    if running is None:
        return Start.WAIT
    return Start.TAKE_OVER if list(running) else Start.START
