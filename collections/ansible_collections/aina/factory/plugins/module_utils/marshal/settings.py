"""Section ``marshal`` of the configuration: which repositories, how to log in, where to remember."""

from __future__ import annotations

import re
from dataclasses import dataclass

from ..base import projects
from ..base.configuration import ConfigurationError, Section
from ..base.github import login
from .policy import Policy

_URL = re.compile(r"https://[^\s/]+(/[^\s]*)?\Z")


@dataclass(frozen=True)
class MergeProject:
    """One repository under the marshal."""

    name: str
    repository: str
    default_branch: str
    policy: Policy


@dataclass(frozen=True)
class Settings:
    """The whole section."""

    api_url: str
    git_url: str
    ca_file: str
    state_dir: str
    login: login.Login
    projects: tuple[MergeProject, ...]


def from_section(section: Section) -> Settings:
    """Read the section.

    Raises:
        ConfigurationError: a value is wrong, a key unknown, or a name declared twice.

    """
    api_url = section.matching("github_api_url", _URL, "be an https URL", "https://api.github.com")
    git_url = section.text("github_git_url", "") or git_url_of(api_url)
    if not _URL.match(git_url):
        raise ConfigurationError(f"marshal.github_git_url is {git_url!r}; it must be an https URL")
    settings = Settings(
        api_url=api_url.rstrip("/"),
        git_url=git_url.rstrip("/"),
        ca_file=section.text("ca_file", ""),
        state_dir=section.absolute_path("state_dir", "/var/lib/aina-factory/marshal"),
        login=login.from_section(section.section("login", {})),
        projects=tuple(_project(item) for item in section.sections("projects", [])),
    )
    section.done()
    projects.refuse_twins(f"{section.path}.projects", settings.projects, "name", "repository")
    return settings


def git_url_of(api_url: str) -> str:
    """Return where git finds repositories, given the REST address."""
    base = api_url.rstrip("/")
    if base == "https://api.github.com":
        return "https://github.com"
    return base.removesuffix("/api/v3")


def _project(section: Section) -> MergeProject:
    project = MergeProject(
        name=section.matching("name", projects.NAME, "be lower-case letters, digits and dashes"),
        repository=section.matching(
            "repository", projects.REPOSITORY, "be owner/name as on GitHub"
        ),
        default_branch=section.text("default_branch", "main"),
        policy=Policy.from_section(section.section("merge", {})),
    )
    section.done()
    return project
