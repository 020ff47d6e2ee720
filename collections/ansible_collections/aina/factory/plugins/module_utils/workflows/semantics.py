"""What GitHub makes of a repository's workflows together: events, calls, names, outside effects.

A default may be written into a workflow only where it provably takes nothing away. Each
question is answered by the reason why it is not proven; "" means that it is.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from ..base.github.job_needs import FOREIGN_EVENTS
from .document import Compose, Document, Node, NodeKind
from .known_rights import ACTS_ELSEWHERE, ONLY_READS, RIGHTS

_CALL = re.compile(r"\./\.github/workflows/([^/@]+)\Z")
_REMOTE_CALL = re.compile(r"([\w.-]+/[\w.-]+)/\.github/workflows/([^/@\s]+)@([^\s@]+)\Z")
_EXPRESSION = re.compile(r"\$\{\{\s*(.*?)\s*\}\}", re.DOTALL)
# The workflow's own token, by any of its names.
_TOKEN = re.compile(
    r"GITHUB_TOKEN|GH_TOKEN|github\s*\.\s*token|github\s*\[|secrets\s*\[|toJSON\(\s*(?:github|secrets)\s*\)"
    r"|\bid-token\b|ACTIONS_ID_TOKEN|ACTIONS_RUNTIME_TOKEN",
    re.IGNORECASE,
)
_SECRET = re.compile(rf"{_TOKEN.pattern}|\bsecrets\b", re.IGNORECASE)
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
_STEPS_MAX_COUNT = 500  # jobs and own actions whose steps are read


@dataclass(frozen=True)
class Neighbours:
    """The other workflows of a repository by file name; ``None`` where one cannot be read."""

    texts: Mapping[str, str] = field(default_factory=dict)
    documents: Mapping[str, Document | None] = field(default_factory=dict)
    # What the repository's own actions say, by their path ("./x"); None where one cannot be read.
    actions: Mapping[str, Mapping[str, Any] | None] = field(default_factory=dict)
    # Workflows of other repositories, by how they are called; a text is why one is not known.
    remote: Mapping[str, Document | str] = field(default_factory=dict)
    # What is to be said where pull requests of forks start a job; "" where they start none.
    forks: str = ""

    @property
    def unread(self) -> Mapping[str, str]:
        """The texts of those that cannot be read."""
        return {name: text for name, text in self.texts.items() if self.documents.get(name) is None}

    def without(self, name: str) -> Neighbours:
        """Return the same repository as seen from one of its files."""
        return replace(
            self,
            texts={key: text for key, text in self.texts.items() if key != name},
            documents={key: found for key, found in self.documents.items() if key != name},
        )

    def called(self, workflow: str, home: str = "") -> tuple[Document | str, str]:
        """Return the workflow that is called, or why it is not known, and where its own calls lead.

        ``home``: the call that leads to the repository in which this one stands; "" for ours.
        """
        local = _CALL.match(workflow)
        if local is None:
            found = self.remote.get(workflow, "it lies in another repository")
            return found, workflow
        if home:
            call = local_call(workflow, home)
            return self.remote.get(call, "it lies in another repository"), call
        return self.documents.get(local[1]) or "it cannot be read", ""


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
            calls = (neighbour.get(job, "uses") for _name, job in jobs(neighbour))
            if any(call and (m := _CALL.match(call.value)) and m[1] == called for call in calls):
                callees.add(other)
                pending.append(other)
                found |= set(events(neighbour))
        for text in others.unread.values():
            if f"workflows/{called}" in text:
                found |= {event for event in FOREIGN_EVENTS if event in text}
    return found


def local_call(workflow: str, home: str) -> str:
    """Return how a call within another repository is written from here."""
    match = _REMOTE_CALL.match(home)
    name = workflow.removeprefix("./.github/workflows/")
    return f"{match[1]}/.github/workflows/{name}@{match[3]}" if match else workflow


def remote_calls(document: Document, home: str = "") -> Iterator[tuple[str, str, str, str]]:
    """Yield each call of a workflow elsewhere: as it is written, its repository, file and ref."""
    for _job, value in jobs(document):
        called = document.get(value, "uses")
        if called is not None:
            is_local = home and _CALL.match(called.value)
            call = local_call(called.value, home) if is_local else called.value
            if match := _REMOTE_CALL.match(call):
                yield call, match[1], match[2], match[3]


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


def jobs(document: Document) -> Iterator[tuple[str, Node]]:
    """Yield the name and the content of each job."""
    found = document.get(document.root, "jobs")
    for key, value in found.pairs if found is not None and found.kind is NodeKind.MAPPING else ():
        yield key.value, document.resolve(value)


def _title(name: str, document: Document) -> str:
    """Return what ``github.workflow`` says; the groups of concurrency ignore case."""
    title = document.get(document.root, "name")
    given = title.value if title is not None and title.kind is NodeKind.SCALAR else ""
    return (given or f".github/workflows/{name}").casefold()


@dataclass(frozen=True)
class _Look:
    """A question about a workflow and all that it calls."""

    others: Neighbours
    # Only whether the token needs a right, not what is done elsewhere by other means.
    of_rights: bool = False
    home: str = ""
    depth: int = 0
    # What is said of a called workflow or an own action; each is read once, however many use it.
    said: dict[str, str] = field(default_factory=dict)

    def at(self, document: Document) -> str:
        """Say why a workflow may do more than read the repository and tell its result."""
        if self.depth > _MAX_DEPTH:
            return "its calls of other workflows do not end"
        for job, value in jobs(document):
            if document.entry(value, "environment") and not self.of_rights:
                return f"job {job} deploys to an environment"
            called = document.get(value, "uses")
            if called is not None and (reason := self._called(called.value)):
                return f"job {job} calls {called.value}: {reason}"
            if reason := self._steps(document.plain(value).get("steps"), 0):
                return f"job {job} {reason}"
        pattern = _TOKEN if self.of_rights else _SECRET
        for scalar in document.scalars():
            if found := pattern.search(scalar.value):
                return f"line {document.line_of(scalar.start)} names '{found[0]}'"
        return ""

    def _steps(self, steps: Any, depth: int) -> str:
        for step in steps if isinstance(steps, list) else ():
            if not isinstance(step, Mapping):
                continue
            action, script = step.get("uses"), step.get("run")
            if isinstance(action, str) and (reason := self._action(action, depth)):
                return f"uses {action}, {reason}"
            if isinstance(script, str) and (found := _WRITES.search(script)):
                return f"runs '{' '.join(found[0].split())}', which may write"
        return ""

    def _action(self, action: str, depth: int) -> str:
        name = action.partition("@")[0].lower()
        # An image gets no token by itself.
        if name.startswith("docker://") or name in ONLY_READS:
            return ""
        if name in ACTS_ELSEWHERE:
            return "" if self.of_rights else "which acts outside of the run"
        if name in RIGHTS:
            return f"which needs {', '.join(RIGHTS[name])}"
        if action not in self.said:
            self.said[action] = "whose rights are not known here"
            self.said[action] = self._own(action, depth)
        return self.said[action]

    def _own(self, action: str, depth: int) -> str:
        runs = _runs_of(self.others.actions.get(action.rstrip("/")))
        if runs is None or depth > _MAX_DEPTH:
            return "whose rights are not known here"
        if str(runs.get("using", "")).casefold() != "composite":
            return "which is a program of its own"
        # What it takes by itself stands in its inputs.
        if found := (_TOKEN if self.of_rights else _SECRET).search(_flat(runs)):
            return f"which names '{found[0]}'"
        reason = self._steps(runs.get("steps"), depth + 1)
        return f"which {reason}" if reason else ""

    def _called(self, workflow: str) -> str:
        document, home = self.others.called(workflow, self.home)
        if isinstance(document, str):
            return document
        key = f"{self.home} {workflow}"
        if key not in self.said:
            self.said[key] = "its calls of other workflows do not end"
            self.said[key] = self._callee(document, home)
        return self.said[key]

    def _callee(self, document: Document, home: str) -> str:
        asked = [document.get(document.root, "permissions")]
        asked += [document.get(value, "permissions") for _job, value in jobs(document)]
        for rights in asked:
            if rights is not None and not _is_reading(document, rights):
                return "it asks for more rights"
        if any(_groups(document)):
            return "it has a concurrency group of its own"
        return replace(self, home=home, depth=self.depth + 1).at(document)


def _runs_of(action: Mapping[str, Any] | None) -> Mapping[str, Any] | None:
    """Return what one of the repository's own actions does; its inputs may hold a token, too."""
    runs = action.get("runs") if isinstance(action, Mapping) else None
    return (
        {**runs, "inputs": action.get("inputs")} if action and isinstance(runs, Mapping) else None
    )


