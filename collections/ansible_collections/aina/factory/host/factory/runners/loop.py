"""One slot: a runner in a fresh container, again and again, until it is told to stop.

Whatever happens to this process, the next one takes over: a container that still runs is
waited for, and entries at GitHub that never came to life are removed.
"""

from __future__ import annotations

import logging
import re
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

from factory.core.base import times
from factory.core.base.configuration import ConfigurationError
from factory.core.base.docker import DockerError
from factory.core.base.github.errors import ForgeError, LimitedError, RefusedError, UncertainError
from factory.core.runners import container, exits, names, state, watch
from factory.core.runners.api import Deletion, Jit, Runners
from factory.core.runners.container import ContainerRun
from factory.core.runners.converge import is_drained
from factory.core.runners.exits import Next, Reaction
from factory.core.runners.github_client import GitHubClient
from factory.core.runners.settings import Instance
from factory.core.runners.state import Condition, State
from factory.core.runners.watch import Act, Advice, ContainerObservation
from factory.runners.engine import NOT_STARTED, ContainerStatus, SlotContainer

TICK_SECONDS = 0.2
HEARTBEAT_SECONDS = 60.0
PREFLIGHT_PAUSE_SECONDS = 30.0
# The healer takes entries that did not come to life for leftovers when they are older than this.
READY_MAX_SECONDS = 600.0
_NAMES_TRIED = 3
_ASK_AGAIN_SECONDS = 10.0
# So often the engine is asked whether the image is another one, though none was recorded as built.
IMAGE_ASKED_SECONDS = 60.0
_RUNNING = re.compile(r"Z: Running job: (.+)$")
_COMPLETED = re.compile(r"Z: Job (.+) completed with result: (\w+)$")
_VERSION = re.compile(r"Current runner version: '([\d.]+)'")

_log = logging.getLogger(__name__)


class Client(Protocol):
    """What waits for a container's end."""

    def ended(self, seconds: float) -> bool:
        """Wait so long for the end; whether it came."""
        raise NotImplementedError

    def lines(self) -> list[str]:
        """Return what was said since the last call."""
        raise NotImplementedError

    def close(self) -> None:
        """Stop waiting."""


class Containers(Protocol):
    """What the loop needs of the engine; see ``engine.Engine``."""

    def containers(self, slot: str) -> list[SlotContainer]:
        """Return the containers of a slot."""
        raise NotImplementedError

    def image_id(self, name: str) -> str | None:
        """Return an image's id."""

    def create(self, argv: list[str]) -> None:
        """Make a container."""

    def start(self, name: str, secret: str) -> Client:
        """Start a container that is made."""
        raise NotImplementedError

    def adopt(self, name: str) -> Client:
        """Wait for a running container."""
        raise NotImplementedError

    def status(self, name: str) -> ContainerStatus | None:
        """Return how a container is; None when there is none."""
        raise NotImplementedError

    def has_worker(self, name: str) -> bool | None:
        """Whether a job is running in a container."""

    def written_mib(self, name: str) -> float | None:
        """Return how much a container has written."""

    def end(self, name: str, grace_seconds: int = 10) -> None:
        """End a container."""

    def remove(self, name: str) -> None:
        """Remove a container that does not run."""


@dataclass(frozen=True)
class Ports:
    """What surrounds a loop.

    ``preflight`` says what forbids to start a runner now, ``recheck`` what has come to forbid
    it since, ``container_run`` describes the next container, ``built`` changes when an image was put in
    force, ``fingerprint`` when this process is outdated.
    """

    github: GitHubClient
    engine: Containers
    preflight: Callable[[], str]
    recheck: Callable[[], str]
    container_run: Callable[[str, int], ContainerRun]
    image: Callable[[], str]
    built: Callable[[], str]
    fingerprint: Callable[[], str]
    draw: Callable[[], float]
    rebuild: Callable[[], None]


