"""One lane from admission to its pull request."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import pwd
import re
import secrets
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from factory.core.base import documents, files, processes, text, times
from factory.core.base.docker import DockerError
from factory.core.base.errors import FactoryError
from factory.core.base.github.errors import ForgeError
from factory.core.lanes import admission, collect, container, frames, identity, outcome, reaper
from factory.core.lanes.claims import Claim, ClaimedError
from factory.core.lanes.collect import Start
from factory.core.lanes.forge import OWN_COMMENT, LaneForge
from factory.core.lanes.gateway import LanePolicy
from factory.core.lanes.settings import MIB, LaneProject, LanesSettings
from factory.core.lanes.spending import day_of
from factory.lanes import (
    bounds,
    capacity,
    claiming,
    control_socket,
    delivery,
    engine,
    results,
    tasks,
    transcript,
)
from factory.lanes.capacity import OWNER
from factory.lanes.results import RESULT
from factory.lanes.tasks import ResolvedTask, Task
from factory.locks import exclusive
from factory.outcome import LockedError

ADMISSION_LOCK = "factory-lanes-admission.lock"
STOP = "stop"
# Of whoever waits for a place, beside the places.
QUEUED = "queued-"
STATE = "state.json"
TRANSCRIPT, GATEWAY_LOG, BUNDLE, SESSIONS = (
    "transcript.jsonl",
    "gateway.jsonl",
    "lane.bundle",
    "sessions.tar.gz",
)
RESIDUE = "residue.json"
# What all lanes have spent, a file for each day.
SPENT_DIR = "spent"
_KNOWN_AT_START = (
    "base",
    "onto",
    "title",
    "conflict",
    "deadline",
    "resumes",
    "continues",
    "adopted_count",
)
# Of GitHub, git, systemd and the engine, some of which wait for others.
_ASKED_AT_ONCE = 12
_POLL_SECONDS = 0.2
_QUEUE_POLL_SECONDS = 0.5
_SHOW_SECONDS = 15.0
# No frame pauses so long, and between two of them there is more.
_SILENCE_SECONDS = 2.0
# What stands between two states of the engine is looked at again, so often and after so long.
_RESIDUE_LOOKS, _RESIDUE_SECONDS = 3, 0.5
# How long a lane may take to hand over once its agent was told to end.
_HANDOVER_SECONDS = 60
# An engine that was killed is started again by then.
_ENGINE_WAIT_SECONDS = 90.0
# How long the engine, which is at work, may take to remove a container.
_REMOVAL_SECONDS, _REMOVAL_POLL_SECONDS = 10.0, 0.05
# Who has ended a lane that somebody stopped.
_OPERATOR = "an operator"
_SAID_MAX_LENGTH = 2000
_SESSION = re.compile(r"[A-Za-z0-9-]{8,64}\Z")

_log = logging.getLogger(__name__)


class NotStartedError(FactoryError):
    """The lane was not started: ``code`` for programs, and words on what to do."""

    def __init__(self, code: str, words: str) -> None:
        super().__init__(words)
        self.code = code


class GatewayError(FactoryError, OSError):
    """The lanes' gateway does not answer, or refuses."""


# What keeps a lane from starting, and what that is called; the first that fits.
_REFUSALS: dict[type[Exception], str] = {
    tasks.ProposedError: "proposed",
    ClaimedError: "claimed",
    ForgeError: "github",
    collect.CollectError: "git",
    DockerError: "engine",
    GatewayError: "gateway",
    LockedError: "locked",
    OSError: "host",
}


