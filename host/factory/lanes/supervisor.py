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
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from ansible_collections.aina.factory.plugins.module_utils import documents, drain
from ansible_collections.aina.factory.plugins.module_utils.github import login
from ansible_collections.aina.factory.plugins.module_utils.github.errors import ForgeError
from ansible_collections.aina.factory.plugins.module_utils.github.git import git_environment
from ansible_collections.aina.factory.plugins.module_utils.github.transport import Transport
from ansible_collections.aina.factory.plugins.module_utils.lanes import (
    admission,
    collect,
    container,
    frames,
    identity,
    outcome,
    prompt,
    reaper,
)
from ansible_collections.aina.factory.plugins.module_utils.lanes.forge import (
    PERMISSIONS,
    Forge,
    Issue,
)
from ansible_collections.aina.factory.plugins.module_utils.lanes.gateway import Permit
from ansible_collections.aina.factory.plugins.module_utils.lanes.settings import (
    MIB,
    LaneProject,
    Settings,
)
from factory import effects
from factory.lanes import engine, gateway, processes, transcript
from factory.locks import exclusive
from factory.outcome import LockedError

ADMISSION_LOCK = "factory-lanes-admission.lock"
OWNER, STOP = "owner.json", "stop"
STATE, RESULT = "state.json", "result.json"
TRANSCRIPT, GATEWAY_LOG, BUNDLE, SESSIONS = (
    "transcript.jsonl",
    "gateway.jsonl",
    "lane.bundle",
    "sessions.tar.gz",
)
RESIDUE = "residue.json"
_POLL_SECONDS = 0.2
_QUEUE_POLL_SECONDS = 0.5
_SHOW_SECONDS = 15.0
_MIRROR_WAIT_SECONDS = 600.0
# How long a lane may take to hand over once its agent was told to end.
_HANDOVER_SECONDS = 60
# An engine that was killed is started again by then.
_ENGINE_WAIT_SECONDS = 90.0
_SESSION = re.compile(r"[A-Za-z0-9-]{8,64}\Z")

_log = logging.getLogger(__name__)


class RefusedError(Exception):
    """The lane was not started; the message says what is in the way and what to do."""


@dataclass(frozen=True)
class Task:
    """What is asked for. Without an ``issue`` the prompt is the caller's own text."""

    project: LaneProject
    issue: int
    text: str = ""
    resume: str = ""
    queue_seconds: float | None = None
    listener: Callable[[bytes], None] | None = None


