"""What a run of the watchdog knows. "Unknown" and "not here" are answers of their own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, TypeAlias, TypeVar

from ..base.disk import Disk

T = TypeVar("T")

HOUR = 3600.0
DAY = 86400.0


@dataclass(frozen=True)
class Known(Generic[T]):
    """A fact that was read."""

    value: T


@dataclass(frozen=True)
class Unknown:
    """A fact that should be there and could not be read; ``reason`` says why."""

    reason: str


@dataclass(frozen=True)
class Absent:
    """Nothing to know: ``reason`` says what is not configured or not offered here."""

    reason: str


Fact: TypeAlias = "Known[T] | Unknown | Absent"
NOT_GATHERED = Unknown("it was not gathered")


@dataclass(frozen=True)
class Filesystem:
    """One watched filesystem."""

    disk: Disk
    inodes_total: int
    inodes_free: int
    device: int

    @property
    def inodes_used_percent(self) -> float | None:
        """The used share of its inodes; ``None`` where it does not count them."""
        if not self.inodes_total:
            return None
        return round(100.0 * (self.inodes_total - self.inodes_free) / self.inodes_total, 1)


@dataclass(frozen=True)
class Mount:
    """What is mounted at one declared path.

    ``holder`` is the mount point on which the path really lies; ``identity`` names the
    filesystem, ``before`` the one that was there until ``replaced_at``.
    """

    holder: str
    mounted: bool
    identity: str = ""
    read_only: bool = False
    before: str = ""
    replaced_at: float | None = None


@dataclass(frozen=True)
class Sample:
    """A filesystem at one moment."""

    at: float
    used_bytes: int
    available_bytes: int
    inodes_used: int

    @property
    def used_percent(self) -> float:
        """The used share of what programs could ever use."""
        return Disk("", 0, self.used_bytes, self.available_bytes).used_percent


@dataclass(frozen=True)
class Owner:
    """What one root holds; ``bytes`` is ``None`` while it was never measured."""

    path: str
    bytes: int | None
    growth_bytes: int | None
    stale: bool = False


@dataclass(frozen=True)
class Attribution:
    """Who holds the used bytes of one filesystem; the buckets add up to ``used_bytes``."""

    path: str
    measured_at: float
    used_bytes: int
    owners: tuple[Owner, ...]
    deleted_open_bytes: int
    deleted_open: tuple[tuple[str, int], ...]
    unattributed_bytes: int
    unattributed_growth_bytes: int | None
    complete: bool
    seconds: float = 0.0

    @property
    def explained_percent(self) -> float:
        """The share of the used bytes that has a name."""
        if not self.used_bytes:
            return 100.0
        return round(100.0 * (1 - max(0, self.unattributed_bytes) / self.used_bytes), 1)


@dataclass(frozen=True)
class Engine:
    """The container engine's answer."""

    answers: bool
    detail: str
    restart_pending: str = ""


@dataclass(frozen=True)
class FailedUnit:
    """A unit that has failed; ``failed`` is its present state, else it has come back since.

    ``run`` names the run of it that failed, where that is known.
    """

    name: str
    failed: bool
    at: float | None
    result: str
    run: str = ""


@dataclass(frozen=True)
class Service:
    """A unit that has not failed, and does not keep running either.

    ``is_broken``: it is the factory's own or declared, and cannot be started as it is.
    ``stopped_at``: somebody stopped it, though it is enabled. ``recent_restarts`` are those
    since ``counted_since``.
    """

    name: str
    load_state: str = "loaded"
    is_broken: bool = False
    is_declared: bool = False
    stopped_at: float | None = None
    started_at: float | None = None
    restarts: int = 0
    result: str = ""
    recent_restarts: int = 0
    counted_since: float | None = None


@dataclass(frozen=True)
class Runner:
    """One CI runner, as its role writes it down."""

    name: str
    project: str
    mode: str
    state: str
    since: float
    updated_at: float
    detail: str
    version: str
    version_age_days: float | None
    consecutive_failures: int
    oldest_queued_seconds: float | None
    unit_active: bool | None = None
    last_job: str = ""


@dataclass(frozen=True)
class Lane:
    """One running lane."""

    name: str
    project: str
    issue: str
    state: str
    started_at: float
    last_output_at: float | None
    updated_at: float


@dataclass(frozen=True)
class Residue:
    """What ended lanes left behind, each as a sentence."""

    checked_at: float
    differences: tuple[str, ...]


@dataclass(frozen=True)
class BoardRun:
    """One running agent run."""

    name: str
    last_output_at: float | None
    started_at: float | None


@dataclass(frozen=True)
class Company:
    """The board of one company; counts are exact unless ``todo_truncated``.

    ``recent_runs`` are the newest that ended, of which ``recent_failed`` failed.
    """

    name: str
    tasks_open: int
    tasks_in_progress: int
    tasks_blocked: int
    tasks_done: int
    tasks_todo: int
    todo_truncated: bool
    agents_active: int
    agents_running: int
    agents_paused: int
    agents_error: int
    last_success_at: float | None
    runs: tuple[BoardRun, ...]
    recent_runs: int = 0
    recent_failed: int = 0
    last_failure: str = ""


@dataclass(frozen=True)
class Paperclip:
    """Paperclip's own account of itself, and where its ports are reachable."""

    healthy: bool
    detail: str
    version: str
    companies: Fact[tuple[Company, ...]]
    exposed: Fact[tuple[str, ...]]
    codex_drift: Fact[tuple[str, ...]] = NOT_GATHERED


