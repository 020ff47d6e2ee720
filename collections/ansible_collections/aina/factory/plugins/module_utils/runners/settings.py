"""Section ``runners`` of the configuration: which runners there are, and how they behave."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import ClassVar

from ..base.github import release
from ..base.github.settings import GitHub, Login
from ..base.settings import OPTIONAL_PATH, REQUIRED, setting
from . import layout

_TARGET = (
    r"[A-Za-z0-9][A-Za-z0-9-]{0,38}(/[A-Za-z0-9._-]{1,100})?",
    "be owner/name or an organization",
)
# What the application calls itself unless told not to.
_GIVEN_LABELS = frozenset({"self-hosted", "linux", "x64", "arm64", "arm"})


class Mode(StrEnum):
    """How an instance runs jobs."""

    NATIVE = "native"
    EPHEMERAL = "ephemeral"


class Engine(StrEnum):
    """The container engine that a job finds in its container."""

    NONE = "none"
    PODMAN = "podman"


@dataclass(frozen=True)
class InstanceTarget:
    """What an instance is called, and whom it serves."""

    name: str = setting(
        REQUIRED,
        "Unique name, at most 26 lower-case letters, digits and inner dashes.",
        form=(
            "[a-z0-9](?:[a-z0-9-]{0,24}[a-z0-9])?",
            "consist of at most 26 lower-case letters, digits and inner dashes",
        ),
    )
    target: str = setting(REQUIRED, "GitHub owner/name, or an organization.", form=_TARGET)
    project: str = setting("", "The project whose images are used and under which it is shown.")

    @property
    def is_organization(self) -> bool:
        """Whether the runner serves an organization."""
        return "/" not in self.target


@dataclass(frozen=True)
class RunnerOptions:
    """What the runners of an instance, or of a project, are like."""

    mode: str = setting(
        Mode.EPHEMERAL.value,
        "`native` is a persistent runner on the host, `ephemeral` a fresh container for each job.",
        choices=(Mode.NATIVE.value, Mode.EPHEMERAL.value),
    )
    state: str = setting("present", "Whether it is there.", choices=("present", "absent"))
    labels: tuple[str, ...] = setting(
        (),
        "Labels beside the default ones.",
        form=(r"[^\s,]{1,256}", "be a label without spaces and commas"),
    )
    default_labels: bool = setting(
        True, "Whether it also has the labels self-hosted, Linux and the processor's."
    )
    group: str = setting("Default", "Runner group of an organization.")
    slots: int = setting(
        1, "How many jobs of an ephemeral instance run at a time.", minimum=1, maximum=64
    )
    cpus: int = setting(2, "Processors of one job.", minimum=1)
    memory_mib: int = setting(
        4096,
        "Memory of one job, its temporary files and work folder included.",
        minimum=64,
    )
    tasks_count: int = setting(2048, "Processes and threads of one job.", minimum=32)
    tmp_mib: int = setting(1024, "Size of a job container's /tmp.", minimum=1)
    shm_mib: int = setting(
        0,
        "Size of a job container's /dev/shm, which counts as its memory; half of its memory when 0.",
        minimum=0,
    )
    work_mib: int = setting(
        2048,
        "Size of a job container's work folder in memory; 0 puts it on the disk.",
        minimum=0,
    )
    disk_mib: int = setting(4096, "What a job may write to the disk.", minimum=1)
    engine: str = setting(
        Engine.NONE.value,
        "A container engine in each job's own container, which is not the host's: `podman` serves"
        " `container:`, `services:` and `docker build`, rootless, and is gone with the job. It needs"
        " a CI image that holds it, and lets a job make user namespaces, so that more of the kernel"
        " is within its reach.",
        choices=(Engine.NONE.value, Engine.PODMAN.value),
    )
    engine_mib: int = setting(
        2048,
        "Size of what that engine stores, in memory, which counts as the job's.",
        minimum=64,
    )
    image: str = setting(
        "",
        "Image of the job containers; the project's, or the common CI image, when empty.",
        form=(r"[A-Za-z0-9][\w./:@-]{0,254}", "be the name of an image"),
    )
    runtime: str = setting(
        "",
        "Container runtime, such as one with a kernel of its own; the engine's default when empty.",
    )
    environment: Mapping[str, str] = setting(
        {},
        "Variables that every job sees; no place for secrets.",
        names=("[A-Za-z_][A-Za-z0-9_]*", "map names of variables to values of one line"),
        form=(r"[^\n]*", "be one line"),
    )
    replace: bool = setting(
        False, "Whether a runner of the same name that is online elsewhere may be replaced."
    )
    hardening: str = setting(
        "strict",
        "How a native runner is confined; `sudo` relaxes what would stop sudo in a workflow.",
        choices=("strict", "sudo"),
    )
    job_container_required: bool = setting(
        False, "Whether jobs without a container of their own are refused."
    )
    job_max_minutes: float = setting(360, "How long a job in a container may take.", minimum=0.001)
    idle_max_hours: float = setting(
        24, "After how long without a job an ephemeral runner is renewed.", minimum=0.0001
    )
    public_repository_reason: str = setting(
        "",
        "Why strangers may run code on this host; without a reason a public repository is refused.",
    )
    open_fork_policy_reason: str = setting(
        "", "Why forks may start workflows unasked; without a reason that is refused."
    )
    docker_socket_reason: str = setting(
        "", "Why jobs may command the container engine, which makes them root on this host."
    )

    @property
    def shared_memory_mib(self) -> int:
        """What browsers and databases share; hosted runners have half of the memory."""
        return self.shm_mib or max(64, self.memory_mib // 2)

    @property
    def present(self) -> bool:
        """Whether it is declared to be there."""
        return self.state == "present"

    @property
    def strict(self) -> bool:
        """Whether a native runner is confined as far as it goes."""
        return self.hardening == "strict"

    @property
    def wanted_labels(self) -> frozenset[str]:
        """The custom labels as they are compared."""
        own = frozenset(label.lower() for label in self.labels)
        return own - _GIVEN_LABELS if self.default_labels else own

    @property
    def has_engine(self) -> bool:
        """Whether its jobs may start containers."""
        return self.engine == Engine.PODMAN

    def all_labels(self, architecture: str) -> tuple[str, ...]:
        """Return all labels, each once; ``architecture`` is the default label of the processor's."""
        given = ("self-hosted", "linux", architecture) if self.default_labels else ()
        return tuple({label.lower(): label for label in (*given, *self.labels)}.values())

    def contradictions(self) -> Iterator[tuple[str, str] | tuple[str, str, str]]:
        """Yield what no runner can be."""
        if not self.default_labels and not self.labels:
            yield "labels", "name at least one label, for there are no default_labels"
        if self.has_engine and self.mode == Mode.NATIVE:
            yield "engine", "be none for a native runner, whose jobs run on the host itself"
        if self.has_engine and self.docker_socket_reason:
            yield "engine", "be none where jobs may command the host's engine"
        for name in self.environment:
            if name.startswith("ACTIONS_RUNNER_INPUT_"):
                yield "environment", "leave the runner's own inputs alone", name


