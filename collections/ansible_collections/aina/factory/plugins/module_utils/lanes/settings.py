"""Section ``lanes`` of the configuration: limits, places, engines and projects."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from ..base import projects, settings
from ..base.configuration import ConfigurationError, Section
from ..base.github.settings import GitHub
from . import engines
from .engines import Engine

_MODEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/-]{0,100}\Z")
_IMAGE = re.compile(r"[a-z0-9][a-z0-9._/-]*:[A-Za-z0-9._-]+\Z")
_TARGET = re.compile(r"[A-Za-z0-9][A-Za-z0-9.-]*:[0-9]{1,5}\Z")
# The agent of a project that names none.
ENGINE = "codex"
MIB = 1 << 20
MINUTE = 60.0


@dataclass(frozen=True)
class Limits:
    """What one lane may use."""

    cpus: float
    memory_mib: int
    pids_count: int
    work_mib: int
    home_mib: int
    temporary_mib: int
    timeout_seconds: float
    idle_seconds: float
    token_budget: int
    requests_per_minute: int
    requests_max_count: int
    bundle_max_mib: int
    transcript_max_mib: int


@dataclass(frozen=True)
class Dispatch:
    """Which of a project's issues get lanes by themselves; without a ``label`` none does."""

    label: str
    hold_labels: tuple[str, ...]
    attempts_max_count: int
    retry_seconds: float


@dataclass(frozen=True)
class LaneProject:
    """One repository that lanes work on."""

    name: str
    repository: str
    default_branch: str
    image: str
    concurrency: int
    engine: Engine
    model: str
    models: tuple[str, ...]
    effort: str
    limits: Limits
    guarded_paths: tuple[str, ...]
    guarded_label: str
    draft: bool
    dispatch: Dispatch


@dataclass(frozen=True)
class Settings:
    """The whole section."""

    state_dir: str
    run_dir: str
    mirror_dir: str
    store_dir: str
    store_network: str
    slice: str
    concurrency: int
    queue_timeout_seconds: float
    min_free_disk_mib: int
    min_free_memory_mib: int
    keep_seconds: float
    keep_total_bytes: int
    git_user: str
    gateway_user: str
    upstream_ca_file: str
    connect_allowed: tuple[str, ...]
    github: GitHub
    engines: Mapping[str, Engine]
    projects: tuple[LaneProject, ...]

    def project(self, word: str) -> LaneProject:
        """Return the project called ``word``, by its name or by its repository.

        Raises:
            ConfigurationError: there is none; the known ones are named.

        """
        for project in self.projects:
            if word in (project.name, project.repository):
                return project
        known = ", ".join(project.name for project in self.projects) or "none"
        raise ConfigurationError(f"no project {word!r} has lanes; known are: {known}")


def from_section(section: Section, github: GitHub) -> Settings:
    """Read the section; what all capabilities share comes from ``github``.

    Raises:
        ConfigurationError: a value is wrong, two contradict each other, or a key is unknown.

    """
    found = engines.from_value(section.value("engines", {}), f"{section.path}.engines")
    settings = Settings(
        state_dir=section.absolute_path("state_dir", "/var/lib/aina-factory/lanes"),
        run_dir=section.absolute_path("run_dir", "/run/factory-lanes"),
        mirror_dir=section.absolute_path("mirror_dir", "/var/lib/aina-factory/mirrors"),
        store_dir=section.text("store_dir", ""),
        store_network=section.text("store_network", "default", choices=("default", "host")),
        slice=section.text("slice", "factory-lanes.slice"),
        concurrency=section.integer("concurrency", 4, minimum=1, maximum=256),
        queue_timeout_seconds=MINUTE * section.number("queue_timeout_minutes", 60, minimum=0),
        min_free_disk_mib=section.integer("min_free_disk_mib", 10240, minimum=0),
        min_free_memory_mib=section.integer("min_free_memory_mib", 2048, minimum=0),
        keep_seconds=86400 * section.number("keep_days", 14, minimum=0),
        keep_total_bytes=MIB * section.integer("keep_total_mib", 2048, minimum=1),
        git_user=section.text("git_user", "factory-lanes"),
        gateway_user=section.text("gateway_user", "factory-lane-gateway"),
        upstream_ca_file=section.text("upstream_ca_file", ""),
        connect_allowed=_targets(section),
        github=github,
        engines=found,
        projects=tuple(_project(item, found) for item in section.sections("projects", ())),
    )
    section.done()
    projects.refuse_twins(f"{section.path}.projects", settings.projects, "name", "repository")
    return settings


