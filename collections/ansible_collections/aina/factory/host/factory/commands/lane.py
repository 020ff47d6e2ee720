"""``factory lane``: agents' runs, each in a container of its own."""

from __future__ import annotations

import argparse
import json
import logging
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from factory import configuration, effects, locks
from factory.core.base import documents
from factory.core.base.docker import DockerError
from factory.core.base.github import settings as github
from factory.core.base.settings import read
from factory.core.base.text import printable
from factory.core.lanes import identity, outcome
from factory.core.lanes.settings import LanesSettings
from factory.outcome import Exit, LockedError, Outcome, UsageError

if TYPE_CHECKING:
    from factory.core.lanes.settings import LaneProject
    from factory.lanes.supervisor import Lane
    from factory.lanes.tasks import Task

_log = logging.getLogger(__name__)
_PROMPT_MAX_BYTES = 1 << 20
_REPACK_GRACE_DAYS = 2.0
_ATTEMPTS_MAX_COUNT = 10
# There was room when it was dispatched; should it be gone, the next dispatch looks again.
_DISPATCHED_WAIT_SECONDS = 60


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verbs of ``factory lane``."""
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")

    def verb(name: str, words: str) -> argparse.ArgumentParser:
        chosen = verbs.add_parser(name, help=words, description=words, allow_abbrev=False)
        chosen.add_argument(
            "--json", action="store_true", default=argparse.SUPPRESS, help="print one JSON document"
        )
        return chosen

    run = verb("run", "let an agent work on an issue and wait for it")
    run.add_argument("project", metavar="REPO", help="a project's name, or owner/name")
    run.add_argument("issue", metavar="ISSUE", help="the issue's number; 0 with --stdin")
    run.add_argument("--stdin", action="store_true", help="the prompt comes from standard input")
    run.add_argument("--model", metavar="NAME", help="another model that the project allows")
    run.add_argument(
        "--attempts", metavar="N", help="so many lanes at most, until one passes check_command"
    )
    resolve = verb("resolve", "let an agent resolve a pull request's conflict with its base")
    resolve.add_argument("project", metavar="REPO", help="a project's name, or owner/name")
    resolve.add_argument("issue", metavar="PULL", help="the pull request's number")
    revise = verb("revise", "let an agent do what was said about a lane's pull request")
    revise.add_argument("project", metavar="REPO", help="a project's name, or owner/name")
    revise.add_argument("issue", metavar="PULL", help="the pull request's number")
    dispatch = verb("dispatch", "start lanes for the open issues that ask for one")
    dispatch.add_argument("--dry-run", action="store_true", help="say what would be started")
    for chosen in (run, resolve, revise):
        chosen.add_argument(
            "--queue-seconds", type=float, metavar="N", help="wait so long for a place"
        )
        chosen.add_argument("--detach", action="store_true", help="return at once")
        chosen.add_argument(
            "--events", action="store_true", help="print the agent's events as they come"
        )
    adopt = verb("adopt", "watch a lane whose supervisor has died; for the reaper")
    adopt.add_argument("lane", metavar="LANE")
    resume = verb("resume", "go on where a lane was cut off")
    resume.add_argument("lane", metavar="LANE")
    resume.add_argument("--queue-seconds", type=float, metavar="N")
    verb("list", "show lanes that wait, run or are finished")
    attach = verb("attach", "follow what a running lane does, to its end")
    attach.add_argument("lane", metavar="LANE")
    shell = verb("shell", "go into a lane that runs, or where a finished one has left off")
    shell.add_argument("lane", metavar="LANE")
    logs = verb("logs", "show a lane's transcript")
    logs.add_argument("lane", metavar="LANE")
    logs.add_argument("-f", "--follow", action="store_true", help="until the lane has ended")
    stop = verb("stop", "let a lane hand over what it has and end")
    stop.add_argument("lane", metavar="LANE")
    deliver = verb("deliver", "push a finished lane's work again")
    deliver.add_argument("lane", metavar="LANE")
    reap = verb("reap", "end lanes that nobody watches, forget old ones")
    reap.add_argument("--dry-run", action="store_true")
    mirrors = verb("mirrors", "fetch every project's mirror")
    mirrors.add_argument("--repack", action="store_true", help="and make it small again")
    verb("store", "fetch the packages that lanes install offline")
    verb("gateway", "serve the lanes' sockets; for the unit of that name")


def execute(arguments: argparse.Namespace) -> Outcome:
    """Do what the verb says.

    Raises:
        UsageError: the configuration is missing, or a word is wrong.
        ConfigurationError: a value is wrong.
        LockedError: another reaper is at work.

    """
    whole = configuration.load(Path(arguments.config))
    settings = read(LanesSettings, whole.section("lanes"), github=github.of(whole))
    verbs: dict[str, Callable[[LanesSettings, Path, argparse.Namespace], Outcome]] = {
        "run": _run,
        "resolve": _resolve,
        "revise": _resolve,
        "dispatch": _dispatch,
        "resume": _resume,
        "adopt": _adopt,
        "list": _list,
        "attach": _attach,
        "shell": _shell,
        "logs": _logs,
        "stop": _stop,
        "deliver": _deliver,
        "reap": _reap,
        "mirrors": _mirrors,
        "store": _store,
        "gateway": _gateway,
    }
    return verbs[arguments.verb](settings, locks.directory_of(whole), arguments)


def _run(settings: LanesSettings, lock_directory: Path, arguments: argparse.Namespace) -> Outcome:
    from factory.lanes.tasks import Task

    project = settings.project(arguments.project)
    issue = (
        0 if arguments.stdin and arguments.issue == "0" else identity.issue_number(arguments.issue)
    )
    if arguments.model is not None:
        if arguments.model not in project.models:
            allowed = ", ".join(project.models)
            raise UsageError(f"--model {arguments.model}: {project.name} may use {allowed}")
        project = replace(project, model=arguments.model)
    text = ""
    if arguments.stdin:
        if arguments.detach:
            raise UsageError("--detach: a lane with its prompt on standard input stays with you")
        text = sys.stdin.buffer.read(_PROMPT_MAX_BYTES).decode(errors="replace")
        if not text.strip():
            raise UsageError("--stdin: the prompt on standard input is empty")
    task = Task(project, issue, text=text)
    if arguments.attempts is not None:
        return _try_often(settings, lock_directory, arguments, task)
    return _attend(settings, lock_directory, arguments, task)


def _try_often(
    settings: LanesSettings, lock_directory: Path, arguments: argparse.Namespace, task: Task
) -> Outcome:
    """Have lanes work on the same until one passes the project's own check, and deliver that."""
    from factory.lanes import supervisor, workshop

    count = identity.issue_number(arguments.attempts)
    project = task.project
    if not project.check_command:
        raise UsageError(f"--attempts: {project.name} has no check_command to choose by")
    if arguments.detach or not task.issue or count > _ATTEMPTS_MAX_COUNT:
        raise UsageError(
            f"--attempts: for one issue, not detached, and at most {_ATTEMPTS_MAX_COUNT}"
        )
    tried: list[str] = []
    done = Outcome(Exit.FAILED, {}, "")
    for _number in range(count):
        each = replace(task, queue_seconds=arguments.queue_seconds, listener=_listener(arguments))
        lane = supervisor.Lane(settings, each, lock_directory, is_trial=True)
        done = _start(settings, lock_directory, lane, arguments.config)
        result = dict(done.document)
        if result["outcome"] == "refused":
            return done
        tried.append(f"{result['lane']}: {result['outcome']}")
        if result["outcome"] not in outcome.DELIVERED:
            continue
        try:
            with workshop.reopened(
                settings, project, result, project.limits.timeout_seconds
            ) as name:
                passed, words = workshop.check(
                    name, project.check_command, project.limits.timeout_seconds
                )
        except (DockerError, OSError) as error:
            passed, words = False, str(error)
        tried[-1] += ", passed" if passed else f", not passed: {printable(words)[-200:]}"
        path = Path(settings.state_dir, result["lane"], "result.json")
        # Should this end here, the reaper delivers what was chosen.
        chosen = {"delivery": "failed: not asked yet"} if passed else {}
        documents.replace(path, {**result, **chosen, "is_passed_over": not passed, "check": words})
        if passed:
            arguments.lane = result["lane"]
            delivered = _deliver(settings, lock_directory, arguments)
            return replace(delivered, document={**delivered.document, "tried": tried})
    words = "; ".join(tried)
    detail = f"none of {len(tried)} lanes passed {project.check_command!r}: {words}"
    document = {**done.document, "outcome": "unchosen", "detail": detail, "tried": tried}
    return Outcome(Exit.FAILED, document, f"factory: {detail}; factory lane deliver LANE takes one")


