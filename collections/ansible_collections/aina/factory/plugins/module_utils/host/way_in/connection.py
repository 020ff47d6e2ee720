"""The way in: the SSH session by which a run came, and where SSH servers really listen.

What a configuration declares says little of that: systemd may hold the socket, a server may
run with settings that have changed since, and several may run.
"""

from __future__ import annotations

import ipaddress
import itertools
import os
import pwd
import re
import struct
import sys
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from ...base import processes
from ...base.ports import Run

Address: TypeAlias = "ipaddress.IPv4Address | ipaddress.IPv6Address"

PROC = Path("/proc")
ASK_SECONDS = 30.0
_VARIABLE = b"SSH_CONNECTION="
_SERVERS = frozenset({"sshd", "dropbear"})
_SESSION_SERVERS = frozenset({*_SERVERS, "sshd-session"})
_ESTABLISHED, _LISTENING = "01", "0A"
_STREAM = re.compile(r"(?P<address>.+):(?P<port>\d+) \(Stream\)")


@dataclass(frozen=True)
class Session:
    """The SSH session by which a run came.

    ``peer`` and ``address`` are the two ends; ``None`` where the server knows none, as over a
    socket of its own.
    """

    account: str
    peer: Address | None = None
    address: Address | None = None
    port: int = 0

    @property
    def is_of_the_host(self) -> bool:
        """Whether the host has knocked at itself, which no firewall sees."""
        return self.peer is not None and (self.peer.is_loopback or self.peer == self.address)


@dataclass(frozen=True)
class Listener:
    """Where connections are awaited, and the unit that owns the socket."""

    address: Address
    port: int
    unit: str = ""

    def takes(self, address: Address, port: int) -> bool:
        """Whether a connection to this address and port of the host arrives here."""
        if port != self.port:
            return False
        if self.address.is_unspecified:
            # By default a socket of IPv6 takes both.
            return self.address.version == 6 or address.version == 4
        return self.address == address

    def __str__(self) -> str:
        """Return the address and the port as one writes them."""
        host = f"[{self.address}]" if self.address.version == 6 else str(self.address)
        return f"{host}:{self.port}"


def address_of(text: str) -> Address | None:
    """Return the address; one of IPv4 that is written as IPv6 is one of IPv4."""
    try:
        found = ipaddress.ip_address(text.strip("[]").partition("%")[0])
    except ValueError:
        return None
    return getattr(found, "ipv4_mapped", None) or found


def parse_session(value: str, account: str) -> Session:
    words = value.split()
    if len(words) != 4 or not words[3].isdigit():
        return Session(account)
    peer, address = address_of(words[0]), address_of(words[2])
    if peer is None or address is None:
        return Session(account)
    return Session(account, peer, address, int(words[3]))


def read_session(process: int, proc: Path = PROC) -> Session | None:
    """Return the session that this process belongs to; ``None`` without one.

    ``sudo`` takes the variable away from what it starts, but not from itself and from what
    started it. The outermost process that has it was started by the server, for its account.
    """
    found = None
    value = b""
    for pid in processes.ancestry(process, proc):
        directory = proc / str(pid)
        try:
            entries = (directory / "environ").read_bytes().split(b"\0")
            owner = directory.stat().st_uid
        except OSError:
            continue
        seen = next((item for item in entries if item.startswith(_VARIABLE)), b"")
        if found is not None and seen != value:
            break
        if seen:
            value = seen
            text = seen.removeprefix(_VARIABLE).decode(errors="replace")
            # A shell may have made room for sudo, which is root's; the server's process is not.
            served = _server_of(pid, proc)
            found = parse_session(text, _account(served or owner))
    return found


def _server_of(process: int, proc: Path) -> int | None:
    """Return as whom the SSH server serves this session; ``None`` where no server is seen."""
    for pid in processes.ancestry(process, proc):
        if _name(proc / str(pid)) in _SESSION_SERVERS:
            return (proc / str(pid)).stat().st_uid
    return None


def read_others(listeners: Collection[Listener], proc: Path = PROC) -> list[Session]:
    """Return every SSH session that is open now, as its account and its ends.

    What a process remembers of a session that has ended does not count: the kernel must hold
    such a connection.
    """
    ports = {item.port for item in listeners}
    open_now = {
        (peer, address, port)
        for _inode, (address, port), (peer, _port) in _sockets(proc, _ESTABLISHED)
        if port in ports
    }
    found = []
    for directory in proc.glob("[0-9]*"):
        # The first process of a session is the child of the server that serves it.
        parent = processes.parent(int(directory.name), proc)
        if (
            _name(directory) in _SESSION_SERVERS
            or _name(proc / str(parent)) not in _SESSION_SERVERS
        ):
            continue
        session = read_session(int(directory.name), proc)
        if session and (session.peer, session.address, session.port) in open_now:
            found.append(session)
    return list(dict.fromkeys(found))


def read_sessions(
    process: int, listeners: Collection[Listener], proc: Path = PROC
) -> list[Session]:
    """Return the session that this process belongs to, or all that it may be.

    Where root is not let see the variables of others, it is one of those that are open now.
    """
    session = read_session(process, proc)
    if session is not None:
        return [session]
    ancestry = [proc / str(pid) for pid in processes.ancestry(process, proc)]
    served = [
        started
        for started, parent in itertools.pairwise(ancestry)
        if _name(parent) in _SESSION_SERVERS
    ]
    if not served:
        return []
    account = _account(served[0].stat().st_uid)
    ports = {item.port for item in listeners}
    found = [
        Session(account, peer, address, port)
        for _inode, (address, port), (peer, _port) in _sockets(proc, _ESTABLISHED)
        if port in ports
    ]
    return list(dict.fromkeys(found)) or [Session(account)]


