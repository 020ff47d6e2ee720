"""``factory runner``: the supervisor of a slot, the healer, and what an operator does to runners."""

from __future__ import annotations

import argparse
import getpass
import json
import logging
import os
import platform
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from factory import configuration, effects
from factory.core.base import documents, times
from factory.core.base.configuration import ConfigurationError
from factory.core.base.docker import SOCKET
from factory.core.base.github import settings as github_settings
from factory.core.base.github.errors import ForgeError
from factory.core.base.github.release import platform_of
from factory.core.base.locks import exclusive
from factory.core.base.ports import Effects
from factory.core.base.settings import read
from factory.core.runners import layout, names, state
from factory.core.runners.api import Deletion
from factory.core.runners.converge import Converge, ConvergeOptions
from factory.core.runners.github_client import GitHubClient
from factory.core.runners.layout import Places
from factory.core.runners.settings import Mode, RunnersSettings
from factory.core.runners.state import Condition
from factory.outcome import Exit, Outcome, UsageError
from factory.unix_http import fetch_through

_LOCK_SECONDS = 300.0
_LOCK_POLL_SECONDS = 1.0
_DRAIN_POLL_SECONDS = 5.0
# So long a supervisor may take to see that its slot is drained.
_WITHDRAW_SECONDS = 20.0
# In these a slot starts no runner without seeing first that it is drained.
_WAITS = (Condition.STOPPED, Condition.BACKOFF, Condition.FAILED, Condition.OUTDATED)

