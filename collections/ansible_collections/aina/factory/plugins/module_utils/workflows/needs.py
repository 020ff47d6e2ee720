"""What a job needs of the machine that runs it, as far as its workflow says; pure.

The policy for workflows and ``factory runner explain`` judge by the same list, so that no job
is moved where it cannot run.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass

from .document import Document, Node, NodeKind

ENGINE = "engine"
SUDO = "sudo"
# Commands that GitHub's hosted image has and the common CI image has not, with the action that
# brings each; a project's own image may have any of them.
TOOLS = {
    "python": "actions/setup-python",
    "python3": "actions/setup-python",
    "pip": "actions/setup-python",
    "pip3": "actions/setup-python",
    "pipx": "actions/setup-python",
    "uv": "astral-sh/setup-uv",
    "go": "actions/setup-go",
    "java": "actions/setup-java",
    "mvn": "actions/setup-java",
    "gradle": "gradle/actions",
    "ruby": "ruby/setup-ruby",
    "bundle": "ruby/setup-ruby",
    "php": "shivammathur/setup-php",
    "composer": "shivammathur/setup-php",
    "dotnet": "actions/setup-dotnet",
    "bun": "oven-sh/setup-bun",
    "deno": "denoland/setup-deno",
    "cargo": "dtolnay/rust-toolchain",
    "rustup": "dtolnay/rust-toolchain",
    "yarn": "",
    "make": "",
    "cmake": "",
    "gcc": "",
    "g++": "",
    "clang": "",
    "wget": "",
    "zip": "",
    "rsync": "",
    "psql": "",
    "mysql": "",
    "sqlite3": "",
    "aws": "",
    "az": "",
    "gcloud": "",
    "kubectl": "",
    "helm": "",
    "terraform": "hashicorp/setup-terraform",
    "pwsh": "",
    "brew": "",
    "google-chrome": "",
    "shellcheck": "",
}
_ENGINE_PROGRAMS = "docker|docker-compose|podman|buildah|nerdctl"
# Where a command begins: a line, after what separates or introduces commands, and variables before it.
_AT_COMMAND = (
    r"(?:^|[;&|(`{]|\$\(|\b(?:then|do|else|exec|time|xargs|env)\s|!\s)\s*"
    r"(?:[A-Za-z_]\w*=\S*\s+)*"
)
_BEHIND_SUDO = r"(?:sudo\s+(?:-\S+\s+)*)?"
_ENGINE_CALL = re.compile(rf"{_AT_COMMAND}{_BEHIND_SUDO}({_ENGINE_PROGRAMS})(?=\s|$)", re.MULTILINE)
_SUDO_CALL = re.compile(rf"{_AT_COMMAND}(sudo)(?=\s)", re.MULTILINE)
_TOOL_CALL = re.compile(
    rf"{_AT_COMMAND}{_BEHIND_SUDO}({'|'.join(map(re.escape, TOOLS))})(?=\s|$)", re.MULTILINE
)
_COMMENT = re.compile(r"(?:^|(?<=\s))#.*$", re.MULTILINE)
# What is printed is not called.
_QUOTED = re.compile(r"'[^'\n]*'|\"[^\"\n$`]*\"")
# Actions that call the engine themselves, or are containers.
_ENGINE_ACTIONS = (
    *("docker://", "docker/", "hadolint/hadolint-action@", "super-linter/super-linter"),
    *("github/super-linter", "aws-actions/amazon-ecr-login@", "helm/kind-action@"),
)
_SCRIPT_MAX_CHARACTERS = 100_000


@dataclass(frozen=True)
class Need:
    """One thing that a job needs: ``engine``, ``sudo`` or a command, in which line, and by which words."""

    what: str
    line: int
    words: str


def of_job(document: Document, job: Node) -> list[Need]:
    """Return what a job needs beyond the common CI image, each thing once."""
    found: dict[str, Need] = {}
    for need in _all(document, job):
        found.setdefault(need.what, need)
    return list(found.values())


def missing(needs: Collection[Need], offers: Collection[str]) -> list[Need]:
    """Return what a runner that offers so much does not have."""
    return [need for need in needs if need.what not in offers]


def _all(document: Document, job: Node) -> Iterator[Need]:
    for key in ("container", "services"):
        pair = document.entry(job, key)
        if pair is not None and not document.resolve(pair[1]).is_null:
            yield Need(ENGINE, document.line_of(pair[0].start), f"{key}:")
    # In a container of its own a job finds its tools there.
    has_container = document.entry(job, "container") is not None
    steps = document.get(job, "steps")
    brought: list[str] = []
    for step in steps.items if steps is not None else ():
        if document.resolve(step).kind is not NodeKind.MAPPING:
            continue
        action = document.get(step, "uses")
        if action is not None and action.kind is NodeKind.SCALAR:
            brought.append(action.value)
            if action.value.startswith(_ENGINE_ACTIONS):
                yield Need(ENGINE, document.line_of(action.start), action.value[:80])
        script = document.get(step, "run")
        if script is not None and script.kind is NodeKind.SCALAR:
            yield from _of_script(document, script, brought, has_container)


def _of_script(
    document: Document, script: Node, brought: list[str], has_container: bool
) -> Iterator[Need]:
    line = document.line_of(script.start)
    text = _QUOTED.sub("''", _COMMENT.sub("", script.value[:_SCRIPT_MAX_CHARACTERS]))
    if called := _ENGINE_CALL.search(text):
        yield Need(ENGINE, line, called[1])
    if has_container:
        return
    if called := _SUDO_CALL.search(text):
        yield Need(SUDO, line, called[1])
    for called in _TOOL_CALL.finditer(text):
        action = TOOLS[called[1]]
        if not (action and any(used.startswith(action) for used in brought)):
            yield Need(called[1], line, called[1])
