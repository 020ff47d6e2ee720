"""What somebody elsewhere reaches on a host, and what of it a change of the firewall cuts off."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

from ..base.ports import Run
from .firewall import CHAIN, Opening, Policy, Rule, Rules

ASK_SECONDS = 30.0
EVERYBODY = "everybody"
_OPENS = frozenset({"allow", "limit"})
_ANYWHERE = frozenset({"0.0.0.0/0", "::/0"})
# The kernel gives the ports from here on to whoever asks a question by UDP, and DHCP answers pass every firewall.
_FIRST_EPHEMERAL = 32768
_CLIENT_PORTS = frozenset({68, 546})
_PROCESS = re.compile(r'\(\("([^"]*)"')
_PUBLISHED = re.compile(
    r"(?P<address>\S+):(?P<first>\d+)(?:-(?P<last>\d+))?->[\d-]+/(?P<protocol>tcp|udp)"
)


@dataclass(frozen=True)
class ReachableService:
    """What awaits connections from elsewhere: on the host, or in a container that publishes it."""

    protocol: str
    port: int
    name: str
    families: tuple[int, ...] = (4, 6)
    in_container: bool = False

    def __str__(self) -> str:
        """Return it for people."""
        return f"{self.port}/{self.protocol} of {self.name}"


@dataclass(frozen=True)
class Guards:
    """Who may connect: ufw's rules, or ``None`` where ufw lets all in; and what guards containers."""

    rules: Rules | None
    containers: Sequence[Opening] | None

    def open_to(self, service: ReachableService) -> tuple[str, ...]:
        """Return who reaches a service: :data:`EVERYBODY`, or sources, or nobody."""
        if service.in_container:
            found = _sources(self.containers, service)
        elif self.rules is None:
            found = [EVERYBODY]
        else:
            found = [
                source
                for family in service.families
                for source in _let_in(self.rules[family], service)
            ]
        return (EVERYBODY,) if EVERYBODY in found else tuple(dict.fromkeys(found))


def _sources(openings: Sequence[Opening] | None, service: ReachableService) -> list[str]:
    if openings is None:
        return [EVERYBODY]
    return [
        source
        for opening in openings
        if opening.protocol == service.protocol and _within(opening.port, service.port)
        for source in opening.sources or (EVERYBODY,)
    ]


def _let_in(rules: Sequence[Rule], service: ReachableService) -> Iterator[str]:
    for rule in rules:
        if rule.protocol not in {"any", service.protocol}:
            continue
        if rule.ports != "any" and not any(
            _within(part, service.port) for part in rule.ports.split(",")
        ):
            continue
        is_wide = rule.source in _ANYWHERE and not rule.interface
        if rule.action in _OPENS:
            yield (
                EVERYBODY
                if is_wide
                else f"interface {rule.interface}"
                if rule.interface
                else rule.source
            )
        if is_wide and rule.destination in _ANYWHERE:
            return


def _within(ports: str, port: int) -> bool:
    first, _colon, last = ports.partition(":")
    return int(first) <= port <= int(last or first)


def guarded(policy: Policy, rules: Rules) -> Guards:
    """Return who may connect once a policy is in force."""
    return Guards(rules, policy.containers if policy.guard_containers else None)


def found(rules: Rules | None, tables: Mapping[int, str]) -> Guards:
    """Return who may connect now: by ufw's rules, and by our chain in the kernel's tables."""
    lines = [line for text in tables.values() for line in text.splitlines()]
    ours = [line for line in lines if line.startswith(f"-A {CHAIN} ")]
    return Guards(rules, [*map(_opening, ours)] if ours else None)


def _opening(line: str) -> Opening:
    words = line.split()
    values = {word: words[index + 1] for index, word in enumerate(words[:-1]) if word[:1] == "-"}
    # Rules that open no port of a container are openings of nothing.
    opens = values.get("-j") == "RETURN" and "--ctorigdstport" in values
    sources = (values["-s"],) if "-s" in values else ()
    return Opening(values["--ctorigdstport"] if opens else "0", values.get("-p", "tcp"), sources)


def read(run: Run) -> list[ReachableService] | None:
    """Return what awaits connections from elsewhere; ``None`` where the host does not tell."""
    argv = ["ss", "--no-header", "--listening", "--tcp", "--udp", "--numeric", "--processes"]
    try:
        done = run(argv, timeout_seconds=ASK_SECONDS)
    except (FileNotFoundError, TimeoutError):
        return None
    if not done.ok:
        return None
    services = parse_listeners(done.stdout.decode(errors="replace"))
    try:
        listed = run(
            ["docker", "ps", "--format", "{{.Names}}\t{{.Ports}}"], timeout_seconds=ASK_SECONDS
        )
    except (FileNotFoundError, TimeoutError):
        return services
    return [*services, *(parse_published(listed.stdout.decode(errors="replace")))]


def parse_listeners(text: str) -> list[ReachableService]:
    """Return the host's own services among what ``ss`` lists, those for the host alone left out."""
    services: dict[tuple[str, int, str], ReachableService] = {}
    for line in text.splitlines():
        words = line.split()
        if len(words) < 5 or words[0] not in {"tcp", "udp"}:
            continue
        host, _colon, port = words[4].rpartition(":")
        families = _families(host)
        name = match[1] if (match := _PROCESS.search(line)) else "an unknown program"
        # A published port has its container's name below.
        if not families or not port.isdigit() or name == "docker-proxy":
            continue
        if words[0] == "udp" and (int(port) >= _FIRST_EPHEMERAL or int(port) in _CLIENT_PORTS):
            continue
        key = (words[0], int(port), name)
        earlier = services[key].families if key in services else ()
        services[key] = ReachableService(*key, tuple(sorted({*families, *earlier})))
    return list(services.values())


def parse_published(text: str) -> list[ReachableService]:
    """Return the ports that containers publish to others, as ``docker ps`` lists them."""
    services: dict[ReachableService, None] = {}
    for line in text.splitlines():
        name, _tab, ports = line.partition("\t")
        for match in _PUBLISHED.finditer(ports.replace(",", " ")):
            if not _families(match["address"]):
                continue
            for port in dict.fromkeys((match["first"], match["last"] or match["first"])):
                service = ReachableService(
                    match["protocol"], int(port), f"container {name}", in_container=True
                )
                services[service] = None
    return list(services)


def _families(host: str) -> tuple[int, ...]:
    """Return the address families in which others reach it; none where only the host does."""
    plain = host.partition("%")[0].strip("[]")
    if plain in {"*", "::"}:
        return (4, 6)
    try:
        address = ipaddress.ip_address(plain)
    except ValueError:
        return (4, 6)
    return () if address.is_loopback or host.endswith("%lo") else (address.version,)


def cut_off(
    services: Collection[ReachableService] | None, before: Guards, after: Guards
) -> list[dict[str, str]]:
    """Return what others reach now and will not, as results list ``consequences``."""
    if services is None:
        why = "ss does not tell what listens here; look for yourself before you go on"
        return [{"kind": "unreachable", "what": "nobody knows what", "why": why}]
    told = []
    for service in sorted(services, key=lambda item: (item.port, item.protocol, item.name)):
        was, will = before.open_to(service), after.open_to(service)
        if not was or set(was) <= {*will} or EVERYBODY in will:
            continue
        which = "published" if service.in_container else "allowed"
        why = f"no entry of the firewall's {which} ports opens it"
        if will:
            why = f"only {', '.join(will)} will reach it"
        told.append({"kind": "unreachable", "what": str(service), "why": why})
    return told
