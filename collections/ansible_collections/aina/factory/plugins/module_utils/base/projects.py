"""The projects a factory server works on: section ``projects`` of the configuration."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from .configuration import ConfigurationError, Section

# What every capability takes for a project's name, and for a repository at GitHub.
NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,62}\Z")
REPOSITORY = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]{0,38}/[A-Za-z0-9._-]{1,100}\Z")

# What else the one list of projects says: each is read by its own capability alone.
_OTHERS = ("lanes", "merge", "runner", "toolchain", "workflows")


@dataclass(frozen=True)
class Project:
    """One repository and where it lives on the server.

    ``repository`` is GitHub's owner/name; ``path`` is the checkout; ``worktree_roots``
    are the directories under which its worktrees may lie.
    """

    name: str
    repository: str
    path: str
    default_branch: str
    worktree_roots: tuple[str, ...]


def from_sections(sections: Iterable[Section]) -> tuple[Project, ...]:
    """Return the projects in the order of their declaration.

    Raises:
        ConfigurationError: a value is wrong, or two projects share a name or a path.

    """
    projects = tuple(_project(section) for section in sections)
    refuse_twins("configuration.projects", projects, "name", "path")
    return projects


def refuse_twins(place: str, projects: Iterable[object], *attributes: str) -> None:
    """Refuse projects that share what is theirs alone; ``place`` names the list in the message.

    Raises:
        ConfigurationError: two have the same value of one of ``attributes``.

    """
    projects = tuple(projects)
    for attribute in attributes:
        values = Counter(getattr(project, attribute) for project in projects)
        value, count = max(values.items(), key=lambda item: item[1], default=("", 0))
        if count > 1:
            raise ConfigurationError(f"{place}: {attribute} {value!r} is declared twice")


def _project(section: Section) -> Project:
    project = Project(
        name=section.matching("name", NAME, "be lower-case letters, digits and dashes"),
        repository=section.matching("repository", REPOSITORY, "be owner/name as on GitHub"),
        path=section.absolute_path("path"),
        default_branch=section.text("default_branch", "main"),
        worktree_roots=tuple(section.absolute_paths("worktree_roots", ())),
    )
    for key in _OTHERS:
        section.section(key, {})
    section.done()
    return project
