"""What GitHub makes of a repository's workflows together: events, calls, names, outside effects.

A default may be written into a workflow only where it provably takes nothing away. Each
question is answered by the reason why it is not proven; "" means that it is.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from ..base.github.job_needs import FOREIGN_EVENTS
from .document import Compose, Document, Node, NodeKind

_CALL = re.compile(r"\./\.github/workflows/([^/@]+)\Z")
_EXPRESSION = re.compile(r"\$\{\{\s*(.*?)\s*\}\}", re.DOTALL)
# They read the repository, fetch tools, keep files of the run, and need no right beyond.
_ONLY_READS = frozenset(
    f"actions/{name}"
    for name in (
        *("cache", "checkout", "download-artifact", "upload-artifact"),
        *("setup-dotnet", "setup-go", "setup-java", "setup-node", "setup-python"),
    )
) | frozenset(
    (
        "actions/cache/restore",
        "actions/cache/save",
        "actions/upload-artifact/merge",
        "astral-sh/setup-uv",
        "denoland/setup-deno",
        "docker/setup-buildx-action",
        "docker/setup-qemu-action",
        "dtolnay/rust-toolchain",
        "erlef/setup-beam",
        "extractions/setup-just",
        "hashicorp/setup-terraform",
        "oven-sh/setup-bun",
        "pnpm/action-setup",
        "ruby/setup-ruby",
        "shivammathur/setup-php",
        "swatinem/rust-cache",
        "taiki-e/install-action",
    )
)
# The workflow's own token, or other secrets.
_SECRET = re.compile(
    r"GITHUB_TOKEN|GH_TOKEN|github\s*\.\s*token|\bsecrets\b|github\s*\[|toJSON\(\s*github\s*\)"
    r"|\bid-token\b|ACTIONS_ID_TOKEN|ACTIONS_RUNTIME_TOKEN",
    re.IGNORECASE,
)
# Words of commands that change something outside of the run.
_WRITES = re.compile(
    r"(?<![\w-])(?:gh|hub|push|publish\w*|deploy\w*|releases?|changesets?|lerna|goreleaser|twine|bump\w*"
    r"|upload|kubectl|helm|terraform|pulumi|ansible-playbook|rsync|scp|ssh|aws|gcloud|az|wrangler"
    r"|vercel|netlify|flyctl|heroku|firebase|skopeo|curl\s[^\n]{0,300}\s(?:-X|--request|-d|--data|-F|-T))(?![\w-])"
    r"|--push\b|semantic-release|release-please|release-it|git\s+(?:tag|commit|send-email)|api\.github\.com"
    r"|:(?:deploy|publish|release)",
    re.IGNORECASE,
)
# What differs between a push and a pull request, or between branches and tags.
_REF = re.compile(
    r"refs/|\bref_(?:name|type|protected)\b|GITHUB_(?:REF|EVENT|BASE|HEAD)"
    r"|github\s*\.\s*(?:ref|event|event_name|base_ref|head_ref)\b|\btags?\b",
    re.IGNORECASE,
)
_PULL_REQUEST_TYPES = frozenset(("opened", "synchronize", "reopened"))
# Other types are runs of their own kind, for which that of the new commits must not end.
_COMMIT_TYPES = _PULL_REQUEST_TYPES | {"ready_for_review"}
_GROUP_MAX_CHARACTERS = 1000
_MAX_DEPTH = 10  # of calls; GitHub allows four


@dataclass(frozen=True)
class Neighbours:
    """The other workflows of a repository by file name; ``None`` where one cannot be read."""

    texts: Mapping[str, str] = field(default_factory=dict)
    documents: Mapping[str, Document | None] = field(default_factory=dict)
    # What the repository's own actions say, by their path ("./x"); None where one cannot be read.
    actions: Mapping[str, Mapping[str, Any] | None] = field(default_factory=dict)

    @property
    def unread(self) -> Mapping[str, str]:
        """The texts of those that cannot be read."""
        return {name: text for name, text in self.texts.items() if self.documents.get(name) is None}

    def without(self, name: str) -> Neighbours:
        """Return the same repository as seen from one of its files."""
        return Neighbours(
            {key: text for key, text in self.texts.items() if key != name},
            {key: document for key, document in self.documents.items() if key != name},
            self.actions,
        )


def neighbours(texts: Mapping[str, str], compose: Compose) -> Neighbours:
    """Read all workflows of a repository; a file that cannot be read stops no other."""
    documents: dict[str, Document | None] = {}
    for name, text in texts.items():
        try:
            documents[name] = Document(text, compose)
        except Exception:  # whatever is odd about it is said where the file itself is judged
            documents[name] = None
    return Neighbours(texts, documents)


def events(document: Document) -> dict[str, Node]:
    """Return what starts a workflow, and where it stands."""
    on = document.get(document.root, "on")
    if on is None:
        return {}
    if on.kind is NodeKind.SCALAR:
        return {on.value: on}
    if on.kind is NodeKind.SEQUENCE:
        return {document.resolve(item).value: item for item in on.items}
    return {key.value: value for key, value in on.pairs}


def started_by(name: str, document: Document, others: Neighbours) -> set[str]:
    """Return the events that start a workflow, by itself or by the workflows that call it."""
    found = set(events(document))
    callees, pending = {name}, [name]
    while pending:
        called = pending.pop()
        for other, neighbour in others.documents.items():
            if neighbour is None or other in callees:
                continue
            calls = (neighbour.get(job, "uses") for _name, job in _jobs(neighbour))
            if any(call and (m := _CALL.match(call.value)) and m[1] == called for call in calls):
                callees.add(other)
                pending.append(other)
                found |= set(events(neighbour))
        for text in others.unread.values():
            if f"workflows/{called}" in text:
                found |= {event for event in FOREIGN_EVENTS if event in text}
    return found


def own_actions(documents: Iterable[Document]) -> list[str]:
    """Return the paths of the repository's own actions that these use, as "./x"."""
    found = {
        value.value.rstrip("/")
        for document in documents
        for key, value in _pairs(document.root)
        if key.value == "uses" and value.value.startswith("./") and not _CALL.match(value.value)
    }
    return sorted(found)


