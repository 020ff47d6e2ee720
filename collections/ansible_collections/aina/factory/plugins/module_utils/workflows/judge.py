"""Decide what a policy changes in one workflow; pure."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

from ..base.github.job_needs import Need, Offer, foreign_events, needs_of, needs_of_label
from . import check_names, edit, matrix, semantics
from .document import Compose, Document, DocumentError, Node, NodeKind
from .edit import Edit, Value
from .semantics import Neighbours
from .settings import RunsOn, WorkflowPolicy

_MATRIX = re.compile(r"\$\{\{\s*matrix\.([A-Za-z_][\w-]*(?:\.[A-Za-z_][\w-]*){0,3})\s*\}\}\Z")
_ACTION = re.compile(r"(?P<name>[\w.-]+/[\w./-]+)@(?P<ref>[^\s@]+)\Z")
_COMMIT = re.compile(r"[0-9a-f]{40}\Z")
_LINE_MAX_CHARACTERS = 600
_MINUTES = re.compile(r"0*([0-9]*)\Z")

# The commit of "owner/name", "ref"; "" when nobody can say.
ResolvePin = Callable[[str, str], str]


@dataclass(frozen=True)
class JobOutcome:
    """What becomes of one job: ``moved`` to the declared runner, ``kept``, or a ``problem``."""

    job: str
    outcome: str
    reason: str


@dataclass
class WorkflowReport:
    """What becomes of one workflow, and why something stays or is wrong."""

    name: str
    before: str
    after: str
    edits: list[str] = field(default_factory=list)
    # One for each edit, the same whatever line it stands on; see ``mark``.
    marks: list[str] = field(default_factory=list)
    kept: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    jobs: list[JobOutcome] = field(default_factory=list)
    # The proposals in which edits that stay out were made.
    declined: list[int] = field(default_factory=list)
    # Jobs that already read the variable, and would move to a runner that is not for them.
    unfit: list[str] = field(default_factory=list)


@dataclass
class _Work:
    """One file under judgement."""

    name: str
    document: Document
    policy: WorkflowPolicy
    resolve_pin: ResolvePin
    report: WorkflowReport
    others: Neighbours
    offer: Offer
    declined: Mapping[str, int]
    edits: list[Edit] = field(default_factory=list)
    marks: list[str] = field(default_factory=list)

    def moves(self, job: str, reason: str) -> None:
        self.report.jobs.append(JobOutcome(job, "moved", reason[:_LINE_MAX_CHARACTERS]))

    def stays(self, node: Node, job: str, reason: str) -> None:
        """Leave a job where it runs, and say why."""
        self.keep(node, f"job {job} {reason}")
        self.rests(job, reason)

    def rests(self, job: str, reason: str) -> None:
        """Tell of a job that nothing is to be done about."""
        self.report.jobs.append(JobOutcome(job, "kept", reason[:_LINE_MAX_CHARACTERS]))

    def fails(self, node: Node, job: str, reason: str) -> None:
        self.problem(node, f"job {job} {reason}")
        self.report.jobs.append(JobOutcome(job, "problem", reason[:_LINE_MAX_CHARACTERS]))

    def at(self, node: Node) -> str:
        return f"{self.name}:{self.document.line_of(node.start)}"

    def problem(self, node: Node, words: str) -> None:
        self.report.problems.append(f"{self.at(node)}: {words[:_LINE_MAX_CHARACTERS]}")

    def keep(self, node: Node, words: str) -> None:
        self.report.kept.append(f"{self.at(node)}: {words[:_LINE_MAX_CHARACTERS]}")

    def suggest(self, node: Node, words: str, reason: str) -> None:
        """Propose in words what is not proven harmless, and so not written."""
        self.keep(node, f"{words} is only suggested, not written: {reason}")

    def left_out(self, part: str, job: str, key: str) -> str:
        """Say why a person does not want an edit; "" where nobody said so."""
        reason = self.policy.excepted_because(part, self.name, job)
        number = self.declined.get(mark(self.name, key))
        if not reason and number:
            self.report.declined.append(number)
            reason = f"it was proposed in #{number}, and not taken"
        return reason

    def add(self, part: str, job: str, change: Edit, key: str = "") -> None:
        """Add an edit, unless a person does not want it. ``key`` tells it from others."""
        key = key or f"{'/'.join(map(str, change.path))}={' '.join(change.text.split())}"
        reason = self.left_out(part, job, key)
        if reason:
            words = change.what.partition(": ")[2]
            self.report.kept.append(f"{self.name}: not written: {words}: {reason}")
            return
        self.edits.append(change)
        self.marks.append(mark(self.name, key))

    def attempt(self, node: Node, part: str, job: str, make: Callable[[], Edit]) -> None:
        """Add an edit; where the way of writing does not allow it, say so."""
        try:
            change = make()
        except DocumentError as error:
            self.problem(node, f"{error}; edit it by hand")
        else:
            self.add(part, job, change)


def mark(name: str, key: str) -> str:
    """Return what a proposal remembers of one of its edits."""
    return hashlib.sha256(f"{name}\n{key}".encode()).hexdigest()[:8]


def judge(
    name: str,
    text: str,
    policy: WorkflowPolicy,
    compose: Compose,
    resolve_pin: ResolvePin,
    others: Neighbours | None = None,
    offer: Offer | None = None,
    declined: Mapping[str, int] | None = None,
) -> WorkflowReport:
    """Return what the policy makes of the workflow ``name`` (its file's name).

    ``others``: all other workflows of the repository; without them the file stands alone.
    ``offer``: what the declared runner offers; without it, what a fresh container does.
    ``declined``: the marks of edits that stay out, with the proposal's number.
    A file that cannot be edited safely stays as it is, and says so. What may take something
    away from a workflow that works is not written but suggested.
    """
    report = WorkflowReport(name, text, text)
    try:
        document = Document(text, compose)
        jobs = document.get(document.root, "jobs")
        if jobs is None or jobs.kind is not NodeKind.MAPPING:
            raise DocumentError("there is no mapping 'jobs'; is this a workflow?")
        together = others or Neighbours()
        work = _Work(
            *(name, document, policy, resolve_pin, report, together, offer or Offer()),
            declined or {},
        )
        _triggers(work)
        _top_level(work)
        for key, value in jobs.pairs:
            _job(work, key, document.resolve(value))
        report.after = edit.apply(document, work.edits, compose) if work.edits else text
        report.edits = [item.what for item in work.edits]
        report.marks = work.marks
    except DocumentError as error:
        report.problems.append(f"{name}: {str(error)[:_LINE_MAX_CHARACTERS]}")
        report.after, report.edits, report.jobs = text, [], []
    except Exception as error:
        report.problems.append(
            f"{name}: cannot be judged ({type(error).__name__}); edit it by hand"
        )
        report.after, report.edits, report.jobs = text, [], []
    return report


# --- Triggers, permissions, concurrency ------------------------------------------------


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
    names = check_names.check_names(document, work.others)
    required, perhaps = check_names.required(names, policy.required_checks)
    for event in ("push", "pull_request", "pull_request_target"):
        filters = events.get(event)
        for key in ("paths", "paths-ignore"):
            if required and filters is not None and document.entry(filters, key):
                work.problem(
                    filters,
                    f"{key} keeps the required check {required!r} pending for ever when nothing "
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
        ignored = list(policy.triggers.paths_ignore)
        if required:
            work.keep(pair[0], f"no paths-ignore, since {required!r} is a required check")
        elif perhaps:
            words = f"the name of a check is computed, and may be the required {perhaps!r}"
            work.suggest(pair[0], f"pull_request with paths-ignore {ignored}", words)
        elif not _has_any(document, events["pull_request"], "paths", "paths-ignore"):
            wanted["pull_request"] = {"paths-ignore": list(ignored)}
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
            "triggers",
            "*",
            lambda: edit.insert_before(document, first, key, content, ("on", event, key), what),
        )
    elif value.is_null and not pair[0].flow:
        column = document.column_of(pair[0].start)
        text, shape = edit.block(filters, column + 2, document.newline)
        work.add("triggers", "*", Edit(value.start, value.end, text, ("on", event), shape, what))
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
    work.add("triggers", "*", Edit(colon, on.last(), text, ("on",), shape, what))


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
        known = semantics.rights_of_actions(document, work.others) if reason else {}
        _add_top(work, key, "permissions", {**policy.permissions, **known}, reason)
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
        before,
        key,
        "*",
        lambda: edit.insert_before(work.document, before, key, value, (key,), what),
    )


# --- Jobs ------------------------------------------------------------------------------


def _job(work: _Work, key: Node, job: Node) -> None:
    document = work.document
    if job.kind is not NodeKind.MAPPING:
        work.fails(key, key.value, "is not a mapping")
        return
    path = ("jobs", key.value)
    called = document.get(job, "uses")
    if called is not None:
        # A called workflow brings its own runners and limits.
        work.rests(key.value, f"calls {called.value}, which says where its jobs run")
        _pin(work, key.value, called, (*path, "uses"))
        return
    pair = document.entry(job, "runs-on")
    if pair is None:
        work.fails(key, key.value, "has no runs-on")
        return
    _runs_on(work, key.value, job, pair)
    _timeout(work, key.value, job, pair)
    steps = document.get(job, "steps")
    for index, step in enumerate(steps.items if steps is not None else ()):
        action = document.get(step, "uses")
        if action is not None:
            _pin(work, key.value, action, (*path, "steps", index, "uses"))


def _runs_on(work: _Work, name: str, job: Node, pair: tuple[Node, Node]) -> None:
    policy, document = work.policy, work.document
    value, key = document.resolve(pair[1]), pair[0]
    kept = next((item for item in policy.runs_on.keep_hosted if item.covers(work.name, name)), None)
    labels = document.strings(value)
    if kept is not None and any(reads_variable(policy.runs_on, text) for text in labels or ()):
        work.fails(
            key, name, f"is to stay hosted, and reads the variable {policy.runs_on.variable}"
        )
        work.report.unfit.append(f"{work.name}, job {name}")
    elif kept is not None:
        work.stays(key, name, f"stays on its hosted runner: {kept.reason}")
    elif labels is None:
        work.stays(key, name, "names a runner group; it is left alone")
    elif len(labels) == 1 and (match := _MATRIX.match(labels[0])):
        _of_matrix(work, name, job, match[1], pair)
    elif len(labels) == 1 and "${{" in labels[0]:
        if reads_variable(policy.runs_on, labels[0]):
            _reads(work, name, key, job)
        else:
            work.stays(key, name, "computes its runner; it is left alone")
    elif len(labels) == 1 and is_hosted(policy.runs_on, labels[0]):
        reason = _why_not(work, name, job, labels)
        if reason is None:
            _move(work, name, pair, _runner(policy, labels[0]))
        else:
            work.stays(key, name, f"stays on its hosted runner: {reason}")
    else:
        _elsewhere(work, name, key, labels)


def reads_variable(runs_on: RunsOn, label: str) -> bool:
    """Whether a runs-on asks the declared repository variable."""
    return bool(re.search(rf"\bvars\s*\.\s*{re.escape(runs_on.variable)}\b", label, re.IGNORECASE))


def _reads(work: _Work, name: str, key: Node, job: Node) -> None:
    """Tell of a job that the variable moves, whoever wrote that."""
    variable = work.policy.runs_on.variable
    reason = _why_not(work, name, job, [])
    if reason is None:
        work.rests(name, f"reads the variable {variable} already")
    else:
        work.fails(key, name, f"reads the variable {variable}, which would move it: {reason}")
        work.report.unfit.append(f"{work.name}, job {name}")


def _elsewhere(work: _Work, name: str, key: Node, labels: list[str]) -> None:
    """Tell of a job whose labels are none of the hosted runners that are replaced."""
    if any(is_hosted(work.policy.runs_on, label) for label in labels):
        work.fails(key, name, f"demands {labels}, which no runner offers")
    elif labels == ["self-hosted"]:
        work.fails(key, name, "takes any self-hosted runner; name it more closely")
    elif any(label.casefold() == "self-hosted" for label in labels):
        foreign = foreign_events(semantics.started_by(work.name, work.document, work.others))
        if foreign:
            work.fails(
                key,
                name,
                f"runs on an own runner, and {foreign[0]} lets people start it who need not be "
                "trusted",
            )
        else:
            work.rests(name, f"runs on {labels} already")
    else:
        other = [need.why for label in labels for need in needs_of_label(label)]
        why = other[0] if other else f"it asks for {', '.join(labels)}"
        work.stays(key, name, f"stays where it runs: {why}, which is none of hosted_labels")


def is_hosted(runs_on: RunsOn, label: str) -> bool:
    """Whether GitHub's own runner of this name is replaced; labels ignore case."""
    return label.casefold() in {known.casefold() for known in runs_on.hosted_labels}


def _anyway(work: _Work, name: str) -> str:
    """Return why a job moves whatever it needs; "" where nobody has said so."""
    items = work.policy.runs_on.move_anyway
    return next((item.reason for item in items if item.covers(work.name, name)), "")


def _why_not(work: _Work, name: str, job: Node, labels: list[str]) -> str | None:
    """Say why a job does not move to the declared runner; ``None`` where it can."""
    document = work.document
    if _anyway(work, name):
        return None
    foreign = foreign_events(semantics.started_by(work.name, document, work.others))
    if foreign:
        return f"{foreign[0]} lets people start it who need not be trusted"
    found = needs(document, job, labels, work.others)
    offer = work.offer.also(work.policy.runs_on.offers)
    return "; ".join(offer.lacks(found)) or None


def needs(document: Document, job: Node, labels: list[str], others: Neighbours) -> list[Need]:
    """Return what a job needs of its machine, by what it runs and by the labels it asks for."""
    whole = {
        key.value: document.plain(value)
        for key, value in document.root.pairs
        if key.value != "jobs"
    }
    found = needs_of(document.plain(job), whole, others.actions)
    return found + [need for label in labels for need in needs_of_label(label)]


def _move(work: _Work, name: str, pair: tuple[Node, Node], wanted: str | tuple[str, ...]) -> None:
    shown = wanted if isinstance(wanted, str) else list(wanted)
    reason = _anyway(work, name)
    said = f"job {name} runs on {shown}" + (f", as was said: {reason}" if reason else "")
    if work.others.forks and "pull_request" in semantics.started_by(
        work.name, work.document, work.others
    ):
        said += f"; {work.others.forks}"
    value = work.document.resolve(pair[1])
    what = f"{work.at(pair[0])}: {said}"
    change = edit.replace(value, wanted, ("jobs", name, "runs-on"), what)
    key = f"jobs/{name}/runs-on={shown}"
    unwanted = work.left_out("runs_on", name, key)
    if unwanted:
        work.stays(pair[0], name, f"stays where it runs: {unwanted}")
        return
    work.moves(name, said.removeprefix(f"job {name} "))
    work.add("runs_on", name, change, key)


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


def _of_matrix(work: _Work, name: str, job: Node, axis: str, pair: tuple[Node, Node]) -> None:
    """Move a job by its matrix: the values, and so the checks' names, stay."""
    values = matrix.axis(work.document, job, axis.split("."))
    key = pair[0]
    if not values:
        work.stays(key, name, "takes its runner from a matrix that cannot be read")
        return
    hosted = [label for label in values if is_hosted(work.policy.runs_on, label)]
    reasons = {label: _why_not(work, name, job, [label]) for label in hosted}
    moving = [label for label in hosted if reasons[label] is None]
    staying = "; ".join(dict.fromkeys(reason for reason in reasons.values() if reason))
    if not moving:
        why = staying or f"its matrix asks for {', '.join(values)}"
        work.stays(key, name, f"stays where it runs: {why}")
        return
    if staying:
        work.keep(key, f"job {name} moves in part: {staying}")
    tests = " || ".join(f"matrix.{axis} == '{label}'" for label in moving)
    chosen = f"({tests})" if len(moving) > 1 else tests
    runner = _expression(work.policy, moving[0])
    _move(work, name, pair, f"${{{{ {chosen} && {runner} || matrix.{axis} }}}}")


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
                "timeout_minutes",
                name,
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
        work.add("timeout_minutes", name, edit.replace(value, limit, path, what))


def _pin(work: _Work, job: str, action: Node, path: tuple[str | int, ...]) -> None:
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
    # Where the tag means another commit later, it is the same wish.
    work.add("pin_actions", job, change, f"jobs/{job}/pin {action.value}")


def files_in_question(paths: Iterator[str]) -> list[str]:
    """Return those paths of a repository that are workflows."""
    return sorted(
        path
        for path in paths
        if path.startswith(".github/workflows/")
        and path.count("/") == 2
        and path.endswith((".yml", ".yaml"))
    )