def _resolve(
    settings: LanesSettings, lock_directory: Path, arguments: argparse.Namespace
) -> Outcome:
    from factory.lanes.tasks import Task

    project = settings.project(arguments.project)
    number, is_review = identity.issue_number(arguments.issue), arguments.verb == "revise"
    task = Task(project, number, is_conflict=True, is_review=is_review)
    return _attend(settings, lock_directory, arguments, task)


def _attend(
    settings: LanesSettings, lock_directory: Path, arguments: argparse.Namespace, task: Task
) -> Outcome:
    """Start the lane and stay with it, or have the server do so."""
    from factory.lanes import supervisor

    if arguments.detach:
        from factory.lanes import capacity

        _require_root()
        closed = capacity.draining()
        if closed is not None:
            return _refused(closed.code, closed.words)
        words = [arguments.verb, task.project.name, str(task.issue)]
        if arguments.queue_seconds is not None:
            words.append(f"--queue-seconds={arguments.queue_seconds}")
        if arguments.verb == "run":
            words.append(f"--model={task.project.model}")
        trouble = _detach(arguments.config, words, _unit(task.project.name, task.issue))
        if trouble:
            return _refused("detach", trouble)
        return Outcome(Exit.DONE, {"detached": True}, "started; see factory lane list")
    task = replace(task, queue_seconds=arguments.queue_seconds, listener=_listener(arguments))
    lane = supervisor.Lane(settings, task, lock_directory)
    done = _start(settings, lock_directory, lane, arguments.config)
    if arguments.events:
        return replace(done, text=json.dumps({"type": "lane.result", **done.document}))
    return done