@dataclass
class Lane:
    """One lane under way."""

    settings: LanesSettings
    task: Task
    lock_directory: Path
    name: str = ""
    # One of several tries: it delivers nothing and tells nobody.
    is_trial: bool = False
    _ended_by: str = field(default="", init=False)
    _ends_at: float = field(default=0.0, init=False)
    # Whether what it writes is read from where a frame begins, and whether another began to read it.
    _is_in_step: bool = field(default=True, init=False)
    _is_adopted: bool = field(default=False, init=False)
    _broken: str = field(default="", init=False)
    _broken_as: str = field(default=outcome.FORGED, init=False)
    _unkept: str = field(default="", init=False)
    _rescued: bool = field(default=False, init=False)
    _claim: Claim | None = field(default=None, init=False)
    _earlier: dict[str, Any] = field(default_factory=dict, init=False)
    _final: frames.Frame | None = field(default=None, init=False)
    _latest: frames.Frame | None = field(default=None, init=False)
    _latest_at: float = field(default=0.0, init=False)
    _last_sign: float = field(default_factory=time.monotonic, init=False)
    _shown: float = field(default_factory=time.monotonic, init=False)

    # --- Places ------------------------------------------------------------------------

    @property
    def project(self) -> LaneProject:
        """The project that it works on."""
        return self.task.project

    @property
    def directory(self) -> Path:
        """Where everything about it is kept."""
        return Path(self.settings.state_dir, self.name)

    @property
    def place(self) -> Path:
        """Where its socket is while it runs."""
        return Path(self.settings.run_dir, self.name)

    def _mirror(self, token: str, *, results: bool = False) -> collect.LaneMirror:
        return delivery.repository(self.settings, self.project, token, results=results)

    # --- The run -----------------------------------------------------------------------

    def run(self) -> dict[str, Any]:
        """Run the lane and return its result.

        The container starts while GitHub and git are asked: it waits for where it begins.

        Raises:
            RefusedError: it was not started.
            ConfigurationError: there is no token.

        """
        asked_at = time.time()
        handle: engine.ContainerHandle | None = None
        claimed: Future[None] | None = None
        with ThreadPoolExecutor(_ASKED_AT_ONCE) as pool:
            parent = pool.submit(engine.cgroup_parent, self.settings.slice, pool)
            github = pool.submit(delivery.github, self.settings, self.project)
            self._refuse_what_waits()
            self._admit()
            bounds.bound(self.name, self.project)
            try:
                earlier = self._earlier = self._seed()
                owner = self._make_place()
                opened = pool.submit(self._open_gateway, owner)
                claimed = pool.submit(self._have, github)
                found = pool.submit(self._find, pool, github, earlier)
                if not (self._mirror("").directory / "HEAD").exists():
                    found.result()
                place = self._place_of(earlier, parent.result())
                handle = engine.start(
                    container.name(self.name),
                    container.creation(self.project, place),
                    place.deadline - time.time() + _ENGINE_WAIT_SECONDS,
                )
                opened.result()
                claimed.result()
                assigned = found.result()
            except BaseException as error:
                self._give_up(handle)
                with contextlib.suppress(Exception):
                    self._let_go(github.result()[0], claimed)
                codes = [code for kind, code in _REFUSALS.items() if isinstance(error, kind)]
                if not codes:
                    raise
                raise NotStartedError(codes[0], str(error)) from error
            token, forge = github.result()
        return self._work(asked_at, forge, token, assigned, handle, place.deadline)

    def adopt(self) -> dict[str, Any]:
        """Take over this lane, whose supervisor has died and whose container lives; return its result.

        Raises:
            NotStartedError: there is nothing to take over.

        """
        state = documents.read(self.directory / STATE) or {}
        try:
            token, forge = delivery.github(self.settings, self.project)
            own = [item for item in engine.lanes() if item.lane == self.name and item.running]
            if not own:
                raise NotStartedError("gone", f"lane {self.name} has no container that runs")
            left = times.seconds(str(state["deadline"])) - _HANDOVER_SECONDS - time.time()
            self._own_place()
            bounds.bound(self.name, self.project)
            handle = engine.adopt(own[0].id, left + _HANDOVER_SECONDS + _ENGINE_WAIT_SECONDS)
        except Exception as error:
            if not isinstance(error, tuple(_REFUSALS)):
                raise
            raise NotStartedError("adopt", str(error)) from error
        self._ends_at = time.monotonic() + left
        self._is_in_step, self._is_adopted = False, True
        self._earlier = {"branch": str(state.get("continues") or "")}
        with contextlib.suppress(OSError):
            self._latest_at = (self.directory / BUNDLE).stat().st_mtime
        self._state("running", **{name: state[name] for name in _KNOWN_AT_START if name in state})
        _log.info("lane %s is watched again", self.name)
        try:
            found: Future[delivery.GitHub] = Future()
            found.set_result((token, forge))
            self._have(found)
        except (FactoryError, OSError) as error:
            _log.warning("lane %s: its claim is not renewed: %s", self.name, error)
        began = times.seconds(str(state["started_at"]))
        return self._attend(began, began, forge, token, tasks.resolved_of(state), handle)

    def _own_place(self) -> None:
        """Say that the lane is this process's."""
        owner = {
            "project": self.project.name,
            "issue": self.task.issue,
            "supervisor": processes.identity(),
        }
        documents.replace(self.place / OWNER, owner)

    def _find(
        self, pool: ThreadPoolExecutor, github: Future[delivery.GitHub], earlier: dict[str, Any]
    ) -> ResolvedTask:
        token, forge = github.result()
        return tasks.find(
            self.task, pool, forge, lambda: self._mirror(token()), self.lock_directory, earlier
        )

    def _have(self, github: Future[delivery.GitHub]) -> None:
        """Have the issue or pull request for this server alone."""
        if self.task.issue:
            token, _forge = github.result()
            until = time.time() + self.project.limits.timeout_seconds + claiming.GRACE_SECONDS
            results = self._mirror(token(), results=True)
            self._claim = claiming.take(results, self.task.issue, self.name, until)

    def _let_go(self, token: Callable[[], str], claimed: Future[None] | None) -> None:
        if claimed is not None:
            claimed.result()
        if self._claim is not None:
            results = self._mirror(token(), results=True)
            claiming.release(results, self.task.issue, self._claim)

    def _give_up(self, handle: engine.ContainerHandle | None) -> None:
        if handle is not None:
            with contextlib.suppress(DockerError):
                engine.remove(handle.id)
        self._clear()
        shutil.rmtree(self.directory, ignore_errors=True)

    def _place_of(self, earlier: dict[str, Any], parent: str) -> container.Place:
        socket_dir = self.place / control_socket.SOCKET_DIR
        seed = self.directory / "seed"
        return container.Place(
            lane=self.name,
            issue=self.task.issue,
            socket_dir=str(socket_dir),
            mirror=str(self._mirror("").directory),
            store=self.settings.store_dir if Path(self.settings.store_dir).is_dir() else "",
            seed=str(seed) if seed.is_dir() else "",
            cgroup_parent=parent,
            deadline=time.time() + self.project.limits.timeout_seconds + _HANDOVER_SECONDS,
            supervisor=processes.identity(),
            session=str(earlier.get("session") or ""),
        )

    def _work(
        self,
        asked_at: float,
        forge: LaneForge,
        token: Callable[[], str],
        assigned: ResolvedTask,
        handle: engine.ContainerHandle,
        deadline: float,
    ) -> dict[str, Any]:
        started_at, start = time.time(), assigned.start
        self._ends_at = time.monotonic() + self.project.limits.timeout_seconds
        handle.send(f"{start.base} {start.onto}\n{assigned.prompt}".encode())
        # Should the supervisor die, its result is made of this.
        known = assigned.document()
        self._state("running", **known, **self._lineage(), deadline=times.iso(deadline))
        prompt = self.directory / "prompt.md"
        prompt.write_text(assigned.prompt, encoding="utf-8")
        prompt.chmod(0o640)
        return self._attend(asked_at, started_at, forge, token, assigned, handle)

    def _attend(
        self,
        asked_at: float,
        started_at: float,
        forge: LaneForge,
        token: Callable[[], str],
        assigned: ResolvedTask,
        handle: engine.ContainerHandle,
    ) -> dict[str, Any]:
        """Stay with a container that is at work until all of it is over."""
        with ThreadPoolExecutor(1) as pool:
            # Beside the start: a running container stands on what it uses, so that is none of its leftovers.
            seen = pool.submit(engine.snapshot, Path(self.settings.run_dir))
            handle = self._supervise(handle)
        # Should GitHub or a disk be slow: the agent is done.
        with contextlib.suppress(OSError):
            self._state("handing over")
        self._last_rites(handle)
        result = self._conclude(handle.status, assigned, asked_at, started_at)
        with contextlib.suppress(OSError):
            control_socket.ask("close", self.name)
        if self.is_trial:
            # Whoever tries several times judges, and delivers one.
            result["is_passed_over"] = True
        elif result["outcome"] in outcome.DELIVERED:
            self._deliver(forge, token, result)
        elif self.task.issue and result["outcome"] not in outcome.GOOD:
            self._tell_issue(forge, result)
        self._unclaim(token, result)
        shutil.rmtree(self.directory / "seed", ignore_errors=True)
        self._clear()
        result["residue"] = self._residue(seen)
        self._finish(result)
        return result

    # --- Admission ---------------------------------------------------------------------

    def _refuse_what_waits(self) -> None:
        """Begin nothing anew that is done already.

        Raises:
            NotStartedError: another lane's work on this waits for GitHub.

        """
        if self.task.resume or not self.task.issue:
            return
        known = results.read_all(self.settings)
        superseded = reaper.superseded(known)
        for lane, result in known.items():
            same = (result.get("project"), result.get("issue"), bool(result.get("is_conflict")))
            mine = (self.project.name, self.task.issue, self.task.is_conflict)
            if same == mine and lane not in superseded and outcome.is_undelivered(result):
                raise NotStartedError(
                    "undelivered",
                    f"lane {lane} has done this, and GitHub is asked again to take it;"
                    f" factory lane deliver {lane} asks now",
                )

    def _admit(self) -> None:
        """Wait for a place and take it.

        Raises:
            RefusedError: the waiting time is over, or waiting would hold the server up.

        """
        wait = self.task.queue_seconds
        limit = self.settings.queue_timeout_seconds if wait is None else wait
        try:
            self._wait_for_place(limit)
        finally:
            Path(self.settings.run_dir, f"{QUEUED}{os.getpid()}.json").unlink(missing_ok=True)

    def _wait_for_place(self, limit: float) -> None:
        deadline, said = time.monotonic() + limit, ""
        while True:
            with self._admission():
                obstacle = self._obstacle()
                if obstacle is None:
                    self._take_place()
                    return
            if obstacle.code in (capacity.DRAINING, admission.ISSUE_TAKEN):
                raise NotStartedError(obstacle.code, obstacle.words)
            if time.monotonic() >= deadline:
                raise NotStartedError(
                    obstacle.code,
                    f"{obstacle.words}; waited {limit:.0f} s (lanes.queue_timeout_minutes)",
                )
            if obstacle.words != said:
                _log.info("waiting: %s", obstacle.words)
                said = obstacle.words
                self._queue(said)
            time.sleep(_QUEUE_POLL_SECONDS)

    def _queue(self, why: str) -> None:
        """Say what this waits for, as long as its process is there."""
        waits = {"project": self.project.name, "issue": self.task.issue, "why": why}
        owner = {"supervisor": processes.identity(), "since": times.iso(time.time())}
        path = Path(self.settings.run_dir, f"{QUEUED}{os.getpid()}.json")
        with contextlib.suppress(OSError):
            documents.replace(path, {**waits, **owner})

    @contextlib.contextmanager
    def _admission(self) -> Iterator[None]:
        for _attempt in range(600):
            with contextlib.suppress(LockedError), contextlib.ExitStack() as stack:
                stack.enter_context(exclusive(self.lock_directory / ADMISSION_LOCK))
                yield
                return
            time.sleep(0.05)
        raise NotStartedError("locked", f"{ADMISSION_LOCK} was held for 30 s; see who holds it")

    def _obstacle(self) -> admission.Obstacle | None:
        return capacity.draining() or admission.obstacle(
            self.settings, self.project, self.task.issue, capacity.load(self.settings)
        )

    def _take_place(self) -> None:
        self.name = identity.lane_id(self.project.name, self.task.issue, secrets.token_hex(4))
        self.directory.mkdir(mode=0o750, parents=True)
        self.place.mkdir(mode=0o750)
        self._own_place()
        self._state("starting")

    def _state(self, state: str, **more: Any) -> None:
        before = documents.read(self.directory / STATE) or {}
        document = {
            **self._head(),
            "supervisor": processes.identity(),
            "started_at": before.get("started_at") or times.iso(time.time()),
            **{key: value for key, value in before.items() if key in _KNOWN_AT_START},
            **more,
            "state": state,
            "updated_at": times.iso(time.time()),
        }
        documents.replace(self.directory / STATE, document)

    # --- What it needs -----------------------------------------------------------------

    def _seed(self) -> dict[str, Any]:
        """Hand what an earlier lane has left to this one; return what is known of it."""
        if not self.task.resume:
            return {}
        directory = Path(self.settings.state_dir, identity.checked(self.task.resume))
        result = documents.read(directory / RESULT) or {}
        seed = self.directory / "seed"
        seed.mkdir(mode=0o755)
        for name in (BUNDLE, SESSIONS):
            if (directory / name).is_file():
                shutil.copyfile(directory / name, seed / name)
                (seed / name).chmod(0o644)
        has_session = (seed / SESSIONS).is_file() and self.project.agent.resume_command
        return result if has_session else {**result, "session": ""}

    def _make_place(self) -> pwd.struct_passwd:
        """Make what the gateway and the container share; return whose it is."""
        owner = pwd.getpwnam(self.settings.gateway_user)
        log = self.directory / GATEWAY_LOG
        log.touch(mode=0o640)
        os.chown(log, owner.pw_uid, owner.pw_gid)
        # To its own log the gateway may pass, and see nothing else.
        os.chown(self.directory, 0, owner.pw_gid)
        self.directory.chmod(0o710)
        os.chown(self.place, 0, owner.pw_gid)
        # A lane may go on into the next day.
        spent_dir = Path(self.settings.state_dir, SPENT_DIR)
        spent_dir.mkdir(mode=0o710, exist_ok=True)
        os.chown(spent_dir, 0, owner.pw_gid)
        for day in (day_of(time.time()), day_of(time.time() + 86400)):
            spent = spent_dir / f"{day}.jsonl"
            spent.touch(mode=0o640)
            os.chown(spent, owner.pw_uid, owner.pw_gid)
        sockets = self.place / control_socket.SOCKET_DIR
        sockets.mkdir(mode=0o755)
        os.chown(sockets, owner.pw_uid, owner.pw_gid)
        return owner

    def _open_gateway(self, owner: pwd.struct_passwd) -> None:
        limits = self.project.limits
        policy = LanePolicy(
            lane=self.name,
            route=self.project.agent.route,
            models=self.project.models,
            token_budget=limits.token_budget,
            requests_per_minute=limits.requests_per_minute,
            requests_max_count=limits.requests_max_count,
            connect_allowed=self.settings.connect_targets,
            log_path=str(self.directory / GATEWAY_LOG),
            project=self.project.name,
            prices=self.settings.prices,
            cost_max_usd=limits.cost_max_usd,
            project_limit=self.project.spending,
            host_limit=self.settings.spending,
            spent_dir=str(Path(self.settings.state_dir, SPENT_DIR)),
        )
        documents.replace(self.place / control_socket.POLICY, policy.document(), mode=0o640)
        os.chown(self.place / control_socket.POLICY, 0, owner.pw_gid)
        try:
            answer = control_socket.ask("open", self.name)
        except OSError as error:
            raise GatewayError(
                f"the lanes' gateway does not answer ({error}); see systemctl status "
                "factory-lane-gateway"
            ) from error
        if answer != "ok":
            raise GatewayError(f"the lanes' gateway refuses: {answer}")

    # --- Watching it -------------------------------------------------------------------

    def _supervise(self, handle: engine.ContainerHandle) -> engine.ContainerHandle:
        """Drain the container to its end and hold it to its limits, past a restart of the engine.

        Returns what was attached to it last.
        """
        while True:
            reader = threading.Thread(target=self._read, args=(handle,), daemon=True)
            reader.start()
            self._last_sign = time.monotonic()
            while not handle.wait(_POLL_SECONDS):
                self._show_life()
                why = self._due(self._ends_at)
                if why and not self._ended_by:
                    self._ended_by = why
                    threading.Thread(target=self._end, daemon=True).start()
            reader.join(timeout=30)
            if handle.status is not None or self._ended_by or self._broken:
                return handle
            again = self._found_again()
            if again is None:
                return handle
            _log.info("lane %s: the engine is back, and the lane goes on", self.name)
            handle, self._is_in_step, self._is_adopted = again, False, True

    def _found_again(self) -> engine.ContainerHandle | None:
        """Return its container once an engine that was lost is back; ``None`` when it is gone."""
        deadline = time.monotonic() + _ENGINE_WAIT_SECONDS
        left = self._ends_at - time.monotonic() + _HANDOVER_SECONDS + _ENGINE_WAIT_SECONDS
        while time.monotonic() < deadline:
            try:
                own = [item for item in engine.lanes() if item.lane == self.name and item.running]
                return engine.adopt(own[0].id, left) if own else None
            except DockerError:
                time.sleep(1.0)
        return None

    def _show_life(self) -> None:
        """Write down, now and then, when the agent last said something."""
        now = time.monotonic()
        if now - self._shown >= _SHOW_SECONDS:
            self._shown = now
            heard = time.time() - (now - self._last_sign)
            # A full disk is no reason to leave the lane alone.
            with contextlib.suppress(OSError):
                state = "waiting" if self._gateway().get("waiting") else "running"
                self._state(state, last_output_at=times.iso(heard))

    def _due(self, deadline: float) -> str:
        if self._broken:
            return self._broken_as
        if time.monotonic() >= deadline:
            return outcome.TIMEOUT
        if (self.place / STOP).exists():
            return _OPERATOR
        if time.monotonic() - self._last_sign > self.project.limits.idle_seconds:
            return "" if self._gateway_is_busy() else outcome.IDLE
        return ""

    def _gateway_is_busy(self) -> bool:
        """Whether the model has given a sign of life lately; then the agent waits for it."""
        try:
            return float(self._gateway()["idle_seconds"]) < self.project.limits.idle_seconds
        except (ValueError, KeyError, TypeError):
            return False

    def _gateway(self) -> dict[str, Any]:
        """Return what the gateway knows of this lane; nothing where it does not say."""
        try:
            status = json.loads(control_socket.ask("status", self.name))
        except (OSError, ValueError):
            return {}
        return status if isinstance(status, dict) else {}

    def _end(self) -> None:
        with contextlib.suppress(DockerError):
            engine.end(container.name(self.name), _HANDOVER_SECONDS if not self._broken else 1)

    def _read(self, handle: engine.ContainerHandle) -> None:
        limits = self.project.limits
        reader = frames.Reader(limits.bundle_max_mib * MIB)
        path, lines = self.directory / TRANSCRIPT, transcript.Lines()
        most, is_new, heard = limits.transcript_max_mib * MIB, not self._is_adopted, 0.0
        with transcript.Writer(path, most, is_new=is_new) as writer:
            for is_transcript, piece in handle.output():
                now = time.monotonic()
                if is_transcript:
                    self._last_sign = now
                    self._tell(writer, lines.feed(piece))
                    continue
                if not self._is_in_step and now - heard >= _SILENCE_SECONDS:
                    # Frames are far from each other: after a silence one begins.
                    reader = frames.Reader(limits.bundle_max_mib * MIB)
                heard = now
                if not self._broken:
                    self._take(reader, piece)
            self._tell(writer, lines.end())
        # Whoever ends in the middle of a frame has forged nothing: what it did not hand over is named.
        with contextlib.suppress(frames.CutOffError):
            if not self._broken:
                reader.end()

    def _tell(self, writer: transcript.Writer, lines: Iterator[bytes]) -> None:
        for line in lines:
            written = writer.write(line)
            if self.task.listener is not None and written:
                # Of an event that can be kept, not all can be shown.
                with contextlib.suppress(OSError, ValueError, RecursionError):
                    self.task.listener(written)

    def _take(self, reader: frames.Reader, chunk: bytes) -> None:
        """Take a piece of the frames; whatever is wrong with it, the pipe is drained to its end."""
        try:
            for frame in reader.feed(chunk):
                self._is_in_step = True
                self._final = frame if frame.is_final else self._final
                self._keep(frame)
        except frames.FrameError as error:
            if not self._is_in_step:
                # The rest of a frame that began when nobody was attached; the next one holds it all.
                _log.debug("lane %s: %s; waiting for the next frame", self.name, error)
                return
            self._broken = str(error)
            if isinstance(error, frames.TooLargeError):
                self._broken_as = outcome.TOO_LARGE
        except OSError as error:
            # A later frame holds all that is in this one.
            self._unkept = f"what it handed over cannot be written: {error}"
            _log.warning("lane %s: %s", self.name, self._unkept)
        except Exception as error:
            # Whatever a lane sends, it does not end the thread that reads it.
            self._broken = f"the result cannot be read: {type(error).__name__}"

    def _keep(self, frame: frames.Frame) -> None:
        """Have what was handed over on disk before anything else happens."""
        for name, content in ((BUNDLE, frame.bundle), (SESSIONS, frame.sessions)):
            if content:
                files.write(self.directory / name, content)
        self._unkept = ""
        self._latest, self._latest_at = frame, time.time()

    def _last_rites(self, handle: engine.ContainerHandle) -> None:
        """Make sure that no container is left, rescuing what it holds if its end was not seen."""
        limit = self.project.limits.bundle_max_mib * MIB
        deadline, is_asked = time.monotonic() + _ENGINE_WAIT_SECONDS, False
        while True:
            trouble, pause = "the engine does not remove its container", _REMOVAL_POLL_SECONDS
            try:
                own = [item for item in engine.lanes() if item.lane == self.name]
                if not own:
                    return
                for item in own:
                    is_lost = handle.status is None and item.running
                    if is_lost and self._final is None and not self._broken:
                        self._ended_by = self._ended_by or "the loss of the engine"
                        self._rescued = True
                        self._unkept = rescued(self, engine.rescue(item.id, limit))
                if not is_asked:
                    deadline, is_asked = time.monotonic() + _REMOVAL_SECONDS, True
                for item in own:
                    engine.remove(item.id)
            except DockerError as error:
                trouble, pause = str(error), 1.0
            if time.monotonic() >= deadline:
                _log.warning("lane %s: %s; the reaper goes on", self.name, trouble)
                return
            time.sleep(pause)

    # --- What came of it ---------------------------------------------------------------

    def _conclude(
        self, status: int | None, assigned: ResolvedTask, asked_at: float, started_at: float
    ) -> dict[str, Any]:
        start, final = assigned.start, self._final
        if final and not final.bundle and outcome.is_untouched(final.result, start.base):
            # It has taken back what it had committed when it was last looked at.
            (self.directory / BUNDLE).unlink(missing_ok=True)
        work, trouble = self._collect(start)
        model = outcome.model_of(gateway_lines(self.directory))
        unkept = self._unkept
        if self._latest is not None and not unkept and not trouble:
            unkept = outcome.unkept(self._latest.result, work.head if work else start.base)
        if final is None and not self._rescued:
            unkept = "; ".join(filter(None, (unkept, lost_since(self._latest_at))))
        evidence = outcome.LaneEvidence(
            exit_status=status,
            ended_by=self._ended_by,
            broken=self._broken or trouble,
            broken_as=self._broken_as,
            oom_kill_count=_count(final.result.get("oom_kill_count")) if final else 0,
            commits_count=work.commits_count if work else 0,
            model=model,
            has_result=final is not None,
            unresolved=_unresolved(assigned, work),
            unkept=unkept,
        )
        name, detail = outcome.decide(evidence)
        said = self._latest.result if self._latest else {}
        beside = outcome.texts(said.get("beside")) if work else []
        if beside:
            detail += f"; beside it in {BUNDLE}: {', '.join(beside)}"
        left_out = outcome.texts(said.get("left_out"))
        if left_out:
            detail += f"; left out of its work: {', '.join(left_out)}"
        return {
            **self._head(),
            **assigned.document(),
            "outcome": name,
            "detail": detail,
            "finished_at": times.iso(time.time()),
            "started_at": times.iso(started_at),
            "duration_seconds": round(time.time() - started_at, 1),
            "queue_seconds": round(started_at - asked_at, 1),
            "tokens": model.tokens,
            "input_tokens": model.input_tokens,
            "output_tokens": model.output_tokens,
            "cached_tokens": model.cached_tokens,
            "cost_usd": round(model.cost_usd, 4),
            "requests_count": model.requests_count,
            "refused_count": model.refused_count,
            "exit_status": status,
            **self._outcome_of(work),
            "session": self._session(),
            **self._lineage(),
            "is_stopped": self._ended_by == _OPERATOR,
            "branch": "",
            "pull_request": None,
            "delivery": "",
        }

    def _head(self) -> dict[str, Any]:
        return {
            "lane": self.name,
            "project": self.project.name,
            "repository": self.project.repository,
            "issue": self.task.issue,
            "is_conflict": self.task.is_conflict,
            "is_review": self.task.is_review,
            "agent": self.project.agent_name,
            "model": self.project.model,
        }

    def _lineage(self) -> dict[str, str]:
        """Return from which lane this one goes on, and into which branch.

        A follow-up goes into the pull request that there is, and so does a follow-up of that.
        """
        continues = self._earlier.get("branch") or self._earlier.get("continues") or ""
        return {"resumes": self.task.resume, "continues": str(continues)}

    def _collect(self, start: Start) -> tuple[collect.Work | None, str]:
        """Check the bundle; return what it holds, and what is wrong with it."""
        bundle = self.directory / BUNDLE
        if not bundle.is_file():
            return None, ""
        try:
            return self._mirror("", results=True).take(bundle, start, self.name), ""
        except (collect.CollectError, OSError) as error:
            if not self._broken:
                self._broken_as = outcome.BROKEN
                if isinstance(error, collect.RewrittenError):
                    self._broken_as = outcome.REWRITTEN
                elif collect.is_too_large(error):
                    self._broken_as = outcome.TOO_LARGE
            return None, f"the bundle is refused: {error}"

    def _outcome_of(self, work: collect.Work | None) -> dict[str, Any]:
        guarded = collect.guarded(work.paths, self.project.guarded_paths) if work else []
        return {
            "head": work.head if work else "",
            "commits_count": work.commits_count if work else 0,
            "paths_count": len(work.paths) if work else 0,
            "summary": work.summary if work else "",
            "subject": work.subject if work else "",
            "guarded_paths": guarded[: collect.PATHS_MAX_COUNT],
        }

    def _session(self) -> str:
        named = self.project.agent.session_event
        if not named.type:
            return ""
        for event in transcript.events(self.directory / TRANSCRIPT):
            if event.get("type") == named.type and _SESSION.match(str(event.get(named.field))):
                return str(event[named.field])
        return ""

    def _deliver(self, forge: LaneForge, token: Callable[[], str], result: dict[str, Any]) -> None:
        try:
            delivery.deliver(self.settings, self.project, forge, token(), result)
        except (collect.CollectError, ForgeError, OSError) as error:
            result["delivery"] = f"failed: {error}"
            _log.warning("lane %s is done but not delivered: %s", self.name, error)

    def _unclaim(self, token: Callable[[], str], result: dict[str, Any]) -> None:
        """Say at GitHub what became of it; what is delivered has let go, what is not yet keeps it."""
        if self._claim is None or (result["outcome"] in outcome.DELIVERED and not self.is_trial):
            return
        claiming.ended(
            lambda: self._mirror(token(), results=True),
            *(self.task.issue, self._claim, str(result["outcome"])),
            is_attempt=result["outcome"] != outcome.INTERRUPTED,
        )

    def _tell_issue(self, forge: LaneForge, result: dict[str, Any]) -> None:
        """Say at GitHub what went wrong; that this fails too is no reason for anything."""
        goes_on = f"`factory lane resume {self.name}` goes on from there." if result["head"] else ""
        try:
            forge.comment(self.task.issue, said(self.name, result, goes_on))
        except (ForgeError, OSError) as error:
            _log.warning("lane %s: its issue is not told: %s", self.name, error)

    def _finish(self, result: dict[str, Any]) -> None:
        documents.replace(self.directory / RESULT, result)
        (self.directory / STATE).unlink(missing_ok=True)

    # --- Leaving -----------------------------------------------------------------------

    def _clear(self) -> None:
        with contextlib.suppress(OSError):
            control_socket.ask("close", self.name)
        shutil.rmtree(self.place, ignore_errors=True)

    def _residue(self, seen: Future[dict[str, set[str]]]) -> list[dict[str, Any]]:
        try:
            # Its own container and place were there already when it was looked.
            before = {
                kind: {name for name in names if name != self.name}
                for kind, names in seen.result().items()
            }
            left = self._left(before)
            for _look in range(_RESIDUE_LOOKS - 1):
                if not left:
                    break
                # Another lane's may be just coming or going; what stays is a leftover.
                time.sleep(_RESIDUE_SECONDS)
                left = [item for item in self._left(before) if item in left]
        except DockerError as error:
            left = [{"kind": "unknown", "name": str(error)}]
        with contextlib.suppress(OSError):
            record_residue(self.settings, self.name, left)
        return left

    def _left(self, before: dict[str, set[str]]) -> list[dict[str, Any]]:
        after = engine.snapshot(Path(self.settings.run_dir))
        # Other lanes come and go; what bears their names is theirs.
        others = {path.parent.name for path in Path(self.settings.run_dir).glob(f"*/{OWNER}")}
        return [item for item in reaper.residue(before, after) if item["name"] not in others]