@dataclass
class Lane:
    """One lane under way."""

    settings: Settings
    task: Task
    lock_directory: Path
    name: str = ""
    _ended_by: str = field(default="", init=False)
    _broken: str = field(default="", init=False)
    _final: frames.Handover | None = field(default=None, init=False)
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

    def _mirror(self, token: str, *, results: bool = False) -> collect.Repository:
        return repository(self.settings, self.project, token, results=results)

    # --- The run -----------------------------------------------------------------------

    def run(self) -> dict[str, Any]:
        """Run the lane and return its result.

        Raises:
            RefusedError: it was not started.
            ConfigurationError: there is no token.

        """
        asked_at = time.time()
        token = token_of(self.settings, self.project)
        forge = Forge(self._transport(token), self.project.repository)
        self._admit()
        try:
            with ThreadPoolExecutor() as pool:
                base = pool.submit(self._update_mirror, token())
                issue = pool.submit(self._issue, forge)
                parent = pool.submit(engine.cgroup_parent, self.settings.slice)
                self._open_gateway()
                found = (base.result(), issue.result(), parent.result())
        except (
            *(collect.CollectError, ForgeError, engine.EngineError),
            *(OSError, LockedError),
        ) as error:
            self._clear()
            shutil.rmtree(self.directory, ignore_errors=True)
            raise RefusedError(str(error)) from error
        return self._work(asked_at, forge, token, *found)

    def _work(
        self,
        asked_at: float,
        forge: Forge,
        token: Callable[[], str],
        base: str,
        issue: Issue,
        parent: str,
    ) -> dict[str, Any]:
        started_at = time.time()
        seed = self._seed()
        base = str(seed.get("base") or base)
        place = container.Place(
            lane=self.name,
            issue=self.task.issue,
            base=base,
            socket_dir=str(self.place / gateway.SOCKET_DIR),
            mirror=str(self._mirror("").directory),
            store=self.settings.store_dir if Path(self.settings.store_dir).is_dir() else "",
            seed=str(self.directory / "seed") if seed else "",
            cgroup_parent=parent,
            deadline=started_at + self.project.limits.timeout_seconds + _HANDOVER_SECONDS,
            supervisor=processes.identity(),
            session=str(seed.get("session") or ""),
        )
        self._state("running", base=base, deadline=documents.moment(place.deadline))
        words = self.task.text or prompt.compose(
            self.project.repository, issue.number, issue.title, issue.body
        )
        (self.directory / "prompt.md").write_text(words, encoding="utf-8")
        (self.directory / "prompt.md").chmod(0o640)
        with ThreadPoolExecutor(1) as pool:
            # Beside the start: a running container stands on what it uses, so that is none of its leftovers.
            seen = pool.submit(engine.snapshot, Path(self.settings.run_dir))
            status = self._supervise(container.argv(self.project, place), words.encode())
        self._last_rites()
        result = self._conclude(status, base, asked_at, started_at, issue)
        with contextlib.suppress(OSError):
            gateway.ask("close", self.name)
        if result["outcome"] in outcome.DELIVERED:
            self._deliver(forge, token, result)
        shutil.rmtree(self.directory / "seed", ignore_errors=True)
        self._clear()
        result["residue"] = self._residue(seen)
        self._finish(result)
        return result

    # --- Admission ---------------------------------------------------------------------

    def _admit(self) -> None:
        """Wait for a place and take it.

        Raises:
            RefusedError: the waiting time is over.

        """
        wait = self.task.queue_seconds
        limit = self.settings.queue_timeout_seconds if wait is None else wait
        deadline, said = time.monotonic() + limit, ""
        while True:
            with self._admission():
                obstacle = self._obstacle()
                if not obstacle:
                    self._take_place()
                    return
            if time.monotonic() >= deadline:
                raise RefusedError(
                    f"{obstacle}; waited {limit:.0f} s (lanes.queue_timeout_minutes)"
                )
            if obstacle != said:
                _log.info("waiting: %s", obstacle)
                said = obstacle
            time.sleep(_QUEUE_POLL_SECONDS)

    @contextlib.contextmanager
    def _admission(self) -> Iterator[None]:
        for _attempt in range(600):
            with contextlib.suppress(LockedError), contextlib.ExitStack() as stack:
                stack.enter_context(exclusive(self.lock_directory / ADMISSION_LOCK))
                yield
                return
            time.sleep(0.05)
        raise RefusedError(f"{ADMISSION_LOCK} was held for 30 s; see who holds it")

    def _obstacle(self) -> str:
        if Path(drain.MARK).exists():
            return f"the server is emptied of work ({drain.MARK}); factory drain --end ends that"
        running: list[tuple[str, int]] = []
        for path in Path(self.settings.run_dir).glob(f"*/{OWNER}"):
            owner = documents.read(path) or {}
            running.append((str(owner.get("project")), int(owner.get("issue") or -1)))
        statistics = os.statvfs(self.settings.state_dir)
        load = admission.Load(
            running=[
                pair if pair[1] > 0 else (pair[0], -index - 1) for index, pair in enumerate(running)
            ],
            free_disk_bytes=statistics.f_bavail * statistics.f_frsize,
            available_memory_bytes=_available_memory_bytes(),
        )
        return admission.obstacle(self.settings, self.project, self.task.issue, load)

    def _take_place(self) -> None:
        self.name = identity.lane_id(self.project.name, self.task.issue, secrets.token_hex(4))
        owner = {
            "project": self.project.name,
            "issue": self.task.issue,
            "supervisor": processes.identity(),
        }
        self.directory.mkdir(mode=0o750, parents=True)
        self.place.mkdir(mode=0o750)
        documents.replace(self.place / OWNER, owner)
        self._state("starting")

    def _state(self, state: str, **more: Any) -> None:
        before = documents.read(self.directory / STATE) or {}
        document = {
            "lane": self.name,
            "project": self.project.name,
            "repository": self.project.repository,
            "issue": self.task.issue,
            "engine": self.project.engine.name,
            "model": self.project.model,
            "supervisor": processes.identity(),
            "started_at": before.get("started_at") or documents.moment(time.time()),
            **{key: value for key, value in before.items() if key in ("base", "deadline")},
            **more,
            "state": state,
            "updated_at": documents.moment(time.time()),
        }
        documents.replace(self.directory / STATE, document)

    # --- What it needs -----------------------------------------------------------------

    def _transport(self, token: Callable[[], str]) -> Transport:
        fetch = effects.https_fetch(self.settings.github.ca_file or None)
        return Transport(fetch, self.settings.github.api_url, token, time.time)

    def _update_mirror(self, token: str) -> str:
        mirror = self._mirror(token)
        deadline = time.monotonic() + _MIRROR_WAIT_SECONDS
        while True:
            try:
                lock = self.lock_directory / f"factory-mirror-{self.project.name}.lock"
                with exclusive(lock):
                    return mirror.update(self.project.default_branch)
            except LockedError:
                if time.monotonic() >= deadline:
                    raise
                time.sleep(0.05)

    def _issue(self, forge: Forge) -> Issue:
        if not self.task.issue:
            return Issue(0, "", "")
        return forge.issue(self.task.issue)

    def _seed(self) -> dict[str, Any]:
        """Hand what an earlier lane has left to this one; return what is known of it."""
        if not self.task.resume:
            return {}
        earlier = Path(self.settings.state_dir, identity.checked(self.task.resume))
        result = documents.read(earlier / RESULT) or {}
        seed = self.directory / "seed"
        seed.mkdir(mode=0o755)
        for name in (BUNDLE, SESSIONS):
            if (earlier / name).is_file():
                shutil.copyfile(earlier / name, seed / name)
                (seed / name).chmod(0o644)
        has_session = (seed / SESSIONS).is_file() and self.project.engine.resume_command
        return {
            "base": result.get("base"),
            "session": result.get("session") if has_session else "",
            "lane": self.task.resume,
        }

    def _open_gateway(self) -> None:
        limits, owner = self.project.limits, pwd.getpwnam(self.settings.gateway_user)
        log = self.directory / GATEWAY_LOG
        log.touch(mode=0o640)
        os.chown(log, owner.pw_uid, owner.pw_gid)
        # To its own log the gateway may pass, and see nothing else.
        os.chown(self.directory, 0, owner.pw_gid)
        self.directory.chmod(0o710)
        os.chown(self.place, 0, owner.pw_gid)
        sockets = self.place / gateway.SOCKET_DIR
        sockets.mkdir(mode=0o755)
        os.chown(sockets, owner.pw_uid, owner.pw_gid)
        permit = Permit(
            lane=self.name,
            route=self.project.engine.route,
            models=self.project.models,
            token_budget=limits.token_budget,
            requests_per_minute=limits.requests_per_minute,
            requests_max_count=limits.requests_max_count,
            connect_allowed=self.settings.connect_allowed,
            log_path=str(log),
        )
        documents.replace(self.place / gateway.PERMIT, permit.document(), mode=0o640)
        os.chown(self.place / gateway.PERMIT, 0, owner.pw_gid)
        try:
            answer = gateway.ask("open", self.name)
        except OSError as error:
            raise OSError(
                f"the lanes' gateway does not answer ({error}); see systemctl status "
                "factory-lane-gateway"
            ) from error
        if answer != "ok":
            raise OSError(f"the lanes' gateway refuses: {answer}")

    # --- Watching it -------------------------------------------------------------------

    def _supervise(self, argv: list[str], words: bytes) -> int:
        """Run the container, drain it, hold it to its limits; return its exit status."""
        limits = self.project.limits
        # A session of its own: what ends the terminal's processes does not end the client.
        process = subprocess.Popen(
            ["docker", *argv],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            start_new_session=True,
        )  # fmt: skip
        if process.stdin is None or process.stdout is None or process.stderr is None:
            raise OSError("the engine's client has no pipes")
        threads = [
            threading.Thread(target=_feed, args=(process.stdin, words), daemon=True),
            threading.Thread(target=self._read_frames, args=(process.stdout,), daemon=True),
            threading.Thread(target=self._read_transcript, args=(process.stderr,), daemon=True),
        ]
        for thread in threads:
            thread.start()
        deadline = time.monotonic() + limits.timeout_seconds
        while process.poll() is None:
            self._show_life()
            why = self._due(deadline)
            if why and not self._ended_by:
                self._ended_by = why
                threading.Thread(target=self._end, daemon=True).start()
            time.sleep(_POLL_SECONDS)
        for thread in threads:
            thread.join(timeout=30)
        return process.returncode

    def _show_life(self) -> None:
        """Write down, now and then, when the agent last said something."""
        now = time.monotonic()
        if now - self._shown >= _SHOW_SECONDS:
            self._shown = now
            heard = time.time() - (now - self._last_sign)
            self._state("running", last_output_at=documents.moment(heard))

    def _due(self, deadline: float) -> str:
        if self._broken:
            return outcome.POLICY
        if time.monotonic() >= deadline:
            return outcome.TIMEOUT
        if (self.place / STOP).exists():
            return "an operator"
        if time.monotonic() - self._last_sign > self.project.limits.idle_seconds:
            return "" if self._gateway_is_busy() else outcome.IDLE
        return ""

    def _gateway_is_busy(self) -> bool:
        """Whether the model has given a sign of life lately; then the agent waits for it."""
        try:
            status = json.loads(gateway.ask("status", self.name))
            return float(status["idle_seconds"]) < self.project.limits.idle_seconds
        except (OSError, ValueError, KeyError, TypeError):
            return False

    def _end(self) -> None:
        with contextlib.suppress(OSError, TimeoutError):
            engine.end(container.name(self.name), _HANDOVER_SECONDS if not self._broken else 1)

    def _read_frames(self, stream: IO[bytes]) -> None:
        reader = frames.Reader(self.project.limits.bundle_max_mib * MIB)
        read: Callable[[int], bytes] = getattr(stream, "read1", stream.read)
        try:
            while chunk := read(1 << 16):
                if not self._broken:
                    self._take(reader, chunk)
            if not self._broken:
                reader.end()
        except frames.FrameError as error:
            self._broken = self._broken or str(error)

    def _take(self, reader: frames.Reader, chunk: bytes) -> None:
        try:
            for handover in reader.feed(chunk):
                self._keep(handover)
        except frames.FrameError as error:
            # The pipe is still drained to its end.
            self._broken = str(error)

    def _keep(self, handover: frames.Handover) -> None:
        """Have what was handed over on disk before anything else happens."""
        for name, content in ((BUNDLE, handover.bundle), (SESSIONS, handover.sessions)):
            if content:
                candidate = self.directory / f".{name}"
                with candidate.open("wb") as file:
                    file.write(content)
                    file.flush()
                    os.fsync(file.fileno())
                candidate.replace(self.directory / name)
        if handover.is_final:
            self._final = handover

    def _read_transcript(self, stream: IO[bytes]) -> None:
        limit = self.project.limits.transcript_max_mib * MIB
        with transcript.Writer(self.directory / TRANSCRIPT, limit) as writer:
            for line in transcript.lines(stream):
                self._last_sign = time.monotonic()
                written = writer.write(line)
                if self.task.listener is not None and written:
                    with contextlib.suppress(OSError):
                        self.task.listener(written)

    def _last_rites(self) -> None:
        """Make sure that no container is left, rescuing what it holds if its client died."""
        limit = self.project.limits.bundle_max_mib * MIB
        deadline = time.monotonic() + _ENGINE_WAIT_SECONDS
        while True:
            try:
                for item in engine.lanes():
                    if item.lane != self.name:
                        continue
                    if item.running and self._final is None and not self._broken:
                        self._ended_by = self._ended_by or "the loss of the engine"
                        rescued(self, engine.rescue(item.id, limit))
                    engine.remove(item.id)
                return
            except engine.EngineError as error:
                if time.monotonic() >= deadline:
                    _log.warning("lane %s: %s; the reaper goes on", self.name, error)
                    return
                time.sleep(1)

    # --- What came of it ---------------------------------------------------------------

    def _conclude(
        self, status: int, base: str, asked_at: float, started_at: float, issue: Issue
    ) -> dict[str, Any]:
        work, trouble = self._collect(base)
        lines = gateway_lines(self.directory)
        model = outcome.model_of(lines)
        final = self._final
        evidence = outcome.Evidence(
            exit_status=status,
            ended_by=self._ended_by,
            broken=self._broken or trouble,
            oom_kill_count=_count(final.result.get("oom_kill_count")) if final else 0,
            commits_count=work.commits_count if work else 0,
            model=model,
            has_result=final is not None,
        )
        name, detail = outcome.decide(evidence)
        return {
            **self._head(base),
            "outcome": name,
            "detail": detail,
            "finished_at": documents.moment(time.time()),
            "started_at": documents.moment(started_at),
            "duration_seconds": round(time.time() - started_at, 1),
            "queue_seconds": round(started_at - asked_at, 1),
            "tokens": model.tokens,
            "input_tokens": model.input_tokens,
            "output_tokens": model.output_tokens,
            "requests_count": model.requests_count,
            "refused_count": model.refused_count,
            "exit_status": status,
            "title": issue.title,
            "head": work.head if work else "",
            "commits_count": work.commits_count if work else 0,
            "paths_count": len(work.paths) if work else 0,
            "summary": work.summary if work else "",
            "subject": work.subject if work else "",
            "guarded_paths": collect.guarded(work.paths, self.project.guarded_paths)
            if work
            else [],
            "session": self._session(),
            "resumes": self.task.resume,
            "branch": "",
            "pull_request": None,
            "delivery": "",
        }

    def _head(self, base: str) -> dict[str, Any]:
        return {
            "lane": self.name,
            "project": self.project.name,
            "repository": self.project.repository,
            "issue": self.task.issue,
            "engine": self.project.engine.name,
            "model": self.project.model,
            "base": base,
        }

    def _collect(self, base: str) -> tuple[collect.Work | None, str]:
        """Check the bundle; return what it holds, and what is wrong with it."""
        bundle = self.directory / BUNDLE
        if not bundle.is_file():
            return None, ""
        try:
            with self._incoming(bundle) as path:
                return self._mirror("", results=True).take(path, base, self.name), ""
        except (collect.CollectError, OSError) as error:
            return None, f"the bundle is refused: {error}"

    @contextlib.contextmanager
    def _incoming(self, bundle: Path) -> Iterator[Path]:
        """Lend the bundle to the user that runs git."""
        path = Path(self.settings.mirror_dir, f"{self.name}.bundle")
        shutil.copyfile(bundle, path)
        try:
            if self.settings.git_user:
                owner = pwd.getpwnam(self.settings.git_user)
                os.chown(path, owner.pw_uid, owner.pw_gid)
            yield path
        finally:
            path.unlink(missing_ok=True)

    def _session(self) -> str:
        kind, key = self.project.engine.session_event
        if not kind:
            return ""
        for event in transcript.events(self.directory / TRANSCRIPT):
            if event.get("type") == kind and _SESSION.match(str(event.get(key))):
                return str(event[key])
        return ""

    def _deliver(self, forge: Forge, token: Callable[[], str], result: dict[str, Any]) -> None:
        try:
            deliver(self.settings, self.project, forge, token(), result)
        except (collect.CollectError, ForgeError, OSError) as error:
            result["delivery"] = f"failed: {error}"
            _log.warning("lane %s is done but not delivered: %s", self.name, error)

    def _finish(self, result: dict[str, Any]) -> None:
        documents.replace(self.directory / RESULT, result)
        (self.directory / STATE).unlink(missing_ok=True)

    # --- Leaving -----------------------------------------------------------------------

    def _clear(self) -> None:
        with contextlib.suppress(OSError):
            gateway.ask("close", self.name)
        shutil.rmtree(self.place, ignore_errors=True)

    def _residue(self, seen: Future[dict[str, set[str]]]) -> list[dict[str, Any]]:
        try:
            # Its own container and place were there already when it was looked.
            before = {
                kind: {name for name in names if name != self.name}
                for kind, names in seen.result().items()
            }
            after = engine.snapshot(Path(self.settings.run_dir))
        except engine.EngineError as error:
            left = [{"kind": "unknown", "name": str(error)}]
        else:
            # Other lanes come and go; what bears their names is theirs.
            others = {path.parent.name for path in Path(self.settings.run_dir).glob(f"*/{OWNER}")}
            left = [item for item in reaper.residue(before, after) if item["name"] not in others]
        record_residue(self.settings, self.name, left)
        return left