def _pairs(node: Node) -> Iterator[tuple[Node, Node]]:
    if node.kind is NodeKind.MAPPING:
        yield from node.pairs
    for item in node.items:
        yield from _pairs(item)


def _jobs(document: Document) -> Iterator[tuple[str, Node]]:
    jobs = document.get(document.root, "jobs")
    for key, value in jobs.pairs if jobs is not None and jobs.kind is NodeKind.MAPPING else ():
        yield key.value, document.resolve(value)


def _title(name: str, document: Document) -> str:
    """Return what ``github.workflow`` says; the groups of concurrency ignore case."""
    title = document.get(document.root, "name")
    given = title.value if title is not None and title.kind is NodeKind.SCALAR else ""
    return (given or f".github/workflows/{name}").casefold()


def more_than_a_check(document: Document, others: Neighbours, depth: int = 0) -> str:
    """Say why a workflow may do more than read the repository and tell its result."""
    if depth > _MAX_DEPTH:
        return "its calls of other workflows do not end"
    for job, value in _jobs(document):
        if document.entry(value, "environment"):
            return f"job {job} deploys to an environment"
        called = document.get(value, "uses")
        if called is not None:
            reason = _called(called.value, others, depth)
            if reason:
                return f"job {job} calls {called.value}: {reason}"
        steps = document.get(value, "steps")
        for step in steps.items if steps is not None else ():
            action, script = document.get(step, "uses"), document.get(step, "run")
            if action is not None and not _only_reads(action.value):
                return f"job {job} uses {action.value}, whose rights are not known here"
            if script is not None and (found := _WRITES.search(script.value)):
                return f"job {job} runs '{' '.join(found[0].split())}', which may write"
    for scalar in document.scalars():
        if found := _SECRET.search(scalar.value):
            return f"line {document.line_of(scalar.start)} names '{found[0]}'"
    return ""


def _only_reads(action: str) -> bool:
    """Whether an action needs no right beyond reading; an image gets no token by itself."""
    return action.startswith("docker://") or action.partition("@")[0].lower() in _ONLY_READS


def _called(workflow: str, others: Neighbours, depth: int) -> str:
    match = _CALL.match(workflow)
    if match is None:
        return "it lies in another repository"
    document = others.documents.get(match[1])
    if document is None:
        return "it cannot be read"
    asked = [document.get(document.root, "permissions")]
    asked += [document.get(value, "permissions") for _job, value in _jobs(document)]
    for rights in asked:
        if rights is not None and not _is_reading(document, rights):
            return "it asks for more rights"
    if any(_groups(document)):
        return "it has a concurrency group of its own"
    return more_than_a_check(document, others, depth + 1)


def _is_reading(document: Document, rights: Node) -> bool:
    if rights.kind is not NodeKind.MAPPING:
        return False
    return all(
        key.value == "contents" and document.resolve(value).value in ("read", "none")
        for key, value in rights.pairs
    )


def _groups(document: Document) -> Iterator[str]:
    """Yield every concurrency group of a workflow."""
    for holder in (document.root, *(value for _job, value in _jobs(document))):
        group = document.get(holder, "concurrency")
        if group is not None and group.kind is NodeKind.MAPPING:
            group = document.get(group, "group")
        if group is not None:
            yield group.value[:_GROUP_MAX_CHARACTERS]


