"""Networks that the container engine would take, and by which somebody has come in.

The engine keeps clear of what the host has an interface in. Of what lies behind a gateway, such as
a private network of the provider's or a tunnel, it knows nothing: answers would go to containers.

With IPv6 the engine makes the kernel forward, which then listens to no router any more: a way out
that a router has told of is gone when its time is over, half an hour later.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeAlias

from ...base.ports import Run
from .connection import ASK_SECONDS, Address, Session

_FIXED = ("bip", "bip6", "fixed-cidr", "fixed-cidr-v6")
_POOLS = "default-address-pools"
KEYS = frozenset({*_FIXED, _POOLS})
_SETTINGS = Path("/proc/sys/net/ipv6/conf")
Network: TypeAlias = "ipaddress.IPv4Network | ipaddress.IPv6Network"


def swallowed(
    wanted: Mapping[str, Any], current: Mapping[str, Any], sessions: Iterable[Session], run: Run
) -> Iterator[str]:
    """Yield which networks that are new in the engine's settings hold one end of a session.

    ``wanted`` and ``current`` are settings as ``daemon.json`` has them.
    """
    fresh = {
        key: value for key, value in wanted.items() if key in KEYS and current.get(key) != value
    }
    if not fresh:
        return
    for session in sessions:
        peer = session.peer
        if peer is None or session.is_of_the_host:
            continue
        for key, network in _networks(fresh):
            ends = (peer,) if key == _POOLS else (peer, session.address)
            if not any(end is not None and _is_in(end, network) for end in ends):
                continue
            # Networks that the host has an interface in are left out of a pool.
            if key == _POOLS and not (gateway := _gateway(peer, run)):
                continue
            by = f", which is reached by {gateway}," if key == _POOLS else ""
            yield (
                f"{key} {network} holds {peer}{by} from where {session.account} is logged in: answers "
                "would go to containers; declare another network"
            )


def deafened(
    wanted: Mapping[str, Any],
    current: Mapping[str, Any],
    run: Run,
    settings: Path | None = None,
) -> Iterator[str]:
    """Yield by which interfaces the host would lose its way out once the engine uses IPv6."""
    here = settings or _SETTINGS
    if not wanted.get("ipv6") or current.get("ipv6") or _value(here / "all/forwarding") != "0":
        return
    try:
        done = run(
            ["ip", "-6", "-o", "route", "show", "default", "proto", "ra"],
            timeout_seconds=ASK_SECONDS,
        )
    except FileNotFoundError:
        return
    words = [line.split() for line in done.stdout.decode(errors="replace").splitlines()]
    devices = {line[line.index("dev") + 1] for line in words if "dev" in line[:-1]}
    for device in sorted(devices):
        # Whoever listens outside of the kernel has said 0, and goes on.
        if _value(here / device / "accept_ra") == "1":
            yield (
                f"ipv6 makes the kernel forward, and {device} would then lose the default route "
                f"that a router has told it: set net.ipv6.conf.{device}.accept_ra to 2 first"
            )


def _value(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii").strip()
    except OSError:
        return ""


def _networks(settings: Mapping[str, Any]) -> Iterator[tuple[str, Network]]:
    pools = settings.get(_POOLS)
    found = [(_POOLS, pool.get("base")) for pool in pools or () if isinstance(pool, Mapping)]
    found += [(key, settings[key]) for key in _FIXED if key in settings]
    for key, text in found:
        try:
            yield key, ipaddress.ip_network(str(text), strict=False)
        except ValueError:
            continue  # the engine refuses it, in its own words


def _is_in(address: Address, network: Network) -> bool:
    return address.version == network.version and address in network


def _gateway(address: Address, run: Run) -> str:
    """Return by which gateway an address is reached; ``""`` where it is a neighbour."""
    try:
        done = run(["ip", "-o", "route", "get", str(address)], timeout_seconds=ASK_SECONDS)
    except FileNotFoundError:
        return "an unknown way"
    words = done.stdout.decode(errors="replace").split()
    if not done.ok or not words:
        return "an unknown way"
    return words[words.index("via") + 1] if "via" in words[:-1] else ""
