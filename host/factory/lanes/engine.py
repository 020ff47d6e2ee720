"""The container engine as lanes need it, through its client."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from ansible_collections.aina.factory.plugins.module_utils.lanes.reaper import Container
from ansible_collections.aina.factory.plugins.module_utils.ports import Request
from factory import effects
from factory.unix_http import fetch_through

_SECONDS = 60.0
SOCKET = "/run/docker.sock"


class EngineError(Exception):
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
        words = done.stderr.decode(errors="replace").strip()[-500:]
        raise EngineError(f"docker {argv[0]}: {words}")
    return done.stdout


def _get(path: str, **filters: list[str]) -> Any:
    """Ask the engine itself: its client takes ten times as long to start as the answer takes."""
    query = f"?{urlencode({'all': '1', 'filters': json.dumps(filters)})}" if filters else ""
    try:
        answer = fetch_through(SOCKET)(
            Request("GET", f"http://docker{path}{query}"), timeout_seconds=_SECONDS
        )
        if answer.status != 200:
            raise EngineError(f"the engine answered {answer.status} to {path}")
        return json.loads(answer.body)
    except (OSError, ValueError) as error:
        raise EngineError(f"the engine does not answer at {SOCKET}: {error}") from error


def lanes() -> list[Container]:
    """Return all containers of lanes, ended ones too."""
    return [
        Container(
            id=str(item["Id"]),
            lane=str(item["Labels"].get("lane", "")),
            labels=item["Labels"],
            running=item["State"] in ("running", "paused", "restarting"),
        )
        for item in _get("/containers/json", label=["aina-factory.role=lane"])
    ]


def end(container: str, seconds: int) -> None:
    """Let a container end by itself within ``seconds``, then kill it; gone is well."""
    effects.run(
        ["docker", "stop", f"--time={seconds}", container], timeout_seconds=seconds + _SECONDS
    )


def remove(container: str) -> None:
    """Remove a container whatever it does, with its anonymous volumes.

    Raises:
        EngineError: it is still there.

    """
    argv = ["docker", "rm", "--force", "--volumes", container]
    done = effects.run(argv, timeout_seconds=_SECONDS)
    words = done.stderr.decode(errors="replace")
    if not done.ok and "No such container" not in words and "already in progress" not in words:
        raise EngineError(f"docker rm {container}: {words.strip()[-300:]}")


def rescue(container: str, max_bytes: int) -> bytes:
    """Return one frame with what is committed in a running lane; empty when it gives none."""
    argv = [
        "docker",
        "exec",
        "--user=10001:10001",
        container,
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


def cgroup_parent(slice_name: str) -> str:
    """Return the parent that puts a container into the slice, as this engine writes it.

    Raises:
        EngineError: the engine or systemd does not answer.

    """
    if _get("/info")["CgroupDriver"] == "systemd":
        return slice_name
    shown = effects.run(
        ["systemctl", "show", "--property=ControlGroup", "--value", slice_name],
        timeout_seconds=_SECONDS,
    )
    group = shown.stdout.decode().strip()
    if not shown.ok or not group:
        raise EngineError(f"{slice_name} is not active; converge the role agent_lanes")
    return group


def snapshot(run_dir: Path) -> dict[str, set[str]]:
    """Return what lanes could leave behind: containers, volumes, overlays, places.

    Overlays that a container or an image stands on are none of theirs.

    Raises:
        EngineError: the engine does not answer.

    """
    info = _get("/info")
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