def rescued(lane: Lane, frame: bytes) -> None:
    """Keep what a frame of a dying lane holds."""
    reader = frames.Reader(lane.project.limits.bundle_max_mib * MIB)
    with contextlib.suppress(frames.FrameError):
        for handover in reader.feed(frame):
            lane._keep(handover)
            lane._final = None


def record_residue(settings: Settings, lane: str, left: list[dict[str, Any]]) -> None:
    """Remember differences for whoever alerts; the reaper forgets those that are gone."""
    path, at = Path(settings.state_dir, RESIDUE), documents.moment(time.time())
    known = list((documents.read(path) or {}).get("differences") or [])
    known += [
        {**item, "what": f"{item['kind']} {item['name']} of lane {lane}", "lane": lane, "since": at}
        for item in left
    ]
    documents.replace(path, {"differences": known[-200:], "checked_at": at})


def repository(
    settings: Settings, project: LaneProject, token: str, *, results: bool = False
) -> collect.Repository:
    """Return the project's mirror, or the repository that takes lanes' work.

    They are two: no lane sees another's work, and the mirror is what lanes read.
    """
    directory = Path(settings.mirror_dir, f"{project.name}{'.results' if results else ''}.git")
    github, prefix = settings.github, []
    if settings.git_user:
        prefix = [
            *("setpriv", f"--reuid={settings.git_user}", f"--regid={settings.git_user}"),
            *("--clear-groups", "--no-new-privs", "--"),
        ]
    found = collect.Repository(
        effects.run,
        directory,
        f"{github.git_url}/{project.repository}.git",
        git_environment(github.git_url, github.ca_file, token) if token else {},
        prefix,
    )
    if results:
        found.ensure()
        alternates = directory / "objects/info/alternates"
        wanted = f"{settings.mirror_dir}/{project.name}.git/objects\n"
        if not alternates.exists() or alternates.read_text() != wanted:
            alternates.write_text(wanted)
            alternates.chmod(0o644)
    return found