def _waited_for(title: str, others: Neighbours) -> str:
    """Say whose start depends on how this workflow ends."""
    for name, document in others.documents.items():
        waits = events(document).get("workflow_run") if document is not None else None
        if document is not None and waits is not None:
            named = document.get(waits, "workflows")
            if title in [text.casefold() for text in document.strings(named) or [title]]:
                return f"{name} starts when it ends"
    for name, text in others.unread.items():
        if "workflow_run" in text:
            return f"{name} cannot be read, and may start when it ends"
    return ""


def concurrency(name: str, document: Document, group: str, others: Neighbours) -> str:
    """Say why a concurrency group may end runs that somebody needs."""
    started_by = [event for event in events(document) if event not in ("push", "pull_request")]
    if "workflow_call" in started_by:
        return "it is called, and would share its caller's group"
    if started_by:
        return f"{started_by[0]} starts it too, whose runs may all share one ref"
    pull_request = events(document).get("pull_request")
    types = document.get(pull_request, "types") if pull_request is not None else None
    if not set(document.strings(types) or ()) <= _COMMIT_TYPES:
        return "pull_request starts it for more than new commits"
    if any(_groups(document)):
        return "a job has a group of its own"
    expressions = [found.casefold() for found in _EXPRESSION.findall(group)]
    if "github.workflow" not in expressions or not any(
        text.startswith(("github.ref", "github.head_ref")) for text in expressions
    ):
        return "the group is not one per workflow and ref"
    title = _title(name, document)
    own = _shape(group, title)
    for other, text in others.unread.items():
        if title in text.casefold():
            return f"{other} cannot be read, and may have the same name"
    for other, neighbour in others.documents.items():
        if neighbour is None:
            continue
        if _title(other, neighbour) == title:
            return f"{other} has the same name, and would share the group"
        for theirs in _groups(neighbour):
            # The same words about another name are another group.
            shape = _shape(theirs, _title(other, neighbour))
            if "".join(theirs.split()) != "".join(group.split()) and _may_meet(own, shape):
                return f"a group of {other} may be the same"
    return _waited_for(title, others) or more_than_a_check(document, others)


def _shape(group: str, title: str) -> list[str]:
    """Return the literal parts of a group; between them stands what only a run knows."""
    known = re.sub(r"\$\{\{\s*github\.workflow\s*\}\}", lambda _found: title, group, flags=re.I)
    return [part.casefold() for part in _EXPRESSION.sub("\0", known).split("\0")]


def _may_meet(one: list[str], other: list[str]) -> bool:
    """Whether two groups may be one text: their beginnings and ends do not contradict."""
    begins = one[0].startswith(other[0]) or other[0].startswith(one[0])
    ends = one[-1].endswith(other[-1]) or other[-1].endswith(one[-1])
    if len(one) == 1 or len(other) == 1:
        return begins and ends
    # What follows our own text is a ref, which begins with "refs/".
    rest = other[0].removeprefix(one[0]) if other[0].startswith(one[0]) else ""
    return begins and ends and (not rest or "refs/".startswith(rest) or rest.startswith("refs/"))


def permissions(document: Document, rights: Mapping[str, str], others: Neighbours) -> str:
    """Say why these rights alone may be too few."""
    if rights.get("contents") not in ("read", "write"):
        return "they do not let a job read the repository"
    if "workflow_call" in events(document):
        return "it is called, and its caller may grant less"
    return more_than_a_check(document, others)


def push_filter(
    name: str, document: Document, paths_ignore: tuple[str, ...], others: Neighbours
) -> str:
    """Say why a push to another branch, or of a tag, may be needed beside pull requests."""
    pull_request = events(document)["pull_request"]
    filters = document.resolve(pull_request)
    for key, value in filters.pairs if filters.kind is NodeKind.MAPPING else ():
        values = document.strings(value) or []
        if key.value == "types" and set(values) >= _PULL_REQUEST_TYPES:
            continue
        if key.value == "paths-ignore" and values == list(paths_ignore):
            continue
        return f"pull_request covers not all pushes, for its {key.value}"
    holders = [document.root]
    for job, value in _jobs(document):
        if document.entry(value, "uses"):
            return f"job {job} calls another workflow"
        holders.append(value)
    # A group of runs is made of the ref without doing anything else for a tag.
    groups = [document.entry(holder, "concurrency") for holder in holders]
    spans = [(pair[0].start, pair[1].last()) for pair in groups if pair is not None]
    for scalar in document.scalars():
        found = _REF.search(scalar.value)
        if found and not any(start <= scalar.start < end for start, end in spans):
            return f"line {document.line_of(scalar.start)} names '{found[0]}'"
    return _waited_for(_title(name, document), others) or more_than_a_check(document, others)