def _listener(arguments: argparse.Namespace) -> Callable[[bytes], None]:
    from factory.lanes import transcript

    def show(line: bytes) -> None:
        if arguments.events:
            sys.stdout.buffer.write(line)
            sys.stdout.buffer.flush()
        elif not arguments.json:
            words = transcript.describe(json.loads(line))
            if words:
                print(words, flush=True)

    return show


def _start(settings: LanesSettings, lock_directory: Path, lane: Lane, config: str) -> Outcome:
    from factory.lanes import reaping

    _require_root()
    if reaping.is_due(settings):
        with (
            suppress(LockedError, DockerError),
            locks.exclusive(lock_directory / reaping.LOCK),
        ):
            reaping.reap(settings, lock_directory, dry_run=False, adopt=_adopter(config))
    return _ended(lane.run)


def _adopter(config: str) -> Callable[[str], str]:
    """Return what has a lane watched again by a unit of its own."""

    def adopt(lane: str) -> str:
        return _detach(config, ["adopt", lane], f"factory-lane-adopt-{lane}")

    return adopt


def _adopt(settings: LanesSettings, lock_directory: Path, arguments: argparse.Namespace) -> Outcome:
    from factory.lanes import reaping

    _require_root()
    lane = reaping.lane_of(settings, lock_directory, identity.checked(arguments.lane))
    if lane is None:
        raise UsageError(f"lane {arguments.lane} does not run; see factory lane list")
    return _ended(lane.adopt)


def _ended(attend: Callable[[], dict[str, Any]]) -> Outcome:
    from factory.lanes import supervisor

    try:
        result = attend()
    except supervisor.NotStartedError as error:
        return _refused(error.code, str(error))
    good = result["outcome"] in outcome.GOOD and not result["delivery"].startswith("failed")
    return Outcome(Exit.DONE if good else Exit.FAILED, result, _summary(result))


def _refused(code: str, words: str) -> Outcome:
    document = {"outcome": "refused", "reason": code, "error": words}
    return Outcome(Exit.FAILED, document, f"factory: {words}")


def _summary(result: dict[str, Any]) -> str:
    pull = result.get("pull_request") or {}
    parts = [f"{result['lane']}: {result['outcome']}, {result['detail']}"]
    if pull:
        parts.append(pull["url"])
    if str(result.get("delivery", "")).startswith("failed"):
        parts.append(f"not delivered: {result['delivery']}; factory lane deliver {result['lane']}")
    return "\n".join(parts)


def _unit(project: str, issue: int) -> str:
    """Return one name for one issue: of a name there is one unit, and so one lane."""
    return f"factory-lane-{project}-{issue}"


def _detach(config: str, words: Sequence[str], unit: str) -> str:
    """Have the server run a lane; return what is wrong."""
    argv = [
        *("systemd-run", "--collect", "--quiet", f"--unit={unit}"),
        *("/usr/local/bin/factory", "lane", f"--config={config}", *words),
    ]
    done = effects.run(argv, timeout_seconds=30)
    return "" if done.ok else done.said


