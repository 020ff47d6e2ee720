"""How a supervisor and the gateway meet: where a lane's socket and permit lie, and a word to it."""

from __future__ import annotations

import socket
from pathlib import Path

CONTROL_SOCKET = "/run/factory-lane-gateway/control.sock"
PERMIT, SOCKET_DIR, SOCKET = "permit.json", "gw", "gw.sock"


def ask(verb: str, lane: str, control: Path = Path(CONTROL_SOCKET)) -> str:
    """Ask the running gateway.

    Raises:
        OSError: it does not answer.

    """
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as link:
        link.settimeout(10)
        link.connect(str(control))
        link.sendall(f"{verb} {lane}\n".encode())
        with link.makefile("r", encoding="utf-8") as stream:
            return stream.readline().strip()