@dataclass(frozen=True)
class Instance(RunnerOptions, InstanceTarget):
    """One declared runner (native), or one warm pool of them (ephemeral)."""

    @property
    def slot_names(self) -> tuple[str, ...]:
        """The slots of an ephemeral instance."""
        return tuple(layout.slot(self.name, number) for number in range(1, self.slots + 1))


@dataclass(frozen=True)
class Predecessor:
    """A runner that was set up by hand and gives way to the declared ones."""

    path: str = setting(
        REQUIRED,
        "Directory of its application.",
        form=(r"(/[A-Za-z0-9_@+-][A-Za-z0-9._@+-]*)+", "be an absolute path below /"),
    )
    target: str = setting(
        REQUIRED,
        "Where it is registered, a repository as owner/name or an organization.",
        form=_TARGET,
    )


@dataclass(frozen=True)
class Destination:
    """A private address that jobs may reach nevertheless."""

    host: str = setting(
        REQUIRED,
        "Host name or IPv4 address.",
        form=("[A-Za-z0-9][A-Za-z0-9.-]{0,252}", "be a host name or an IPv4 address"),
    )
    port: int = setting(REQUIRED, "TCP port.", minimum=1, maximum=65535)


@dataclass(frozen=True)
class Timing:
    """How often is looked, and how long is waited."""

    renamed: ClassVar[Mapping[str, str]] = {
        "ghost_grace_seconds": "orphan_grace_seconds",
        "ghost_misses_count": "orphan_misses_count",
        "failures_max_count": "backoff_max_seconds, for a slot that fails only slows down",
        "failed_retry_seconds": "backoff_max_seconds, for a slot that fails only slows down",
    }

    watch_seconds: float = setting(
        60, "How often GitHub is asked about an idle runner.", minimum=0.01
    )
    disk_watch_seconds: float = setting(
        10, "How often it is measured what a job wrote.", minimum=0.01
    )
    orphan_grace_seconds: float = setting(
        120, "How young a runner is that GitHub may not know yet.", minimum=0.01
    )
    orphan_misses_count: int = setting(
        3, "How often in a row GitHub must not know a runner.", minimum=1
    )
    online_max_seconds: float = setting(
        300, "How long a runner may take to come online.", minimum=0.01
    )
    backoff_first_seconds: float = setting(
        5, "Wait after the first failure; it doubles.", minimum=0.01
    )
    backoff_max_seconds: float = setting(
        300, "Longest wait after a failure.", minimum=0.01, maximum=300
    )
    forgotten_max_seconds: float = setting(
        900, "How long a runner goes on that GitHub does not know any more.", minimum=0.01
    )
    stop_grace_seconds: float = setting(600, "How long a stop waits for a job.", minimum=0.01)
    drain_max_seconds: float = setting(1800, "How long a converge waits for a job.", minimum=0.01)
    guard_max_age_seconds: float = setting(
        3600, "How long a permission holds while GitHub does not answer.", minimum=0.01
    )
    releases_max_age_seconds: float = setting(
        3600, "How long the list of releases is remembered.", minimum=0.01
    )


