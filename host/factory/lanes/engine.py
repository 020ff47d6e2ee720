"""The container engine as lanes need it, through its client."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Sequence
from pathlib import Path

from ansible_collections.aina.factory.plugins.module_utils.lanes.reaper import Container
from factory import effects

_SECONDS = 60.0
_LABELS = ("lane", "lane.project", "lane.issue", "lane.deadline", "lane.supervisor")


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


def lanes() -> list[Container]:
    """Return all containers of lanes, ended ones too."""
    form = "\t".join(["{{.ID}}", "{{.State}}", *(f'{{{{.Label "{name}"}}}}' for name in _LABELS)])
    argv = ["ps", "--all", "--no-trunc", "--filter", "label=aina-factory.role=lane"]
    rows = call([*argv, "--format", form]).decode().splitlines()
    found = []
    for row in rows:
        identity, state, *values = row.split("\t")
        labels = dict(zip(_LABELS, values, strict=True))
        running = state in ("running", "paused", "restarting")
        found.append(Container(identity, labels["lane"], labels, running))
    return found


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
    driver = call(["info", "--format", "{{.CgroupDriver}}"]).decode().strip()
    if driver == "systemd":
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
    info = json.loads(call(["info", "--format", "{{json .}}"]))
    root, driver = Path(str(info["DockerRootDir"])), str(info["Driver"])
    return {
        "container": {item.lane for item in lanes()},
        "volume": set(
            call(["volume", "ls", "--quiet", "--filter", "dangling=true"]).decode().split()
        ),
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
