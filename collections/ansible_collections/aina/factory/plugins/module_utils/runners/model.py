"""What a runner is, read and checked from the configuration's section ``runners``."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from ..base.configuration import ConfigurationError, Section
from ..base.github import release
from ..base.github.settings import GitHub, Login
from . import layout

_NAME = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,24}[a-z0-9])?\Z")
_NAME_RULE = "consist of at most 26 lower-case letters, digits and inner dashes"
_PREFIX = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9_.-]{0,22}[A-Za-z0-9])?\Z")
_TARGET = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]{0,38}(/[A-Za-z0-9._-]{1,100})?\Z")
_LABEL = re.compile(r"[^\s,]{1,256}\Z")
_VERSION = re.compile(r"(latest|\d+\.\d+\.\d+)\Z")
_SHA256 = re.compile(r"([0-9a-fA-F]{64})?\Z")
_IMAGE = re.compile(r"([A-Za-z0-9][\w./:@-]{0,254})?\Z")
_BRIDGE = re.compile(r"[a-z][a-z0-9-]{0,14}\Z")
_UNIT = re.compile(r"([A-Za-z0-9:_.@\\-]+\.(?:service|target))?\Z")
_DIRECTORY = re.compile(r"(/[A-Za-z0-9_@+-][A-Za-z0-9._@+-]*)+\Z")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")
_HOST = re.compile(r"[A-Za-z0-9][A-Za-z0-9.-]{0,252}\Z")
# What the application calls itself unless told not to.
_GIVEN_LABELS = frozenset({"self-hosted", "linux", "x64", "arm64", "arm"})


class Mode(StrEnum):
    """How an instance runs jobs."""

    NATIVE = "native"
    EPHEMERAL = "ephemeral"


@dataclass(frozen=True)
class Limits:
    """What one job may use; ``work_mib`` 0 puts the work folder on the container's own layer."""

    cpus: int = 2
    memory_mib: int = 4096
    tasks_count: int = 2048
    tmp_mib: int = 1024
    work_mib: int = 2048
    disk_mib: int = 4096


@dataclass(frozen=True)
class Instance:
    """One declared runner (native), or one warm pool of them (ephemeral).

    ``target`` is a repository's owner/name or an organization. The reasons are the
    operator's, for what is refused without one.
    """

    name: str
    mode: Mode
    target: str
    project: str = ""
    present: bool = True
    labels: tuple[str, ...] = ()
    default_labels: bool = True
    group: str = "Default"
    slots: int = 1
    limits: Limits = Limits()
    image: str = ""
    runtime: str = ""
    environment: tuple[tuple[str, str], ...] = ()
    replace: bool = False
    strict: bool = True
    job_container_required: bool = False
    job_max_minutes: float = 360.0
    idle_max_hours: float = 24.0
    public_repository_reason: str = ""
    open_fork_policy_reason: str = ""
    docker_socket_reason: str = ""

    @property
    def is_organization(self) -> bool:
        """Whether the runner serves an organization."""
        return "/" not in self.target

    @property
    def slot_names(self) -> tuple[str, ...]:
        """The slots of an ephemeral instance."""
        return tuple(layout.slot(self.name, number) for number in range(1, self.slots + 1))

    @property
    def wanted_labels(self) -> frozenset[str]:
        """The custom labels as they are compared."""
        own = frozenset(label.lower() for label in self.labels)
        return own - _GIVEN_LABELS if self.default_labels else own


@dataclass(frozen=True)
class Predecessor:
    """A runner that was set up by hand in ``path`` and gives way to the declared ones."""

    path: str
    target: str


@dataclass(frozen=True)
class Destination:
    """A private address that jobs may reach nevertheless."""

    host: str
    port: int


@dataclass(frozen=True)
class Network:
    """The bridge of the job containers, and what lies behind it."""

    name: str = "aina-runners"
    bridge: str = "br-runners"
    subnet: str = "172.29.240.0/24"
    allowed: tuple[Destination, ...] = ()
    # Ports of this host's own services that a native job must not reach either.
    denied_local_ports: tuple[int, ...] = (3100, 54329)


