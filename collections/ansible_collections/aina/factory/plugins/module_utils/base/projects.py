"""The projects a factory server works on: section ``projects`` of the configuration."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from . import guarded, settings
from .configuration import Section
from .settings import REQUIRED, setting

# What every capability takes for a project's name, and for a repository at GitHub.
NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,62}\Z")
REPOSITORY = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]{0,38}/[A-Za-z0-9._-]{1,100}\Z")
NAME_FORM = (NAME.pattern.removesuffix(r"\Z"), "be lower-case letters, digits and dashes")
_BRANCH = r"[A-Za-z0-9][A-Za-z0-9._/-]{0,200}"


@dataclass(frozen=True)
class Repository:
    """One repository at GitHub, as every capability that works on it sees it."""

    name: str = setting(
        REQUIRED,
        "Unique name.",
        form=NAME_FORM,
    )
    repository: str = setting(
        REQUIRED,
        "GitHub owner/name.",
        form=(REPOSITORY.pattern.removesuffix(r"\Z"), "be owner/name as on GitHub"),
    )
    default_branch: str = setting(
        "main", "The branch that work lands on.", form=(_BRANCH, "be a branch")
    )
    guarded_paths: tuple[str, ...] = setting(
        guarded.STANDARD,
        "Names of files and directories, at any depth, whose changes a person approves before they"
        " land: neither a lane nor the marshal lets them pass alone.",
        adds=True,
    )
    guarded_label: str = setting(
        "approved-by-human",
        "The label by which a person who is neither author nor agent approves such a change.",
    )


@dataclass(frozen=True)
class Project(Repository):
    """One repository and where it lives on the server."""

    path: str = setting(
        "",
        "The server's checkout, in whose worktrees people and agents work by hand; without it"
        " nothing is reaped.",
        kind="path",
    )
    worktree_roots: tuple[str, ...] = setting(
        (), "Directories under which worktrees of the checkout may lie.", kind="path"
    )


def from_sections(
    sections: Iterable[Section], whole: type[Project] | None = None
) -> tuple[Project, ...]:
    """Return the projects in the order of their declaration.

    ``whole`` is the class that declares what all capabilities read of a project: other keys are
    refused. What a part says, its own capability alone reads. Without ``whole`` other keys are
    others' business.

    Raises:
        ConfigurationError: a value is wrong, or two projects share a name or a path.

    """
    projects = tuple(_project(section, whole) for section in sections)
    settings.refuse_doubles("configuration.projects", projects, ("name", "path"))
    return projects


def _project(section: Section, whole: type[Project] | None) -> Project:
    project = settings.read_some(Project, section)
    if whole:
        own = {item.key for item in settings.settings_of(Project)}
        for item in settings.settings_of(whole):
            if item.key not in own:
                section.section(item.key, {})
        section.done()
    return project
