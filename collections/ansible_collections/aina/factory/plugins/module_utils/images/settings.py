"""Section ``images`` of the configuration: what the images are made of."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from ..base import projects
from ..base.configuration import ConfigurationError, Section
from ..base.github.settings import GitHub

PREFIX = "aina-factory"
# What a project may ask for by name and version; anything else is a Dockerfile's business.
TOOLS = ("node", "npm", "pnpm", "yarn")

_REFERENCE = re.compile(r"[a-z0-9][a-z0-9._/:-]*:[A-Za-z0-9._-]+\Z")
_SUITE = re.compile(r"([a-z]+)?\Z")
_VERSION = re.compile(r"\d+(\.\d+){0,2}\Z")
_DIGEST = re.compile(r"([0-9a-f]{64})?\Z")
_RELEASE = re.compile(r"(latest|\d+\.\d+\.\d+)\Z")
_OPTIONAL_NAME = re.compile(r"([a-z0-9][a-z0-9-]*)?\Z")
_OPTIONAL_PATH = re.compile(r"(/.*)?\Z")


@dataclass(frozen=True)
class Base:
    """Where everything begins.

    Without a ``bootstrap_suite`` the image comes from its registry. With one it is made of
    the packages of that Debian release, so that no registry is needed.
    """

    image: str
    bootstrap_suite: str = ""
    bootstrap_mirror: str = ""


@dataclass(frozen=True)
class RunnerWish:
    """Which release of the runner the CI image holds.

    ``version`` may be ``latest``, which means the newest at the last refresh. ``sha256`` is
    needed where GitHub states no digest, and with an ``archive_path``, a file on this host.
    """

    version: str
    sha256: str = ""
    archive_path: str = ""
    cache_dir: str = "/var/cache/aina-factory/runner"


@dataclass(frozen=True)
class ProjectImages:
    """What one project's images hold beside the common ones; ``engine`` is its lanes' agent."""

    name: str
    toolchain: Mapping[str, str] = field(default_factory=dict)
    engine: str = ""


@dataclass(frozen=True)
class Settings:
    """The whole section."""

    source_dir: str
    state_dir: str
    base: Base
    build_network: str
    build_timeout_seconds: float
    ca_file: str
    npmrc_file: str
    runner: RunnerWish | None
    projects: tuple[ProjectImages, ...]
    github: GitHub


def from_section(section: Section, github: GitHub) -> Settings:
    """Read the section; what all capabilities share comes from ``github``.

    Raises:
        ConfigurationError: a value is wrong, a key unknown, or a project named twice.

    """
    settings = Settings(
        source_dir=section.absolute_path("source_dir", "/usr/local/share/aina-factory/images"),
        state_dir=section.absolute_path("state_dir", "/var/lib/aina-factory/images"),
        base=_base(section.section("base", {})),
        build_network=section.text("build_network", "default", choices=("default", "host")),
        build_timeout_seconds=60
        * section.number("build_timeout_minutes", 60, minimum=1, maximum=1440),
        ca_file=_optional_path(section, "ca_file", "/etc/ssl/certs/ca-certificates.crt"),
        npmrc_file=_optional_path(section, "npmrc_file", ""),
        runner=_runner(section.section("runner")) if section.has("runner") else None,
        projects=tuple(_project(item) for item in section.sections("projects", ())),
        github=github,
    )
    section.done()
    projects.refuse_twins(f"{section.path}.projects", settings.projects, "name")
    return settings


def _optional_path(section: Section, key: str, default: str) -> str:
    return section.matching(key, _OPTIONAL_PATH, "be an absolute path, or empty", default)


def _base(section: Section) -> Base:
    suite = section.matching("bootstrap_suite", _SUITE, "be a Debian release such as trixie", "")
    default = f"{PREFIX}/base:{suite}" if suite else "ubuntu:24.04"
    base = Base(
        image=section.matching("image", _REFERENCE, "be an image with its tag", default),
        bootstrap_suite=suite,
        bootstrap_mirror=section.text("bootstrap_mirror", ""),
    )
    section.done()
    return base


def _runner(section: Section) -> RunnerWish:
    wish = RunnerWish(
        version=section.matching("version", _RELEASE, "be latest or a version such as 2.336.0"),
        sha256=section.matching("sha256", _DIGEST, "be a SHA-256 in hexadecimal, or empty", ""),
        archive_path=_optional_path(section, "archive_path", ""),
        cache_dir=section.absolute_path("cache_dir", RunnerWish.cache_dir),
    )
    section.done()
    if wish.archive_path and (wish.version == "latest" or not wish.sha256):
        raise ConfigurationError(
            f"{section.path}.archive_path is given; then version and sha256 must say what the file is"
        )
    return wish


def _project(section: Section) -> ProjectImages:
    tools = section.section("toolchain", {})
    toolchain = {
        name: tools.matching(name, _VERSION, 'be a version such as "22" or "10.11.0", in quotes')
        for name in TOOLS
        if tools.has(name)
    }
    tools.done()
    project = ProjectImages(
        section.matching("name", projects.NAME, "be lower-case letters, digits and dashes"),
        toolchain,
        section.matching(
            "engine", _OPTIONAL_NAME, "be lower-case letters, digits and dashes, or empty", ""
        ),
    )
    section.done()
    return project
