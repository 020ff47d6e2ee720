"""The container engine as lanes need it."""

from __future__ import annotations

import contextlib
import functools
import http.client
import json
import socket
import struct
import subprocess
import threading
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from factory import effects
from factory.core.base.errors import FactoryError
from factory.core.base.ports import Request
from factory.core.lanes import container
from factory.core.lanes.reaper import LaneContainer
from factory.unix_http import Connection, fetch_through

_SECONDS = 60.0
SOCKET = "/run/docker.sock"
# How the engine puts standard output and error on one connection.
_FRAME, _STDERR = struct.Struct(">B3xI"), 2


class EngineError(FactoryError):
    """The engine does not answer, or refuses; the message quotes it."""


def call(argv: Sequence[str], *, timeout_seconds: float = _SECONDS) -> bytes:
    """Run the client and return what it printed.

    Raises:
        EngineError: it failed.

    """
    try:
        done = effects.run(["docker", *argv], timeout_seconds=timeout_seconds)
    except (OSError, TimeoutError) as error:
        raise EngineError(f"docker {argv[0]}: {error}") from error
    if not done.ok:
        raise EngineError(f"docker {argv[0]}: {done.said}")
    return done.stdout


def _ask(
    method: str, path: str, body: Any = None, *, timeout_seconds: float = _SECONDS
) -> tuple[int, Any]:
    """Ask the engine itself: its client takes ten times as long to start as the answer takes."""
    headers = {"Content-Type": "application/json"} if body is not None else {}
    content = json.dumps(body).encode() if body is not None else None
    request = Request(method, f"http://docker{path}", headers, content)
    try:
        answer = fetch_through(SOCKET)(request, timeout_seconds=timeout_seconds)
        return answer.status, json.loads(answer.body or b"null")
    except (OSError, ValueError) as error:
        raise EngineError(f"the engine does not answer at {SOCKET}: {error}") from error


def _get(path: str, **filters: list[str]) -> Any:
    query = f"?{urlencode({'all': '1', 'filters': json.dumps(filters)})}" if filters else ""
    return _expect(200, "GET", f"{path}{query}")


def _expect(wanted: int, method: str, path: str, body: Any = None) -> Any:
    status, document = _ask(method, path, body)
    if status != wanted:
        words = document.get("message") if isinstance(document, dict) else document
        raise EngineError(f"the engine answers {status} to {method} {path}: {words}")
    return document


@functools.cache
def _info(_socket: str) -> Mapping[str, Any]:
    """Return what the engine says of itself; that stays, and takes it a while to say."""
    return dict(_get("/info"))


def lanes() -> list[LaneContainer]:
    """Return all containers of lanes, ended ones too."""
    return [
        LaneContainer(
            id=str(item["Id"]),
            lane=str(item["Labels"].get("lane", "")),
            labels=item["Labels"],
            running=item["State"] in ("running", "paused", "restarting"),
        )
        for item in _get("/containers/json", label=["aina-factory.role=lane"])
    ]


@dataclass
class ContainerHandle:
    """A started container: its input, its output, its end."""

    id: str
    status: int | None = None
    _ended: threading.Event = field(default_factory=threading.Event)
    _link: socket.socket = field(default_factory=lambda: socket.socket(socket.AF_UNIX))

    def send(self, content: bytes) -> None:
        """Write to its standard input and close that; a container that is gone takes nothing."""
        with contextlib.suppress(OSError):
            self._link.sendall(content)
            self._link.shutdown(socket.SHUT_WR)

    def output(self) -> Iterator[tuple[bool, bytes]]:
        """Yield pieces of what it writes, and whether that is standard error, to its end."""
        with contextlib.suppress(OSError), self._link.makefile("rb") as stream:
            while len(header := stream.read(_FRAME.size)) == _FRAME.size:
                kind, size = _FRAME.unpack(header)
                yield kind == _STDERR, stream.read(size)

    def wait(self, seconds: float) -> bool:
        """Return, after ``seconds`` at most, whether it ended; ``status`` is what it ended with.

        That is ``None`` when the engine was lost meanwhile.
        """
        return self._ended.wait(seconds)

    def attach(self) -> None:
        """Take its input and output over.

        Raises:
            EngineError: the engine refuses.

        """
        path = f"/containers/{self.id}/attach?stream=1&stdin=1&stdout=1&stderr=1"
        ask = f"POST {path} HTTP/1.1\r\nHost: docker\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n"
        try:
            self._link.connect(SOCKET)
            self._link.sendall(ask.encode())
            # Nothing may be read beyond the header: what follows is the container's.
            header = b""
            while not header.endswith(b"\r\n\r\n"):
                piece = self._link.recv(1)
                if not piece:
                    raise EngineError(f"the engine gives no access to {self.id[:12]}: {header!r}")
                header += piece
        except OSError as error:
            raise EngineError(f"the engine does not answer at {SOCKET}: {error}") from error
        if header.split(b" ", 2)[1] not in (b"101", b"200"):
            raise EngineError(f"the engine gives no access to {self.id[:12]}: {header!r}")

    def watch(self, seconds: float) -> None:
        """Notice its end, from now on for ``seconds``.

        Raises:
            EngineError: the engine refuses.

        """
        connection = Connection(SOCKET, seconds)
        try:
            # Not its removal: whatever keeps the engine from that does not keep the lane waiting.
            connection.request("POST", f"/containers/{self.id}/wait?condition=next-exit")
            # It answers at once, and says the rest when the container has ended.
            answer = connection.getresponse()
        except (OSError, http.client.HTTPException) as error:
            raise EngineError(f"the engine does not answer at {SOCKET}: {error}") from error
        if answer.status != 200:
            raise EngineError(f"the engine does not watch {self.id[:12]}: {answer.read()!r}")

        def until_ended() -> None:
            with contextlib.suppress(OSError, http.client.HTTPException, ValueError, KeyError):
                self.status = int(json.loads(answer.read())["StatusCode"])
            connection.close()
            self._ended.set()

        threading.Thread(target=until_ended, daemon=True).start()


