"""The janitor's limits: section ``janitor`` of the configuration."""

from __future__ import annotations

from dataclasses import dataclass

from ..base.configuration import ConfigurationError, Section
from .docker_kinds import Marks
from .logs import Rotation
from .model import Limits, Watermarks
from .program_kinds import Store

MIB = 1 << 20
HOUR = 3600.0
DAY = 86400.0
# What containers start from: of these only the replaced ones go, which have no name any more.
FACTORY_IMAGES = ("aina-factory/*:current", "aina-factory/base:*")


@dataclass(frozen=True)
class Roots:
    """Where a kind made of files looks, and for which names."""

    limits: Limits
    roots: tuple[str, ...]
    globs: tuple[str, ...] = ()


@dataclass(frozen=True)
class DockerPolicy:
    """What goes from the engine behind ``socket_path``."""

    enabled: bool
    socket_path: str
    marks: Marks
    containers: Limits
    dangling_images: Limits
    build_cache: Limits
    images: Limits


@dataclass(frozen=True)
class Policy:
    """Everything the janitor may do."""

    disk_path: str
    watermarks: Watermarks
    image_use_path: str
    worktrees: bool
    logs: Roots
    rotation: Rotation
    codex_sessions: Roots
    package_stores: Limits
    stores: tuple[Store, ...]
    runner: Roots
    temporary: Roots
    docker: DockerPolicy
    journal: Limits
    apt_cache: Limits


def from_section(section: Section) -> Policy:
    """Read the section ``janitor``; every key has a default but the places to look at.

    Raises:
        ConfigurationError: a value is wrong, two values contradict each other, or a key is
            unknown.

    """
    logs = section.section("logs", {})
    policy = Policy(
        disk_path=section.absolute_path("disk_path", "/"),
        watermarks=_watermarks(section),
        image_use_path=section.absolute_path(
            "image_use_path", "/var/lib/aina-factory/image-use.json"
        ),
        worktrees=section.boolean("worktrees", True),
        rotation=_rotation(logs),
        logs=_roots(logs, _limits(logs, max_age_days=14, max_total_mib=2048), ("*.log",)),
        codex_sessions=_codex(section.section("codex_sessions", {})),
        package_stores=Limits(),
        stores=tuple(_store(item) for item in section.sections("package_stores", ())),
        runner=_runner(section.section("runner", {})),
        temporary=_temporary(section.section("temporary", {})),
        docker=_docker(section.section("docker", {})),
        journal=_only_limits(section.section("journal", {}), max_age_days=30, max_total_mib=1024),
        apt_cache=_only_limits(section.section("apt_cache", {}), max_age_days=1),
    )
    section.done()
    return policy


def _watermarks(section: Section) -> Watermarks:
    high = section.number("disk_used_high_percent", 80, minimum=1, maximum=99)
    low = section.number("disk_used_low_percent", 70, minimum=1, maximum=99)
    if low >= high:
        raise ConfigurationError(
            f"{section.path}.disk_used_low_percent is {low:g}; it must be below "
            f"disk_used_high_percent, which is {high:g}"
        )
    return Watermarks(high, low)


def _limits(
    section: Section,
    *,
    max_age_days: float = 0,
    min_age_hours: float = 24,
    max_total_mib: float = 0,
) -> Limits:
    """Read one kind's limits; zero switches ``max_age_days`` and ``max_total_mib`` off."""
    age = section.number("max_age_days", max_age_days, minimum=0) * DAY
    protected = section.number("min_age_hours", min_age_hours, minimum=0) * HOUR
    total = int(section.number("max_total_mib", max_total_mib, minimum=0) * MIB)
    if age and age < protected:
        raise ConfigurationError(
            f"{section.path}.max_age_days is {age / DAY:g}; it must not be below "
            f"min_age_hours, which is {protected / HOUR:g} hours"
        )
    return Limits(
        max_age_seconds=age or None,
        min_age_seconds=protected,
        max_total_bytes=total or None,
        max_per_run=section.integer("max_per_run", 1000, minimum=1),
        watermark=section.boolean("watermark", True),
    )


def _only_limits(
    section: Section,
    *,
    max_age_days: float = 0,
    min_age_hours: float = 0,
    max_total_mib: float = 0,
) -> Limits:
    limits = _limits(
        section,
        max_age_days=max_age_days,
        min_age_hours=min_age_hours,
        max_total_mib=max_total_mib,
    )
    section.done()
    return limits


def _roots(section: Section, limits: Limits, globs: tuple[str, ...]) -> Roots:
    found = Roots(
        limits,
        tuple(section.absolute_paths("roots", ())),
        tuple(section.strings("globs", globs)),
    )
    section.done()
    return found


def _rotation(section: Section) -> Rotation:
    largest = section.number("max_file_mib", 50, minimum=0)
    kept = section.number("keep_mib", 10, minimum=0)
    if kept > largest:
        raise ConfigurationError(
            f"{section.path}.keep_mib is {kept:g}; it must not exceed max_file_mib, "
            f"which is {largest:g}"
        )
    count = section.integer("rotated_count", 3, minimum=1, maximum=100)
    return Rotation(int(largest * MIB), int(kept * MIB), count)


def _codex(section: Section) -> Roots:
    limits = _limits(section, max_age_days=30, max_total_mib=2048)
    return _roots(section, limits, ())


def _runner(section: Section) -> Roots:
    return _roots(section, _limits(section, max_age_days=2, min_age_hours=12), ())


def _temporary(section: Section) -> Roots:
    return _roots(section, _limits(section, max_age_days=10), ("*",))


def _store(section: Section) -> Store:
    store = Store(
        path=section.absolute_path("path"),
        user=section.text("user"),
        command=tuple(section.strings("command", ("pnpm",))),
    )
    section.done()
    return store


def _docker(section: Section) -> DockerPolicy:
    policy = DockerPolicy(
        enabled=section.boolean("enabled", True),
        socket_path=section.absolute_path("socket_path", "/run/docker.sock"),
        marks=Marks(
            lane_labels=tuple(section.strings("lane_labels", ("lane",))),
            # Added to, as the images are: a label that keeps something is not lost by naming another.
            keep_labels=("factory.keep=true", *section.strings("keep_labels", ())),
            base_images=(*FACTORY_IMAGES, *section.strings("base_images", ())),
        ),
        containers=_only_limits(
            section.section("containers", {}), max_age_days=0.25, min_age_hours=1
        ),
        dangling_images=_only_limits(
            section.section("dangling_images", {}), max_age_days=1, min_age_hours=1
        ),
        build_cache=_only_limits(
            section.section("build_cache", {}),
            max_age_days=7,
            min_age_hours=1,
            max_total_mib=20 * 1024,
        ),
        images=_only_limits(section.section("images", {}), min_age_hours=24),
    )
    section.done()
    return policy
