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
from factory.core.base.github.remedies import remedy
from factory.core.runners import container, exits, names, reconcile, state, watch
from factory.core.runners.api import Deletion, Jit, Registered, Runners
from factory.core.runners.container import ContainerRun
from factory.core.runners.converge import why_drained
from factory.core.runners.exits import Next, Reaction
from factory.core.runners.github_client import GitHubClient
from factory.core.runners.reconcile import Start
from factory.core.runners.settings import Instance
from factory.core.runners.state import Condition, State
from factory.core.runners.watch import Act, Advice, ContainerObservation
from factory.runners.engine import NOT_STARTED, ContainerStatus, SlotContainer
from factory.runners.probe import Probe
from factory.runners.question import Question

TICK_SECONDS = 0.2
HEARTBEAT_SECONDS = 60.0
PREFLIGHT_PAUSE_SECONDS = 30.0
# The healer takes entries that did not come to life for leftovers when they are older than this.
READY_MAX_SECONDS = 600.0
_NAMES_TRIED = 3
_ASK_AGAIN_SECONDS = 10.0
# So often the engine is asked whether the image is another one, though none was recorded as built.
IMAGE_ASKED_SECONDS = 60.0
# Who waits for another try looks this often whether there is reason to try sooner.
REST_SECONDS = 5.0
# GitHub is asked this much more rarely about a runner that has a job.
_BUSY_FACTOR = 5
# The application's own words begin a line with the time; what it merely repeats does not.
_SAID = r"^\d{4}-\d\d-\d\d \d\d:\d\d:\d\dZ: "
_RUNNING = re.compile(_SAID + r"Running job: (.+)$")
_COMPLETED = re.compile(_SAID + r"Job (.+) completed with result: (\w+)$")
_LISTENING = re.compile(_SAID + r"Listening for Jobs")
_VERSION = re.compile(r"^Current runner version: '([\d.]+)'")

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
    results: set[str] = field(default_factory=set)
    version: str | None = None
    worker: bool | None = None
    misses_count: int = 0
    missed_since: float | None = None
    outdated: bool = False
    announced: bool = False
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
    end_again_at: float = 0.0
    disk: Question[float | None] = field(default_factory=Question)
    runner: Question[tuple[bool | None, Registered | None, bool]] = field(default_factory=Question)

    def hear(self, line: str, now: float) -> None:
        """Learn from what the application says.

        From the moment on that a job runs, the job may say the same: nothing that was said
        before is changed by it, and only one result can be the application's.
        """
        if self.job is None and (match := _RUNNING.search(line)):
            self.listening, self.job = True, match[1]
            self.job_since = self.job_since or now
        elif self.job_since is None and (match := _VERSION.search(line)):
            self.version = match[1]
        elif self.job_since is None and _LISTENING.search(line):
            self.listening = True
        elif self.job is not None and (match := _COMPLETED.search(line)) and match[1] == self.job:
            self.results.add(match[2])

    def outcome(self, code: int | None) -> str:
        """Return how the job ended, by the application's word where only it can have spoken."""
        if self.ended is not None:
            return f"ended: {self.ended.reason}"
        if code != 0:
            return exits.words(code)
        # Nobody heard it (another process did), or somebody said something else beside it.
        return next(iter(self.results)) if len(self.results) == 1 else "unknown"


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
        # Whether it is known that no container of this slot runs.
        self._is_empty = False
        # One of which it is not known whether it runs.
        self._lost: RunnerSession | None = None
        self._probe = Probe(self.places.shared(f"probe-{self.instance.name}"))
        self._api_failures = 0
        self._written_at = 0.0
        before = state.read(self.places.state, self.slot)
        now = times.iso(self._now())
        self.state = State(
            instance=self.slot,
            mode="ephemeral",
            project=self.instance.project,
            state=Condition.STARTING,
            since=now,
            updated_at=now,
            version=before.version if before else None,
            consecutive_failures=before.consecutive_failures if before else 0,
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

    def _rest(self, seconds: float) -> None:
        """Wait before another try: one slot tries for all, the others wait until it came up.

        A changed configuration, a drain or a stop is a reason to look sooner. What keeps the one
        that tries may be its own: in the end the others try as well.
        """
        began, successes = self._now(), self._probe.successes()
        while not (self.stopping.is_set() or self._why_drained()):
            if self.ports.fingerprint() != self._fingerprint:
                return
            limit = self.timing.backoff_max_seconds
            if self._probe.take():
                limit = seconds
            elif self._probe.successes() != successes:
                return
            waited = self._now() - began
            if not 0 <= waited < limit:
                return
            self._nap(min(limit - waited, REST_SECONDS))
            if self._is_due():
                self._tell(self.state.state, self.state.detail)

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

        0: start me again (or not, when the service stops), 7: the image is outdated.
        """
        self._tell(Condition.STARTING, "the supervisor starts")
        try:
            return self._serve()
        finally:
            self._probe.release()

    @property
    def probes(self) -> bool:
        """Whether this slot tries for all of its instance."""
        return self._probe.held

    def _serve(self) -> int:
        code: int | None = None
        while code is None:
            if not self._is_empty and not self.stopping.is_set():
                code = self._take_over()
                continue
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
        if drained := self._why_drained():
            self._clear()
            self._probe.release()
            if self.state.state is not Condition.STOPPED or self._is_due():
                self._tell(Condition.STOPPED, drained, runner_id=None, runner_name=None)
            self._nap(min(REST_SECONDS, self.timing.watch_seconds))
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
            # The alert is raised at once; the refusal may be gone with the next answer.
            words = f"GitHub refuses: {remedy(error)} ({error})"
            self._back_off_from_api(words, 0.0, Condition.FAILED)
            return None
        except (ForgeError, OSError) as error:
            # Whether a runner was registered is unknown: what is left of it is swept away.
            self._sweep_owed = True
            self._back_off_from_api(str(error), 0.0)
            return None
        self._api_failures = 0
        return self._react(self._turn(ready))

    def _why_drained(self) -> str:
        return why_drained(self.places, self.slot, self.instance.name)

    def _is_due(self) -> bool:
        return self._now() - self._written_at >= HEARTBEAT_SECONDS

    def _back_off_from_api(
        self, words: str, at_least_seconds: float, condition: Condition = Condition.BACKOFF
    ) -> None:
        self._api_failures += 1
        wait = exits.delay(self._api_failures, self.timing, self.ports.draw())
        _log.warning("GitHub: %s", words)
        self._tell(condition, words, runner_id=None, runner_name=None)
        # By a clock that is wrong a limit ends in years; nothing is waited for longer than the bound.
        self._rest(min(max(wait, at_least_seconds), self.timing.backoff_max_seconds))

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
        labels = instance.all_labels(self.ports.github.architecture_label)
        group = api.group_id(instance.group)
        for attempt in range(_NAMES_TRIED):
            name = names.runner_name_of(settings.prefix, self.slot, self._now(), self.ports.draw())
            try:
                return api.jit_config(name, labels, group)
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
        if drained := self._why_drained():
            # Who drains it has seen either that it is starting or, by now, that it is not.
            self._left.append((jit.name, jit.id))
            return Reaction(Next.GO_ON, 0.0, self.state.consecutive_failures, drained)
        session = RunnerSession(jit.name, jit.id, self._now(), ready.image_id)
        self._is_empty = False
        try:
            client = self.ports.engine.start(jit.name, jit.config)
            self._bury()  # the last one, while this one starts
            code = self._supervise(client, session)
            self._is_empty = True
        except (DockerError, OSError) as error:
            # It may run all the same: the engine is asked before anything is made of this.
            _log.error("%s", error)
            self._tell(Condition.BACKOFF, str(error))
            self._left.append((jit.name, jit.id))
            self._lost = session
            return Reaction(Next.GO_ON, 0.0, self.state.consecutive_failures, str(error))
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
        """Have GitHub and the engine asked, each at its interval; no question holds up the loop."""
        engine, timing = self.ports.engine, self.timing
        if now - session.measured_at >= timing.disk_watch_seconds and session.disk.is_free:
            session.measured_at = now
            session.disk.ask(lambda: engine.written_mib(session.name))
        if session.disk.has_answer:
            session.written_mib = session.disk.answer()
        if session.runner.has_answer:
            self._learn(session, now, *session.runner.answer())
        interval = timing.watch_seconds * (1 if session.job_since is None else _BUSY_FACTOR)
        if now - session.looked_at < interval or not session.runner.is_free:
            return
        first, session.looked_at = session.looked_at == 0.0, now
        if not first:
            session.runner.ask(lambda: self._ask_about(session.name, session.runner_id))

    def _ask_about(self, name: str, runner_id: int) -> tuple[bool | None, Registered | None, bool]:
        """Return whether it has a worker, how GitHub shows it, and whether GitHub answered."""
        worker = self.ports.engine.has_worker(name)
        try:
            return worker, self._api().get(runner_id), True
        except (ForgeError, ConfigurationError, OSError) as error:
            _log.warning("GitHub does not say how %s is: %s", name, error)
            return worker, None, False

    def _learn(
        self,
        session: RunnerSession,
        now: float,
        worker: bool | None,
        found: Registered | None,
        answered: bool,
    ) -> None:
        session.worker = worker
        if answered:
            session.misses_count = session.misses_count + 1 if found is None else 0
            session.missed_since = (session.missed_since or now) if found is None else None
        if found is not None and found.online:
            session.listening = True
        if session.job_since is None and (worker or (found is not None and found.busy)):
            session.job_since = now

    def _leaving(self, session: RunnerSession, now: float) -> tuple[str, float]:
        """Return why the slot wants to be empty, and for how long a job has been waited for."""
        if self.stopping.is_set():
            self._stop_since = self._stop_since or now
            return "the service stops", now - self._stop_since
        if drained := self._why_drained():
            session.leaving = drained
            return drained, 0.0
        if now - session.leaving_asked_at >= min(_ASK_AGAIN_SECONDS, self.timing.watch_seconds):
            session.leaving_asked_at = now
            session.leaving = self._why_leave(session, now)
        # A job that is running for any other reason than a stop is never cut short.
        return session.leaving, 0.0

    def _why_leave(self, session: RunnerSession, now: float) -> str:
        if session.outdated or self.ports.fingerprint() != self._fingerprint:
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
                forgotten_seconds=0.0
                if session.missed_since is None
                else now - session.missed_since,
            ),
            self.instance,
            self.timing,
        )
        if session.ended is not None:
            # An engine that did not answer has not ended it.
            if now >= session.end_again_at:
                session.end_again_at = now + HEARTBEAT_SECONDS
                self.ports.engine.end(session.name)
            return
        if advice.act is Act.KEEP:
            return
        if advice.act is Act.CLOSE and not (
            now >= session.close_after and self._close(session, now)
        ):
            return
        _log.info("%s is ended: %s", session.name, advice.reason)
        session.ended, session.end_again_at = advice, now + HEARTBEAT_SECONDS
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
        if session.listening and not session.announced:
            session.announced, self._api_failures = True, 0
            self._probe.succeed()
        lasted = session.listening and now - session.started_at >= exits.SHORT_SECONDS
        if lasted and self.state.consecutive_failures:
            self.state = self.state.changed(
                now, self.state.state, self.state.detail, consecutive_failures=0
            )
        leaving = session.leaving if condition is Condition.BUSY else ""
        detail = "; then ".join(filter(None, (session.job, leaving)))
        changed = (condition, state.printable(detail)) != (self.state.state, self.state.detail)
        changed |= session.version not in (None, self.state.version)
        if changed or self._is_due():
            self._tell(
                condition,
                detail,
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
        now = self._now()
        had_job = session.job is not None or session.job_since is not None
        if not had_job and session.listening and code not in (0, exits.OUTDATED_CODE):
            had_job = self._was_busy(session)
        ended = session.ended
        more: dict[str, Any] = {}
        if had_job:
            last = {
                "name": session.job,
                "finished_at": times.iso(now),
                "outcome": session.outcome(code),
            }
            more = {"last_job": last, "jobs_count": self.state.jobs_count + 1}
        reaction = (
            exits.failure(
                self.state.consecutive_failures, ended.reason, self.timing, self.ports.draw()
            )
            if ended is not None and ended.is_failure
            else exits.react(
                code,
                had_job=had_job,
                # Whoever drains it has it closed at GitHub, which ends it too.
                was_ended=ended is not None or bool(self._why_drained()),
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

    def _was_busy(self, session: RunnerSession) -> bool:
        """Whether GitHub had given a job to a runner that died before it said so."""
        try:
            found = self._api().get(session.runner_id)
        except (ForgeError, ConfigurationError, OSError) as error:
            _log.warning("GitHub does not say whether %s had a job: %s", session.name, error)
            return False
        return found is not None and found.busy

    def _react(self, reaction: Reaction) -> int | None:
        if reaction.next is Next.GO_ON:
            return None
        _log.warning("%s: %s", reaction.next, reaction.detail)
        self._clear()
        if reaction.next is Next.OUTDATED:
            self._tell(Condition.OUTDATED, reaction.detail, runner_id=None, runner_name=None)
            self.ports.rebuild()
            return exits.OUTDATED_CODE
        self._tell(Condition.BACKOFF, reaction.detail, runner_id=None, runner_name=None)
        self._rest(reaction.delay_seconds)
        return None

    def _take_over(self) -> int | None:
        """Wait for what an earlier process of this slot has left running; nothing starts before."""
        self._drop_ready()
        try:
            left = self.ports.engine.containers(self.slot)
            for found in left:
                if not found.running:
                    self.ports.engine.remove(found.name)
        except DockerError as error:
            left = None
            _log.warning("what is left of the last process is unknown: %s", error)
            self._tell(Condition.BACKOFF, f"the container engine does not answer: {error}")
        running = None if left is None else [found for found in left if found.running]
        may = reconcile.may_start(None if running is None else [found.name for found in running])
        if may is Start.WAIT:
            self._nap(min(REST_SECONDS, self.timing.watch_seconds))
            return None
        lost, self._lost = self._lost, None
        if may is Start.START:
            self._is_empty = True
            return None if lost is None else self._react(self._judge(NOT_STARTED, lost))
        return self._adopt(self._one_of(running or []))

    def _one_of(self, running: list[SlotContainer]) -> SlotContainer:
        """Return the container to watch; of several, those without a job are ended first."""
        kept = [found for found in running if len(running) == 1 or not self._end_idle(found)]
        return (kept or running)[0]

    def _end_idle(self, found: SlotContainer) -> bool:
        """End a container unless it has a job; whether it was ended."""
        try:
            closed = self._api().delete(found.runner_id) is not Deletion.BUSY
        except (ForgeError, ConfigurationError, OSError) as error:
            _log.warning("GitHub does not say whether %s is idle: %s", found.name, error)
            return False
        if closed and self.ports.engine.has_worker(found.name) is False:
            _log.info("%s is ended: the slot has another one", found.name)
            self.ports.engine.end(found.name)
            return True
        return False

    def _adopt(self, found: SlotContainer) -> int | None:
        _log.info("taking over %s", found.name)
        self._left = [left for left in self._left if left[0] != found.name]
        session = RunnerSession(found.name, found.runner_id, self._now(), None, listening=True)
        self._tell(Condition.IDLE, "taken over", runner_id=found.runner_id, runner_name=found.name)
        try:
            session.image_id = self.ports.engine.image_id(self.ports.image())
            run = self.ports.container_run(found.name, found.runner_id)
            session.outdated = found.declared not in ("", container.declared(run, self.instance))
            session.worker = self.ports.engine.has_worker(found.name)
            session.job_since = self._now() if session.worker else None
            code = self._supervise(self.ports.engine.adopt(found.name), session)
        except (DockerError, OSError) as error:
            _log.error("%s", error)
            self._nap(min(REST_SECONDS, self.timing.watch_seconds))
            return None
        self._left.append((found.name, found.runner_id))
        return self._react(self._judge(code, session))
