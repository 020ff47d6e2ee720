"""Networks of the engine that would swallow the way by which somebody came."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from factory.core.base.ports import Completed
from factory.core.host.way_in import networks
from factory.core.host.way_in.connection import Session


def session(peer: str, address: str) -> Session:
    return Session("ali", ipaddress.ip_address(peer), ipaddress.ip_address(address), 22)


BEHIND = session("172.30.7.2", "192.0.2.10")
NEIGHBOUR = session("172.30.7.2", "172.30.7.10")
SIX = session("fd00:1::2", "2001:db8::10")
POOL = {"default-address-pools": [{"base": "172.30.0.0/16", "size": 24}]}


def host(argv: Sequence[str | bytes], **_options: Any) -> Completed:
    """Answer as a host does that reaches its own network alone without a gateway."""
    assert list(argv[:4]) == ["ip", "-o", "route", "get"]
    return Completed(0, f"{argv[4]!s} via 192.0.2.1 dev eth0 src 192.0.2.10 uid 0".encode(), b"")


def neighbourly(argv: Sequence[str | bytes], **_options: Any) -> Completed:
    return Completed(0, f"{argv[4]!s} dev eth0 src 172.30.7.10 uid 0".encode(), b"")


@pytest.mark.parametrize(
    ("wanted", "current", "who", "run", "words"),
    [
        (POOL, {}, BEHIND, host, "172.30.0.0/16 holds 172.30.7.2, which is reached by 192.0.2.1"),
        (POOL, POOL, BEHIND, host, ""),
        (POOL, {}, NEIGHBOUR, neighbourly, ""),
        (POOL, {}, session("198.51.100.4", "192.0.2.10"), host, ""),
        ({"bip": "172.30.7.1/24"}, {}, NEIGHBOUR, neighbourly, "bip 172.30.7.0/24 holds"),
        ({"bip": "172.30.7.1/24"}, {"bip": "172.30.7.1/24"}, NEIGHBOUR, neighbourly, ""),
        ({"fixed-cidr-v6": "fd00:1::/64"}, {}, SIX, host, "fixed-cidr-v6 fd00:1::/64 holds"),
        ({"fixed-cidr-v6": "fd00:2::/64"}, {}, SIX, host, ""),
        (
            {"default-address-pools": [{"base": "fd00::/8", "size": 64}]},
            POOL,
            SIX,
            host,
            "holds fd00:1::2, which is reached by 192.0.2.1",
        ),
        ({"bip": "nonsense"}, {}, BEHIND, host, ""),
        ({"log-driver": "local"}, {}, BEHIND, host, ""),
    ],
)
def test_networks_by_which_somebody_came_are_not_given_to_the_engine(
    wanted: dict[str, Any], current: dict[str, Any], who: Session, run: Any, words: str
) -> None:
    found = "; ".join(networks.swallowed(wanted, current, [who], run))

    assert words in found
    assert bool(words) == bool(found)


@pytest.mark.parametrize(
    ("wanted", "current", "forwarding", "accept_ra", "cut_off"),
    [
        ({"ipv6": True}, {}, "0", "1", True),
        ({"ipv6": True}, {"ipv6": True}, "0", "1", False),
        ({"ipv6": False}, {}, "0", "1", False),
        # The kernel forwards already, a daemon listens, or somebody has said that both shall be.
        ({"ipv6": True}, {}, "1", "1", False),
        ({"ipv6": True}, {}, "0", "0", False),
        ({"ipv6": True}, {}, "0", "2", False),
    ],
)
def test_a_route_that_a_router_has_told_is_not_given_up_for_ipv6_of_containers(
    wanted: dict[str, Any],
    current: dict[str, Any],
    forwarding: str,
    accept_ra: str,
    cut_off: bool,
    tmp_path: Path,
) -> None:
    for name, value in {"all/forwarding": forwarding, "eth0/accept_ra": accept_ra}.items():
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).write_text(f"{value}\n")

    def run(argv: Sequence[str | bytes], **_options: Any) -> Completed:
        assert list(argv[-2:]) == ["proto", "ra"]
        told = b"default via fe80::1 dev eth0 proto ra metric 1024 expires 1795sec pref medium\n"
        return Completed(0, told, b"")

    found = [*networks.deafened(wanted, current, run, tmp_path)]

    assert bool(found) == cut_off
    assert all("set net.ipv6.conf.eth0.accept_ra to 2 first" in words for words in found)