def _flat(value: Any) -> str:
    """Return all texts of a value, one a line."""
    if isinstance(value, Mapping):
        return "\n".join(f"{key}\n{_flat(item)}" for key, item in value.items())
    if isinstance(value, list):
        return "\n".join(map(_flat, value))
    return str(value)


def more_than_a_check(document: Document, others: Neighbours) -> str:
    """Say why a workflow may do more than read the repository and tell its result."""
    return _Look(others).at(document)


def rights_of_actions(document: Document, others: Neighbours) -> dict[str, str]:
    """Return the rights that the public actions of a workflow are known to use."""
    found: dict[str, str] = {}
    pending = [document.plain(value).get("steps") for _job, value in jobs(document)]
    for _count in range(_STEPS_MAX_COUNT):
        if not pending:
            break
        steps = pending.pop()
        for step in steps if isinstance(steps, list) else ():
            action = step.get("uses") if isinstance(step, Mapping) else None
            if not isinstance(action, str):
                continue
            for right in RIGHTS.get(action.partition("@")[0].lower(), ()):
                name, _colon, level = right.partition(": ")
                found[name] = "write" if "write" in (level, found.get(name)) else level
            runs = _runs_of(others.actions.get(action.rstrip("/")))
            if runs is not None:
                pending.append(runs.get("steps"))
    return dict(sorted(found.items()))


def _is_reading(document: Document, rights: Node) -> bool:
    if rights.kind is not NodeKind.MAPPING:
        return False
    return all(
        key.value == "contents" and document.resolve(value).value in ("read", "none")
        for key, value in rights.pairs
    )


def _groups(document: Document) -> Iterator[str]:
    """Yield every concurrency group of a workflow."""
    for holder in (document.root, *(value for _job, value in jobs(document))):
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
    return _Look(others, of_rights=True).at(document)


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
    for job, value in jobs(document):
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
