"""The job containers' network: made at the engine, bounded by rules in the kernel, checked before each job."""

from __future__ import annotations

import pwd
import socket
from collections.abc import Iterable
from pathlib import Path
from urllib.parse import urlsplit

from factory.core.base.errors import FactoryError
from factory.core.base.ports import Run
from factory.core.base.run import checked, ended
from factory.core.runners import layout, network
from factory.core.runners.container import DOCKER
from factory.core.runners.network import Openings
from factory.core.runners.settings import Destination, Mode, RunnersSettings

_SECONDS = 60.0
_RESOLVERS = (Path("/etc/resolv.conf"), Path("/run/systemd/resolve/resolv.conf"))


class IsolationError(FactoryError):
    """The jobs could not be isolated; the message says what to do. No job may run without them."""


def rules(settings: RunnersSettings) -> str:
    """Return the rules that must be in force."""
    wanted = [*settings.network.allowed, _api_destination(settings)]
    users = [i.name for i in settings.instances if i.mode == Mode.NATIVE and i.present]
    return network.ruleset(
        settings.network,
        Openings(
            allowed=tuple(_resolved(wanted)),
            nameservers=tuple(_nameservers()),
            native_users=tuple(_user_ids(users)),
        ),
    )


def _api_destination(settings: RunnersSettings) -> Destination:
    """Return where GitHub is: a server of one's own may stand in a private network."""
    address = urlsplit(settings.github.api_url)
    return Destination(host=address.hostname or "", port=address.port or 443)


def _resolved(wanted: Iterable[Destination]) -> Iterable[tuple[str, int]]:
    for destination in wanted:
        try:
            found = socket.getaddrinfo(
                destination.host, destination.port, socket.AF_INET, socket.SOCK_STREAM
            )
        except OSError:
            continue  # a name that nobody knows opens no door
        for *_rest, address in found:
            yield str(address[0]), destination.port


def _nameservers() -> Iterable[str]:
    """Return whom a container asks for names: the engine hands on all that are not this host's own."""
    for path in _RESOLVERS:
        try:
            lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
        except OSError:
            continue
        for line in lines:
            words = line.split()
            if len(words) > 1 and words[0] == "nameserver" and _is_foreign(words[1]):
                yield words[1]


def _is_foreign(address: str) -> bool:
    return ":" not in address and not address.startswith("127.")


def _user_ids(instances: Iterable[str]) -> Iterable[str]:
    for name in instances:
        try:
            yield str(pwd.getpwnam(layout.user(name)).pw_uid)
        except KeyError:
            continue  # its first start puts the rules in force again


def enforce(settings: RunnersSettings, run: Run) -> list[str]:
    """Make the network where it is needed and put the rules in force; return what was done.

    Raises:
        IsolationError: one of the two is not possible.

    """
    done = []
    if any(item.mode == Mode.EPHEMERAL and item.present for item in settings.instances):
        done += _make_network(settings, run)
    wanted = rules(settings)
    if not _are_in_force(wanted, run):
        done.append("put the firewall rules in force")
    # In any case, and in one step: somebody may have changed single rules.
    checked(
        run,
        ["nft", "--file", "-"],
        error=IsolationError,
        stdin=wanted.encode(),
        timeout_seconds=_SECONDS,
    )
    return done


def problem(settings: RunnersSettings, run: Run) -> str:
    """Return why no job may run; "" when network and rules are as they must be."""
    try:
        if not _are_in_force(rules(settings), run):
            enforce(settings, run)
        if not _exists(settings, run):
            _make_network(settings, run)
    except IsolationError as error:
        return str(error)
    return ""


def _are_in_force(wanted: str, run: Run) -> bool:
    family, table = network.TABLE.split()
    argv = ["nft", "list", "chain", family, table, network.marker_of(wanted)]
    try:
        return run(argv, timeout_seconds=_SECONDS).ok
    except OSError as error:
        raise IsolationError(f"nft: {error}; install nftables") from error


def _exists(settings: RunnersSettings, run: Run) -> bool:
    form = '{{index .Options "com.docker.network.bridge.name"}}'
    argv = [*DOCKER, "network", "inspect", "--format", form, settings.network.name]
    name = "docker network inspect"
    done = ended(run, argv, name=name, error=IsolationError, timeout_seconds=_SECONDS)
    if done.ok:
        return done.stdout.decode().strip() == settings.network.bridge
    words = done.said
    if "no such network" not in words.lower() and "not found" not in words.lower():
        raise IsolationError(f"{name}: {words}")
    return False


def _make_network(settings: RunnersSettings, run: Run) -> list[str]:
    if _exists(settings, run):
        return []
    argv = network.create_argv(settings.network)
    checked(run, argv, error=IsolationError, timeout_seconds=_SECONDS)
    return [f"make the network {settings.network.name}"]
