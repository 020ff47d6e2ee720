"""Section ``lanes`` of the configuration: limits, places, agents and projects."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import ClassVar

from ..base import projects
from ..base.configuration import ConfigurationError
from ..base.github.settings import GitHub
from ..base.settings import setting
from . import agents
from .agents import Agent
from .spending import Limit, Price

# The agent of a project that names none.
AGENT = "codex"
# The image of projects that have none of their own.
COMMON_IMAGE = "aina-factory/lane:current"
MIB = 1 << 20
_USER = "[a-z_][a-z0-9_-]*"
MINUTE, HOUR, DAY = 60.0, 3600.0, 86400.0


@dataclass(frozen=True)
class Limits:
    """What one lane may use."""

    cpus: float = setting(2, "Processors.", minimum=0.1, maximum=256)
    memory_mib: int = setting(
        4096, "Memory, with all that the lane writes: its files lie there.", minimum=256
    )
    pids_count: int = setting(512, "Processes and threads.", minimum=32, maximum=65536)
    work_mib: int = setting(1024, "Size of the checkout's file system.", minimum=16)
    home_mib: int = setting(256, "Size of the agent's home.", minimum=64)
    temporary_mib: int = setting(256, "Size of `/tmp`.", minimum=16)
    timeout_minutes: float = setting(180, "How long the lane may take.", minimum=0.05, maximum=1440)
    idle_minutes: float = setting(
        15,
        "After how long without an event of the agent or a request to the model the lane is ended.",
        minimum=0.05,
        maximum=1440,
    )
    token_budget: int = setting(
        2_000_000,
        "Tokens of the model, in and out together; one from the provider's cache is a tenth, or what"
        " `lanes_prices` says.",
        minimum=1,
    )
    cost_max_usd: float = setting(
        0.0, "Money that the model may cost, in USD by `lanes_prices`; 0 for no limit.", minimum=0
    )
    requests_per_minute: int = setting(
        60, "Requests to the model within any minute; more are told to wait.", minimum=1
    )
    requests_max_count: int = setting(2000, "Requests to the model in all.", minimum=1)
    bundle_max_mib: int = setting(
        64, "Size of the git bundle that the lane hands out.", minimum=1, maximum=1024
    )
    transcript_max_mib: int = setting(
        64, "Size of the transcript that is kept; the rest is left out.", minimum=1, maximum=1024
    )

    @property
    def timeout_seconds(self) -> float:
        """How long the lane may take."""
        return MINUTE * self.timeout_minutes

    @property
    def idle_seconds(self) -> float:
        """After how long without a sign of life it is ended."""
        return MINUTE * self.idle_minutes

    def contradictions(self) -> Iterator[tuple[str, str]]:
        """Yield a memory that what the lane writes would fill."""
        held = self.work_mib + self.home_mib + self.temporary_mib
        if held >= self.memory_mib:
            yield (
                "memory_mib",
                f"exceed work_mib + home_mib + temporary_mib, which are {held}:"
                " what a lane writes is held in its memory",
            )


@dataclass(frozen=True)
class Dispatch:
    """Which of a project's issues get lanes by themselves."""

    label: str = setting(
        "lane", "Open issues with this label get a lane; without a label none does."
    )
    hold_labels: tuple[str, ...] = setting(
        ("hold",), "Issues with one of these labels get none.", adds=False
    )
    priority_labels: tuple[str, ...] = setting(
        ("urgent",),
        "Issues with one of these labels come before the others, those of the first label first.",
        adds=False,
    )
    attempts_max_count: int = setting(
        2, "How many lanes an issue gets until a person looks at it.", minimum=1, maximum=100
    )
    rounds_max_count: int = setting(
        3,
        "How often a lane goes on in its pull request with what people who may write, or checks, said"
        " about it; 0 for never.",
        minimum=0,
        maximum=100,
    )
    retry_hours: float = setting(
        6, "How long after a lane its issue gets the next one.", minimum=0, maximum=8760
    )

    @property
    def retry_seconds(self) -> float:
        """How long after a lane its issue gets the next one."""
        return HOUR * self.retry_hours