@dataclass(frozen=True)
class Ready:
    """A runner that only has to be started: it is registered, and its container is made.

    Nobody sends it a job before it listens. So the next one is made ready while a job runs:
    when more jobs wait than there are slots, none of them waits for that.
    """

    jit: Jit
    image_id: str | None
    made_at: float


@dataclass
class RunnerSession:
    """What is known of the container at hand."""

    name: str
    runner_id: int
    started_at: float
    image_id: str | None
    listening: bool = False
    job: str | None = None
    job_since: float | None = None
    result: str | None = None
    version: str | None = None
    worker: bool | None = None
    misses_count: int = 0
    written_mib: float | None = None
    looked_at: float = 0.0
    measured_at: float = 0.0
    leaving: str = ""
    leaving_asked_at: float = 0.0
    built: str = ""
    image_asked_at: float = 0.0
    renewed: bool = False
    close_after: float = 0.0
    prepare_after: float = 0.0
    ended: Advice | None = None

    def hear(self, line: str, now: float) -> None:
        """Learn from what the application says."""
        if match := _VERSION.search(line):
            self.version = match[1]
        elif "Z: Listening for Jobs" in line:
            self.listening = True
        elif match := _RUNNING.search(line):
            self.listening, self.job = True, match[1]
            self.job_since = self.job_since or now
        elif match := _COMPLETED.search(line):
            self.job, self.result = match[1], match[2]


