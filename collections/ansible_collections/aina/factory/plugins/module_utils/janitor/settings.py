"""Section ``janitor`` of the configuration: what the server may forget, and when."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import ClassVar

from ..base.settings import REQUIRED, setting
from . import model
from .docker_kinds import Marks
from .logs import Rotation
from .program_kinds import Store

MIB = 1 << 20
HOUR = 3600.0
DAY = 86400.0
# What containers start from: of these only the replaced ones go, which have no name any more.
FACTORY_IMAGES = ("aina-factory/*:current", "aina-factory/base:*")


@dataclass(frozen=True)
class Limits:
    """When things of one kind go."""

    max_age_days: float = setting(
        0, "Older than this goes; 0 switches the age limit off.", minimum=0
    )
    min_age_hours: float = setting(
        24, "Used within this time stays, even on a full disk.", minimum=0
    )
    max_total_mib: float = setting(
        0,
        "The oldest go until the rest is at most this large; 0 switches the limit off.",
        minimum=0,
    )
    max_per_run: int = setting(1000, "At most this many go in one run.", minimum=1)
    watermark: bool = setting(
        True, "Whether a disk above its high mark may take what is within the other limits."
    )

    @property
    def limits(self) -> model.Limits:
        """The limits in seconds and bytes."""
        return model.Limits(
            max_age_seconds=self.max_age_days * DAY or None,
            min_age_seconds=self.min_age_hours * HOUR,
            max_total_bytes=int(self.max_total_mib * MIB) or None,
            max_per_run=self.max_per_run,
            watermark=self.watermark,
        )

    def contradictions(self) -> Iterator[tuple[str, str]]:
        """Yield an age that the protection of what is young forbids."""
        if self.max_age_days and self.max_age_days * DAY < self.min_age_hours * HOUR:
            yield (
                "max_age_days",
                f"not be below min_age_hours, which is {self.min_age_hours:g} hours",
            )


@dataclass(frozen=True)
class Roots(Limits):
    """When files below some directories go."""

    roots: tuple[str, ...] = setting(
        (), "Absolute paths to look at; wildcards are allowed.", kind="path"
    )


@dataclass(frozen=True)
class RunnerRoots(Roots):
    """When leftovers of runner installations go."""

    roots: tuple[str, ...] = setting(
        ("/opt/gha-runner/instances/*", "/var/lib/gha-runner/*"),
        "Absolute paths of installations; wildcards are allowed. Those of declared runners are"
        " among them.",
        kind="path",
        adds=True,
    )


@dataclass(frozen=True)
class Temporary(Roots):
    """When entries of directories of leftovers go."""

    globs: tuple[str, ...] = setting(("*",), "Names to take into account.", adds=False)


@dataclass(frozen=True)
class Logs(Roots):
    """When logs go, and how large they may become."""

    globs: tuple[str, ...] = setting(("*.log",), "Names to take into account.", adds=False)
    max_file_mib: float = setting(
        50, "A log larger than this is cut down to its newest part, open or not.", minimum=0
    )
    keep_mib: float = setting(10, "How much of a log that is cut down stays.", minimum=0)
    rotated_count: int = setting(
        3,
        "How many earlier parts of a log stay, compressed but the newest.",
        minimum=1,
        maximum=100,
    )

    @property
    def rotation(self) -> Rotation:
        """The sizes in bytes."""
        return Rotation(int(self.max_file_mib * MIB), int(self.keep_mib * MIB), self.rotated_count)

    def contradictions(self) -> Iterator[tuple[str, str]]:
        """Yield also that more would stay than may be."""
        yield from super().contradictions()
        if self.keep_mib > self.max_file_mib:
            yield "keep_mib", f"not exceed max_file_mib, which is {self.max_file_mib:g}"


@dataclass(frozen=True)
class PackageStore:
    """A store of pnpm, whose it is, and how pnpm is called."""

    path: str = setting(REQUIRED, "The store's directory.", kind="path")
    user: str = setting(REQUIRED, "The user the store belongs to, as whom pnpm runs.")
    command: tuple[str, ...] = setting(("pnpm",), "How pnpm is called, word by word.", adds=False)


@dataclass(frozen=True)
class Docker:
    """When leftovers of the container engine go."""

    enabled: bool = setting(True, "Whether the engine's leftovers go.")
    socket_path: str = setting("/run/docker.sock", "The engine's socket.", kind="path")
    lane_labels: tuple[str, ...] = setting(
        ("lane",), "A container with one of these labels belongs to a lane.", adds=False
    )
    keep_labels: tuple[str, ...] = setting(
        ("factory.keep=true",), "Images and containers with one of these labels stay.", adds=True
    )
    base_images: tuple[str, ...] = setting(
        FACTORY_IMAGES, "Images with a name that matches one of these patterns stay.", adds=True
    )
    containers: Limits = setting(
        Limits(max_age_days=0.25, min_age_hours=1),
        "Stopped containers of lanes, by the time they ended.",
    )
    dangling_images: Limits = setting(
        Limits(max_age_days=1, min_age_hours=1), "Images without a name."
    )
    build_cache: Limits = setting(
        Limits(max_age_days=7, min_age_hours=1, max_total_mib=20480),
        "Records of the build cache, by last use.",
    )
    images: Limits = setting(Limits(), "Images with a name, by last use.")

    @property
    def marks(self) -> Marks:
        """How containers of lanes and images to keep are known."""
        return Marks(self.lane_labels, self.keep_labels, self.base_images)


@dataclass(frozen=True)
class Janitor:
    """What the server may forget, and when."""

    renamed: ClassVar[Mapping[str, str]] = {"worktrees": "worktrees_enabled"}

    disk_path: str = setting("/", "A path on the filesystem whose use counts.", kind="path")
    disk_used_high_percent: float = setting(
        80,
        "Above this use the janitor also gives up what is within its limits.",
        minimum=1,
        maximum=99,
    )
    disk_used_low_percent: float = setting(
        70,
        "At this use it stops giving up what is within its limits.",
        minimum=1,
        maximum=99,
    )
    image_use_path: str = setting(
        "/var/lib/aina-factory/image-use.json",
        "Where the last use of images is remembered.",
        kind="path",
        by="role",
    )
    worktrees_enabled: bool = setting(True, "Whether worktrees whose work has landed are reaped.")
    logs: Logs = setting(Logs(max_age_days=14, max_total_mib=2048), "Logs.")
    codex_sessions: Roots = setting(
        Roots(max_age_days=30, max_total_mib=2048),
        "Session files below agent homes, the roots.",
    )
    runner: RunnerRoots = setting(
        RunnerRoots(max_age_days=2, min_age_hours=12),
        "Leftovers of runner installations, the roots.",
    )
    temporary: Temporary = setting(
        Temporary(max_age_days=10), "Direct entries of directories of leftovers."
    )
    journal: Limits = setting(
        Limits(max_age_days=30, min_age_hours=0, max_total_mib=1024),
        "Archived files of the systemd journal.",
    )
    apt_cache: Limits = setting(
        Limits(max_age_days=1, min_age_hours=0), "Package files that apt has installed."
    )
    package_stores: tuple[PackageStore, ...] = setting(
        (), "Stores of pnpm whose unreferenced packages go."
    )
    docker: Docker = setting(Docker(), "Leftovers of the Docker engine.")

    @property
    def watermarks(self) -> model.Watermarks:
        """Between which uses of the disk it acts."""
        return model.Watermarks(self.disk_used_high_percent, self.disk_used_low_percent)

    @property
    def stores(self) -> tuple[Store, ...]:
        """The stores as their kind takes them."""
        return tuple(Store(item.path, item.user, item.command) for item in self.package_stores)

    def contradictions(self) -> Iterator[tuple[str, str]]:
        """Yield marks in the wrong order."""
        if self.disk_used_low_percent >= self.disk_used_high_percent:
            yield (
                "disk_used_low_percent",
                f"be below disk_used_high_percent, which is {self.disk_used_high_percent:g}",
            )