def start(name: str, creation: Mapping[str, Any], watch_seconds: float) -> ContainerHandle:
    """Create and start a container.

    Raises:
        EngineError: the engine refuses or does not answer; then there is none.

    """
    created = _expect(201, "POST", f"/containers/create?{urlencode({'name': name})}", creation)
    handle = ContainerHandle(str(created["Id"]))
    try:
        handle.attach()
        handle.watch(watch_seconds)
        _expect(204, "POST", f"/containers/{handle.id}/start")
    except EngineError:
        with contextlib.suppress(EngineError):
            remove(handle.id)
        raise
    return handle


def end(name: str, seconds: int) -> None:
    """Let a container end by itself within ``seconds``, then kill it; gone is well.

    Raises:
        EngineError: the engine does not answer.

    """
    _ask("POST", f"/containers/{name}/stop?t={seconds}", timeout_seconds=seconds + _SECONDS)


def remove(name: str) -> None:
    """Remove a container whatever it does, with its anonymous volumes.

    Raises:
        EngineError: it is still there.

    """
    status, document = _ask("DELETE", f"/containers/{name}?force=1&v=1")
    words = str((document or {}).get("message", "")) if isinstance(document, dict) else ""
    if status not in (204, 404) and "already in progress" not in words:
        raise EngineError(f"the engine does not remove {name}: {status} {words}")


def rescue(name: str, max_bytes: int) -> bytes:
    """Return one frame with what is committed in a running lane; empty when it gives none."""
    argv = [
        "docker",
        "exec",
        f"--user={container.UID}:{container.UID}",
        name,
        "/usr/local/bin/lane-export",
        "result",
    ]
    process = subprocess.Popen(
        ["timeout", "--kill-after=5", "60", *argv],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    with process:
        if process.stdout is None:
            raise EngineError("docker exec has no output")
        content = process.stdout.read(max_bytes + 1)
        if len(content) > max_bytes:
            process.kill()
            return b""
    return content if process.returncode == 0 else b""


def cgroup_parent(slice_name: str, pool: Executor) -> str:
    """Return the parent that puts a container into the slice, as this engine writes it.

    Raises:
        EngineError: the engine or systemd does not answer.

    """
    driver = pool.submit(_info, SOCKET)
    argv = ["systemctl", "show", "--property=ControlGroup", "--value", slice_name]
    try:
        shown = effects.run(argv, timeout_seconds=_SECONDS)
        group = shown.stdout.decode().strip() if shown.ok else ""
        return container.cgroup_parent(str(driver.result()["CgroupDriver"]), slice_name, group)
    except (OSError, ValueError) as error:
        raise EngineError(str(error)) from error


def snapshot(run_dir: Path) -> dict[str, set[str]]:
    """Return what lanes could leave behind: containers, volumes, overlays, places.

    Overlays that a container or an image stands on are none of theirs.

    Raises:
        EngineError: the engine does not answer.

    """
    info = _info(SOCKET)
    root, driver = Path(str(info["DockerRootDir"])), str(info["Driver"])
    return {
        "container": {item.lane for item in lanes()},
        "volume": {item["Name"] for item in _get("/volumes", dangling=["true"])["Volumes"] or []},
        "overlay": _orphans(root, driver),
        "place": {path.name for path in run_dir.iterdir() if path.is_dir()}
        if run_dir.is_dir()
        else set(),
    }


def _orphans(root: Path, driver: str) -> set[str]:
    layers = root / "image" / driver / "layerdb"
    if not layers.is_dir() or not (root / driver).is_dir():
        return set()
    present = {path.name for path in (root / driver).iterdir() if path.name != "l"}
    used: set[str] = set()
    for name in ("mount-id", "init-id", "cache-id"):
        for path in layers.glob(f"*/*/{name}"):
            try:
                used.add(path.read_text(encoding="ascii").strip())
            except OSError:
                continue  # gone meanwhile
    return present - used
