"""What is declared of a repository's workflows."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from ..base.configuration import Section

_LABEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*\Z")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")
_EVENT = re.compile(r"[a-z_]+\Z")
_ACTION = re.compile(r"[\w.*-]+/[\w./*-]+\Z")
_COMMIT = re.compile(r"[0-9a-f]{40}\Z")


class Strategy(StrEnum):
    """How a job finds its runner.

    VARIABLE: by a repository variable, so that an operator moves all jobs, and back, without
    touching a workflow. LABELS: by labels written into the workflow.
    """

    VARIABLE = "variable"
    LABELS = "labels"


@dataclass(frozen=True)
class Kept:
    """Jobs that stay on hosted runners, and why."""

    workflow: str
    job: str
    reason: str

    def covers(self, workflow: str, job: str) -> bool:
        """Whether the pattern means this job; ``workflow`` is the file's name."""
        return fnmatch.fnmatchcase(workflow, self.workflow) and fnmatch.fnmatchcase(job, self.job)


# They ask which tag or branch they were called by, and fail, or do something else, without one.
UNPINNABLE = {
    "slsa-framework/slsa-github-generator": "it runs only when it is called by a tag",
    "dtolnay/rust-toolchain": "its branch says which toolchain is meant",
}


@dataclass(frozen=True)
class Policy:
    """The declared policy; parts that are empty or 0 are not touched."""

    strategy: Strategy
    variable: str
    labels: tuple[str, ...]
    hosted_labels: tuple[str, ...]
    keep_hosted: tuple[Kept, ...]
    push_branches: tuple[str, ...]
    forbidden_triggers: tuple[str, ...]
    paths_ignore: tuple[str, ...]
    concurrency_group: str
    cancel_in_progress: str
    timeout_default_minutes: int
    timeout_max_minutes: int
    permissions: Mapping[str, str]
    pin_actions: bool
    pins: Mapping[str, str]
    pin_exceptions: tuple[str, ...]
    required_checks: tuple[str, ...]
    public_allowed_because: str

    def unpinned_because(self, action: str) -> str:
        """Say why an action (``owner/name/path``) stays at its tag; "" where it is pinned."""
        repository = "/".join(action.split("/")[:2])
        for pattern in self.pin_exceptions:
            if any(fnmatch.fnmatchcase(name, pattern) for name in (action, repository)):
                return "it is one of pin_exceptions"
        return UNPINNABLE.get(repository.lower(), "")


def from_section(section: Section, default_branch: str) -> Policy:
    """Read a policy.

    Raises:
        ConfigurationError: a value is wrong; names the key and the rule.

    """
    runs_on = section.section("runs_on", {})
    triggers = section.section("triggers", {})
    concurrency = section.section("concurrency", {})
    timeouts = section.section("timeout_minutes", {})
    default = timeouts.integer("default", 30, minimum=0, maximum=360)
    pins = section.mapping_of_strings("pins", {})
    for action, commit in pins.items():
        if "@" not in action or not _COMMIT.match(commit):
            raise section.error("pins", action, "map owner/name@tag to a commit of 40 digits")
    exceptions = section.strings("pin_exceptions", [])
    for pattern in exceptions:
        if not _ACTION.match(pattern):
            raise section.error("pin_exceptions", pattern, "name an action, as owner/name")
    policy = Policy(
        strategy=Strategy(runs_on.text("strategy", "variable", choices=list(Strategy))),
        variable=runs_on.matching("variable", _VARIABLE, "be a variable's name", "CI_RUNS_ON"),
        labels=_labels(runs_on, "labels", ["self-hosted"]),
        hosted_labels=_labels(
            runs_on, "hosted_labels", ["ubuntu-latest", "ubuntu-24.04", "ubuntu-22.04"]
        ),
        keep_hosted=tuple(_kept(item) for item in runs_on.sections("keep_hosted", [])),
        push_branches=tuple(triggers.strings("push_branches", [default_branch])),
        forbidden_triggers=_events(triggers, "forbid", ["pull_request_target"]),
        paths_ignore=tuple(triggers.strings("paths_ignore", [])),
        concurrency_group=concurrency.text("group", "${{ github.workflow }}-${{ github.ref }}"),
        cancel_in_progress=concurrency.text(
            "cancel_in_progress", f"${{{{ github.ref != 'refs/heads/{default_branch}' }}}}"
        ),
        timeout_default_minutes=default,
        timeout_max_minutes=timeouts.integer("max", 120, minimum=max(default, 1), maximum=360),
        permissions=section.mapping_of_strings("permissions", {"contents": "read"}),
        pin_actions=section.boolean("pin_actions", True),
        pins=pins,
        pin_exceptions=tuple(exceptions),
        required_checks=tuple(section.strings("required_checks", [])),
        public_allowed_because=section.text("public_allowed_because", ""),
    )
    for part in (runs_on, triggers, concurrency, timeouts, section):
        part.done()
    if policy.strategy is Strategy.LABELS and policy.labels == ("self-hosted",):
        raise runs_on.error(
            "labels", ["self-hosted"], "name the runner more closely: this matches any runner"
        )
    return policy


def _labels(section: Section, key: str, default: list[str]) -> tuple[str, ...]:
    values = section.strings(key, default)
    if not values or not all(_LABEL.match(value) for value in values):
        raise section.error(key, values, "be a list of labels")
    return tuple(values)


def _events(section: Section, key: str, default: list[str]) -> tuple[str, ...]:
    values = section.strings(key, default)
    if not all(_EVENT.match(value) for value in values):
        raise section.error(key, values, "be a list of events")
    return tuple(values)


def _kept(item: Section) -> Kept:
    kept = Kept(item.text("workflow"), item.text("job", "*"), item.text("reason"))
    item.done()
    return kept