@dataclass
class Loop:
    """The supervisor of one slot."""

    slot: str
    instance: Instance
    ports: Ports
    stopping: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        """Take up where the last process of this slot ended."""
        self.timing = self.ports.github.settings.timing
        self.places = self.ports.github.places
        self._fingerprint = self.ports.fingerprint()
        self._stop_since: float | None = None
        self._sweep_owed = True
        self._ready: Ready | None = None
        # Containers that ended or were never started, and the numbers of their runners.
        self._left: list[tuple[str, int]] = []
        self._api_failures = 0
        self._written_at = 0.0
        before = state.read(self.places.state, self.slot)
        gave_up = before is not None and before.state in (Condition.FAILED, Condition.OUTDATED)
        now = times.iso(self._now())
        self.state = State(
            instance=self.slot,
            mode="ephemeral",
            project=self.instance.project,
            state=Condition.STARTING,
            since=now,
            updated_at=now,
            version=before.version if before else None,
            consecutive_failures=0 if before is None or gave_up else before.consecutive_failures,
            last_exit_code=before.last_exit_code if before else None,
            last_job=before.last_job if before else None,
            orphans_count=before.orphans_count if before else 0,
            jobs_count=before.jobs_count if before else 0,
        )

    def _now(self) -> float:
        return self.ports.github.effects.now()

    def _api(self) -> Runners:
        return self.ports.github.api(self.instance.target)

    def _nap(self, seconds: float) -> None:
        """Wait, but not longer than until somebody wants the loop to stop."""
        if self.stopping.is_set():
            time.sleep(min(seconds, TICK_SECONDS))
        else:
            self.stopping.wait(seconds)

    def _tell(self, condition: Condition, detail: str = "", **more: Any) -> None:
        github, now = self.ports.github, self._now()
        self.state = self.state.changed(
            now,
            condition,
            detail,
            version_age_days=github.outdated_days(more.get("version", self.state.version)),
            oldest_queued_seconds=github.queued_seconds(self.instance.name),
            **more,
        )
        self._written_at = now
        try:
            state.write(self.places.state, self.state)
        except OSError as error:
            _log.error("the state cannot be written: %s", error)

    # --- the loop -----------------------------------------------------------------

    def run(self) -> int:
        """Serve until there is a reason to end; return the exit status.

        0: start me again (or not, when the service stops), 1: I gave up, 7: the image is outdated.
        """
        self._tell(Condition.STARTING, "the supervisor starts")
        code = self._take_over()
        while code is None:
            if self.stopping.is_set():
                self._clear()
                self._tell(
                    Condition.STOPPED, "the service was stopped", runner_id=None, runner_name=None
                )
                return 0
            if self.ports.fingerprint() != self._fingerprint:
                _log.info("configuration or program changed: starting anew")
                self._clear()
                return 0
            code = self._step()
        return code

    def _step(self) -> int | None:
        """Run one container, or find out why there can be none; return a status to end with."""
        if self._is_drained():
            self._clear()
            if self.state.state is not Condition.STOPPED or self._is_due():
                self._tell(Condition.STOPPED, "it is drained", runner_id=None, runner_name=None)
            self._nap(min(PREFLIGHT_PAUSE_SECONDS, self.timing.watch_seconds))
            return None
        ready = self._take_ready()
        if ready is not None:
            return self._react(self._turn(ready))
        self._clear()
        problem = self.ports.preflight()
        if problem:
            _log.warning("no runner is started: %s", problem)
            self._tell(Condition.BACKOFF, problem, runner_id=None, runner_name=None)
            self._nap(min(PREFLIGHT_PAUSE_SECONDS, self.timing.watch_seconds))
            return None
        try:
            ready = self._prepare()
        except DockerError as error:
            _log.error("%s", error)
            self._tell(Condition.BACKOFF, str(error))
            return self._react(self._judge(NOT_STARTED, RunnerSession("", 0, self._now(), None)))
        except LimitedError as error:
            self._back_off_from_api(str(error), error.retry_after_seconds)
            return None
        except (RefusedError, ConfigurationError) as error:
            self._tell(Condition.FAILED, f"GitHub refuses: {error}")
            return 1
        except (ForgeError, OSError) as error:
            # Whether a runner was registered is unknown: what is left of it is swept away.
            self._sweep_owed = True
            self._back_off_from_api(str(error), 0.0)
            return None
        self._api_failures = 0
        return self._react(self._turn(ready))

    def _is_drained(self) -> bool:
        return is_drained(self.places, self.slot) or is_drained(self.places, self.instance.name)

    def _is_due(self) -> bool:
        return self._now() - self._written_at >= HEARTBEAT_SECONDS

    def _back_off_from_api(self, words: str, at_least_seconds: float) -> None:
        self._api_failures += 1
        wait = exits.delay(self._api_failures, self.timing, self.ports.draw())
        _log.warning("GitHub: %s", words)
        self._tell(Condition.BACKOFF, words, runner_id=None, runner_name=None)
        self._nap(max(wait, at_least_seconds))

    # --- what can be done before a run -----------------------------------------------

    def _prepare(self, beside: int | None = None) -> Ready:
        """Make the next runner ready, ``beside`` one that runs.

        Raises:
            DockerError: there is no container.
            ForgeError, ConfigurationError, OSError: there may be no registration, or one without life.

        """
        self._sweep(beside)
        jit, now, engine = self._register(), self._now(), self.ports.engine
        try:
            run = self.ports.container_run(jit.name, jit.id)
            image_id = engine.image_id(run.image)
            engine.create(container.create_argv(run, self.instance))
        except (DockerError, OSError) as error:
            self._left.append((jit.name, jit.id))
            self._bury()
            raise DockerError(str(error)) from error
        return Ready(jit, image_id, now)

    def _prepare_ahead(self, session: RunnerSession, now: float) -> None:
        """Make the next runner ready while a job runs; whatever forbids it shows again after the job."""
        ends = self.stopping.is_set() or bool(session.leaving)
        if self._ready is not None and (ends or self._is_stale(self._ready)):
            self._drop_ready()
            self._bury()
        busy = session.job_since is not None and session.ended is None
        if self._ready is not None or ends or not busy or now < session.prepare_after:
            return
        session.prepare_after = now + READY_MAX_SECONDS
        problem = self.ports.preflight()
        if problem:
            _log.warning("no runner is made ready: %s", problem)
            return
        try:
            self._ready = self._prepare(session.runner_id)
        except (DockerError, ForgeError, ConfigurationError, OSError) as error:
            _log.warning("no runner is made ready: %s", error)
            self._sweep_owed = True

    def _is_stale(self, ready: Ready) -> bool:
        return not 0 <= self._now() - ready.made_at < READY_MAX_SECONDS

    def _take_ready(self) -> Ready | None:
        """Return the runner that is ready, unless something has come to forbid its start."""
        ready = self._ready
        if ready is None or self._is_stale(ready):
            return None
        if problem := self.ports.recheck():
            _log.warning("the runner that is ready is not started: %s", problem)
            return None
        self._ready = None
        return ready

    def _drop_ready(self) -> None:
        if self._ready is not None:
            self._left.append((self._ready.jit.name, self._ready.jit.id))
            self._ready = None

    def _bury(self) -> None:
        """Remove what ended or was never started, here and at GitHub."""
        left, self._left = self._left, []
        for name, runner_id in left:
            self._forget(runner_id)
            try:
                self.ports.engine.remove(name)
            except DockerError as error:
                _log.warning("%s", error)
                self._left.append((name, runner_id))

    def _clear(self) -> None:
        self._drop_ready()
        self._bury()

    def _register(self) -> Jit:
        """Register a runner under a name that nobody has."""
        instance, settings, api = self.instance, self.ports.github.settings, self._api()
        labels = list(instance.labels)
        if instance.default_labels:
            labels = ["self-hosted", "linux", self.ports.github.architecture_label, *labels]
        unique = list({label.lower(): label for label in labels}.values())
        group = api.group_id(instance.group)
        for attempt in range(_NAMES_TRIED):
            name = names.runner_name_of(settings.prefix, self.slot, self._now(), self.ports.draw())
            try:
                return api.jit_config(name, unique, group)
            except RefusedError as error:
                if error.status != 409:
                    raise
                _log.warning("attempt %d: %s", attempt + 1, error)
        raise UncertainError("every name that was tried is taken")

    def _sweep(self, spared: int | None) -> None:
        """Remove the entries at GitHub that this slot left without life."""
        if not self._sweep_owed:
            return
        api = self._api()
        for runner in api.listed():
            found = names.slot_of(runner.name, self.ports.github.settings.prefix)
            ours = found is not None and found[0] == self.slot
            if ours and not runner.online and runner.id != spared:
                _log.info("removing what was left of %s", runner.name)
                api.delete(runner.id)
        self._sweep_owed = False

    # --- one run --------------------------------------------------------------------

    def _turn(self, ready: Ready) -> Reaction:
        """Run one container to its end."""
        jit = ready.jit
        self._tell(Condition.STARTING, "", runner_id=jit.id, runner_name=jit.name)
        session = RunnerSession(jit.name, jit.id, self._now(), ready.image_id)
        code: int | None = NOT_STARTED
        try:
            client = self.ports.engine.start(jit.name, jit.config)
            self._bury()  # the last one, while this one starts
            code = self._supervise(client, session)
        except (DockerError, OSError) as error:
            _log.error("%s", error)
            self._tell(Condition.BACKOFF, str(error))
        self._left.append((jit.name, jit.id))
        return self._judge(code, session)

    def _supervise(self, client: Client, session: RunnerSession) -> int | None:
        while True:
            ended, now = client.ended(TICK_SECONDS), self._now()
            for line in client.lines():
                session.hear(line, now)
            if ended:
                status = self._status(session.name)
                if status is None or not status.running:
                    return None if status is None else status.exit_code
                # The client was cut off (the engine was restarted); the container lives on.
                client = self.ports.engine.adopt(session.name)
            self._look(session, now)
            self._follow(session, now)
            self._show(session, now)
            self._prepare_ahead(session, now)

    def _status(self, name: str) -> ContainerStatus | None:
        while True:
            try:
                return self.ports.engine.status(name)
            except DockerError as error:
                # Its client ends when the engine does: wait for the answer of the next one.
                _log.warning("%s", error)
                if self.stopping.is_set():
                    raise
                self._nap(TICK_SECONDS * 4)

    def _look(self, session: RunnerSession, now: float) -> None:
        """Ask GitHub and the engine, each at its interval."""
        engine, timing = self.ports.engine, self.timing
        if now - session.measured_at >= timing.disk_watch_seconds:
            session.measured_at = now
            session.written_mib = engine.written_mib(session.name)
        if now - session.looked_at < timing.watch_seconds:
            return
        first, session.looked_at = session.looked_at == 0.0, now
        if first or session.job_since is not None:
            return
        session.worker = engine.has_worker(session.name)
        try:
            found = self._api().get(session.runner_id)
        except (ForgeError, OSError) as error:
            _log.warning("GitHub does not say how %s is: %s", session.name, error)
            return
        session.misses_count = session.misses_count + 1 if found is None else 0
        if found is not None and found.online:
            session.listening = True
        if session.worker or (found is not None and found.busy):
            session.job_since = now

    def _leaving(self, session: RunnerSession, now: float) -> tuple[str, float]:
        """Return why the slot wants to be empty, and for how long a job has been waited for."""
        if self.stopping.is_set():
            self._stop_since = self._stop_since or now
            return "the service stops", now - self._stop_since
        if now - session.leaving_asked_at >= min(_ASK_AGAIN_SECONDS, self.timing.watch_seconds):
            session.leaving_asked_at = now
            session.leaving = self._why_leave(session, now)
        # A job that is running for any other reason than a stop is never cut short.
        return session.leaving, 0.0

    def _why_leave(self, session: RunnerSession, now: float) -> str:
        if self._is_drained():
            return "it is drained"
        if self.ports.fingerprint() != self._fingerprint:
            return "its configuration changed"
        if not self.ports.github.recorded(self.instance, self.timing.guard_max_age_seconds):
            return "its target may not be served"
        return "its image was renewed" if self._is_renewed(session, now) else ""

    def _is_renewed(self, session: RunnerSession, now: float) -> bool:
        """Whether the next container would have another image; a question to the engine is dear."""
        built = self.ports.built()
        known = 0 <= now - session.image_asked_at < IMAGE_ASKED_SECONDS
        if known and built == session.built:
            return session.renewed
        try:
            image_id = self.ports.engine.image_id(self.ports.image())
        except DockerError:
            return False
        session.built, session.image_asked_at = built, now
        session.renewed = image_id not in (None, session.image_id)
        return session.renewed

    def _follow(self, session: RunnerSession, now: float) -> None:
        """Do what the facts advise."""
        leaving, leaving_seconds = self._leaving(session, now)
        advice = watch.advise(
            ContainerObservation(
                age_seconds=now - session.started_at,
                listening=session.listening,
                job_seconds=None if session.job_since is None else now - session.job_since,
                worker=session.worker,
                misses_count=session.misses_count,
                written_mib=session.written_mib,
                leaving=leaving,
                leaving_seconds=leaving_seconds,
            ),
            self.instance,
            self.timing,
        )
        if session.ended is not None or advice.act is Act.KEEP:
            return
        if advice.act is Act.CLOSE and not (
            now >= session.close_after and self._close(session, now)
        ):
            return
        _log.info("%s is ended: %s", session.name, advice.reason)
        session.ended = advice
        if "orphan" in advice.reason:
            self.state = self.state.changed(
                now, self.state.state, advice.reason, orphans_count=self.state.orphans_count + 1
            )
        self.ports.engine.end(session.name)

    def _close(self, session: RunnerSession, now: float) -> bool:
        """Have GitHub send no more jobs; whether it agreed, which it does only while there is none."""
        session.close_after = now + min(_ASK_AGAIN_SECONDS, self.timing.watch_seconds)
        try:
            result = self._api().delete(session.runner_id)
        except (ForgeError, OSError) as error:
            _log.warning("GitHub does not say whether %s is idle: %s", session.name, error)
            return False
        if result is Deletion.BUSY:
            session.job_since = session.job_since or now
            return False
        # A runner that GitHub has forgotten may be in the middle of its job all the same.
        return result is Deletion.CLOSED or self.ports.engine.has_worker(session.name) is False

    def _show(self, session: RunnerSession, now: float) -> None:
        if session.job_since is not None:
            condition = Condition.BUSY
        else:
            condition = Condition.IDLE if session.listening else Condition.STARTING
        changed = condition is not self.state.state or session.version not in (
            None,
            self.state.version,
        )
        if changed or self._is_due():
            self._tell(
                condition,
                session.job or "",
                version=session.version or self.state.version,
                image_id=session.image_id,
            )

    def _forget(self, runner_id: int) -> None:
        """Remove the runner's entry; an ephemeral one that did its job is gone already."""
        try:
            if self._api().delete(runner_id) is Deletion.BUSY:
                self._sweep_owed = True
        except (ForgeError, ConfigurationError, OSError) as error:
            _log.warning("what is left of the runner is removed later: %s", error)
            self._sweep_owed = True

    # --- what follows from an end -----------------------------------------------------

    def _judge(self, code: int | None, session: RunnerSession) -> Reaction:
        now, had_job = self._now(), session.job is not None or session.job_since is not None
        ended = session.ended
        more: dict[str, Any] = {}
        if had_job:
            outcome = session.result or (f"ended: {ended.reason}" if ended else exits.words(code))
            last = {"name": session.job, "finished_at": times.iso(now), "outcome": outcome}
            more = {"last_job": last, "jobs_count": self.state.jobs_count + 1}
        reaction = (
            exits.failure(
                self.state.consecutive_failures, ended.reason, self.timing, self.ports.draw()
            )
            if ended is not None and ended.is_failure
            else exits.react(
                code,
                had_job=had_job,
                was_ended=ended is not None,
                lasted_seconds=now - session.started_at,
                failures=self.state.consecutive_failures,
                timing=self.timing,
                draw=self.ports.draw(),
            )
        )
        self.state = self.state.changed(
            now,
            self.state.state,
            reaction.detail,
            last_exit_code=code,
            consecutive_failures=reaction.failures_count,
            version=session.version or self.state.version,
            **more,
        )
        return reaction

    def _react(self, reaction: Reaction) -> int | None:
        if reaction.next is Next.GO_ON:
            return None
        _log.warning("%s: %s", reaction.next, reaction.detail)
        self._clear()
        if reaction.next is Next.OUTDATED:
            self._tell(Condition.OUTDATED, reaction.detail, runner_id=None, runner_name=None)
            self.ports.rebuild()
            return exits.OUTDATED_CODE
        if reaction.next is Next.GIVE_UP:
            self._tell(Condition.FAILED, reaction.detail, runner_id=None, runner_name=None)
            return 1
        self._tell(Condition.BACKOFF, reaction.detail, runner_id=None, runner_name=None)
        self._nap(reaction.delay_seconds)
        return None

    def _take_over(self) -> int | None:
        """Wait for what an earlier process of this slot has left running."""
        try:
            left = self.ports.engine.containers(self.slot)
            for found in left:
                if not found.running:
                    self.ports.engine.remove(found.name)
        except DockerError as error:
            _log.warning("what is left of the last process is unknown: %s", error)
            return None
        for found in left:
            if found.running:
                code = self._adopt(found)
                if code is not None:
                    return code
        return None

    def _adopt(self, found: SlotContainer) -> int | None:
        _log.info("taking over %s", found.name)
        session = RunnerSession(found.name, found.runner_id, self._now(), None, listening=True)
        self._tell(Condition.IDLE, "taken over", runner_id=found.runner_id, runner_name=found.name)
        try:
            session.image_id = self.ports.engine.image_id(self.ports.image())
            session.worker = self.ports.engine.has_worker(found.name)
            session.job_since = self._now() if session.worker else None
            code = self._supervise(self.ports.engine.adopt(found.name), session)
        except (DockerError, OSError) as error:
            _log.error("%s", error)
            return None
        self._left.append((found.name, found.runner_id))
        # Its words were lost with the process that heard them: an orderly end is a done job.
        session.result = "unknown" if code == 0 and session.job_since else None
        return self._react(self._judge(code, session))
