"""The container engine, as the supervisor of a slot uses it."""

from __future__ import annotations

import logging
import queue
import subprocess
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import IO

from factory.core.base import docker
from factory.core.base.docker import ALIVE, DockerError
from factory.core.base.ports import Fetch, Run
from factory.core.runners import layout, state
from factory.core.runners.container import DOCKER
from factory.core.runners.processes import WORKER

_LINES_MAX = 1000
# The statuses that the engine's clients give: it could not start a container, or what is in it.
NOT_STARTED = 125
_NOT_EXECUTABLE = (126, 127)

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Info:
    """What a container's limits depend on."""

    cgroup_driver: str
    cpus_count: int
    storage_driver: str = ""
    root_dir: str = ""


@dataclass(frozen=True)
class SlotContainer:
    """A container of a slot, from its labels."""

    name: str
    runner_id: int
    target: str
    running: bool
    slot: str = ""
    declared: str = ""
    created_at: float = 0.0


@dataclass(frozen=True)
class ContainerStatus:
    """Whether a container runs, and with what it ended if it does not."""

    running: bool
    exit_code: int


class Attached:
    """A client that waits for a container's end; its lines go to the log as they come."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        """Read in the background: a full pipe would stop the container."""
        self._process = process
        self._lines: queue.Queue[str] = queue.Queue(_LINES_MAX)
        if process.stdout is not None:
            self._reader = threading.Thread(target=self._read, args=(process.stdout,), daemon=True)
            self._reader.start()

    def _read(self, stream: IO[bytes]) -> None:
        for raw in stream:
            line = state.printable(raw.decode(errors="replace").rstrip())
            if not line:
                continue
            print(line, flush=True)
            try:
                self._lines.put_nowait(line)
            except queue.Full:
                continue  # nobody looks at so many; the log has them

    def ended(self, seconds: float) -> bool:
        """Wait so long for the client's end; whether it came, and all that was said with it."""
        try:
            self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            return False
        if self._process.stdout is not None:
            self._reader.join(5)
        return True

    def lines(self) -> list[str]:
        """Return what was said since the last call."""
        found = []
        while True:
            try:
                found.append(self._lines.get_nowait())
            except queue.Empty:
                return found

    def close(self) -> None:
        self._process.kill()
        self._process.wait()


class SlotEngine:
    """The engine behind its own socket; its client holds a container's input and output."""

    def __init__(self, run: Run, fetch: Fetch) -> None:
        self._engine = docker.Engine(fetch, timeout_seconds=docker.QUERY_SECONDS)
        self._client = docker.Client(run, DOCKER)

    def info(self) -> Info:
        """Return what limits depend on.

        Raises:
            DockerError: it does not answer.

        """
        try:
            document = self._engine.get("/info")
            return Info(
                str(document["CgroupDriver"]),
                int(document["NCPU"]),
                str(document.get("Driver") or ""),
                str(document.get("DockerRootDir") or ""),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise DockerError(
                f"what the engine says of itself has another shape: {error!r}"
            ) from error

    def image_id(self, name: str) -> str | None:
        """Return an image's id; None when the engine has no such image."""
        found = self._engine.find(f"/images/{name}/json")
        return None if found is None else str(found["Id"])

    def containers(self, slot: str) -> list[SlotContainer]:
        """Return the containers of a slot, stopped ones too."""
        return self._labelled(f"{layout.INSTANCE_LABEL}={slot}")

    def all_containers(self) -> list[SlotContainer]:
        """Return the containers of all slots, also of those that nobody declares."""
        return self._labelled(f"{layout.ROLE_LABEL}=runner")

    def _labelled(self, label: str) -> list[SlotContainer]:
        found = []
        for item in self._engine.labelled(label):
            labels = item["Labels"]
            runner = str(labels.get(layout.RUNNER_LABEL, ""))
            found.append(
                SlotContainer(
                    name=str(item["Names"][0]).lstrip("/"),
                    runner_id=int(runner) if runner.isdigit() else 0,
                    target=str(labels.get(layout.TARGET_LABEL, "")),
                    running=item["State"] in ALIVE,
                    slot=str(labels.get(layout.INSTANCE_LABEL, "")),
                    declared=str(labels.get(layout.DECLARED_LABEL, "")),
                    created_at=float(item.get("Created") or 0),
                )
            )
        return found

    def create(self, argv: Sequence[str]) -> None:
        """Make a container.

        Raises:
            DockerError: there is none.

        """
        self._client.ask(*argv[len(DOCKER) :])

    def start(self, name: str, secret: str) -> Attached:
        """Start a container in the foreground; ``secret`` is the first line that it reads."""
        process = subprocess.Popen(
            [*DOCKER, "start", "--attach", "--interactive", name],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            # A stop of the service must not end the job before its time.
            start_new_session=True,
        )
        if process.stdin is not None:
            try:
                process.stdin.write(secret.encode() + b"\n")
                process.stdin.close()
            except BrokenPipeError:
                _log.warning("the container ended before it took its configuration")
        return Attached(process)

    def adopt(self, name: str) -> Attached:
        """Wait for a container that an earlier supervisor started."""
        argv = [*DOCKER, "wait", name]
        quiet = subprocess.DEVNULL
        return Attached(subprocess.Popen(argv, stdout=quiet, stderr=quiet))

    def status(self, name: str) -> ContainerStatus | None:
        """Return how a container is; None when there is none of this name.

        Raises:
            DockerError: the engine does not say.

        """
        document = self._engine.find(f"/containers/{name}/json")
        if document is None:
            return None
        status, exit_code = document["State"]["Status"], int(document["State"]["ExitCode"])
        if status == "created" and exit_code not in _NOT_EXECUTABLE:
            exit_code = NOT_STARTED
        return ContainerStatus(status in ALIVE, exit_code)

    def has_worker(self, name: str) -> bool | None:
        """Whether a job is running in a container; None when nobody can say."""
        try:
            # The engine finds its processes by the column of their numbers.
            rows = self._engine.get(f"/containers/{name}/top", ps_args="-eo pid,comm")["Processes"]
        except DockerError:
            return None
        return WORKER in {row[-1] for row in rows}

    def written_mib(self, name: str) -> float | None:
        """Return how much a container has written to its own layer; None when nobody can say."""
        try:
            return int(self._engine.get(f"/containers/{name}/json", size="1")["SizeRw"]) / 2**20
        except (DockerError, KeyError, TypeError, ValueError):
            return None

    def end(self, name: str, grace_seconds: int = 10) -> None:
        """End a container: politely, then not."""
        try:
            self._engine.stop(name, grace_seconds)
        except DockerError as error:
            _log.warning("%s", error)

    def remove(self, name: str) -> None:
        """Remove a container that does not run."""
        self._engine.discard(name)
