"""Into a lane: the one that runs, or a container that begins where a finished one has left off."""

from __future__ import annotations

import contextlib
import os
import secrets
import shlex
import shutil
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from factory import effects
from factory.core.base import documents, processes
from factory.core.base.docker import DockerError
from factory.core.lanes import container, identity
from factory.core.lanes.settings import LaneProject, LanesSettings
from factory.lanes import capacity, delivery, engine, supervisor

_BEGINS = b"the agent starts"
_BEGIN_MAX_BYTES, _OUTPUT_MAX_BYTES = 1 << 20, 4 << 20
SHELL_SECONDS = 4 * 3600.0
_DIRECTORY = f"{container.WORK}/repository"


@contextlib.contextmanager
def reopened(
    settings: LanesSettings, project: LaneProject, result: dict[str, Any], seconds: float
) -> Iterator[str]:
    """Begin a container as a lane's, with what a finished lane has left; yield its name.

    Nobody works in it, it reaches no model, and nothing of it is handed over. It ends with the block.

    Raises:
        DockerError: the engine refuses, or what the lane has left cannot be taken up.

    """
    lane = identity.lane_id(project.name, int(result["issue"]), secrets.token_hex(4))
    place, kept = Path(settings.run_dir, lane), Path(settings.state_dir, str(result["lane"]))
    seed, deadline = place / "seed", time.time() + seconds
    place.mkdir(mode=0o755)
    handle: engine.ContainerHandle | None = None
    try:
        owner = {"project": project.name, "issue": result["issue"]}
        documents.replace(place / capacity.OWNER, {**owner, "supervisor": processes.identity()})
        seed.mkdir(mode=0o755)
        with contextlib.suppress(FileNotFoundError):
            shutil.copyfile(kept / supervisor.BUNDLE, seed / supervisor.BUNDLE)
            (seed / supervisor.BUNDLE).chmod(0o644)
        with ThreadPoolExecutor(2) as pool:
            parent = engine.cgroup_parent(settings.slice, pool)
        wanted = container.creation(
            project,
            container.Place(
                lane=lane,
                issue=int(result["issue"]),
                socket_dir="",
                mirror=str(delivery.repository(settings, project, "").directory),
                store=settings.store_dir if Path(settings.store_dir).is_dir() else "",
                seed=str(seed),
                cgroup_parent=parent,
                deadline=deadline,
                supervisor=processes.identity(),
            ),
        )
        wanted["Cmd"] = ["sleep", f"{seconds:.0f}"]
        handle = engine.start(container.name(lane), wanted, seconds)
        handle.send(f"{result['base']} {result.get('onto') or ''}\n".encode())
        said = b""
        for is_transcript, piece in handle.output():
            said += piece if is_transcript else b""
            if _BEGINS in said or len(said) > _BEGIN_MAX_BYTES:
                break
        if _BEGINS not in said:
            raise DockerError(
                f"what lane {result['lane']} has left cannot be taken up: {said[-300:]!r}"
            )
        yield container.name(lane)
    finally:
        if handle is not None:
            with contextlib.suppress(DockerError):
                engine.remove(handle.id)
        shutil.rmtree(place, ignore_errors=True)


def _inside(name: str, *words: str, options: tuple[str, ...] = ()) -> list[str]:
    user = f"--user={container.UID}:{container.UID}"
    return ["docker", "exec", *options, user, f"--workdir={_DIRECTORY}", name, *words]


def shell(name: str, recording: Path) -> int:
    """Let somebody into a container, and record what goes over the screen; return how that ended."""
    recording.touch(mode=0o600)
    options = ("--interactive", "--tty") if os.isatty(0) else ("--interactive",)
    command = shlex.join(_inside(name, "bash", "-l", options=options))
    argv = ["script", "--quiet", "--flush", "--append", "--return", f"--command={command}"]
    return subprocess.run([*argv, str(recording)], check=False).returncode


def check(name: str, command: str, seconds: float) -> tuple[bool, str]:
    """Run a project's own check in a container; return whether it passed, and its last words."""
    argv = _inside(
        name, "bash", "-c", f"{{ {command}\n}} 2>&1 | tail -c 4000; exit ${{PIPESTATUS[0]}}"
    )
    try:
        done = effects.run_bounded(_OUTPUT_MAX_BYTES)(argv, timeout_seconds=seconds)
    except OSError as error:
        return False, str(error)
    return done.ok, done.stdout.decode(errors="replace")