def _dispatch(
    settings: LanesSettings, lock_directory: Path, arguments: argparse.Namespace
) -> Outcome:
    from factory.lanes import dispatching

    _require_root()

    def start(project: str, issue: int, resumed: str, *, verb: str = "run") -> str:
        words = ["resume", resumed] if resumed else [verb, project, str(issue)]
        words.append(f"--queue-seconds={_DISPATCHED_WAIT_SECONDS}")
        return _detach(arguments.config, words, _unit(project, issue))

    with locks.exclusive(lock_directory / dispatching.LOCK):
        document = dispatching.run(settings, start, dry_run=arguments.dry_run)
    rows = [
        f"revise {item['project']} #{item['pull_request']}  round {item['round']}"
        for item in document["reviews"]
    ]
    rows += [
        f"{item['verb']:<6} {item['project']} #{item['issue']}  {printable(item['title'])[:50]}  ({item['why']})"
        for item in document["issues"]
    ]
    rows += [f"failed: {words}" for words in document["failures"]]
    rows += [document["closed"]] if document["closed"] else []
    failed = bool(document["failures"])
    return Outcome(
        Exit.FAILED if failed else Exit.DONE,
        {**document, "changed": document["started"] > 0},
        "\n".join(rows) or "no open issue asks for a lane",
    )


def _require_root() -> None:
    if os.geteuid() != 0:
        raise UsageError("a lane is started as root; use run-lane, which may do just that")


def _resume(
    settings: LanesSettings, lock_directory: Path, arguments: argparse.Namespace
) -> Outcome:
    from factory.lanes import supervisor
    from factory.lanes.tasks import Task

    result = _result(settings, arguments.lane)
    project = settings.project(str(result["project"]))
    text = "Go on where you were cut off. Commit your work." if result.get("session") else ""
    issue = int(result["issue"])
    if not issue and not text:
        prompt = Path(settings.state_dir, arguments.lane, "prompt.md")
        text = prompt.read_text(encoding="utf-8")
    task = Task(
        project,
        issue,
        text=text,
        resume=arguments.lane,
        is_conflict=bool(result.get("is_conflict")),
        is_review=bool(result.get("is_review")),
        queue_seconds=arguments.queue_seconds,
    )
    lane = supervisor.Lane(settings, task, lock_directory)
    return _start(settings, lock_directory, lane, arguments.config)


def _result(settings: LanesSettings, lane: str) -> dict[str, Any]:
    result = documents.read(Path(settings.state_dir, identity.checked(lane), "result.json"))
    if result is None:
        raise UsageError(f"lane {lane} has no result; see factory lane list")
    return result


def _list(settings: LanesSettings, _locks: Path, _arguments: argparse.Namespace) -> Outcome:
    from factory.core.base import processes

    found = []
    for directory in Path(settings.state_dir).glob("*/"):
        result = documents.read(directory / "result.json")
        state = documents.read(directory / "state.json")
        if result is not None:
            found.append({**result, "state": outcome.state_of(result)})
        elif state is not None:
            lost = "" if processes.alive(str(state.get("supervisor"))) else " (unwatched)"
            found.append({**state, **_spent(state), "outcome": f"{state['state']}{lost}"})
    for path in Path(settings.run_dir).glob("queued-*.json"):
        waits = documents.read(path) or {}
        if processes.alive(str(waits.get("supervisor"))):
            told = {"detail": waits.get("why"), "started_at": waits.get("since")}
            name = f"{waits.get('project')}-{waits.get('issue')}"
            found.append({**waits, **told, "lane": name, "outcome": "queued", "state": "queued"})
    found.sort(key=lambda item: str(item.get("started_at")))
    rows = [
        f"{'LANE':<34} {'OUTCOME':<14} {'TOKENS':>9} {'USD':>7} {'SECONDS':>8}  STARTED               RESULT"
    ]
    for item in found:
        pull = item.get("pull_request") or {}
        words = f"#{pull['number']} {item['state']}" if pull else str(item.get("detail") or "")
        if item.get("state") == "needs a person":
            words = f"needs a person: {words}"
        rows.append(
            f"{item['lane']:<34} {item['outcome']:<14} {item.get('tokens', '-'):>9} "
            f"{item.get('cost_usd', '-'):>7} {item.get('duration_seconds', '-'):>8}  "
            f"{item.get('started_at')}  {printable(words)[:60]}"
        )
    return Outcome(Exit.DONE, {"lanes": found}, "\n".join(rows))


