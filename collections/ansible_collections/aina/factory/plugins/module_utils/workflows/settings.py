"""What is declared of a repository's workflows: the key ``workflows`` of a project."""

from __future__ import annotations

import fnmatch
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from ..base.settings import REQUIRED, setting

_LABEL = (r"[A-Za-z0-9][A-Za-z0-9._-]*", "be a label")

# They ask which tag or branch they were called by, and fail, or do something else, without one.
UNPINNABLE = {
    "slsa-framework/slsa-github-generator": "it runs only when it is called by a tag",
    "dtolnay/rust-toolchain": "its branch says which toolchain is meant",
}


@dataclass(frozen=True)
class KeptJobs:
    """Jobs that are excepted, and why."""

    workflow: str = setting(REQUIRED, "Pattern of the workflow's file name, such as `release.yml`.")
    job: str = setting("*", "Pattern of the jobs' names.")
    reason: str = setting(REQUIRED, "Why; the pull request says it.")

    def covers(self, workflow: str, job: str) -> bool:
        """Whether the pattern means this job; ``workflow`` is the file's name."""
        return fnmatch.fnmatchcase(workflow, self.workflow) and fnmatch.fnmatchcase(job, self.job)


_PARTS = ("runs_on", "triggers", "concurrency", "timeout_minutes", "permissions", "pin_actions")


@dataclass(frozen=True)
class Excepted(KeptJobs):
    """What the policy leaves alone, and why."""

    parts: tuple[str, ...] = setting(
        _PARTS,
        "Which parts of the policy are not applied; `triggers`, `concurrency` and `permissions` of a"
        " workflow are left alone where `job` is `*`.",
        adds=False,
        choices=_PARTS,
    )

    def covers_part(self, part: str, workflow: str, job: str) -> bool:
        """Whether a part stays as it is; ``job`` is "*" for what belongs to the whole file."""
        if job == "*" and self.job != "*":
            return False
        return part in self.parts and self.covers(workflow, job)


@dataclass(frozen=True)
class RunsOn:
    """Where jobs run."""

    strategy: str = setting(
        "variable",
        "How a job finds its runner: `variable` reads a repository variable, so that an operator"
        " moves all jobs, and back, without touching a workflow; `labels` writes the labels.",
        choices=("variable", "labels"),
    )
    variable: str = setting(
        "CI_RUNS_ON",
        "The repository variable.",
        form=("[A-Za-z_][A-Za-z0-9_]*", "be a variable's name"),
    )
    labels: tuple[str, ...] = setting(
        ("self-hosted",),
        "Labels of the runner; with the strategy `labels` more than `self-hosted`, which matches any"
        " runner.",
        adds=False,
        form=_LABEL,
    )
    hosted_labels: tuple[str, ...] = setting(
        ("ubuntu-latest", "ubuntu-24.04", "ubuntu-22.04"),
        "Labels of GitHub's own runners that are replaced; jobs with others stay.",
        adds=False,
        form=_LABEL,
    )
    keep_hosted: tuple[KeptJobs, ...] = setting((), "Jobs that stay on GitHub's own runners.")
    move_anyway: tuple[KeptJobs, ...] = setting(
        (),
        "Jobs that move though the runner seems to lack what they need, or though people start"
        " them who need not be trusted.",
    )
    offers: tuple[str, ...] = setting(
        (),
        "What the declared runner has beyond the common CI image: `engine` where jobs may use"
        " containers, `sudo`, and commands such as `python3`. A job that needs more stays hosted.",
        form=("[A-Za-z0-9][A-Za-z0-9._+-]*", "be engine, sudo or a command's name"),
    )

    def contradictions(self) -> Iterator[tuple[str, str]]:
        """Yield what names no runner."""
        for key, labels in (("labels", self.labels), ("hosted_labels", self.hosted_labels)):
            if not labels:
                yield key, "name at least one label"
        if self.strategy == "labels" and self.labels == ("self-hosted",):
            yield "labels", "name the runner more closely: this matches any runner"