def token_of(settings: Settings, project: LaneProject) -> Callable[[], str]:
    """Return what yields a token for the project's repository.

    Raises:
        ConfigurationError: there is none.

    """
    return login.token_source(
        settings.github.login,
        settings.github.api_url,
        project.repository,
        PERMISSIONS,
        run=effects.run,
        fetch=effects.https_fetch(settings.github.ca_file or None),
        now=time.time,
    )


def deliver(
    settings: Settings,
    project: LaneProject,
    forge: Forge,
    token: str,
    result: dict[str, Any],
) -> None:
    """Push a finished lane's work and open its pull request; ``result`` says so afterwards.

    Raises:
        CollectError: git refuses.
        ForgeError: GitHub refuses or does not answer.

    """
    lane, issue = str(result["lane"]), int(result["issue"])
    branch = identity.branch(issue, lane)
    repository(settings, project, token, results=True).push(lane, branch)
    guarded = list(result["guarded_paths"])
    title = str(result["title"] or result["subject"] or f"Work of lane {lane}")
    lines = [
        f"Closes #{issue}." if issue else "",
        f"Made by lane `{lane}` ({result['engine']}, {result['model']}): {result['summary']}.",
        f"{result['requests_count']} requests, {result['tokens']} tokens, {result['duration_seconds']} s.",
    ]
    if guarded:
        lines.append(
            "It changes paths under guard, so it stays a draft until somebody has read them: "
            + ", ".join(f"`{path}`" for path in guarded[:20])
        )
    pull = forge.open_pull_request(
        branch,
        project.default_branch,
        title[:250],
        "\n\n".join(filter(None, lines)),
        draft=bool(guarded) or project.draft,
        labels=[project.guarded_label] if guarded else [],
    )
    result["branch"] = branch
    result["pull_request"] = {"number": pull.number, "url": pull.url}
    result["delivery"] = "done"


def gateway_lines(directory: Path) -> list[dict[str, Any]]:
    """Return the gateway's log of a lane."""
    return list(transcript.events(directory / GATEWAY_LOG))


def _feed(stream: IO[bytes], words: bytes) -> None:
    with contextlib.suppress(BrokenPipeError):
        stream.write(words)
    with contextlib.suppress(BrokenPipeError):
        stream.close()


def _count(value: object) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else 0


def _available_memory_bytes() -> int:
    for line in Path("/proc/meminfo").read_text(encoding="ascii").splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024
    return 0
