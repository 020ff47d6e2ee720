"""Where each job of a repository's workflows can run, and what is missing; by the workflow policy's judgement."""

from __future__ import annotations

import importlib
import os
import stat
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from factory.core.base.github.job_needs import Offer
from factory.core.runners.offer import offer
from factory.core.runners.settings import Instance
from factory.core.runners.state import printable
from factory.core.workflows import judge
from factory.core.workflows.document import Compose, Document, DocumentError, Node, NodeKind
from factory.core.workflows.semantics import Neighbours
from factory.core.workflows.settings import RunsOn
from factory.core.workflows.yaml_nodes import composer
from factory.outcome import UsageError

FOLDER = ".github/workflows"
_FILES_MAX = 200
_FILE_MAX_BYTES = 512 * 1024


@dataclass(frozen=True)
class Explained:
    """One job: where it runs (``here``, ``hosted``, ``variable``, ``nowhere``, ``called``, ``unknown``)."""

    workflow: str
    job: str
    line: int
    where: str
    missing: tuple[str, ...]
    words: str

    def document(self) -> dict[str, Any]:
        """Return it as ``--json`` prints it."""
        return asdict(self)


def compose() -> Compose:
    """Return what reads YAML.

    Raises:
        UsageError: the host has no PyYAML.

    """
    try:
        return composer(importlib.import_module("yaml"))
    except ImportError:
        raise UsageError(
            "this reads YAML, and python3-yaml is missing; apt-get install python3-yaml"
        ) from None


def texts(checkout: Path) -> dict[str, str]:
    """Return the workflows of a checkout by name; no link is followed, nothing else is read.

    Raises:
        UsageError: the checkout cannot be read.

    """
    folder = checkout / FOLDER
    found = {}
    try:
        if folder.resolve() != checkout.resolve() / FOLDER:
            raise UsageError(f"{folder} is a link; read the checkout that it belongs to instead")
        names = sorted(path.name for path in folder.iterdir() if path.suffix in (".yml", ".yaml"))
        for name in names[:_FILES_MAX]:
            flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
            with os.fdopen(os.open(folder / name, flags), "rb") as source:
                if stat.S_ISREG(os.fstat(source.fileno()).st_mode):
                    found[name] = source.read(_FILE_MAX_BYTES).decode(errors="replace")
    except OSError as error:
        raise UsageError(f"{error.filename or folder}: {error.strerror}") from error
    return found


def explain(
    workflows: dict[str, str], instances: Sequence[Instance], runs_on: RunsOn, reader: Compose
) -> list[Explained]:
    """Return every job of the workflows, with what the declared runners make of it."""
    found: list[Explained] = []
    for name, text in workflows.items():
        try:
            document = Document(text, reader)
            jobs = document.get(document.root, "jobs")
            if jobs is None or jobs.kind is not NodeKind.MAPPING:
                raise DocumentError("there is no mapping 'jobs'")
            found += [
                _job(name, document, key, document.resolve(value), instances, runs_on)
                for key, value in jobs.pairs
            ]
        except (DocumentError, RecursionError) as error:
            words = printable(f"it cannot be read: {error}")
            found.append(Explained(printable(name), "-", 1, "unknown", (), words))
    return [replace(item, job=printable(item.job), words=printable(item.words)) for item in found]


def _job(
    name: str,
    document: Document,
    key: Node,
    job: Node,
    instances: Sequence[Instance],
    runs_on: RunsOn,
) -> Explained:
    line = document.line_of(key.start)
    if document.entry(job, "uses") is not None:
        return Explained(name, key.value, line, "called", (), "the workflow that it calls says it")
    wanted = document.strings(document.get(job, "runs-on"))
    plain = [label for label in wanted or () if "${{" not in label]
    needed = judge.needs(document, job, plain, Neighbours())
    declared = Offer().also(runs_on.offers)

    def say(where: str, offered: Offer, words: str) -> Explained:
        lacks = offered.lacks(needed)
        return Explained(name, key.value, line, where, tuple(lacks), words)

    if not wanted:
        return say("unknown", declared, "it names a runner group, or no runner")
    if any("${{" in label for label in wanted):
        if any(judge.reads_variable(runs_on, label) for label in wanted):
            return say("variable", declared, f"here while {runs_on.variable} says so")
        return say("unknown", declared, "it computes its runner")
    if any(judge.is_hosted(runs_on, label) for label in wanted):
        return say("hosted", declared, "it asks for a runner of GitHub's")
    for instance in instances:
        has = {label.lower() for label in instance.all_labels(_architecture())}
        if {label.lower() for label in wanted} <= has:
            offered = offer(instance, _architecture()).also(runs_on.offers)
            return say("here", offered, f"by {instance.name}")
    return say("nowhere", declared, f"no runner of this server has {', '.join(wanted)}")


def _architecture() -> str:
    return "x64" if os.uname().machine == "x86_64" else "arm64"


def table(found: Sequence[Explained]) -> str:
    """Return it for a person."""
    rows = [("WORKFLOW", "JOB", "WHERE", "MISSING HERE")]
    rows += [
        (
            f"{item.workflow}:{item.line}",
            item.job,
            f"{item.where}, {item.words}",
            "; ".join(item.missing) or ("-" if item.where != "unknown" else "?"),
        )
        for item in found
    ]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join("  ".join(map(str.ljust, row, widths)).rstrip() for row in rows)