_log = logging.getLogger(__name__)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verbs of ``factory runner``."""
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")

    def verb(name: str, summary: str, act: Callable[[argparse.Namespace], Outcome]) -> Any:
        found = verbs.add_parser(name, help=summary, description=summary)
        # Also after the verb, where one types them.
        found.add_argument("--config", default=argparse.SUPPRESS, help=argparse.SUPPRESS)
        found.add_argument(
            "--json", action="store_true", default=argparse.SUPPRESS, help=argparse.SUPPRESS
        )
        found.set_defaults(act=act)
        return found

    verb("list", "show every runner of this host; the watchdog judges them", _list)
    loop = verb("loop", "supervise a slot: one fresh container per job", _loop)
    loop.add_argument("slot", metavar="SLOT", help="such as demo-1")
    verb("heal", "register what was removed, sweep what died, ask who may be served", _heal)
    verb(
        "network", "make the job containers' network and put its firewall rules in force", _network
    )
    drain = verb("drain", "let a runner or slot finish its job and take no other", _drain)
    drain.add_argument("name", metavar="NAME", help="an instance or a slot")
    drain.add_argument("--reason", required=True, help="why; shown wherever the runner is shown")
    drain.add_argument(
        "--wait-seconds", type=float, default=0.0, metavar="N", help="wait so long for its job"
    )
    explain = verb("explain", "say of each job of a repository where it can run", _explain)
    explain.add_argument("repository", metavar="REPOSITORY", help="a project's name, or owner/name")
    explain.add_argument(
        "--directory", metavar="DIR", help="another checkout than the project's own"
    )
    resume = verb("resume", "let a drained runner or slot take jobs again", _resume)
    resume.add_argument("name", metavar="NAME", help="an instance or a slot")


def execute(arguments: argparse.Namespace) -> Outcome:
    """Carry out the verb.

    Raises:
        UsageError: the configuration or a name is wrong.
        LockedError: another run is at it.

    """
    outcome: Outcome = arguments.act(arguments)
    return outcome


def _settings(arguments: argparse.Namespace) -> RunnersSettings:
    whole = configuration.load(Path(arguments.config))
    if not whole.has("runners"):
        raise UsageError(
            f"{arguments.config} and its conf.d hold no section 'runners'; converge the host with the role"
            " gh_actions_runner"
        )
    return read(RunnersSettings, whole.section("runners"), github=github_settings.of(whole))


def _github(settings: RunnersSettings) -> GitHubClient:
    ports = Effects(
        effects.run, effects.https_fetch(settings.github.ca_file or None), effects.now, time.sleep
    )
    return GitHubClient(settings, ports, Places(), platform_of(platform.machine()))


def _require_root() -> None:
    if os.geteuid() != 0:
        raise UsageError("this changes runners; run it with sudo")


# --- list -----------------------------------------------------------------------


def _list(_arguments: argparse.Namespace) -> Outcome:
    found = state.facts(state.all_documents(Places().state), effects.now())
    columns = ("instance", "mode", "state", "since", "version")
    rows = [tuple(name.upper() for name in columns)]
    rows += [tuple(str(runner[name] or "-") for name in columns) for runner in found.runners]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    details = ["DETAIL", *(str(runner["detail"]) for runner in found.runners)]
    lines = [
        "  ".join([*map(str.ljust, row, widths), detail]).rstrip()
        for row, detail in zip(rows, details, strict=True)
    ]
    document = {"runners": list(found.runners), "counts": dict(found.counts)}
    return Outcome(Exit.DONE, document, "\n".join(lines))


# --- explain --------------------------------------------------------------------


def _explain(arguments: argparse.Namespace) -> Outcome:
    from factory.core.base.configuration import Section
    from factory.core.workflows.settings import WorkflowPolicy
    from factory.runners import explain

    whole = configuration.load(Path(arguments.config))
    wanted = arguments.repository
    known = {section.text("name"): section for section in whole.sections("projects", ())}
    named = [
        section
        for name, section in known.items()
        if wanted.lower() in (name.lower(), section.text("repository").lower())
    ]
    path = arguments.directory or (named[0].text("path", "") if named else "")
    if not path:
        known_here = ", ".join(name for name, item in known.items() if item.text("path", ""))
        raise UsageError(
            f"no checkout of {wanted!r} is declared; declared are those of: {known_here or 'none'};"
            " for any other say --directory"
        )
    policy, repository = Section({}, "workflows"), wanted
    if named:
        repository = named[0].text("repository")
        policy = named[0].section("workflows", {})
    runs_on = read(WorkflowPolicy, policy).runs_on
    targets = (repository.lower(), repository.lower().partition("/")[0])
    instances = [
        item
        for item in _settings(arguments).instances
        if item.present and item.target.lower() in targets
    ]
    found = explain.explain(explain.texts(Path(path)), instances, runs_on, explain.compose())
    document = {"repository": repository, "jobs": [item.document() for item in found]}
    return Outcome(Exit.DONE, document, explain.table(found) if found else "it has no workflows")


# --- loop -----------------------------------------------------------------------


def _loop(arguments: argparse.Namespace) -> Outcome:
    from factory.runners import preflight
    from factory.runners.engine import SlotEngine
    from factory.runners.loop import Loop, Ports
    from factory.runners.preflight import Preflight

    settings = _settings(arguments)
    slot = arguments.slot
    instance = settings.of_slot(slot)
    if instance is None or not instance.present:
        raise UsageError(f"no slot {slot!r} is declared; declared are: {_slots(settings)}")
    github, engine = _github(settings), SlotEngine(effects.run, fetch_through(SOCKET))
    host = Preflight(slot, instance, github, engine, effects.run, Path(arguments.config))
    ports = Ports(
        github=github,
        engine=engine,
        preflight=host.preflight,
        recheck=host.recheck,
        container_run=host.container_run,
        image=host.image,
        built=host.built,
        fingerprint=host.fingerprint,
        draw=preflight.random_fraction,
        rebuild=host.rebuild,
    )
    stopping = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopping.set())
    with exclusive(layout.LOCK_PATH.with_name(f"factory-runner-{slot}.lock")):
        try:
            code = Loop(slot, instance, ports, stopping).run()
        except Exception:
            # A defect of ours ends this process and not the slot: systemd starts the next one.
            _log.exception("the supervisor of %s ends unexpectedly", slot)
            raise SystemExit(os.EX_SOFTWARE) from None
    text = f"{slot} ended with {code}"
    if code == 0:
        return Outcome(Exit.DONE, {"slot": slot}, text)
    return Outcome(Exit.FAILED, {"slot": slot, "status": code, "error": text}, f"factory: {text}")


def _slots(settings: RunnersSettings) -> str:
    found = [
        s
        for i in settings.instances
        if i.mode == Mode.EPHEMERAL and i.present
        for s in i.slot_names
    ]
    return ", ".join(found) or "none"


# --- heal and network ---------------------------------------------------------------


def _heal(arguments: argparse.Namespace) -> Outcome:
    from factory.runners import preflight
    from factory.runners.engine import SlotEngine
    from factory.runners.heal import Healer

    _require_root()
    github = _github(_settings(arguments))
    with exclusive(layout.LOCK_PATH):
        document = Healer(
            github, SlotEngine(effects.run, fetch_through(SOCKET)), preflight.boot_time()
        ).heal()
    for key in ("warnings", "deferred"):
        for text in document[key]:
            _log.warning("%s", text)
    lines = [*document["actions"], *(f"problem: {text}" for text in document["problems"])]
    lines += document["unwell"]
    failed = bool(document["problems"])
    counted = ", ".join(f"{count} {what}" for what, count in document["counts"].items())
    well = f"all is well{counted and f': {counted}'}"
    return Outcome(Exit.FAILED if failed else Exit.DONE, document, "\n".join(lines) or well)


def _network(arguments: argparse.Namespace) -> Outcome:
    from factory.runners import isolation

    _require_root()
    try:
        done = isolation.enforce(_settings(arguments), effects.run)
    except isolation.IsolationError as error:
        return Outcome(Exit.FAILED, {"error": str(error)}, f"factory: {error}")
    return Outcome(
        Exit.DONE, {"actions": done}, "\n".join(done) or "network and firewall rules are in force"
    )


# --- drain and resume ------------------------------------------------------------------


def _named(settings: RunnersSettings, name: str) -> str:
    known = [item.name for item in settings.instances if item.present]
    known += [
        s
        for i in settings.instances
        if i.mode == Mode.EPHEMERAL and i.present
        for s in i.slot_names
    ]
    if name not in known:
        raise UsageError(
            f"no runner {name!r} is declared; declared are: {', '.join(known) or 'none'}"
        )
    return name


def _drain(arguments: argparse.Namespace) -> Outcome:
    settings = _settings(arguments)
    name = _named(settings, arguments.name)
    reason = " ".join(arguments.reason.split())
    if not reason:
        raise UsageError("--reason is empty; say why the runner must not take jobs")
    _require_root()
    path = Places().drained(name)
    document = {
        "reason": reason,
        "by": os.environ.get("SUDO_USER") or getpass.getuser(),
        "since": times.iso(effects.now()),
    }
    documents.replace(path, document)
    waiting, unsaid = _wait_until_empty(settings, name, arguments.wait_seconds)
    told = {"name": name, **document, "waiting_for": waiting}
    if unsaid:
        text = (
            f"{name} is not withdrawn at GitHub yet and may get one more job: {'; '.join(unsaid)};"
            " its supervisor goes on trying, say it again to be sure"
        )
        return Outcome(Exit.FAILED, {**told, "error": text}, f"factory: {text}")
    if waiting and arguments.wait_seconds:
        text = f"{name} takes no other job, but still has one: {', '.join(waiting)}"
        return Outcome(Exit.FAILED, {**told, "error": text}, f"factory: {text}")
    words = f"; still busy: {', '.join(waiting)}" if waiting else ""
    return Outcome(Exit.DONE, told, f"{name} takes no other job: {reason}{words}")


def _wait_until_empty(
    settings: RunnersSettings, name: str, seconds: float
) -> tuple[list[str], list[str]]:
    """Have all of that name closed at GitHub, then wait until nobody has a job.

    Return who still has one, and who may still get one, with the reason.
    """
    natives = [i.name for i in settings.instances if i.mode == Mode.NATIVE and i.name == name]
    slots = [
        (slot, item)
        for item in settings.instances
        if item.mode == Mode.EPHEMERAL
        for slot in item.slot_names
        if name in (item.name, slot)
    ]
    github = _github(settings)
    start = effects.now()
    while True:
        busy = [found for native in natives for found in _close_native(settings, native)]
        unsaid = []
        for target in sorted({item.target for _slot, item in slots}):
            of_target = [slot for slot, item in slots if item.target == target]
            with_job, may_get = _withdraw(github, target, of_target)
            busy += with_job
            unsaid += [f"{slot}: {why}" for slot, why in may_get.items()]
        waited = effects.now() - start
        # A supervisor that has seen the mark needs a moment to say so.
        if waited >= seconds and (not unsaid or waited >= _WITHDRAW_SECONDS):
            return busy, unsaid
        if not busy and not unsaid:
            return busy, unsaid
        time.sleep(_DRAIN_POLL_SECONDS / (5 if waited < _WITHDRAW_SECONDS else 1))


def _withdraw(
    github: GitHubClient, target: str, slots: list[str]
) -> tuple[list[str], dict[str, str]]:
    """Take drained slots' runners from GitHub; which have a job, and why which may get one.

    GitHub deletes no runner that has a job. What a supervisor was about to register when
    the mark was made is closed once the supervisor says that it has seen the mark.
    """
    busy: set[str] = set()
    error = ""
    try:
        api = github.api(target)
        for runner in api.listed():
            ours = names.slot_of(runner.name, github.settings.prefix)
            if ours is None or ours[0] not in slots:
                continue
            if runner.busy or api.delete(runner.id) is Deletion.BUSY:
                busy.add(ours[0])
    except (ForgeError, ConfigurationError, OSError) as problem:
        error = str(problem)
    may_get = {}
    for slot in slots:
        told = state.read(Places().state, slot)
        condition = told.state if told is not None else None
        if condition is Condition.STOPPED:
            continue
        if error:
            busy |= {slot} if condition is Condition.BUSY else set()
            may_get[slot] = error
        elif slot not in busy and condition not in (None, Condition.BUSY, *_WAITS):
            may_get[slot] = "its supervisor has not closed it yet"
    return sorted(busy), may_get


def _close_native(settings: RunnersSettings, name: str) -> list[str]:
    from factory.runners import preflight

    options = ConvergeOptions(tends_loops=False, only=name)
    converge = Converge(_github(settings), preflight.boot_time(), options)
    with exclusive(layout.LOCK_PATH, _patience()):
        converge.carry_out(converge.plan())
    for text in converge.report.failures:
        _log.warning("%s", text)
    return [name] if converge.report.deferred or converge.report.failures else []


def _patience() -> Callable[[], bool]:
    """Return what waits a moment, and says no once that has been too long."""
    limit = time.monotonic() + _LOCK_SECONDS

    def again() -> bool:
        time.sleep(_LOCK_POLL_SECONDS)
        return time.monotonic() < limit

    return again


def _resume(arguments: argparse.Namespace) -> Outcome:
    settings = _settings(arguments)
    name = _named(settings, arguments.name)
    _require_root()
    path = Places().drained(name)
    before = json.loads(path.read_text()) if path.exists() else None
    path.unlink(missing_ok=True)
    # Slots notice it themselves; a native runner is registered again by the healer, which is
    # started by the change of the directory.
    text = f"{name} takes jobs again" if before is not None else f"{name} was not drained"
    return Outcome(Exit.DONE, {"name": name, "changed": before is not None}, text)