@dataclass(frozen=True)
class Network:
    """The bridge of the job containers, and what lies behind it."""

    name: str = "aina-runners"
    bridge: str = "br-runners"
    subnet: str = "172.29.240.0/24"
    allowed: tuple[Destination, ...] = ()
    denied_local_ports: tuple[int, ...] = (3100, 54329)


@dataclass(frozen=True)
class RunnersSettings:
    """Which runners this host has, and how they behave."""

    renamed: ClassVar[Mapping[str, str]] = {
        "network": "network_subnet, allowed_destinations and denied_local_ports"
    }

    github: GitHub = field(default_factory=GitHub)
    prefix: str = setting(
        REQUIRED,
        "What the names of this host's runners begin with; no other host of the same repositories"
        " may use it.",
        form=(
            "[A-Za-z0-9](?:[A-Za-z0-9_.-]{0,22}[A-Za-z0-9])?",
            "consist of at most 24 letters, digits and inner dashes",
        ),
        expression="{{ inventory_hostname_short }}",
    )
    instances: tuple[Instance, ...] = setting(
        (),
        "Runners beside those of the projects, one entry for a native runner or for a pool of"
        " ephemeral ones.",
        named="name",
    )
    predecessors: tuple[Predecessor, ...] = setting(
        (),
        "Runners that were set up by hand and give way, each as the directory of its application"
        " and its repository or organization; closed once a declared one is online, and ended once"
        " their job is. Their files stay.",
    )
    ca_file: str = setting(
        "/etc/ssl/certs/ca-certificates.crt",
        "A bundle of certificate authorities on the host that runners and their jobs trust; empty"
        " for their own.",
        form=OPTIONAL_PATH,
    )
    version: str = setting(
        "latest",
        "Version of the runner application of native runners, or `latest`.",
        form=(r"latest|\d+\.\d+\.\d+", "be 'latest' or such as 2.330.0"),
    )
    version_sha256: str = setting(
        "",
        "SHA-256 of that version's archive, needed where GitHub states none.",
        form=("[0-9a-fA-F]{64}", "be 64 hexadecimal digits"),
    )
    version_warn_days: float = setting(
        20, "How long a version may be outdated before a converge warns.", minimum=0, maximum=30
    )
    version_fail_days: float = setting(
        30,
        "How long a version may be outdated before a converge fails; GitHub gives it no jobs after"
        " 30.",
        minimum=0,
        maximum=30,
    )
    disk_min_free_mib: int = setting(
        10240, "Free disk space below which no ephemeral runner is started.", minimum=0
    )
    network_subnet: str = setting(
        Network.subnet, "Network of the job containers; nothing else may use it."
    )
    allowed_destinations: tuple[Destination, ...] = setting(
        (),
        "Private addresses that job containers may reach nevertheless; GitHub's API is one of them"
        " in any case.",
    )
    denied_local_ports: tuple[int, ...] = setting(
        Network.denied_local_ports,
        "Ports of this host's own services that native jobs may not reach.",
        minimum=1,
        maximum=65535,
        adds=True,
    )
    timing: Timing = setting(Timing(), "Intervals and patience of supervisors and healer.")
    rebuild_unit: str = setting(
        "factory-job-factory-images.service",
        "A unit that builds the images anew, started when GitHub accepts their runner no longer;"
        " empty for none.",
        form=(
            r"(?:[A-Za-z0-9:_.@\\-]+\.(?:service|target))?",
            "be a service or target unit, or empty",
        ),
    )
    metrics_path: str = setting(
        "", "A file for the text collector of the node exporter; empty for none.", kind="path"
    )

    @property
    def network(self) -> Network:
        """The network of the job containers."""
        return Network(
            subnet=self.network_subnet,
            allowed=self.allowed_destinations,
            denied_local_ports=self.denied_local_ports,
        )

    def web_url(self, target: str) -> str:
        """Return the address of a target as a person visits it, which registering wants."""
        return f"{self.github.web_url}/{target}"

    @property
    def login(self) -> Login:
        """Return how runners log in at GitHub."""
        return self.github.login_of("runners")

    def runner_name(self, instance: str) -> str:
        """Return the name under which a native instance is registered."""
        return f"{self.prefix}-{instance}"

    def of_slot(self, slot: str) -> Instance | None:
        """Return the ephemeral instance that a slot belongs to."""
        for instance in self.instances:
            if instance.mode == Mode.EPHEMERAL and slot in instance.slot_names:
                return instance
        return None

    def contradictions(self) -> Iterator[tuple[str, str] | tuple[str, str, str]]:
        """Yield what GitHub or the network refuses, and what would meet itself."""
        oldest = release.OLDEST_VERSION
        if self.version != "latest" and release.order(self.version) < release.order(oldest):
            yield "version", f"be {oldest} or newer: GitHub registers no older one"
        if self.version_warn_days > self.version_fail_days:
            yield (
                "version_warn_days",
                f"not exceed version_fail_days, which is {self.version_fail_days:g}",
            )
        try:
            ipaddress.IPv4Network(self.network_subnet)
        except ValueError as error:
            yield "network_subnet", f"be an IPv4 network ({error})"
        for old in self.predecessors:
            if (Path(old.path) / "_").is_relative_to(layout.Places.root):
                yield (
                    "predecessors",
                    "leave a declared runner's own directory alone; leave its instance out instead",
                    old.path,
                )
        yield from self._same_names()

    def _same_names(self) -> Iterator[tuple[str, str, str]]:
        seen: set[str] = set()
        for instance in self.instances:
            # A slot is called after its instance: "a" with two slots leaves no room for an "a-1".
            slots = instance.slot_names if instance.mode == Mode.EPHEMERAL else ()
            for name in {instance.name, *slots}:
                if name in seen:
                    yield "instances", "be the name of one runner or slot alone", name
                seen.add(name)