@dataclass(frozen=True)
class Timing:
    """How often is looked, how long is waited, and when is given up."""

    watch_seconds: float = 60.0
    disk_watch_seconds: float = 10.0
    ghost_grace_seconds: float = 120.0
    ghost_misses_count: int = 3
    online_max_seconds: float = 300.0
    backoff_first_seconds: float = 5.0
    backoff_max_seconds: float = 80.0
    failures_max_count: int = 5
    stop_grace_seconds: float = 600.0
    drain_max_seconds: float = 1800.0
    guard_max_age_seconds: float = 3600.0
    releases_max_age_seconds: float = 3600.0
    failed_retry_seconds: float = 3600.0


@dataclass(frozen=True)
class Settings:
    """The whole section."""

    prefix: str
    github: GitHub
    instances: tuple[Instance, ...] = ()
    predecessors: tuple[Predecessor, ...] = ()
    ca_file: str = ""
    version: str = "latest"
    version_sha256: str = ""
    version_warn_days: float = 20.0
    version_fail_days: float = 30.0
    disk_min_free_mib: int = 10240
    network: Network = field(default_factory=Network)
    timing: Timing = field(default_factory=Timing)
    rebuild_unit: str = ""
    metrics_path: str = ""

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
            if instance.mode is Mode.EPHEMERAL and slot in instance.slot_names:
                return instance
        return None


def from_section(section: Section, github: GitHub) -> Settings:
    """Read the section; what all capabilities share comes from ``github``.

    Raises:
        ConfigurationError: a value is wrong, a key unknown, or a name declared twice.

    """
    settings = Settings(
        prefix=section.matching(
            "prefix", _PREFIX, "consist of at most 24 letters, digits and inner dashes"
        ),
        github=github,
        instances=tuple(_instance(item) for item in section.sections("instances", [])),
        predecessors=tuple(_predecessor(item) for item in section.sections("predecessors", [])),
        ca_file=section.text("ca_file", ""),
        version=section.matching("version", _VERSION, "be 'latest' or such as 2.330.0", "latest"),
        version_sha256=section.matching("version_sha256", _SHA256, "be 64 hexadecimal digits", ""),
        version_warn_days=section.number("version_warn_days", 20, minimum=0, maximum=30),
        version_fail_days=section.number("version_fail_days", 30, minimum=0, maximum=30),
        disk_min_free_mib=section.integer("disk_min_free_mib", 10240, minimum=0),
        network=_network(section.section("network", {})),
        timing=_timing(section.section("timing", {})),
        rebuild_unit=section.matching("rebuild_unit", _UNIT, "be a service or target unit", ""),
        metrics_path=section.text("metrics_path", ""),
    )
    section.done()
    _check(settings, section.path)
    return settings


def _check(settings: Settings, path: str) -> None:
    if settings.version != "latest" and release.order(settings.version) < release.order(
        release.OLDEST_VERSION
    ):
        raise ConfigurationError(
            f"{path}.version is {settings.version}; GitHub registers {release.OLDEST_VERSION} and newer"
        )
    if settings.version_warn_days > settings.version_fail_days:
        raise ConfigurationError(
            f"{path}.version_warn_days is {settings.version_warn_days:g}; it must not exceed"
            f" version_fail_days, {settings.version_fail_days:g}"
        )
    for old in settings.predecessors:
        if (Path(old.path) / "_").is_relative_to(layout.Places.root):
            raise ConfigurationError(
                f"{path}.predecessors: {old.path} is a declared runner's own; leave its instance out instead"
            )
    seen: set[str] = set()
    for instance in settings.instances:
        # A slot is called after its instance: "a" with two slots leaves no room for an "a-1".
        for name in {
            instance.name,
            *(instance.slot_names if instance.mode is Mode.EPHEMERAL else ()),
        }:
            if name in seen:
                raise ConfigurationError(f"{path}.instances: the name {name!r} is taken twice")
            seen.add(name)