def _spent(state: dict[str, Any]) -> dict[str, Any]:
    """Return what a running lane has cost so far; nothing where the gateway does not say."""
    from factory.lanes import control_socket

    try:
        status = json.loads(control_socket.ask("status", str(state["lane"])))
        return {"tokens": int(status["tokens"]), "cost_usd": float(status["cost_usd"])}
    except (OSError, ValueError, KeyError, TypeError):
        return {}


def _attach(settings: LanesSettings, lock: Path, arguments: argparse.Namespace) -> Outcome:
    arguments.follow = True
    shown = _logs(settings, lock, arguments)
    return replace(shown, text=_summary(_result(settings, arguments.lane)))


def _shell(settings: LanesSettings, _locks: Path, arguments: argparse.Namespace) -> Outcome:
    from factory.core.lanes import container
    from factory.lanes import workshop

    _require_root()
    lane = identity.checked(arguments.lane)
    directory = Path(settings.state_dir, lane)
    if not directory.is_dir():
        raise UsageError(f"there is no lane {lane}; see factory lane list")
    recording = directory / f"shell-{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}.log"
    try:
        if Path(settings.run_dir, lane).is_dir():
            code = workshop.shell(container.name(lane), recording)
        else:
            result = _result(settings, lane)
            if not result.get("base"):
                raise UsageError(f"lane {lane} has never begun; there is nothing to go into")
            project = settings.project(str(result["project"]))
            with workshop.reopened(settings, project, result, workshop.SHELL_SECONDS) as name:
                print("nothing of what is done here is handed over", file=sys.stderr, flush=True)
                code = workshop.shell(name, recording)
    except (DockerError, OSError) as error:
        return Outcome(Exit.FAILED, {"error": str(error)}, f"factory: {error}")
    words = f"recorded in {recording}"
    return Outcome(
        Exit.DONE, {"lane": lane, "exit_status": code, "recording": str(recording)}, words
    )


def _logs(settings: LanesSettings, _locks: Path, arguments: argparse.Namespace) -> Outcome:
    from factory.lanes import transcript

    directory = Path(settings.state_dir, identity.checked(arguments.lane))
    if not directory.is_dir():
        raise UsageError(f"there is no lane {arguments.lane}; see factory lane list")
    shown = []
    for event in _events(directory, follow=arguments.follow):
        if arguments.json:
            shown.append(event)
        else:
            words = [transcript.describe(event), *transcript.output(event)]
            print("\n".join(filter(None, words)), end="\n" if any(words) else "", flush=True)
    return Outcome(Exit.DONE, {"lane": arguments.lane, "events": shown}, "")


def _events(directory: Path, *, follow: bool) -> Iterator[dict[str, Any]]:
    path, position = directory / "transcript.jsonl", 0
    while True:
        ended = (directory / "result.json").exists() or not follow
        with suppress(FileNotFoundError), path.open("rb") as file:
            file.seek(position)
            for line in file:
                if not line.endswith(b"\n"):
                    break
                position += len(line)
                with suppress(ValueError, RecursionError):
                    yield json.loads(line)
        if ended:
            return
        time.sleep(0.2)


def _stop(settings: LanesSettings, _locks: Path, arguments: argparse.Namespace) -> Outcome:
    place = Path(settings.run_dir, identity.checked(arguments.lane))
    if not place.is_dir():
        raise UsageError(f"lane {arguments.lane} does not run; see factory lane list")
    (place / "stop").touch()
    deadline = time.monotonic() + 90
    while place.is_dir() and time.monotonic() < deadline:
        time.sleep(0.2)
    if place.is_dir():
        words = f"lane {arguments.lane} has not ended within 90 s; factory lane reap ends it"
        return Outcome(Exit.FAILED, {"error": words}, f"factory: {words}")
    return Outcome(
        Exit.DONE, {"lane": arguments.lane, "changed": True}, f"{arguments.lane} has ended"
    )


def _deliver(settings: LanesSettings, _locks: Path, arguments: argparse.Namespace) -> Outcome:
    from factory.core.base.github.errors import ForgeError
    from factory.core.lanes.collect import CollectError
    from factory.lanes import delivery

    result = _result(settings, arguments.lane)
    if result.get("pull_request"):
        return Outcome(Exit.DONE, {**result, "changed": False}, "it has its pull request")
    if not result.get("head"):
        raise UsageError(f"lane {arguments.lane} has no work to deliver: {result['outcome']}")
    project = settings.project(str(result["project"]))
    token, forge = delivery.github(settings, project)
    path = Path(settings.state_dir, arguments.lane, "result.json")
    try:
        delivery.deliver(settings, project, forge, token(), result)
    except (CollectError, ForgeError, OSError) as error:
        return Outcome(Exit.FAILED, {**result, "error": str(error)}, f"factory: {error}")
    documents.replace(path, result)
    return Outcome(Exit.DONE, {**result, "changed": True}, _summary(result))


