"""Who could not come in again, as the host is."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from factory.core.base.ports import Completed
from factory.core.host import firewall, guard
from factory.core.host.way_in import accounts, connection, logins
from factory.core.host.way_in.accounts import Account
from factory.core.host.way_in.connection import Listener, Session

OPEN = "pubkeyauthentication yes\n"
BOB = Session("bob", ipaddress.ip_address("2001:db8::9"), ipaddress.ip_address("2001:db8::1"), 22)
NOW = 20_000 * 86400.0
IN_FORCE = firewall.Situation(True, "deny", False, False, {})
ANY_6, ANY_4 = "::/0", "0.0.0.0/0"


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """A host that lets bob in, by IPv6; what is put into it changes that."""
    rule = firewall.Rule("allow", "tcp", "22", ANY_6, "any", ANY_6)
    state: dict[str, Any] = {"sshd": OPEN, "rules": [rule], "ended": "", "situation": IN_FORCE}
    program = tmp_path / "sshd"
    program.touch()
    # Of the other nobody has opened anything, which keeps nobody out who comes by the first.
    listeners = [Listener(ipaddress.ip_address("::"), port) for port in (22, 2222)]

    def account(name: str, _effective: object, today: int) -> Account:
        assert today == 20_000
        return Account(name, (name,), 1, ended=state["ended"])

    monkeypatch.setattr(logins, "PROGRAM", str(program))
    monkeypatch.setattr(accounts, "read_account", account)
    monkeypatch.setattr(connection, "read_listeners", lambda _run: listeners)
    monkeypatch.setattr(firewall, "read", lambda _run: state["situation"])
    monkeypatch.setattr(
        firewall,
        "read_ufw",
        lambda *_words: firewall.Ufw({4: state["rules"], 6: state["rules"]}),
    )
    return state


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({}, ""),
        ({"sshd": f"{OPEN}allowusers ali\n"}, "shut bob out"),
        ({"sshd": f"{OPEN}forcecommand /bin/false\n"}, "ForceCommand"),
        ({"sshd": None}, "sshd -T for user=bob,host=2001:db8::9"),
        ({"ended": "has ended on 2024-01-01"}, "bob has ended on 2024-01-01"),
        ({"rules": []}, "bob is logged in from 2001:db8::9 to port 22, and no rule lets it in"),
        ({"rules": [], "situation": firewall.Situation(False, "", False, False, {})}, ""),
        ({"rules": [], "situation": firewall.Situation(True, "allow", False, False, {})}, ""),
    ],
)
def test_whoever_could_not_come_in_again_is_told(
    host: dict[str, Any], change: dict[str, Any], why: str
) -> None:
    host.update(change)

    def run(argv: Sequence[str | bytes], **_options: Any) -> Completed:
        said = host["sshd"]
        if argv[0] == "ip":
            return Completed(0, b"2: eth0 inet6 2001:db8::1/64", b"")
        return Completed(255 if said is None else 0, (said or "").encode(), b"no")

    found = "; ".join(f"{who.account}: {words}" for who, words in guard.shut([BOB], run, NOW))

    assert why in found
    assert bool(why) == bool(found)


def test_nothing_is_asked_for_where_nobody_else_was_logged_in(host: dict[str, Any]) -> None:
    del host

    def run(argv: Sequence[str | bytes], **_options: Any) -> Completed:
        pytest.fail(f"asked: {argv!r}")

    assert [*guard.shut([], run, NOW)] == []
