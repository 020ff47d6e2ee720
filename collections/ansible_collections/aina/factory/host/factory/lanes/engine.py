"""The container engine as lanes need it."""

from __future__ import annotations

import contextlib
import functools
import http.client
import json
import socket
import struct
import threading
from collections.abc import Iterator, Mapping
from concurrent.futures import Executor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from factory import effects
from factory.core.base import docker
from factory.core.base.docker import DockerError
from factory.core.lanes import container
from factory.core.lanes.reaper import LaneContainer
from factory.unix_http import Connection, fetch_through

SOCKET = docker.SOCKET
# How the engine puts standard output and error on one connection.
_FRAME, _STDERR = struct.Struct(">B3xI"), 2


@functools.cache
def _engine(socket_path: str) -> docker.Engine:
    return docker.Engine(fetch_through(socket_path), socket_path, docker.QUERY_SECONDS)


def lanes() -> list[LaneContainer]:
    """Return all containers of lanes, ended ones too.

    Raises:
        DockerError: the engine does not answer.

    """
    return [
        LaneContainer(
            id=str(item["Id"]),
            lane=str(item["Labels"].get("lane", "")),
            labels=item["Labels"],
            running=item["State"] in docker.ALIVE,
        )
        for item in _engine(SOCKET).labelled("aina-factory.role=lane")
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

    def attach(self, *, is_new: bool = True) -> None:
        """Take its output over, and of a new one its input.

        Raises:
            DockerError: the engine refuses.

        """
        path = f"/containers/{self.id}/attach?stream=1&stdin={is_new:d}&stdout=1&stderr=1"
        ask = f"POST {path} HTTP/1.1\r\nHost: docker\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n"
        try:
            self._link.connect(SOCKET)
            self._link.sendall(ask.encode())
            # Nothing may be read beyond the header: what follows is the container's.
            header = b""
            while not header.endswith(b"\r\n\r\n"):
                piece = self._link.recv(1)
                if not piece:
                    raise DockerError(f"the engine gives no access to {self.id[:12]}: {header!r}")
                header += piece
        except OSError as error:
            raise DockerError(f"the engine does not answer at {SOCKET}: {error}") from error
        if header.split(b" ", 2)[1] not in (b"101", b"200"):
            raise DockerError(f"the engine gives no access to {self.id[:12]}: {header!r}")

    def watch(self, seconds: float, *, is_new: bool = True) -> None:
        """Notice its end, from now on for ``seconds``; a new one has not begun yet.

        Raises:
            DockerError: the engine refuses.

        """
        connection = Connection(SOCKET, seconds)
        try:
            # Not its removal: whatever keeps the engine from that does not keep the lane waiting.
            condition = "next-exit" if is_new else "not-running"
            connection.request("POST", f"/containers/{self.id}/wait?condition={condition}")
            # It answers at once, and says the rest when the container has ended.
            answer = connection.getresponse()
        except (OSError, http.client.HTTPException) as error:
            raise DockerError(f"the engine does not answer at {SOCKET}: {error}") from error
        if answer.status != 200:
            raise DockerError(f"the engine does not watch {self.id[:12]}: {answer.read()!r}")

        def until_ended() -> None:
            with contextlib.suppress(OSError, http.client.HTTPException, ValueError, KeyError):
                self.status = int(json.loads(answer.read())["StatusCode"])
            connection.close()
            self._ended.set()

        threading.Thread(target=until_ended, daemon=True).start()


def start(name: str, creation: Mapping[str, Any], watch_seconds: float) -> ContainerHandle:
    """Create and start a container.

    Raises:
        DockerError: the engine refuses or does not answer; then there is none.

    """
    created = _engine(SOCKET).create("/containers/create", creation, name=name)
    handle = ContainerHandle(str(created["Id"]))
    try:
        handle.attach()
        handle.watch(watch_seconds)
        _engine(SOCKET).create(f"/containers/{handle.id}/start")
    except DockerError:
        with contextlib.suppress(DockerError):
            remove(handle.id)
        raise
    return handle


def adopt(identity: str, watch_seconds: float) -> ContainerHandle:
    """Take over a container that runs, and that nobody is attached to any more.

    Raises:
        DockerError: the engine refuses or does not answer, or it is gone.

    """
    handle = ContainerHandle(identity)
    handle.attach(is_new=False)
    handle.watch(watch_seconds, is_new=False)
    return handle


def end(name: str, seconds: int) -> None:
    """Let a container end by itself within ``seconds``, then kill it; gone is well.

    Raises:
        DockerError: the engine does not end it.

    """
    _engine(SOCKET).stop(name, seconds)


def remove(name: str) -> None:
    """Remove a container whatever it does, with its anonymous volumes.

    Raises:
        DockerError: it is still there.

    """
    _engine(SOCKET).discard(name, force=True)


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
    try:
        done = effects.run_bounded(max_bytes)(argv, timeout_seconds=docker.QUERY_SECONDS)
    except FileNotFoundError:
        raise
    except OSError:
        return b""
    return done.stdout if done.ok else b""


def cgroup_parent(slice_name: str, pool: Executor) -> str:
    """Return the parent that puts a container into the slice, as this engine writes it.

    Raises:
        DockerError: the engine or systemd does not answer.

    """
    info = pool.submit(_engine(SOCKET).info)
    argv = ["systemctl", "show", "--property=ControlGroup", "--value", slice_name]
    try:
        shown = effects.run(argv, timeout_seconds=docker.QUERY_SECONDS)
        group = shown.stdout.decode().strip() if shown.ok else ""
        return container.cgroup_parent(str(info.result()["CgroupDriver"]), slice_name, group)
    except (OSError, ValueError) as error:
        raise DockerError(str(error)) from error


def snapshot(run_dir: Path) -> dict[str, set[str]]:
    """Return what lanes could leave behind: containers, volumes, overlays, places.

    Overlays that a container or an image stands on are none of theirs.

    Raises:
        DockerError: the engine does not answer.

    """
    info = _engine(SOCKET).info()
    root, driver = Path(str(info["DockerRootDir"])), str(info["Driver"])
    volumes = _engine(SOCKET).get("/volumes", filters='{"dangling": ["true"]}')
    return {
        "container": {item.lane for item in lanes()},
        "volume": {item["Name"] for item in volumes["Volumes"] or []},
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