@dataclass(frozen=True)
class LaneOptions(Limits):
    """Which agent works on a project, and what each of its lanes may use."""

    renamed: ClassVar[Mapping[str, str]] = {
        "concurrency": "concurrency_count",
        "engine": "agent",
        "guarded_paths": "guarded_paths of the project itself, in factory_projects",
        "guarded_label": "guarded_label of the project itself, in factory_projects",
    }

    agent: str = setting(
        AGENT,
        "The agent: a file of `images/agents`, or a key of `lanes_agents`.",
        form=agents.NAME_FORM,
    )
    model: str = setting(
        "", "Its model; the agent's own default when empty.", form=agents.MODEL_FORM
    )
    models: tuple[str, ...] = setting(
        (),
        "Other models that a lane may use, by `--model` or for its helpers.",
        form=agents.MODEL_FORM,
    )
    effort: str = setting(
        "",
        "How hard the model thinks; the agent's own default when empty.",
        form=agents.EFFORT_FORM,
    )
    image: str = setting(
        "",
        "Image of its containers; when empty the project's own, or the common one of a project"
        " without tools, agent or words of its own.",
        form=(r"[a-z0-9][a-z0-9._/-]*:[A-Za-z0-9._-]+", "be an image with its tag"),
    )
    concurrency_count: int = setting(
        4, "How many of its lanes run at once.", minimum=1, maximum=256
    )
    check_command: str = setting(
        "",
        "What says by its exit code whether a lane's work is right, for bash in a container like the"
        " lane's; `run-lane --attempts` chooses by it.",
    )
    draft: bool = setting(False, "Whether its pull requests begin as drafts.")
    dispatch: Dispatch = setting(Dispatch(), "Which of its issues get lanes by themselves.")
    spending: Limit = setting(Limit(), "What its lanes may spend together on one day.")


@dataclass(frozen=True)
class ProjectOfLanes(LaneOptions, projects.Repository):
    """A project that has lanes."""

    renamed: ClassVar[Mapping[str, str]] = {
        "concurrency": "concurrency_count",
        "engine": "agent",
    }


@dataclass(frozen=True)
class LaneProject:
    """One repository that lanes work on, with its agent and all that is taken from that."""

    name: str
    repository: str
    default_branch: str
    image: str
    concurrency_count: int
    agent_name: str
    agent: Agent
    model: str
    models: tuple[str, ...]
    effort: str
    limits: Limits
    guarded_paths: tuple[str, ...]
    guarded_label: str
    check_command: str
    draft: bool
    dispatch: Dispatch
    spending: Limit


