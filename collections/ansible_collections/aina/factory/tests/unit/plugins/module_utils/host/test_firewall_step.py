"""What the step refuses before anything is changed, seen together with the steps beside it."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from factory.core.base.ports import Completed
from factory.core.host import firewall, steps
from factory.core.host.steps import StepError
from factory.core.host.steps import firewall as step
from factory.core.host.way_in import connection
from factory.core.host.way_in.connection import Listener, Session

ALLOWED: dict[str, Any] = {"port": "22", "protocol": "tcp", "sources": []}
PARAMETERS: dict[str, Any] = {
    "state": "present",
    "allowed": [ALLOWED],
    "published": [],
    "trusted_interfaces": [],
    "guard_containers": True,
}


def run(argv: Sequence[str | bytes], **_options: Any) -> Completed:
    assert argv[0] == "ip", "a guard changes nothing"
    return Completed(0, b"2: eth0    inet 192.0.2.1/24", b"")


@pytest.fixture(autouse=True)
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server by which one comes over port 22."""
    peer, address = (ipaddress.ip_address(text) for text in ("203.0.113.9", "192.0.2.1"))
    session = Session("ali", peer, address, 22)
    listener = Listener(ipaddress.ip_address("::"), 22, "ssh.service")
    monkeypatch.setattr(connection, "read_sessions", lambda _process, _listeners: [session])
    monkeypatch.setattr(connection, "read_listeners", lambda _run: (listener,))
    monkeypatch.setattr(firewall, "UFW_DIR", tmp_path)
    monkeypatch.setattr(firewall, "UFW_DEFAULTS", tmp_path / "ufw")
    monkeypatch.setattr(step, "_NOTE", tmp_path / "note.json")


def refusal(declared: dict[str, Any], **changed: Any) -> str:
    """Return why the step refuses; it does so in check mode and before anything is installed."""
    settings = [("ssh_server", {"settings": declared})]
    context = steps.Context(run, check_mode=True, warn=print, declared=settings)
    try:
        steps.guard(step, {**PARAMETERS, **changed}, context)
    except StepError as error:
        return str(error)
    return ""


def test_what_lets_the_run_and_the_server_in_is_not_refused() -> None:
    assert refusal({}) == ""
    assert refusal({"Port": 22}) == ""
    assert refusal({}, allowed=[{**ALLOWED, "sources": ["198.51.100.1", "any"]}]) == ""
    assert refusal({}, allowed=[], trusted_interfaces=["eth0"]).startswith("the SSH server listens")


def test_a_port_to_which_the_same_run_moves_the_server_must_be_open() -> None:
    assert "listens on port 2222, which no entry" in refusal({"Port": 2222})


def test_the_address_of_the_run_must_be_among_the_sources() -> None:
    allowed = [{**ALLOWED, "sources": ["198.51.100.0/24"]}]

    assert "this run came from 203.0.113.9 to port 22" in refusal({}, allowed=allowed)
    assert refusal({}, state="absent", allowed=allowed) == ""


def test_a_damaged_record_is_no_empty_one(tmp_path: Path) -> None:
    (tmp_path / "note.json").write_text('{"enabled":')

    assert refusal({}).endswith("note.json is damaged; remove it")