@dataclass(frozen=True)
class Image:
    """One container image that the factory builds, as the build wrote it down.

    ``presence`` is what the engine says now: there, gone, or another one of its name; it is
    empty where no engine is declared that could be asked.
    """

    name: str
    built_at: float
    base_built_at: float | None
    size_bytes: int
    smoke: str
    detail: str
    presence: str = ""


@dataclass(frozen=True)
class Backup:
    """How the last backup and the last verification ended, and when a snapshot last was good."""

    state: str
    detail: str
    last_success_at: float | None


@dataclass(frozen=True)
class Certificate:
    """A certificate and when it ends."""

    place: str
    ends_at: float


@dataclass(frozen=True)
class Memory:
    """Memory of the host."""

    total_bytes: int
    available_bytes: int
    swap_total_bytes: int
    swap_free_bytes: int


@dataclass(frozen=True)
class Pressure:
    """Shares of the last five minutes in which work stood still, in percent (kernel: PSI)."""

    memory_full: float
    io_full: float
    cpu_some: float


@dataclass(frozen=True)
class Reboot:
    """Whether the host asks for a reboot, and since when."""

    required_since: float | None
    packages: tuple[str, ...] = ()


@dataclass(frozen=True)
class Clock:
    """The kernel's account of its clock."""

    synchronised: bool
    max_error_seconds: float
    newest_trace_at: float | None = None


@dataclass(frozen=True)
class Drift:
    """What differs from the declared state, by the last nightly look."""

    checked_at: float
    error: str
    changes: tuple[str, ...]


@dataclass(frozen=True)
class Workspace:
    """One agent workspace and the exact reason why git cannot work in it."""

    path: str
    reason: str
    uid: int = -1
    gid: int = -1


@dataclass(frozen=True)
class Workspaces:
    """All workspaces of the declared roots; ``broken`` are those with a reason.

    ``missing`` are the declared roots that are not there, and wildcards that fit none.
    """

    count: int
    broken: tuple[Workspace, ...]
    missing: tuple[str, ...] = ()


@dataclass(frozen=True)
class Worktrees:
    """Registered worktrees of all projects; ``dangling`` have lost their directory.

    ``missing`` are the declared projects in whose place there is no repository.
    """

    count: int
    dangling: tuple[str, ...]
    missing: tuple[str, ...] = ()


@dataclass(frozen=True)
class Healing:
    """What self-heal gave up on: circuits that are open, budgets that are used up."""

    open_circuits: tuple[str, ...]
    exhausted: tuple[str, ...]


@dataclass(frozen=True)
class Delivery:
    """Messages that wait to be delivered."""

    waiting: int
    oldest_at: float | None
    error: str
    dropped: int = 0


@dataclass(frozen=True)
class DeadMan:
    """The outside watcher: when it last heard of us, and what went wrong since."""

    last_ok_at: float | None
    error: str


@dataclass(frozen=True)
class Previous:
    """The run before this one."""

    finished_at: float


@dataclass(frozen=True)
class Facts:
    """Everything that one run knows."""

    now: float
    disks: Fact[Mapping[str, Fact[Filesystem]]] = NOT_GATHERED
    mounts: Fact[Mapping[str, Fact[Mount]]] = NOT_GATHERED
    samples: Fact[Mapping[str, tuple[Sample, ...]]] = NOT_GATHERED
    owners: Fact[Mapping[str, Attribution]] = NOT_GATHERED
    engine: Fact[Engine] = NOT_GATHERED
    jobs: Fact[Mapping[str, Any]] = NOT_GATHERED
    units: Fact[tuple[FailedUnit, ...]] = NOT_GATHERED
    services: Fact[tuple[Service, ...]] = NOT_GATHERED
    runners: Fact[Mapping[str, Fact[Runner]]] = NOT_GATHERED
    lanes: Fact[Mapping[str, Fact[Lane]]] = NOT_GATHERED
    residue: Fact[Residue] = NOT_GATHERED
    # By project, as the marshal's own status tells it.
    merge_queues: Fact[Mapping[str, Fact[Mapping[str, Any]]]] = NOT_GATHERED
    paperclip: Fact[Paperclip] = NOT_GATHERED
    images: Fact[Mapping[str, Fact[Image]]] = NOT_GATHERED
    backup: Fact[Backup] = NOT_GATHERED
    certificates: Fact[Mapping[str, Fact[Certificate]]] = NOT_GATHERED
    memory: Fact[Memory] = NOT_GATHERED
    pressure: Fact[Pressure] = NOT_GATHERED
    reboot: Fact[Reboot] = NOT_GATHERED
    clock: Fact[Clock] = NOT_GATHERED
    drift: Fact[Drift] = NOT_GATHERED
    workspaces: Fact[Workspaces] = NOT_GATHERED
    worktrees: Fact[Worktrees] = NOT_GATHERED
    healing: Fact[Healing] = NOT_GATHERED
    delivery: Fact[Delivery] = NOT_GATHERED
    dead_man: Fact[DeadMan] = NOT_GATHERED
    previous: Fact[Previous] = NOT_GATHERED
    configuration: Fact[tuple[str, ...]] = NOT_GATHERED
    seconds: Mapping[str, float] = field(default_factory=dict)
