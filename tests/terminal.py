"""A person at a terminal: programs that ask are answered when, and only when, they wait for it."""

from __future__ import annotations

import contextlib
import os
import pty
import re
import select
import signal
import termios
import time
import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import residue

ICANON_FLAGS = 3


@dataclass(frozen=True)
class Sat:
    """How the program ended, and all that the terminal has shown."""

    status: int
    shown: str


def sit(
    argv: Sequence[str],
    answers: Iterable[tuple[str, str]],
    *,
    environment: Mapping[str, str],
    cwd: Path,
    kill_at: str = "",
    timeout_seconds: float = 120,
) -> Sat:
    """Run a program at a terminal of its own; each answer waits for its question, a pattern.

    With ``kill_at`` the whole group is killed as soon as that pattern is shown.
    """
    # Workers of Ansible are in sessions of their own, and outlive a killed parent.
    name, mark = "AINA_TEST_PLAY", str(uuid.uuid4())
    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(cwd)
        os.execvpe(argv[0], [*argv], {**environment, name: mark})  # noqa: S606 - the words are a list
    pending, shown, seen = [*answers], "", 0
    deadline = time.monotonic() + timeout_seconds
    try:
        while time.monotonic() < deadline:
            if select.select([terminal], [], [], 0.2)[0]:
                try:
                    shown += os.read(terminal, 65536).decode(errors="replace")
                except OSError:
                    break
            if kill_at and re.search(kill_at, shown[seen:]):
                os.killpg(pid, signal.SIGKILL)
                kill_at = ""
            if pending and (found := re.search(pending[0][0], shown[seen:])):
                seen += found.end()
                _wait_for_input(terminal)
                os.write(terminal, pending.pop(0)[1].encode() + b"\r")
        else:
            raise AssertionError(f"no end after {timeout_seconds} s:\n{shown}")
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(pid, signal.SIGKILL)
        _, status = os.waitpid(pid, 0)
        residue.end(f"{name}={mark}")
        os.close(terminal)
    assert not pending, f"never asked: {pending[0][0]}\n{shown}"
    return Sat(os.waitstatus_to_exitcode(status), shown)


def _wait_for_input(terminal: int) -> None:
    """What is typed before a program listens is thrown away by it."""
    for _turn in range(20):
        if not termios.tcgetattr(terminal)[ICANON_FLAGS] & termios.ICANON:
            break
        time.sleep(0.05)
    time.sleep(0.1)
