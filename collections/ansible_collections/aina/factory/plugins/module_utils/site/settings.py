"""What a whole site says once: the variables ``factory_*`` of an inventory."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from ..base import projects
from ..base.github.settings import GitHub
from ..base.settings import setting


@dataclass(frozen=True)
class Project(projects.Project):
    """One repository, where it lives on the server, and what each capability does for it."""

    lanes: Mapping[str, object] | None = setting(
        None, "What lanes on it may use; without it there are none."
    )
    merge: Mapping[str, object] | None = setting(
        None, "What may land, and when; without it the marshal leaves it alone."
    )
    runner: Mapping[str, object] | None = setting(
        None, "Its CI runners; without it there are none."
    )
    toolchain: Mapping[str, object] | None = setting(
        None, "Versions of the tools that its images hold."
    )
    workflows: Mapping[str, object] | None = setting(
        None, "The policy of its workflows; without it they are left alone."
    )

    def contradictions(self) -> Iterator[tuple[str, str]]:
        """Yield what a capability's own part says although all of them share it."""
        for key in ("guarded_paths", "guarded_label"):
            if key in (self.lanes or {}):
                yield "lanes", f"not hold {key}, which is now {key} of the project itself"


@dataclass(frozen=True)
class Site:
    """What all capabilities share. An inventory says it once, as `factory_<key>`."""

    projects: tuple[Project, ...] = setting(
        (), "The projects that the server works on.", unique=("name", "repository", "path")
    )
    github: GitHub = setting(GitHub(), "Where GitHub is and how to log in.")
    agents: tuple[str, ...] = setting(
        (),
        "Accounts at GitHub that are agents: what they put on counts for no person's word, and"
        " their conflicts and duplicates are treated as theirs.",
    )


@dataclass(frozen=True)
class Inventory(Site):
    """What an inventory shares between roles and no server is told."""

    user: str = setting("", "The person on the server who owns checkouts and starts lanes.")
    projects_dir: str = setting(
        "",
        "A directory of the control node that holds one for each project, with `lane.yml`,"
        " `AGENTS.md`, `Dockerfile`.",
        kind="path",
    )
    jobs: tuple[object, ...] = setting(
        (), "The scheduled jobs, as the role factory_crons has them."
    )
