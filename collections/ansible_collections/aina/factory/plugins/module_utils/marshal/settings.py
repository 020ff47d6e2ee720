"""Section ``marshal`` of the configuration: which repositories, and where to remember."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from ..base import projects, settings
from ..base.configuration import Section
from ..base.github.settings import GitHub
from .policy import Policy


@dataclass(frozen=True)
class MergeProject:
    """One repository under the marshal."""

    name: str
    repository: str
    default_branch: str
    policy: Policy


@dataclass(frozen=True)
class Settings:
    """The whole section, and what all capabilities share."""

    github: GitHub
    state_dir: str
    projects: tuple[MergeProject, ...]


def from_section(section: Section, github: GitHub, agents: Sequence[str]) -> Settings:
    """Read the section; ``github`` and ``agents`` are what all capabilities share.

    Raises:
        ConfigurationError: a value is wrong, a key unknown, or a name declared twice.

    """
    found = Settings(
        github=github,
        state_dir=section.absolute_path("state_dir", "/var/lib/aina-factory/marshal"),
        projects=tuple(_project(item, agents) for item in section.sections("projects", [])),
    )
    section.done()
    projects.refuse_twins(f"{section.path}.projects", found.projects, "name", "repository")
    return found


def _project(section: Section, agents: Sequence[str]) -> MergeProject:
    shared = settings.read_some(projects.Repository, section)
    policy = Policy.from_section(section.section("merge", {}))
    section.done()
    return MergeProject(
        name=shared.name,
        repository=shared.repository,
        default_branch=shared.default_branch,
        policy=replace(
            policy,
            agents=tuple(agents),
            guarded_paths=shared.guarded_paths,
            guarded_label=shared.guarded_label.casefold(),
        ),
    )
