"""The session of a run and the listeners, read from a kernel's files that a test has written."""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from factory.core.base.ports import Completed
from factory.core.host.way_in import connection
from factory.core.host.way_in.connection import Listener, Session

EVERYWHERE = "0.0.0.0"  # noqa: S104 - what a kernel lists; nothing is bound
HEADER = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid\n"
CAME = "SSH_CONNECTION=203.0.113.9 50000 192.0.2.1 2222"
SESSION = ("203.0.113.9", "192.0.2.1", 2222)


def ip(text: str) -> connection.Address:
    return ipaddress.ip_address(text)


def process(
    proc: Path,
    number: int,
    parent: int,
    name: str,
    environment: str = "",
    sockets: Sequence[int] = (),
    unit: str = "",
) -> None:
    directory = proc / str(number)
    (directory / "fd").mkdir(parents=True)
    (directory / "stat").write_text(f"{number} ({name} (x) y) S {parent} 1 1")
    (directory / "comm").write_text(f"{name}\n")
    (directory / "cgroup").write_text(f"0::/system.slice/{unit}\n")
    (directory / "environ").write_bytes(environment.replace("\n", "\0").encode())
    for descriptor, inode in enumerate(sockets):
        (directory / "fd" / str(descriptor)).symlink_to(f"socket:[{inode}]")


def listening(proc: Path, name: str, *entries: tuple[str, int]) -> None:
    (proc / "net").mkdir(exist_ok=True)
    lines = [
        f"   0: {local} 00000000:0000 0A 0:0 00:0 0 0 0 {inode} 1 0\n" for local, inode in entries
    ]
    (proc / "net" / name).write_text(HEADER + "".join(lines))


def systemctl(text: str) -> Any:
    def run(argv: Sequence[str | bytes], **_options: Any) -> Completed:
        assert argv[0] == "systemctl"
        return Completed(0, text.encode(), b"")

    return run


def test_the_session_is_found_beyond_a_sudo_that_took_the_variable_away(tmp_path: Path) -> None:
    process(tmp_path, 1, 0, "systemd")
    process(tmp_path, 10, 1, "sshd", "")
    process(tmp_path, 20, 10, "sshd-session")
    process(tmp_path, 30, 20, "sh", f"USER=ali\n{CAME}")
    process(tmp_path, 40, 30, "sudo", CAME)
    process(tmp_path, 50, 40, "python3", "USER=root")

    found = connection.read_session(50, tmp_path)

    assert found is not None
    assert (str(found.peer), str(found.address), found.port) == SESSION
    # The owner of the outermost process that has the variable: whoever ran this test.
    assert found.account == connection._account(os.getuid())
    assert connection.read_session(10, tmp_path) is None


def test_a_session_whose_variables_are_hidden_is_one_of_those_that_are_open(tmp_path: Path) -> None:
    process(tmp_path, 10, 1, "sshd")
    process(tmp_path, 20, 10, "sshd-session")
    process(tmp_path, 30, 20, "sh")
    process(tmp_path, 40, 30, "sudo")
    (tmp_path / "net").mkdir()
    rows = (
        "0: 010200C0:08AE 097100CB:C350 01 0:0 00:0 0 0 0 5 1 0\n"
        "1: 010200C0:0016 097100CB:C350 01 0:0 00:0 0 0 0 6 1 0\n"
    )
    (tmp_path / "net" / "tcp").write_text(HEADER + rows)
    there = [Listener(ip("::"), 2222)]

    (found,) = connection.read_sessions(40, there, tmp_path)

    assert (str(found.peer), str(found.address), found.port) == SESSION
    assert connection.read_sessions(40, [], tmp_path) == [Session(found.account)]
    # Neither the server itself nor what is started locally came by it.
    assert connection.read_sessions(10, there, tmp_path) == []


@pytest.mark.skipif(os.geteuid() != 0, reason="giving files away needs root")
def test_sudo_in_place_of_the_shell_is_no_login_of_root(tmp_path: Path) -> None:
    process(tmp_path, 10, 1, "sshd")
    process(tmp_path, 20, 10, "sshd-session")
    process(tmp_path, 25, 20, "sshd-session")
    process(tmp_path, 30, 25, "sudo", CAME)
    process(tmp_path, 40, 30, "python3")
    os.chown(tmp_path / "25", 1, 1)

    found = connection.read_session(40, tmp_path)

    assert found is not None
    assert found.account == "daemon"


def test_whoever_else_is_logged_in_is_known_while_the_connection_is_open(tmp_path: Path) -> None:
    process(tmp_path, 10, 1, "sshd")
    process(tmp_path, 20, 10, "sshd-session")
    process(tmp_path, 30, 20, "bash", CAME)
    process(tmp_path, 40, 30, "sleep", CAME)
    # Of a session that has ended: what it started goes on and remembers.
    process(tmp_path, 50, 10, "sshd-session")
    process(tmp_path, 60, 50, "tmux", "SSH_CONNECTION=198.51.100.1 1 192.0.2.1 2222")
    (tmp_path / "net").mkdir()
    row = "0: 010200C0:08AE 097100CB:C350 01 0:0 00:0 0 0 0 5 1 0\n"
    (tmp_path / "net" / "tcp").write_text(HEADER + row)

    (found,) = connection.read_others([Listener(ip("::"), 2222)], tmp_path)

    assert (str(found.peer), str(found.address), found.port) == SESSION
    assert connection.read_others([Listener(ip("::"), 22)], tmp_path) == []


