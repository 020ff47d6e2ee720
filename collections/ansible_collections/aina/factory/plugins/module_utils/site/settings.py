"""What a whole site says once: the variables ``factory_*`` of an inventory."""

from __future__ import annotations

from dataclasses import dataclass

from ..base import projects
from ..base.github.settings import GitHub
from ..base.settings import setting
from ..images.settings import Toolchain
from ..jobs.settings import JobEntry
from ..lanes.settings import LaneOptions
from ..marshal.settings import MergePolicy
from ..runners.settings import RunnerOptions
from ..workflows.settings import WorkflowPolicy


@dataclass(frozen=True)
class Project(projects.Project):
    """One repository, where it lives on the server, and what each capability does for it."""

    lanes: LaneOptions | None = setting(
        None, "What lanes on it may use; without it there are none."
    )
    merge: MergePolicy | None = setting(
        None, "What may land, and when; without it the marshal leaves it alone."
    )
    runner: RunnerOptions | None = setting(None, "Its CI runners; without it there are none.")
    toolchain: Toolchain = setting(Toolchain(), "Versions of the tools that its images hold.")
    workflows: WorkflowPolicy | None = setting(
        None, "The policy of its workflows; without it they are left alone."
    )


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
        " `AGENTS.md`, `Dockerfile`. When empty, it is `projects` in the directory of the"
        " inventory's file, or else beside that directory.",
        kind="path",
    )
    jobs: tuple[JobEntry, ...] = setting(
        (),
        "What differs of the scheduled jobs that the capabilities bring, each by its name, and jobs"
        " of the site's own; the role factory_crons says how.",
        named="name",
    )
