"""Kill or hold a running reap at an exact point, by the interpreter's audit events.

Every change of the file system and every start of a program raises an event just before
it happens, whatever the code that makes it looks like. Python imports this file on start
because its directory is on PYTHONPATH.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path

CHANGES = ("os.rename", "os.remove", "os.rmdir", "os.mkdir", "os.chmod", "os.symlink", "os.link")
_state = {"seen": 0, "held": 0}


def _hook(event: str, arguments: tuple[object, ...]) -> None:
    if event not in CHANGES and event != "subprocess.Popen":
        return
    _state["seen"] += 1
    log = os.environ.get("REAP_TEST_LOG")
    if log:
        descriptor = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        os.write(descriptor, f"{event} {arguments[:2]!a}\n".encode())
        os.close(descriptor)
    if _state["seen"] == int(os.environ.get("REAP_TEST_KILL_AT", "0")):
        os.kill(os.getpid(), signal.SIGKILL)
    hold = os.environ.get("REAP_TEST_HOLD")
    moved = os.fsencode(str(arguments[0])) if event == "os.rename" else b""
    if hold and b"agent-workspaces/" in moved and not _state["held"]:
        _state["held"] = 1
        Path(f"{hold}.tmp").write_text(str(arguments[0]))
        os.link(f"{hold}.tmp", hold)
        while Path(hold).exists():
            time.sleep(0.005)


if "reap" in sys.orig_argv and "--empty-trash" not in sys.orig_argv:
    sys.addaudithook(_hook)
