"""What a run of the tests has left on this machine, found by the mark that all it starts inherits."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import containers

# In the environment of every process of a run, and a label of its containers.
RUN_VARIABLE = "AINA_TEST_RUN"
_DOCKER_SECONDS = 60


def processes(mark: str) -> Iterator[int]:
    """Yield the processes with a variable, ``NAME=VALUE``, in their environment, but this one."""
    for environ in Path("/proc").glob("[0-9]*/environ"):
        pid = int(environ.parent.name)
        with contextlib.suppress(OSError):
            if pid != os.getpid() and mark.encode() in environ.read_bytes().split(b"\0"):
                yield pid


def end(mark: str) -> list[str]:
    """Kill the processes with the variable; return what they were."""
    found = []
    for pid in processes(mark):
        with contextlib.suppress(OSError):
            words = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ")
            os.kill(pid, signal.SIGKILL)
            if words:  # what is dead already has none
                found.append(f"process {pid}: {words.decode(errors='replace').strip()[:120]}")
    return found


def _docker(*words: str) -> list[str]:
    """Return the lines that docker prints; none without an engine."""
    if shutil.which("docker") is None:
        return []
    try:
        done = subprocess.run(
            ["docker", *words], capture_output=True, text=True, timeout=_DOCKER_SECONDS
        )
    except subprocess.TimeoutExpired:
        return []
    return done.stdout.split() if done.returncode == 0 else []


@dataclass(frozen=True)
class Engine:
    """The volumes and networks that nothing on an engine uses: others' runs use theirs."""

    volumes: frozenset[str]
    networks: frozenset[str]

    @classmethod
    def now(cls) -> Engine:
        unused = ("--filter", "dangling=true")
        networks = _docker("network", "ls", "--format", "{{.Name}}", *unused)
        return cls(frozenset(_docker("volume", "ls", "--quiet", *unused)), frozenset(networks))


def clean(before: Engine) -> list[str]:
    """Remove what the run has left, and return what it was.

    Volumes and networks carry no mark: those that were not there before are told, not removed.
    """
    mark = os.environ[RUN_VARIABLE]
    left = end(f"{RUN_VARIABLE}={mark}")
    for name in _docker("ps", "--all", "--format", "{{.Names}}", *_label(mark)):
        left.append(f"container {name}")
    if left:
        containers.remove(f"run={mark}")
    _docker("network", "prune", "--force", *_label(mark))
    after = Engine.now()
    # The network of the sandbox is part of what script/setup makes.
    networks = after.networks - before.networks - {containers.NAME}
    left += [f"volume {name}" for name in sorted(after.volumes - before.volumes)]
    return left + [f"network {name}" for name in sorted(networks)]


def _label(mark: str) -> tuple[str, str]:
    return "--filter", f"label=aina-factory.run={mark}"