@dataclass(frozen=True)
class Triggers:
    """What starts a workflow."""

    push_branches: tuple[str, ...] | None = setting(
        None,
        "Branches whose pushes start a workflow; the default branch where not given. With an empty"
        " list none is written.",
    )
    forbid: tuple[str, ...] = setting(
        ("pull_request_target",),
        "Events that are reported, since they run foreign code with the repository's rights.",
        adds=True,
        form=("[a-z_]+", "be an event"),
    )
    paths_ignore: tuple[str, ...] = setting(
        (), "Patterns of paths whose changes alone start nothing; not where a check is required."
    )


@dataclass(frozen=True)
class Concurrency:
    """Which runs wait for each other."""

    group: str = setting(
        "${{ github.workflow }}-${{ github.ref }}",
        "Runs of one group follow each other. Empty writes none.",
    )
    cancel_in_progress: str | None = setting(
        None,
        "An expression that says whether a newer run ends the one before it; everywhere but on the"
        " default branch where not given. Empty writes none.",
        form=(r"(\$\{\{.*\}\})?", "be an expression, or empty"),
    )


@dataclass(frozen=True)
class TimeoutMinutes:
    """How many minutes a job may take."""

    default: int = setting(
        30, "Minutes of a job that says nothing; with 0 none are written.", minimum=0, maximum=360
    )
    max: int = setting(120, "Minutes that no job may exceed.", minimum=1, maximum=360)

    def contradictions(self) -> Iterator[tuple[str, str]]:
        """Yield a limit below what is written where there is none."""
        if self.max < self.default:
            yield "max", f"be at least default, which is {self.default}"


@dataclass(frozen=True)
class WorkflowPolicy:
    """How the workflows of a repository are to be; parts that are empty or 0 are not touched."""

    default_branch: str = "main"
    runs_on: RunsOn = setting(RunsOn(), "Where jobs run.")
    triggers: Triggers = setting(Triggers(), "What starts a workflow.")
    concurrency: Concurrency = setting(Concurrency(), "Which runs wait for each other.")
    timeout_minutes: TimeoutMinutes = setting(TimeoutMinutes(), "How long a job may take.")
    permissions: Mapping[str, str] = setting(
        {"contents": "read"},
        "Rights of the token that are written where a workflow says nothing.",
        adds=False,
    )
    pin_actions: bool = setting(True, "Whether actions are called by the commit of their tag.")
    pins: Mapping[str, str] = setting(
        {},
        "Commits by `owner/name@tag`, in place of what GitHub says.",
        names=("[^@]*@.*", "map owner/name@tag to a commit of 40 digits"),
        form=("[0-9a-f]{40}", "be a commit of 40 digits"),
    )
    pin_exceptions: tuple[str, ...] = setting(
        (),
        "Actions that are called by their tag, as they ask for: `owner/name`, a path below it, or a"
        " pattern.",
        form=(r"[\w.*-]+/[\w./*-]+", "name an action, as owner/name"),
    )
    exceptions: tuple[Excepted, ...] = setting(
        (), "Workflows and jobs that stay as they are, wholly or in parts."
    )
    required_checks: tuple[str, ...] = setting(
        (),
        "Checks that GitHub waits for before a pull request may land, beyond those that it says it"
        " requires.",
    )
    public_allowed_because: str = setting(
        "", "Why anybody's pull request may run on the server; without it a public one is refused."
    )

    @property
    def push_branches(self) -> tuple[str, ...]:
        """The branches whose pushes start a workflow."""
        named = self.triggers.push_branches
        return (self.default_branch,) if named is None else named

    @property
    def cancel_in_progress(self) -> str:
        """Whether a newer run ends the one before it, as an expression."""
        named = self.concurrency.cancel_in_progress
        return (
            f"${{{{ github.ref != 'refs/heads/{self.default_branch}' }}}}"
            if named is None
            else named
        )

    def excepted_because(self, part: str, workflow: str, job: str = "*") -> str:
        """Say why a part of the policy is not applied; "" where it is."""
        found = (x.reason for x in self.exceptions if x.covers_part(part, workflow, job))
        return next(found, "")

    def unpinned_because(self, action: str) -> str:
        """Say why an action (``owner/name/path``) stays at its tag; "" where it is pinned."""
        repository = "/".join(action.split("/")[:2])
        for pattern in self.pin_exceptions:
            if any(fnmatch.fnmatchcase(name, pattern) for name in (action, repository)):
                return "it is one of pin_exceptions"
        return UNPINNABLE.get(repository.lower(), "")