def _targets(section: Section) -> tuple[str, ...]:
    targets = section.strings("connect_allowed", ())
    for target in targets:
        if not _TARGET.match(target):
            raise section.error("connect_allowed", target, "be host:port")
    return tuple(target.lower() for target in targets)


def _project(section: Section, known: Mapping[str, Engine]) -> LaneProject:
    shared = settings.read_some(projects.Repository, section)
    agent = section.text("engine", ENGINE)
    if agent not in known:
        raise section.error("engine", agent, f"be one of {', '.join(known) or 'lanes.engines'}")
    engine = known[agent]
    model = section.matching("model", _MODEL, "be a model's name", engine.model)
    # Whichever agent a change would steer, a person looks at it.
    steering = sorted({path for each in known.values() for path in each.guarded_paths})
    project = LaneProject(
        name=shared.name,
        repository=shared.repository,
        default_branch=shared.default_branch,
        image=section.matching(
            "image", _IMAGE, "be an image with its tag", "aina-factory/lane:current"
        ),
        concurrency=section.integer("concurrency", 4, minimum=1, maximum=256),
        engine=engine,
        model=model,
        models=(model, *section.strings("models", ())),
        effort=section.matching("effort", _MODEL, "be a word such as high", engine.effort),
        limits=_limits(section),
        guarded_paths=(*shared.guarded_paths, *steering),
        guarded_label=shared.guarded_label,
        draft=section.boolean("draft", False),
        dispatch=_dispatch(section.section("dispatch", {})),
    )
    section.done()
    return project


def _dispatch(section: Section) -> Dispatch:
    dispatch = Dispatch(
        label=section.text("label", "lane"),
        hold_labels=tuple(section.strings("hold_labels", ("hold",))),
        attempts_max_count=section.integer("attempts_max_count", 2, minimum=1, maximum=100),
        retry_seconds=3600 * section.number("retry_hours", 6, minimum=0, maximum=8760),
    )
    section.done()
    return dispatch


def _limits(section: Section) -> Limits:
    limits = Limits(
        cpus=section.number("cpus", 2, minimum=0.1, maximum=256),
        memory_mib=section.integer("memory_mib", 4096, minimum=256),
        pids_count=section.integer("pids_count", 512, minimum=32, maximum=65536),
        work_mib=section.integer("work_mib", 1024, minimum=16),
        home_mib=section.integer("home_mib", 256, minimum=64),
        temporary_mib=section.integer("temporary_mib", 256, minimum=16),
        timeout_seconds=MINUTE * section.number("timeout_minutes", 180, minimum=0.05, maximum=1440),
        idle_seconds=MINUTE * section.number("idle_minutes", 15, minimum=0.05, maximum=1440),
        token_budget=section.integer("token_budget", 2_000_000, minimum=1),
        requests_per_minute=section.integer("requests_per_minute", 60, minimum=1),
        requests_max_count=section.integer("requests_max_count", 2000, minimum=1),
        bundle_max_mib=section.integer("bundle_max_mib", 64, minimum=1, maximum=1024),
        transcript_max_mib=section.integer("transcript_max_mib", 64, minimum=1, maximum=1024),
    )
    held = limits.work_mib + limits.home_mib + limits.temporary_mib
    if held >= limits.memory_mib:
        raise ConfigurationError(
            f"{section.path}.memory_mib is {limits.memory_mib}; it must exceed work_mib + home_mib + "
            f"temporary_mib, which are {held}: what a lane writes is held in its memory"
        )
    return limits