def read_all(listeners: Collection[Listener]) -> tuple[list[Session], list[Session]]:
    """Return this process's own session, or all that it may be, and those of others."""
    own = read_sessions(os.getpid(), listeners)
    return own, [session for session in read_others(listeners) if session not in own]


def session_process(process: int, proc: Path = PROC) -> str:
    """Return what names the SSH server's process of this session, ``""`` outside of any.

    Connections that share one session have one such process; a new session has another.
    """
    for pid in processes.ancestry(process, proc):
        if _name(proc / str(pid)) in _SESSION_SERVERS:
            return processes.identity(pid, proc)
    return ""


def _account(user: int) -> str:
    try:
        return pwd.getpwuid(user).pw_name
    except KeyError:
        return str(user)


def read_listeners(run: Run, proc: Path = PROC) -> tuple[Listener, ...]:
    """Return where the host's SSH servers, and systemd on their behalf, await connections."""
    by_socket = _socket_units(run)
    sockets = {inode: local for inode, local, _remote in _sockets(proc, _LISTENING)}
    found = []
    for directory in sorted(proc.glob("[0-9]*"), key=lambda item: int(item.name)):
        # What a server started for one session listens for whoever forwards a port.
        parent = processes.parent(int(directory.name), proc)
        if _name(directory) in _SERVERS and _name(proc / str(parent)) not in _SERVERS:
            unit = _unit(directory)
            found += [
                Listener(*sockets[inode], unit)
                for inode in sorted(_open_sockets(directory))
                if inode in sockets
            ]
    owned = {(item.address, item.port) for item in by_socket}
    return (*by_socket, *(item for item in found if (item.address, item.port) not in owned))


def _socket_units(run: Run) -> tuple[Listener, ...]:
    properties = "--property=Id,ActiveState,Listen,Triggers"
    try:
        done = run(["systemctl", "show", "*.socket", properties], timeout_seconds=ASK_SECONDS)
    except FileNotFoundError:
        return ()
    return parse_socket_units(done.stdout.decode(errors="replace"))


def parse_socket_units(text: str) -> tuple[Listener, ...]:
    """Return the listeners among the sockets, as ``systemctl show`` tells them, that are SSH's."""
    found = []
    for block in text.split("\n\n"):
        pairs = [line.partition("=")[::2] for line in block.splitlines()]
        values = dict(pairs)
        names = f"{values.get('Id', '')} {values.get('Triggers', '')}"
        if values.get("ActiveState") != "active" or not re.search(r"ssh|dropbear", names):
            continue
        for name, value in pairs:
            match = _STREAM.fullmatch(value) if name == "Listen" else None
            address = address_of(match["address"]) if match else None
            if match and address is not None:
                found.append(Listener(address, int(match["port"]), values.get("Id", "")))
    return tuple(found)


End = tuple[Address, int]


def _sockets(proc: Path, state: str) -> Iterator[tuple[str, End, End]]:
    """Yield the inode and both ends of each socket in this state."""
    for name in ("tcp", "tcp6"):
        try:
            lines = (proc / "net" / name).read_text().splitlines()[1:]
        except OSError:
            continue  # a kernel without IPv6
        for line in lines:
            words = line.split()
            if len(words) > 9 and words[3] == state:
                yield words[9], _end(words[1]), _end(words[2])


def _end(text: str) -> End:
    host, _colon, port = text.partition(":")
    return _kernel_address(host), int(port, 16)


def _kernel_address(text: str) -> Address:
    """Return an address that the kernel prints as words in the machine's own byte order."""
    count = len(text) // 8
    words = [int(text[8 * index : 8 * index + 8], 16) for index in range(count)]
    order = "<" if sys.byteorder == "little" else ">"
    found = ipaddress.ip_address(struct.pack(f"{order}{count}I", *words))
    return getattr(found, "ipv4_mapped", None) or found


def _open_sockets(directory: Path) -> set[str]:
    found = set()
    try:
        for entry in (directory / "fd").iterdir():
            match = re.fullmatch(r"socket:\[(\d+)\]", str(entry.readlink()))
            if match:
                found.add(match[1])
    except OSError:
        return found  # it has ended meanwhile
    return found


def _name(directory: Path) -> str:
    try:
        return (directory / "comm").read_text(errors="replace").strip()
    except OSError:
        return ""


def _unit(directory: Path) -> str:
    try:
        text = (directory / "cgroup").read_text(errors="replace")
    except OSError:
        return ""
    names = [part for line in text.splitlines() for part in line.split("/")]
    return next((name for name in names if name.endswith(".service")), "")


def interface_of(address: Address, run: Run) -> str:
    """Return the interface that carries this address of the host; ``""`` where nobody knows."""
    try:
        done = run(["ip", "-o", "addr", "show", "to", str(address)], timeout_seconds=ASK_SECONDS)
    except FileNotFoundError:
        return ""
    words = done.stdout.decode(errors="replace").split()
    return words[1] if done.ok and len(words) > 1 else ""