def _reap(settings: LanesSettings, lock_directory: Path, arguments: argparse.Namespace) -> Outcome:
    from factory.lanes import reaping

    try:
        with locks.exclusive(lock_directory / reaping.LOCK):
            document = reaping.reap(
                settings,
                lock_directory,
                dry_run=arguments.dry_run,
                adopt=_adopter(arguments.config),
            )
    except DockerError as error:
        return Outcome(Exit.FAILED, {"error": str(error)}, f"factory: {error}")
    rows = [f"{step['verb']} {step['lane']} ({step['why']})" for step in document["steps"]]
    lost = document["given_up"]
    rows += [f"forget {name}" for name in document["expired"] if name not in lost]
    rows += [f"give up the undelivered work of {name} (lanes.keep_total_mib)" for name in lost]
    rows += [f"delivered {name}" for name in document["delivered"]]
    rows += [f"failed: {words}" for words in document["failures"]]
    failed = bool(document["failures"])
    return Outcome(
        Exit.FAILED if failed else Exit.DONE, document, "\n".join(rows) or "nothing to reap"
    )


def _mirrors(
    settings: LanesSettings, lock_directory: Path, arguments: argparse.Namespace
) -> Outcome:
    from factory.core.lanes.collect import CollectError
    from factory.lanes import delivery

    heads: dict[str, str] = {}
    failures: list[str] = []
    for project in settings.lane_projects:
        try:
            token, _forge = delivery.github(settings, project)
            with locks.exclusive(lock_directory / f"factory-mirror-{project.name}.lock"):
                mirror = delivery.repository(settings, project, token())
                heads[project.name] = mirror.update(project.default_branch).base
                if arguments.repack:
                    mirror.forget_pulls(_issues_of_lanes(settings, project.name))
                    longest = project.limits.timeout_seconds / 86400
                    mirror.repack(longest + _REPACK_GRACE_DAYS)
                    _forget_claims(settings, project, token())
        except (CollectError, OSError, LockedError) as error:
            failures.append(f"{project.name}: {error}")
    text = "\n".join([*(f"{name} {head}" for name, head in heads.items()), *failures])
    return Outcome(
        Exit.FAILED if failures else Exit.DONE, {"heads": heads, "failures": failures}, text
    )


def _forget_claims(settings: LanesSettings, project: LaneProject, token: str) -> None:
    """Take back at GitHub what was said there of lanes that ended long ago."""
    from factory.core.lanes.claims import ENDED
    from factory.lanes import claiming, delivery, dispatching

    old = time.time() - settings.keep_seconds
    for number, claim in dispatching.claims_of(settings, project, token).items():
        if claim.state == ENDED and claim.at < old:
            results = delivery.repository(settings, project, token, results=True)
            claiming.release(results, number, claim)


def _issues_of_lanes(settings: LanesSettings, project: str) -> set[int]:
    """Return the numbers that the project's lanes, of which anything is kept, worked on."""
    from factory.lanes import results

    names = [path.name for path in Path(settings.state_dir).glob("*/")]
    kept = [results.issue_of(name) for name in names if identity.is_lane(name)]
    return {number for of, number in kept if of == project}


def _store(settings: LanesSettings, _locks: Path, _arguments: argparse.Namespace) -> Outcome:
    from factory.lanes import package_store

    done: dict[str, str] = {}
    failures: list[str] = []
    for project in settings.lane_projects:
        try:
            done[project.name] = package_store.fill(settings, project)
        except (DockerError, OSError) as error:
            failures.append(f"{project.name}: {error}")
    rows = [*(f"{name}: {what}" for name, what in done.items()), *failures]
    return Outcome(
        Exit.FAILED if failures else Exit.DONE,
        {"projects": done, "failures": failures},
        "\n".join(rows),
    )


def _gateway(settings: LanesSettings, _locks: Path, _arguments: argparse.Namespace) -> Outcome:
    from factory.lanes import control_socket, gateway

    gateway.serve(
        Path(settings.run_dir), settings.upstream_ca_file, Path(control_socket.CONTROL_SOCKET)
    )
    return Outcome(Exit.DONE, {}, "ended")
