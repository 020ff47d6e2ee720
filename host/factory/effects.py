"""The real effects behind the core's ports: programs, clock, HTTP."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Mapping, Sequence

from ansible_collections.aina.factory.plugins.module_utils.ports import Completed


def run(
    argv: Sequence[str | bytes],
    *,
    cwd: str | bytes | None = None,
    stdin: bytes = b"",
    environment: Mapping[str, str] | None = None,
    timeout_seconds: float | None = None,
) -> Completed:
    """Run a program to its end; see ``ports.Run``."""
    try:
        done = subprocess.run(
            list(argv),
            cwd=cwd,
            input=stdin,
            env={**os.environ, **environment} if environment else None,
            capture_output=True,
            timeout=timeout_seconds,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise TimeoutError(f"{argv[0]!r} was still running after {timeout_seconds} s") from error
    return Completed(done.returncode, done.stdout, done.stderr)


def now() -> float:
    """Seconds since the epoch."""
    return time.time()