def said(lane: str, result: dict[str, Any], goes_on: str) -> str:
    """Return what a lane's issue is told; what the lane wrote is shown, and does nothing there."""
    detail = text.printable(str(result["detail"])).replace("`", "'")[:_SAID_MAX_LENGTH]
    head = f"{OWN_COMMENT}\nLane `{lane}` ended as `{result['outcome']}`:"
    return f"{head}\n\n```text\n{detail}\n```\n\n{goes_on}".strip()


def lost_since(handed_over_at: float) -> str:
    """Say what is lost of a lane that was ended before it could hand over.

    ``handed_over_at`` is when it last did, in seconds since the epoch; 0 when it never did.
    """
    if not handed_over_at:
        return "what it did is lost: it was ended before it handed anything over"
    return f"what it did after its last checkpoint, at {times.iso(handed_over_at)}, is lost"


def rescued(lane: Lane, content: bytes) -> str:
    """Keep what a frame of a dying lane holds; return what of its work did not come out."""
    reader = frames.Reader(lane.project.limits.bundle_max_mib * MIB)
    said = "its container gave nothing more than it had handed over before"
    with contextlib.suppress(frames.FrameError):
        for frame in reader.feed(content):
            lane._keep(frame)
            said = outcome.unkept(frame.result, str(frame.result.get("head")))
    return said


def record_residue(settings: LanesSettings, lane: str, left: list[dict[str, Any]]) -> None:
    """Remember differences for whoever alerts; the reaper forgets those that are gone."""
    path, at = Path(settings.state_dir, RESIDUE), times.iso(time.time())
    known = list((documents.read(path) or {}).get("differences") or [])
    known += [
        {"what": f"{item['kind']} {item['name']} of lane {lane}", **item, "lane": lane, "since": at}
        for item in left
    ]
    documents.replace(path, {"differences": known[-200:], "checked_at": at})


def gateway_lines(directory: Path) -> Iterator[dict[str, Any]]:
    """Yield the lines of the gateway's log of a lane."""
    return transcript.events(directory / GATEWAY_LOG)


def _unresolved(assigned: ResolvedTask, work: collect.Work | None) -> str:
    """Say what of a conflict is left; empty when nothing is, or when there was none."""
    conflict = assigned.conflict
    if conflict is None or not assigned.start.onto or (work is not None and work.is_merged):
        return ""
    return (
        f"the agent ended without having merged {conflict.base_branch} "
        f"({assigned.start.onto[:12]}) into {conflict.branch}"
    )


def _count(value: object) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else 0