@dataclass(frozen=True)
class LanesSettings:
    """Which projects agents work on, and how much of the host their lanes use."""

    renamed: ClassVar[Mapping[str, str]] = {
        "concurrency": "concurrency_count",
        "engines": "agents",
    }

    github: GitHub = field(default_factory=GitHub)
    concurrency_count: int = setting(
        4, "How many lanes run at once on this host.", minimum=1, maximum=256
    )
    queue_timeout_minutes: float = setting(60, "How long a lane waits for a place.", minimum=0)
    min_free_disk_mib: int = setting(
        10240, "Free disk space below which no lane starts.", minimum=0
    )
    min_free_memory_mib: int = setting(
        2048, "Available memory that a new lane leaves to others.", minimum=0
    )
    keep_days: float = setting(
        14,
        "Age from which transcripts, bundles and results go. Work that was not delivered stays.",
        minimum=0,
    )
    keep_total_mib: int = setting(
        2048,
        "Disk space that they never exceed together; the largest goes first, undelivered work last.",
        minimum=1,
    )
    connect_allowed: tuple[str, ...] = setting(
        (),
        "Registries that lanes may reach, as host:port; none is best, with a package store.",
        form=(r"[A-Za-z0-9][A-Za-z0-9.-]*:[0-9]{1,5}", "be host:port"),
    )
    upstream_ca_file: str = setting(
        "",
        "A file of certificate authorities that the gateway trusts beside the system's; empty for"
        " none.",
        kind="path",
    )
    store_dir: str = setting(
        "/var/lib/aina-factory/package-store",
        "Where packages for offline installations are kept; lanes read it.",
        kind="path",
    )
    store_network: str = setting(
        "default",
        "Which network fills it, the engine's own or the host's.",
        choices=("default", "host"),
    )
    state_dir: str = setting(
        "/var/lib/aina-factory/lanes", "Where results are kept.", kind="path", by="role"
    )
    run_dir: str = setting(
        "/run/factory-lanes", "Where the sockets of running lanes are.", kind="path", by="role"
    )
    mirror_dir: str = setting(
        "/var/lib/aina-factory/mirrors",
        "Where the mirrors of the repositories are.",
        kind="path",
        by="role",
    )
    slice: str = setting(
        "factory-lanes.slice", "The slice of systemd that bounds all lanes together.", by="role"
    )
    git_user: str = setting(
        "factory-lanes",
        "The user of the host as whom git reads what a lane made; root when empty.",
        form=(rf"{_USER}|", "be a user's name, or empty"),
        by="role",
    )
    gateway_user: str = setting(
        "factory-lane-gateway", "The user of the host as whom the gateway runs.", by="role"
    )
    agents: Mapping[str, Agent] = setting(
        {},
        "Agents beside those that are shipped, and what differs of these, by name.",
        names=agents.NAME_FORM,
        partial=True,
    )
    credentials: Mapping[str, str] = setting(
        {},
        "By name, the files on the host that hold the models' keys; only the gateway sees them.",
        kind="path",
    )
    prices: Mapping[str, Price] = setting(
        {}, "What models cost, by their names; money is counted by it, and cached tokens."
    )
    spending: Limit = setting(Limit(), "What all lanes may spend together on one day.")
    users: tuple[str, ...] = setting(
        (),
        "Who may start lanes besides root, through `run-lane` and nothing else.",
        form=(_USER, "be a user's name"),
        expression="{{ [factory_user | default('')] | select | list }}",
    )
    total_cpus: float = setting(6, "Processors that all lanes use together.", minimum=0.1)
    total_memory_mib: int = setting(24576, "Memory that all lanes use together.", minimum=256)
    total_tasks_count: int = setting(
        4096, "Processes and threads that all lanes have together.", minimum=32
    )
    projects: tuple[ProjectOfLanes, ...] = setting(
        (),
        "The projects with lanes: from `factory_projects`, and each one's `lane.yml`.",
        named="name",
        unique=("repository",),
        by="role",
    )

    @property
    def queue_timeout_seconds(self) -> float:
        """How long a lane waits for a place."""
        return MINUTE * self.queue_timeout_minutes

    @property
    def keep_seconds(self) -> float:
        """Age from which what lanes left is forgotten."""
        return DAY * self.keep_days

    @property
    def keep_total_bytes(self) -> int:
        """Disk space that what lanes left never exceeds."""
        return MIB * self.keep_total_mib

    @property
    def connect_targets(self) -> tuple[str, ...]:
        """The registries as they are compared."""
        return tuple(target.lower() for target in self.connect_allowed)

    @functools.cached_property
    def lane_projects(self) -> tuple[LaneProject, ...]:
        """The projects, each with its agent."""
        # Whichever agent a change would steer, a person looks at it.
        steering = sorted({path for each in self.agents.values() for path in each.guarded_paths})
        return tuple(_with_agent(each, self.agents[each.agent], steering) for each in self.projects)

    def project(self, word: str) -> LaneProject:
        """Return the project called ``word``, by its name or by its repository.

        Raises:
            ConfigurationError: there is none; the known ones are named.

        """
        for project in self.lane_projects:
            if word in (project.name, project.repository):
                return project
        known = ", ".join(project.name for project in self.projects) or "none"
        raise ConfigurationError(f"no project {word!r} has lanes; known are: {known}")

    def contradictions(self) -> Iterator[tuple[str, str, str]]:
        """Yield agents that nobody declares, and projects without a model."""
        known = ", ".join(sorted(self.agents)) or "lanes.agents"
        for project in self.projects:
            if project.agent not in self.agents:
                yield f"projects.{project.name}.agent", f"be one of {known}", project.agent
            elif not project.model and not self.agents[project.agent].model:
                rule = f"be the name of a model, for {project.agent} has no default"
                yield f"projects.{project.name}.model", rule, ""
            else:
                yield from self._unpriced(project)

    def _unpriced(self, project: ProjectOfLanes) -> Iterator[tuple[str, str, str]]:
        """Yield models that would cost nothing where money is limited."""
        limits = (project.cost_max_usd, project.spending.usd_per_day, self.spending.usd_per_day)
        models = (project.model or self.agents[project.agent].model, *project.models)
        for model in models if any(limits) else ():
            price = self.prices.get(model)
            if price is None or not price.input_usd or not price.output_usd:
                rule = "have a price in lanes_prices, for money is limited"
                yield f"projects.{project.name}.model", rule, model


def _with_agent(project: ProjectOfLanes, agent: Agent, steering: list[str]) -> LaneProject:
    model = project.model or agent.model
    return LaneProject(
        name=project.name,
        repository=project.repository,
        default_branch=project.default_branch,
        image=project.image or COMMON_IMAGE,
        concurrency_count=project.concurrency_count,
        agent_name=project.agent,
        agent=agent,
        model=model,
        models=(model, *project.models),
        effort=project.effort or agent.effort,
        limits=project,
        guarded_paths=(*project.guarded_paths, *steering),
        guarded_label=project.guarded_label,
        check_command=project.check_command,
        draft=project.draft,
        dispatch=project.dispatch,
        spending=project.spending,
    )
