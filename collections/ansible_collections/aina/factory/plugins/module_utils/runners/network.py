"""The bridge of the job containers and the rules that isolate them.

The rules stand in a table of their own with a hook before everybody else's: a packet that
is dropped here stays dropped, whatever the engine or a firewall tool accepts later, and
neither of them touches the table when it restarts.
"""

from __future__ import annotations

import hashlib
import ipaddress
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from ..base.ports import Run
from ..base.run import checked
from . import layout
from .container import DOCKER
from .settings import Network

TABLE = "inet aina_runners"
_DNS_PORT = 53
# Everything that is not the public internet: this host, the private networks around it, the
# services of its provider (169.254.169.254 among them), multicast.
_CLOSED = (
    *("0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16"),
    *("172.16.0.0/12", "192.0.0.0/24", "192.168.0.0/16", "198.18.0.0/15", "224.0.0.0/3"),
)
_METADATA = "169.254.0.0/16"


@dataclass(frozen=True)
class Openings:
    """What the rules depend on.

    ``allowed`` are closed addresses with ports that jobs need all the same, ``nameservers``
    answer questions for names, ``native_users`` run jobs on the host itself.
    """

    allowed: tuple[tuple[str, int], ...] = ()
    nameservers: tuple[str, ...] = ()
    native_users: tuple[str, ...] = ()


def is_closed(address: str) -> bool:
    """Whether an address is closed to jobs: everything but the public internet."""
    found = ipaddress.ip_address(address)
    return found.version != 4 or any(found in ipaddress.ip_network(net) for net in _CLOSED)


def ruleset(network: Network, openings: Openings) -> str:
    """Return the rules as ``nft --file`` reads them: they replace the former ones in one step."""
    jobs, lines = f'iifname "{network.bridge}"', []
    doors = [
        f"{jobs} ip daddr {address} tcp dport {port} accept"
        for address, port in sorted(set(openings.allowed))
        if is_closed(address)
    ]
    doors += [
        f"{jobs} ip daddr {address} {protocol} dport {_DNS_PORT} accept"
        for address in sorted(set(openings.nameservers))
        if ipaddress.ip_address(address).version == 4
        for protocol in ("tcp", "udp")
    ]
    established = "ct state established,related accept"
    lines += _chain("input", [f"{jobs} {established}", *doors, f"{jobs} drop"])
    lines += _chain(
        "forward",
        [
            f"{jobs} {established}",
            f'oifname "{network.bridge}" {established}',
            # Nobody talks to a job, its neighbour in the next slot least of all.
            f'oifname "{network.bridge}" drop',
            *doors,
            f"{jobs} ip daddr {{ {', '.join(_CLOSED)} }} drop",
            f"{jobs} meta nfproto ipv6 drop",
        ],
    )
    lines += _chain("output", list(_native(network, openings.native_users)))
    text = "\n".join(lines)
    mark = hashlib.sha256(text.encode()).hexdigest()[:24]
    body = f"{text}\n  chain {marker(mark)} {{ }}\n"
    return f"table {TABLE} {{ }}\ndelete table {TABLE}\ntable {TABLE} {{\n{body}}}\n"


def marker(mark: str) -> str:
    """Return the name of the empty chain that tells which rules are in force."""
    return f"content_{mark}"


def marker_of(rules: str) -> str:
    """Return the name of that chain in a rule set."""
    return next(word for word in rules.split() if word.startswith("content_"))


def _chain(hook: str, rules: Sequence[str]) -> list[str]:
    head = f"type filter hook {hook} priority -10; policy accept;"
    return [f"  chain {hook} {{", f"    {head}", *(f"    {rule}" for rule in rules), "  }"]


def _native(network: Network, users: Iterable[str]) -> Iterable[str]:
    for user in sorted(users):
        yield f'meta skuid "{user}" ip daddr {_METADATA} drop'
        for port in network.denied_local_ports:
            yield f'meta skuid "{user}" oifname "lo" tcp dport {port} reject with tcp reset'


def create_argv(network: Network) -> list[str]:
    """Return the command that makes the engine's network."""
    option = "com.docker.network.bridge"
    argv = [*DOCKER, "network", "create", "--driver=bridge", f"--subnet={network.subnet}"]
    argv += ["--opt", f"{option}.name={network.bridge}", "--opt", f"{option}.enable_icc=false"]
    return [*argv, "--label", f"{layout.ROLE_LABEL}=runner", network.name]


def take_down(network: Network, run: Run) -> list[str]:
    """Remove rules and network where they are; return what was done.

    Raises:
        CommandError: something of it stays; the message quotes who refuses.

    """
    done = []
    family, table = TABLE.split()
    if _answers(["nft", "list", "table", family, table], run):
        checked(run, ["nft", "delete", "table", family, table], timeout_seconds=60)
        done.append("remove the firewall rules")
    if _answers([*DOCKER, "network", "inspect", network.name], run):
        checked(run, [*DOCKER, "network", "rm", network.name], timeout_seconds=60)
        done.append(f"remove the network {network.name}")
    return done


def _answers(argv: Sequence[str], run: Run) -> bool:
    try:
        return run(argv, timeout_seconds=60).ok
    except FileNotFoundError:
        return False  # without the program there is nothing that it made