def _instance(section: Section) -> Instance:
    name = section.matching("name", _NAME, _NAME_RULE)
    section = section.named(f"runners.instances.{name}")
    section.has("name")
    mode = Mode(section.text("mode", "ephemeral", choices=[mode.value for mode in Mode]))
    instance = Instance(
        name=name,
        mode=mode,
        target=section.matching("target", _TARGET, "be owner/name or an organization"),
        project=section.text("project", ""),
        present=section.text("state", "present", choices=("present", "absent")) == "present",
        labels=_labels(section),
        default_labels=section.boolean("default_labels", True),
        group=section.text("group", "Default"),
        slots=section.integer("slots", 1, minimum=1, maximum=64),
        limits=_limits(section),
        image=section.matching("image", _IMAGE, "be the name of an image", ""),
        runtime=section.text("runtime", ""),
        environment=_environment(section),
        replace=section.boolean("replace", False),
        strict=section.text("hardening", "strict", choices=("strict", "sudo")) == "strict",
        job_container_required=section.boolean("job_container_required", False),
        job_max_minutes=section.number("job_max_minutes", 360, minimum=0.001),
        idle_max_hours=section.number("idle_max_hours", 24, minimum=0.0001),
        public_repository_reason=section.text("public_repository_reason", ""),
        open_fork_policy_reason=section.text("open_fork_policy_reason", ""),
        docker_socket_reason=section.text("docker_socket_reason", ""),
    )
    section.done()
    if not instance.default_labels and not instance.labels:
        raise ConfigurationError(
            f"{section.path}: without default_labels at least one label is needed"
        )
    return instance


def _predecessor(section: Section) -> Predecessor:
    found = Predecessor(
        path=section.matching("path", _DIRECTORY, "be an absolute path below /"),
        target=section.matching("target", _TARGET, "be owner/name or an organization"),
    )
    section.done()
    return found


def _labels(section: Section) -> tuple[str, ...]:
    labels = section.strings("labels", [])
    for label in labels:
        if not _LABEL.match(label):
            raise section.error("labels", label, "hold labels without spaces and commas")
    return tuple(labels)


def _environment(section: Section) -> tuple[tuple[str, str], ...]:
    values = section.mapping_of_strings("environment", {})
    for name, value in values.items():
        if not _VARIABLE.match(name) or "\n" in value:
            raise section.error("environment", name, "map names of variables to values of one line")
        if name.startswith("ACTIONS_RUNNER_INPUT_"):
            raise section.error("environment", name, "leave the runner's own inputs alone")
    return tuple(values.items())


def _limits(section: Section) -> Limits:
    default = Limits()
    return Limits(
        cpus=section.integer("cpus", default.cpus, minimum=1),
        memory_mib=section.integer("memory_mib", default.memory_mib, minimum=64),
        tasks_count=section.integer("tasks_count", default.tasks_count, minimum=32),
        tmp_mib=section.integer("tmp_mib", default.tmp_mib, minimum=1),
        work_mib=section.integer("work_mib", default.work_mib, minimum=0),
        disk_mib=section.integer("disk_mib", default.disk_mib, minimum=1),
    )


def _network(section: Section) -> Network:
    default = Network()
    network = Network(
        name=section.text("name", default.name),
        bridge=section.matching("bridge", _BRIDGE, "be the name of an interface", default.bridge),
        subnet=section.text("subnet", default.subnet),
        allowed=tuple(_destination(item) for item in section.sections("allowed", [])),
        denied_local_ports=_ports(section, default.denied_local_ports),
    )
    section.done()
    try:
        ipaddress.IPv4Network(network.subnet)
    except ValueError as error:
        raise section.error("subnet", network.subnet, f"be an IPv4 network ({error})") from None
    return network


def _ports(section: Section, default: tuple[int, ...]) -> tuple[int, ...]:
    values = section.value("denied_local_ports", list(default))
    if not isinstance(values, list) or not all(
        isinstance(port, int) and not isinstance(port, bool) and 0 < port < 65536 for port in values
    ):
        raise section.error("denied_local_ports", values, "be a list of ports")
    return tuple(values)


def _destination(section: Section) -> Destination:
    found = Destination(
        host=section.matching("host", _HOST, "be a host name or an IPv4 address"),
        port=section.integer("port", minimum=1, maximum=65535),
    )
    section.done()
    return found


def _timing(section: Section) -> Timing:
    default = Timing()
    values: dict[str, float] = {}
    for name in Timing.__dataclass_fields__:
        fallback = getattr(default, name)
        if isinstance(fallback, int):
            values[name] = section.integer(name, fallback, minimum=1)
        else:
            values[name] = section.number(name, fallback, minimum=0.01)
    section.done()
    return Timing(**values)  # type: ignore[arg-type]
