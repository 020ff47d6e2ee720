"""Decide what a policy changes in one workflow; pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from . import edit, needs, semantics
from .document import Compose, Document, DocumentError, Node, NodeKind
from .edit import Edit, Value
from .semantics import Neighbours
from .settings import WorkflowPolicy

_MATRIX = re.compile(r"\$\{\{\s*matrix\.([A-Za-z_][\w-]*)\s*\}\}\Z")
_ACTION = re.compile(r"(?P<name>[\w.-]+/[\w./-]+)@(?P<ref>[^\s@]+)\Z")
_COMMIT = re.compile(r"[0-9a-f]{40}\Z")
_LINE_MAX_CHARACTERS = 600
_MINUTES = re.compile(r"0*([0-9]*)\Z")

# The commit of "owner/name", "ref"; "" when nobody can say.
ResolvePin = Callable[[str, str], str]


@dataclass
class WorkflowReport:
    """What becomes of one workflow, and why something stays or is wrong."""

    name: str
    before: str
    after: str
    edits: list[str] = field(default_factory=list)
    kept: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


@dataclass
class _Work:
    """One file under judgement."""

    name: str
    document: Document
    policy: WorkflowPolicy
    resolve_pin: ResolvePin
    report: WorkflowReport
    others: Neighbours
    edits: list[Edit] = field(default_factory=list)

    def at(self, node: Node) -> str:
        return f"{self.name}:{self.document.line_of(node.start)}"

    def problem(self, node: Node, words: str) -> None:
        self.report.problems.append(f"{self.at(node)}: {words[:_LINE_MAX_CHARACTERS]}")

    def keep(self, node: Node, words: str) -> None:
        self.report.kept.append(f"{self.at(node)}: {words[:_LINE_MAX_CHARACTERS]}")

    def suggest(self, node: Node, words: str, reason: str) -> None:
        """Propose in words what is not proven harmless, and so not written."""
        self.keep(node, f"{words} is only suggested, not written: {reason}")

    def attempt(self, node: Node, make: Callable[[], Edit]) -> None:
        """Add an edit; where the way of writing does not allow it, say so."""
        try:
            self.edits.append(make())
        except DocumentError as error:
            self.problem(node, f"{error}; edit it by hand")


def judge(
    name: str,
    text: str,
    policy: WorkflowPolicy,
    compose: Compose,
    resolve_pin: ResolvePin,
    others: Neighbours | None = None,
) -> WorkflowReport:
    """Return what the policy makes of the workflow ``name`` (its file's name).

    ``others``: all other workflows of the repository; without them the file stands alone.
    A file that cannot be edited safely stays as it is, and says so. What may take something
    away from a workflow that works is not written but suggested.
    """
    report = WorkflowReport(name, text, text)
    try:
        document = Document(text, compose)
        jobs = document.get(document.root, "jobs")
        if jobs is None or jobs.kind is not NodeKind.MAPPING:
            raise DocumentError("there is no mapping 'jobs'; is this a workflow?")
        work = _Work(name, document, policy, resolve_pin, report, others or Neighbours())
        _triggers(work)
        _top_level(work)
        for key, value in jobs.pairs:
            _job(work, key, document.resolve(value))
        report.after = edit.apply(document, work.edits, compose) if work.edits else text
        report.edits = [item.what for item in work.edits]
    except DocumentError as error:
        report.problems.append(f"{name}: {str(error)[:_LINE_MAX_CHARACTERS]}")
        report.after, report.edits = text, []
    except Exception as error:
        report.problems.append(
            f"{name}: cannot be judged ({type(error).__name__}); edit it by hand"
        )
        report.after, report.edits = text, []
    return report


# --- Triggers, permissions, concurrency ------------------------------------------------


def check_names(document: Document) -> list[str]:
    """Return the names under which the jobs report, as far as the file says them."""
    jobs = document.get(document.root, "jobs")
    names = []
    for key, value in jobs.pairs if jobs else ():
        name = document.get(value, "name")
        names.append(name.value if name is not None and name.kind is NodeKind.SCALAR else key.value)
    return names


def _required(work: _Work) -> list[str]:
    found = check_names(work.document)
    # The jobs of a matrix report as "name (values)".
    return [
        check
        for check in work.policy.required_checks
        if any(check == name or check.startswith((f"{name} (", f"{name} / ")) for name in found)
    ]


def _triggers(work: _Work) -> None:
    document, policy = work.document, work.policy
    pair = document.entry(document.root, "on")
    if pair is None:
        raise DocumentError("there is no 'on'")
    on = document.resolve(pair[1])
    events = semantics.events(document)
    for event in policy.triggers.forbid:
        if event in events:
            work.problem(
                pair[0], f"the trigger {event} runs foreign code with this repository's rights"
            )
    required = _required(work)
    for event in ("push", "pull_request", "pull_request_target"):
        filters = events.get(event)
        for key in ("paths", "paths-ignore"):
            if required and filters is not None and document.entry(filters, key):
                work.problem(
                    filters,
                    f"{key} keeps the required check {required[0]!r} pending for ever when nothing "
                    "matches; filter in a job's 'if' instead",
                )
    wanted: dict[str, dict[str, Value]] = {}
    elsewhere = ("branches", "branches-ignore", "tags", "tags-ignore")
    covered = "push" in events and "pull_request" in events and bool(policy.push_branches)
    if covered and not _has_any(document, events["push"], *elsewhere):
        branches = list(policy.push_branches)
        reason = semantics.push_filter(
            work.name, document, policy.triggers.paths_ignore, work.others
        )
        if reason:
            work.suggest(pair[0], f"push only with branches {branches}", reason)
        else:
            wanted["push"] = {"branches": branches}
    if "pull_request" in events and policy.triggers.paths_ignore:
        if required:
            work.keep(pair[0], f"no paths-ignore, since {required[0]!r} is a required check")
        elif not _has_any(document, events["pull_request"], "paths", "paths-ignore"):
            wanted["pull_request"] = {"paths-ignore": list(policy.triggers.paths_ignore)}
    if on.kind is NodeKind.MAPPING:
        for event, filters_ in wanted.items():
            _extend_event(work, on, event, filters_)
    elif wanted:
        _spell_out(work, pair, on, {event: wanted.get(event) for event in events})


def _has_any(document: Document, node: Node, *keys: str) -> bool:
    return any(document.entry(node, key) is not None for key in keys)


def _extend_event(work: _Work, on: Node, event: str, filters: dict[str, Value]) -> None:
    document = work.document
    pair = document.entry(on, event)
    if pair is None:
        return
    value = document.resolve(pair[1])
    ((key, content),) = filters.items()
    what = f"{work.at(pair[0])}: {event} only with {key} {content}"
    if value.kind is NodeKind.MAPPING and value.items:
        first = value.items[0]
        work.attempt(
            first,
            lambda: edit.insert_before(document, first, key, content, ("on", event, key), what),
        )
    elif value.is_null and not pair[0].flow:
        column = document.column_of(pair[0].start)
        text, shape = edit.block(filters, column + 2, document.newline)
        work.edits.append(Edit(value.start, value.end, text, ("on", event), shape, what))
    else:
        work.problem(pair[0], f"{event} is written in a way that is not extended; edit it by hand")


def _spell_out(
    work: _Work, pair: tuple[Node, Node], on: Node, events: dict[str, dict[str, Value] | None]
) -> None:
    """Turn ``on: [push, pull_request]`` into a mapping that has room for filters."""
    document = work.document
    key, written = pair
    if "#" in document.text[on.start : on.last()] or written.kind is NodeKind.ALIAS or key.flow:
        work.problem(
            key, "the triggers are written in a way that is not extended; edit them by hand"
        )
        return
    text, shape = edit.block(events, document.column_of(key.start) + 2, document.newline)
    # The list may begin on the line below its key.
    colon = document.text.index(":", key.end) + 1
    what = (
        f"{work.at(key)}: {', '.join(event for event, new in events.items() if new)} with filters"
    )
    work.edits.append(Edit(colon, on.last(), text, ("on",), shape, what))


def _top_level(work: _Work) -> None:
    document, policy = work.document, work.policy
    root = document.root
    jobs_pair = document.entry(root, "jobs")
    if jobs_pair is None:
        return
    key = jobs_pair[0]
    jobs = document.resolve(jobs_pair[1])
    values = [document.resolve(value) for _key, value in jobs.pairs]

    def declared(name: str) -> bool:
        """Whether the file says it for all of its jobs."""
        return document.entry(root, name) is not None or all(
            _has_any(document, value, name) for value in values
        )

    if policy.permissions and not declared("permissions"):
        reason = semantics.permissions(document, policy.permissions, work.others)
        _add_top(work, key, "permissions", dict(policy.permissions), reason)
    if policy.concurrency.group and not declared("concurrency"):
        group: dict[str, Value] = {"group": policy.concurrency.group}
        if policy.cancel_in_progress:
            group["cancel-in-progress"] = policy.cancel_in_progress
        reason = semantics.concurrency(work.name, document, policy.concurrency.group, work.others)
        _add_top(work, key, "concurrency", group, reason)


def _add_top(work: _Work, before: Node, key: str, value: dict[str, Value], reason: str) -> None:
    words = f"{key} {', '.join(f'{name}: {text}' for name, text in value.items())}"
    if reason:
        work.suggest(before, words, reason)
        return
    what = f"{work.name}: {words}"
    work.attempt(
        before, lambda: edit.insert_before(work.document, before, key, value, (key,), what)
    )


# --- Jobs ------------------------------------------------------------------------------


def _job(work: _Work, key: Node, job: Node) -> None:
    document = work.document
    if job.kind is not NodeKind.MAPPING:
        work.problem(key, f"job {key.value} is not a mapping")
        return
    path = ("jobs", key.value)
    called = document.get(job, "uses")
    if called is not None:
        # A called workflow brings its own runners and limits.
        _pin(work, called, (*path, "uses"))
        return
    pair = document.entry(job, "runs-on")
    if pair is None:
        work.problem(key, f"job {key.value} has no runs-on")
        return
    _runs_on(work, key.value, job, pair)
    _timeout(work, key.value, job, pair)
    steps = document.get(job, "steps")
    for index, step in enumerate(steps.items if steps is not None else ()):
        action = document.get(step, "uses")
        if action is not None:
            _pin(work, action, (*path, "steps", index, "uses"))


def _runs_on(work: _Work, name: str, job: Node, pair: tuple[Node, Node]) -> None:
    policy, document = work.policy, work.document
    value = document.resolve(pair[1])
    kept = next((item for item in policy.runs_on.keep_hosted if item.covers(work.name, name)), None)
    labels = document.strings(value)
    if kept is not None:
        work.keep(pair[0], f"job {name} stays on its hosted runner: {kept.reason}")
        return
    if labels is None:
        work.keep(pair[0], f"job {name} names a runner group; it is left alone")
        return
    wanted: str | tuple[str, ...] | None = None
    if len(labels) == 1 and labels[0] in policy.runs_on.hosted_labels:
        wanted = _runner(policy, labels[0])
    elif len(labels) == 1 and (match := _MATRIX.match(labels[0])):
        wanted = _of_matrix(work, name, job, match[1], pair[0])
    elif len(labels) == 1 and "${{" in labels[0]:
        if _expression(policy, "")[:20] not in labels[0]:
            work.keep(pair[0], f"job {name} computes its runner; it is left alone")
    elif any(label in policy.runs_on.hosted_labels for label in labels):
        work.problem(pair[0], f"job {name} demands {labels}, which no runner offers")
    elif labels == ["self-hosted"]:
        work.problem(pair[0], f"job {name} takes any self-hosted runner; name it more closely")
    lacks = needs.missing(needs.of_job(document, job), policy.runs_on.offers)
    if wanted is not None and lacks:
        words = ", ".join(f"{need.what} (line {need.line}: {need.words})" for need in lacks)
        work.keep(
            pair[0],
            f"job {name} stays on its hosted runner: the declared one has no {words};"
            " name it in runs_on.offers where it has",
        )
    elif wanted is not None:
        shown = wanted if isinstance(wanted, str) else list(wanted)
        what = f"{work.at(pair[0])}: job {name} runs on {shown}"
        work.edits.append(edit.replace(value, wanted, ("jobs", name, "runs-on"), what))


def _expression(policy: WorkflowPolicy, hosted: str) -> str:
    """Return the expression for the declared runner, without its braces."""
    if policy.runs_on.strategy == "labels":
        quoted = ", ".join(f'"{label}"' for label in policy.runs_on.labels)
        return f"fromJSON('[{quoted}]')"
    return f"fromJSON(vars.{policy.runs_on.variable} || '\"{hosted}\"')"


def _runner(policy: WorkflowPolicy, hosted: str) -> str | tuple[str, ...]:
    if policy.runs_on.strategy == "labels":
        return policy.runs_on.labels
    return f"${{{{ {_expression(policy, hosted)} }}}}"


def _of_matrix(work: _Work, name: str, job: Node, axis: str, where: Node) -> str | None:
    """Return the expression for a matrix: its values, and so the checks' names, stay."""
    document, policy = work.document, work.policy
    strategy = document.get(job, "strategy")
    matrix = document.get(strategy, "matrix") if strategy is not None else None
    values = document.strings(document.get(matrix, axis)) if matrix is not None else None
    if matrix is None or values is None:
        work.keep(where, f"job {name} takes its runner from a matrix that cannot be read")
        return None
    include = document.get(matrix, "include")
    for item in include.items if include is not None else ():
        values += document.strings(document.get(item, axis)) or []
    hosted = [label for label in dict.fromkeys(values) if label in policy.runs_on.hosted_labels]
    if not hosted:
        return None
    tests = " || ".join(f"matrix.{axis} == '{label}'" for label in hosted)
    chosen = f"({tests})" if len(hosted) > 1 else tests
    return f"${{{{ {chosen} && {_expression(policy, hosted[0])} || matrix.{axis} }}}}"


def _timeout(work: _Work, name: str, job: Node, runs_on: tuple[Node, Node]) -> None:
    policy, document = work.policy, work.document
    path = ("jobs", name, "timeout-minutes")
    pair = document.entry(job, "timeout-minutes")
    if pair is None:
        if policy.timeout_minutes.default:
            minutes = policy.timeout_minutes.default
            what = f"{work.at(runs_on[0])}: job {name} ends after {minutes} minutes"
            work.attempt(
                runs_on[0],
                lambda: edit.insert_after(
                    document, runs_on, "timeout-minutes", minutes, path, what
                ),
            )
        return
    value = document.resolve(pair[1])
    written = _MINUTES.match(value.value)
    if written and (len(written[1]) > 6 or int(written[1] or 0) > policy.timeout_minutes.max):
        limit = str(policy.timeout_minutes.max)
        what = f"{work.at(pair[0])}: job {name} ends after {limit} minutes"
        work.edits.append(edit.replace(value, limit, path, what))


def _pin(work: _Work, action: Node, path: tuple[str | int, ...]) -> None:
    policy, document = work.policy, work.document
    match = _ACTION.match(action.value)
    if not policy.pin_actions or match is None or _COMMIT.match(match["ref"]):
        return
    reason = policy.unpinned_because(match["name"])
    if reason:
        work.keep(action, f"{action.value} is not pinned: {reason}")
        return
    repository = "/".join(match["name"].split("/")[:2])
    commit = policy.pins.get(action.value) or policy.pins.get(f"{repository}@{match['ref']}")
    commit = commit or work.resolve_pin(repository, match["ref"])
    if not _COMMIT.match(commit):
        work.problem(action, f"{action.value} is not pinned, and its commit could not be learned")
        return
    pinned = f"{match['name']}@{commit}"
    what = f"{work.at(action)}: {action.value} pinned to {commit[:12]}"
    change = edit.replace(action, pinned, path, what)
    rest = document.text[action.last() :].split("\n", 1)[0].rstrip("\r")
    # Where bots that update pins look for the version: at the beginning of the comment.
    said = re.match(rf"\s*#\s*{re.escape(match['ref'])}(?![\w.])", rest)
    if not action.flow and not said and re.match(r"\s*(?:#|\Z)", rest):
        change = Edit(
            change.start, change.end, f"{change.text} # {match['ref']}", path, change.shape, what
        )
    work.edits.append(change)


def files_in_question(paths: Iterator[str]) -> list[str]:
    """Return those paths of a repository that are workflows."""
    return sorted(
        path
        for path in paths
        if path.startswith(".github/workflows/")
        and path.count("/") == 2
        and path.endswith((".yml", ".yaml"))
    )