def test_sessions_are_told_apart_by_the_process_that_serves_them(tmp_path: Path) -> None:
    for number, parent, name in (
        (10, 1, "sshd"),
        (20, 10, "sshd"),
        (21, 10, "sshd"),
        (30, 20, "sh"),
    ):
        process(tmp_path, number, parent, name)
        fields = " ".join(["S", str(parent), *["1"] * 17, str(number * 100)])
        (tmp_path / str(number) / "stat").write_text(f"{number} ({name}) {fields}")
    process(tmp_path, 40, 21, "sh")

    assert connection.session_process(30, tmp_path) == "20:2000"
    assert connection.session_process(40, tmp_path) == "21:2100"
    assert connection.session_process(1, tmp_path) == ""


def test_a_session_within_another_is_the_nearest(tmp_path: Path) -> None:
    process(tmp_path, 30, 1, "sh", "SSH_CONNECTION=198.51.100.1 1 192.0.2.1 22")
    process(tmp_path, 40, 30, "sshd")
    process(tmp_path, 50, 40, "sh", CAME)

    found = connection.read_session(50, tmp_path)

    assert found is not None
    assert found.port == 2222


@pytest.mark.parametrize(
    ("value", "peer"),
    [
        ("203.0.113.9 1 192.0.2.1 22", "203.0.113.9"),
        ("::ffff:203.0.113.9 1 ::ffff:192.0.2.1 22", "203.0.113.9"),
        ("fe80::1%eth0 1 fe80::2%eth0 22", "fe80::1"),
        ("UNKNOWN 65535 UNKNOWN 65535", None),
        ("", None),
    ],
)
def test_both_ends_of_a_session_are_read_as_the_firewall_sees_them(
    value: str, peer: str | None
) -> None:
    found = connection.parse_session(value, "ali")

    assert found.account == "ali"
    assert found.peer == (ip(peer) if peer else None)


def test_listeners_are_those_of_the_server_and_not_of_what_it_serves(tmp_path: Path) -> None:
    process(tmp_path, 1, 0, "systemd", sockets=[7])
    process(tmp_path, 10, 1, "sshd", sockets=[3, 4], unit="ssh.service")
    process(tmp_path, 20, 10, "sshd", sockets=[5], unit="session-1.scope")
    process(tmp_path, 30, 1, "sshd", sockets=[6], unit="rescue.service")
    process(tmp_path, 40, 1, "nginx", sockets=[7])
    listening(tmp_path, "tcp", ("00000000:0016", 3), ("0100007F:177A", 5), ("010200C0:08AE", 6))
    listening(tmp_path, "tcp6", (f"{'0' * 32}:0016", 4), (f"{'0' * 32}:0050", 7))

    found = connection.read_listeners(systemctl(""), tmp_path)

    assert found == (
        Listener(ip(EVERYWHERE), 22, "ssh.service"),
        Listener(ip("::"), 22, "ssh.service"),
        Listener(ip("192.0.2.1"), 2222, "rescue.service"),
    )


def test_a_socket_that_systemd_holds_is_a_listener_whoever_has_it_too(tmp_path: Path) -> None:
    process(tmp_path, 10, 1, "sshd", sockets=[3], unit="ssh.service")
    listening(tmp_path, "tcp", ("00000000:08AE", 3))
    text = """\
Listen=0.0.0.0:2222 (Stream)
Listen=[2001:db8::1]:2200 (Stream)
Id=ssh.socket
Triggers=ssh.service
ActiveState=active

Listen=/run/ssh-unix-local/socket (Stream)
Id=sshd-unix-local.socket
Triggers=
ActiveState=active

Listen=[::]:22 (Stream)
Id=sshd.socket
Triggers=
ActiveState=inactive

Listen=[::]:80 (Stream)
Id=web.socket
Triggers=web.service
ActiveState=active
"""

    assert connection.read_listeners(systemctl(text), tmp_path) == (
        Listener(ip(EVERYWHERE), 2222, "ssh.socket"),
        Listener(ip("2001:db8::1"), 2200, "ssh.socket"),
    )


@pytest.mark.parametrize(
    ("listener", "takes"),
    [(EVERYWHERE, True), ("::", True), ("192.0.2.1", True), ("192.0.2.2", False)],
)
def test_a_listener_takes_what_arrives_at_its_address(listener: str, takes: bool) -> None:
    assert Listener(ip(listener), 22).takes(ip("192.0.2.1"), 22) is takes
    assert not Listener(ip(listener), 22).takes(ip("192.0.2.1"), 2222)


def test_a_host_that_knocks_at_itself_meets_no_firewall() -> None:
    assert Session("ali", ip("192.0.2.1"), ip("192.0.2.1"), 22).is_of_the_host
    assert Session("ali", ip("::1"), ip("::1"), 22).is_of_the_host
    assert not Session("ali", ip("203.0.113.9"), ip("192.0.2.1"), 22).is_of_the_host
