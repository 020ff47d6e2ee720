"""Deny what nobody allowed, published container ports included.

``ufw`` guards the host itself. A port that a container publishes never comes by there: the
engine rewrites its destination and lets it through. So a chain of our own in ``DOCKER-USER``
judges those connections first. Both are compared with what the kernel has, not with files.
"""

from __future__ import annotations

import hashlib
import ipaddress
import re
import shlex
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ..base.errors import FactoryError
from ..base.ports import Run
from ..base.run import output
from . import managed_files
from .way_in import way_back
from .way_in.connection import Listener, Session

CHAIN = "AINA-FACTORY"
COMMENT = "aina-factory"
RULES_DIR = "/etc/aina-factory/firewall"
SCRIPT_DIR = "/usr/local/lib/aina-factory-host"
SCRIPT_PATH = f"{SCRIPT_DIR}/docker-firewall"
UNIT = "aina-factory-docker-firewall.service"
UNIT_PATH = f"/etc/systemd/system/{UNIT}"
DROP_IN_PATH = "/etc/systemd/system/docker.service.d/60-aina-factory-firewall.conf"
ASK_SECONDS = 60.0
UFW_DIR = Path("/etc/ufw")
UFW_DEFAULTS = Path("/etc/default/ufw")
_BRIDGES = ("docker0", "br-+", "docker_gwbridge")
_PORT = re.compile(r"[0-9]{1,5}(?::[0-9]{1,5})?")
_INTERFACE = re.compile(r"[A-Za-z0-9_.-]{1,15}\+?")
_HEADER = "# Managed by Ansible (aina.factory.firewall); edits are lost.\n"
_LISTING = {4: "iptables-save", 6: "ip6tables-save"}
_ANYWHERE = {4: "0.0.0.0/0", 6: "::/0"}
_OPENS = frozenset({"allow", "limit"})
_TUPLE = "### tuple ### "
_DOCKER = ":DOCKER-USER "
_IPV6 = Path("/proc/net/if_inet6")

_SCRIPT = r"""#!/bin/sh
# Managed by Ansible (aina.factory.firewall): puts the rules for published container ports in force.
# Runs before the engine starts, so that no port is open for a moment, and after it.
set -eu
for pair in iptables:4 ip6tables:6; do
  tool=${pair%:*} rules=@RULES@/docker-user.v${pair#*:}
  if ! "$tool" -w 20 -n -L DOCKER-USER >/dev/null 2>&1; then
    if [ "${1:-}" = before ]; then
      # The engine takes over a chain that is there.
      "$tool" -w 20 -N DOCKER-USER 2>/dev/null || continue
      "$tool" -w 20 -I FORWARD 1 -j DOCKER-USER
    elif [ "$tool" = ip6tables ]; then
      continue # the engine publishes nothing by IPv6
    else
      echo "the engine has no chain DOCKER-USER in iptables, so published ports cannot be guarded;" \
        "is its firewall-backend nftables? set it to iptables" >&2
      exit 1
    fi
  fi
  "$tool"-restore -w 20 --noflush <"$rules"
  for jump in "FORWARD DOCKER-USER" "DOCKER-USER @CHAIN@"; do
    from=${jump% *} to=${jump#* }
    case $("$tool" -w 20 -S "$from" | grep -m 1 '^-A') in
      "-A $from -j $to") ;;
      *)
        while "$tool" -w 20 -D "$from" -j "$to" 2>/dev/null; do :; done
        "$tool" -w 20 -I "$from" 1 -j "$to"
        ;;
    esac
  done
done
"""

# Ufw makes its chains, and what leads to them, only where none is left. Meanwhile nobody is shut out.
_CLEAR = r"""set -u
for tool in iptables ip6tables; do
  for chain in INPUT FORWARD OUTPUT; do "$tool" -w 20 -P "$chain" ACCEPT; done
  "$tool" -w 20 -S | sed -n 's/^-A \([A-Z]* -j ufw6\{0,1\}-.*\)/\1/p' |
    while read -r rule; do "$tool" -w 20 -D $rule; done
  for verb in -F -X; do
    "$tool" -w 20 -S | sed -n 's/^-N \(ufw6\{0,1\}-.*\)/\1/p' |
      while read -r chain; do "$tool" -w 20 "$verb" "$chain"; done
  done
done
"""

_UNIT_TEXT = f"""{_HEADER}[Unit]
Description=Keep published container ports behind the firewall
PartOf=docker.service
After=docker.service

[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart={SCRIPT_PATH}

[Install]
WantedBy=docker.service
"""

_DROP_IN_TEXT = f"""{_HEADER}[Service]
ExecStartPre=-+{SCRIPT_PATH} before
"""


class FirewallError(FactoryError):
    """The declaration is refused or a tool failed; the message says why."""


@dataclass(frozen=True)
class Opening:
    """A port, or a range ``first:last``, that is open to ``sources`` (none: to everybody)."""

    port: str
    protocol: str
    sources: tuple[str, ...] = ()


@dataclass(frozen=True)
class Policy:
    """What is declared: openings of the host, of containers, and interfaces one trusts."""

    host: tuple[Opening, ...]
    containers: tuple[Opening, ...]
    trusted_interfaces: tuple[str, ...]
    guard_containers: bool = True


@dataclass(frozen=True)
class Rule:
    """A rule of ufw for incoming connections, of one address family."""

    action: str
    protocol: str
    ports: str
    destination: str
    source_ports: str
    source: str
    application: str = ""
    interface: str = ""
    comment: str = ""

    @property
    def family(self) -> int:
        return 6 if ":" in self.source else 4

    @property
    def key(self) -> str:
        """Return what ufw tells rules apart by: a second one with this key replaces the first."""
        words = (self.protocol, self.ports, self.destination, self.source_ports, self.source)
        return " ".join([*words, self.application, self.interface]).rstrip()

    @property
    def is_general(self) -> bool:
        """Whether ufw makes such a rule for both families at once."""
        return self.source in _ANYWHERE.values()

    def listed(self, *, one_family: bool = False) -> str:
        """Return a rule of ours in ufw's words, which make it for both families or for one."""
        origin = f"from {self.source} " if one_family or not self.is_general else ""
        if self.interface:
            return f"{self.action} in on {self.interface} {origin}".rstrip()
        if not origin:
            return f"{self.action} {self.ports}/{self.protocol}"
        return f"{self.action} {origin}to any port {self.ports} proto {self.protocol}"


Rules = Mapping[int, Sequence[Rule]]


@dataclass(frozen=True)
class Ufw:
    """The rules for incoming connections by address family, and those that runs have made."""

    rules: Rules
    families: tuple[int, ...] = (4, 6)
    recorded: frozenset[str] = frozenset()

    def is_ours(self, rule: Rule) -> bool:
        """Whether an earlier run has made this rule, as its record says."""
        return rule.comment == COMMENT and rule.key in self.recorded


@dataclass(frozen=True)
class Situation:
    """What the tools say; ``tables`` are the kernel's filter rules by address family.

    ``flushed`` says that somebody has taken ufw's rules out of them, and left its chains.
    """

    active: bool
    incoming: str
    engine_runs: bool
    guard_enabled: bool
    tables: dict[int, str]
    flushed: bool = False

    @property
    def guarded(self) -> dict[int, str]:
        """Return the tables by which the engine publishes ports: without its chain it does not."""
        return {
            family: table
            for family, table in self.tables.items()
            if self.engine_runs and (family == 4 or _DOCKER in table)
        }

    @property
    def filters(self) -> bool:
        """Whether ufw's rules meet connections."""
        return self.active and not self.flushed

    @property
    def lets_all_in(self) -> bool:
        """Whether ufw keeps nobody out whom no rule names."""
        return not self.filters or self.incoming == "allow"


@dataclass(frozen=True)
class WayIn:
    """How one reaches the host: the run's own session and its SSH servers.

    ``interface`` is the one by which the session came, where that is known. A session that is
    not the run's is somebody else's, who is to come in again as well.
    """

    session: Session | None = None
    interface: str = ""
    listeners: tuple[Listener, ...] = ()
    is_of_the_run: bool = True

    @property
    def ports(self) -> list[int]:
        """Return the ports on which somebody elsewhere may knock."""
        return sorted({item.port for item in self.listeners if not item.address.is_loopback})


Command = tuple[str, tuple[str, ...]]


@dataclass(frozen=True)
class RulesPlan:
    """What becomes of ufw's rules.

    ``after`` is the outcome, ``recorded`` the rules of ours in it. ``kept`` were to go and stay.
    """

    additions: tuple[Command, ...]
    deletions: tuple[Command, ...]
    after: Rules
    recorded: frozenset[str]
    kept: tuple[str, ...] = ()


@dataclass(frozen=True)
class FirewallPlan:
    """Commands in their order, each with the phrase that tells it, and the files.

    ``consequences``: what others do not reach any more, as results list it.
    """

    files: tuple[managed_files.Change, ...]
    commands: tuple[Command, ...]
    consequences: tuple[Mapping[str, str], ...] = ()

    @property
    def actions(self) -> list[str]:
        """Return one phrase per step."""
        steps = [f"{change.kind} {change.path}" for change in self.files]
        return steps + [phrase for phrase, _argv in self.commands]


def check(policy: Policy) -> None:
    """Refuse what is misspelt.

    Raises:
        FirewallError: names the value and the rule.

    """
    for opening in (*policy.host, *policy.containers):
        numbers = [int(part) for part in opening.port.split(":") if part.isdigit()]
        if not _PORT.fullmatch(opening.port) or not all(0 < number < 65536 for number in numbers):
            raise FirewallError(
                f"port {opening.port!r} must be a number or a range such as 6000:6010"
            )
        if opening.protocol not in {"tcp", "udp"}:
            raise FirewallError(
                f"protocol {opening.protocol!r} of port {opening.port} must be tcp or udp"
            )
        for source in opening.sources:
            _network(source)
    for name in policy.trusted_interfaces:
        if not _INTERFACE.fullmatch(name):
            raise FirewallError(f"interface {name!r} is no name of an interface")


def _network(source: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network:
    try:
        return ipaddress.ip_network(source, strict=False)
    except ValueError:
        raise FirewallError(
            f"source {source!r} must be an address or a network such as 192.0.2.0/24"
        ) from None


def closed(after: Rules, way_in: WayIn, families: Collection[int] = (4, 6)) -> list[str]:
    """Return which ways in these rules close, where everything else is denied."""
    session = way_in.session
    why = shut(after, way_in, families)
    problems = [why] if why else []
    problems += [
        f"the SSH server listens on port {port}, which no entry of the firewall's allowed "
        "ports opens: this would lock everybody out; allow it"
        for port in way_in.ports
        if not (problems and session and port == session.port)
        and not any(_is_open(after[family], port) for family in families)
    ]
    return problems


def shut(after: Rules, way_in: WayIn, families: Collection[int]) -> str:
    """Return why whoever came this way would not come in again; ``""`` when he would."""
    session = way_in.session
    if session is None or session.peer is None or session.is_of_the_host:
        return ""
    decides = _decides(after[session.peer.version], way_in)
    if session.peer.version not in families:
        because = "ufw denies all of IPv6: let /etc/default/ufw say IPV6=yes"
    elif decides is None:
        because = (
            "no rule lets it in: add that address to the allowed port's sources, or allow "
            "the port to everybody"
        )
    elif decides.action not in _OPENS:
        because = (
            f"a rule of somebody else's meets it first ({decides.action} from "
            f"{decides.source} to port {decides.ports}): take that one back"
        )
    else:
        return ""
    who = "this run came" if way_in.is_of_the_run else f"{session.account} is logged in"
    return f"{who} from {session.peer} to port {session.port}, and {because}"


def _decides(rules: Sequence[Rule], way_in: WayIn) -> Rule | None:
    """Return the rule that meets a new connection like the session's first."""
    session = way_in.session
    if session is None or session.peer is None or session.address is None:
        return None
    for rule in rules:
        certain = rule.source_ports == "any"
        if rule.interface:
            certain = certain and _is_on(rule.interface, way_in.interface)
            if way_in.interface and not _is_on(rule.interface, way_in.interface):
                continue
        if (
            _meets(rule, session.port)
            and session.peer in _network(rule.source)
            and session.address in _network(rule.destination)
            # What may or may not meet it is no opening, but may be a denial.
            and (certain or rule.action not in _OPENS)
        ):
            return rule
    return None


def _is_on(pattern: str, interface: str) -> bool:
    if pattern.endswith("+"):
        return bool(interface) and interface.startswith(pattern[:-1])
    return pattern == interface


def _is_open(rules: Sequence[Rule], port: int) -> bool:
    """Whether somebody may connect to this port."""
    for rule in rules:
        if not _meets(rule, port) or rule.interface:
            continue
        if rule.action in _OPENS:
            return True
        if rule.is_general and rule.destination in _ANYWHERE.values():
            return False
    return False


def _meets(rule: Rule, port: int) -> bool:
    if rule.protocol not in {"any", "tcp"}:
        return False
    ranges = [part.split(":") for part in rule.ports.split(",") if part != "any"]
    return rule.ports == "any" or any(int(ends[0]) <= port <= int(ends[-1]) for ends in ranges)


def wanted_rules(policy: Policy, families: Collection[int] = (4, 6)) -> list[tuple[Rule, ...]]:
    """Return the rules of the host; those that ufw makes at once for both families together."""
    general = [
        Rule("allow", "any", "any", "", "any", "", interface=name)
        for name in policy.trusted_interfaces
    ]
    found: list[tuple[Rule, ...]] = []
    for opening in policy.host:
        rule = Rule("allow", opening.protocol, opening.port, "", "any", "")
        if not opening.sources:
            general.append(rule)
        for source in opening.sources:
            network = _network(source)
            alone = network.prefixlen == network.max_prefixlen
            text = str(network.network_address if alone else network)
            if network.version in families:
                found.append((replace(rule, source=text, destination=_ANYWHERE[network.version]),))
    return [
        *(
            tuple(
                replace(rule, source=_ANYWHERE[family], destination=_ANYWHERE[family])
                for family in families
            )
            for rule in general
        ),
        *found,
    ]


def container_rules(policy: Policy, family: int) -> str:
    """Return the input of ``iptables-restore`` for one address family."""
    rules = [
        "-m conntrack --ctstate RELATED,ESTABLISHED -j RETURN",
        *(f"-i {name} -j RETURN" for name in (*_BRIDGES, *policy.trusted_interfaces)),
        *(rule for opening in policy.containers for rule in _container_opening(opening, family)),
        # What the engine has redirected to a container, and what somebody routes to one.
        "-m conntrack --ctstate DNAT -j DROP",
        *(f"-o {name} -j DROP" for name in _BRIDGES),
    ]
    mark = hashlib.sha256("\n".join(rules).encode()).hexdigest()[:16]
    rules[0] = f"-m comment --comment {COMMENT}-{mark} {rules[0]}"
    lines = "".join(f"-A {CHAIN} {rule}\n" for rule in rules)
    return f"{_HEADER}*filter\n:{CHAIN} - [0:0]\n{lines}COMMIT\n"


def _container_opening(opening: Opening, family: int) -> Iterator[str]:
    sources = [source for source in opening.sources if (":" in source) == (family == 6)]
    if opening.sources and not sources:
        return
    for source in sources or [""]:
        origin = f"-s {source} " if source else ""
        yield (
            f"{origin}-p {opening.protocol} -m conntrack --ctorigdstport {opening.port} "
            "--ctdir ORIGINAL -j RETURN"
        )


def in_force(rules: str, table: str) -> bool:
    """Whether the kernel's filter table holds these rules, and reaches them first."""
    wanted = [line for line in rules.splitlines() if line.startswith("-A")]
    lines = table.splitlines()
    chains = {
        name: [line for line in lines if line.startswith(f"-A {name} ")]
        for name in (CHAIN, "DOCKER-USER", "FORWARD")
    }
    mark = re.search(rf"{COMMENT}-[0-9a-f]+", wanted[0])
    return (
        len(chains[CHAIN]) == len(wanted)
        and mark is not None
        and mark[0] in chains[CHAIN][0]
        and chains["DOCKER-USER"][:1] == [f"-A DOCKER-USER -j {CHAIN}"]
        and chains["FORWARD"][:1] == ["-A FORWARD -j DOCKER-USER"]
    )


def parse_rules(text: str) -> list[Rule]:
    """Return the rules for incoming connections in a file of ufw's, in their order.

    Raises:
        FirewallError: a rule has a form that nobody knows.

    """
    found = []
    for line in text.splitlines():
        if not line.startswith(_TUPLE):
            continue
        words = line.removeprefix(_TUPLE).split()
        comment = ""
        if words[-1].startswith("comment="):
            try:
                comment = bytes.fromhex(words.pop().removeprefix("comment=")).decode()
            except ValueError:
                comment = "?"
        if len(words) not in {7, 9}:
            raise FirewallError(f"ufw has a rule of a form that is not known: {line}")
        direction, _underscore, interface = words[-1].partition("_")
        if words[0].startswith("route:") or direction != "in":
            continue
        action = words[0].partition("_")[0]
        application = " ".join(words[6:8]) if len(words) == 9 else ""
        protocol, ports, destination, source_ports, source = words[1:6]
        found.append(
            Rule(
                action=action,
                protocol=protocol,
                ports=ports,
                destination=destination,
                source_ports=source_ports,
                source=source,
                application=application,
                interface=interface,
                comment=comment,
            )
        )
    return found


def read_ufw(recorded: Collection[str], directory: Path, defaults: Path) -> Ufw:
    """Read the rules, in which ufw has resolved names of applications, from its own files.

    Raises:
        FirewallError: a rule has a form that nobody knows.
        OSError: a file cannot be read.

    """
    rules = {
        family: parse_rules((directory / name).read_text(encoding="utf-8", errors="replace"))
        for family, name in {4: "user.rules", 6: "user6.rules"}.items()
        if (directory / name).exists()
    }
    text = defaults.read_text(encoding="utf-8", errors="replace") if defaults.exists() else ""
    without = re.search(r"^\s*IPV6=[\"']?no", text, re.MULTILINE | re.IGNORECASE)
    return Ufw({4: [], 6: [], **rules}, (4,) if without else (4, 6), frozenset(recorded))


def read(run: Run) -> Situation:
    """Ask ufw and the kernel.

    Raises:
        FirewallError: one of them does not answer.

    """
    status = _ask(["ufw", "status", "verbose"], run)
    default = re.search(r"^Default: (\w+) \(incoming\)", status, re.MULTILINE)
    active = bool(re.search(r"^Status: active$", status, re.MULTILINE))
    if not active and "Status: inactive" not in status:
        raise FirewallError(f"ufw status says neither active nor inactive: {status.strip()}")
    state = run(["systemctl", "is-active", "docker.service"], timeout_seconds=ASK_SECONDS)
    engine_runs = state.stdout.strip() == b"active"
    enabled = run(["systemctl", "is-enabled", UNIT], timeout_seconds=ASK_SECONDS).ok
    tables = {family: _table(tool, run) for family, tool in _LISTING.items()}
    flushed = any(is_flushed(family, table, active=active) for family, table in tables.items())
    return Situation(active, default[1] if default else "", engine_runs, enabled, tables, flushed)


def _table(tool: str, run: Run) -> str:
    done = run([tool, "-t", "filter"], timeout_seconds=ASK_SECONDS)
    # A kernel without IPv6 has no such table.
    if not done.ok and (tool == _LISTING[4] or _IPV6.exists()):
        raise FirewallError(f"{tool}: {done.said}")
    return done.stdout.decode(errors="replace")


def is_flushed(family: int, table: str, *, active: bool) -> bool:
    """Whether somebody has taken ufw's rules out of a table, and left its chains.

    Ufw takes chains that are there for whole: it would deny everything and let nobody in.
    """
    chain = "ufw6" if family == 6 else "ufw"
    jumps = [f"-A INPUT -j {chain}-before-input"]
    if active:
        jumps.append(f"-A {chain}-before-input -j {chain}-user-input")
    return f":{chain}-user-input " in table and not {*jumps} <= {*table.splitlines()}


def files(policy: Policy | None) -> list[managed_files.Change]:
    """Return the changes of our files; all of them go without a policy or without the guard."""
    rules = {family: f"{RULES_DIR}/docker-user.v{family}" for family in (4, 6)}
    if policy is None or not policy.guard_containers:
        return managed_files.plan((), (), [UNIT_PATH, DROP_IN_PATH, SCRIPT_DIR, RULES_DIR])
    plain, program = (managed_files.Attributes("root", "root", mode) for mode in (0o644, 0o755))
    script = _SCRIPT.replace("@RULES@", RULES_DIR).replace("@CHAIN@", CHAIN)
    wanted = [
        *(
            managed_files.FileSpec(path, container_rules(policy, family).encode(), plain)
            for family, path in rules.items()
        ),
        managed_files.FileSpec(SCRIPT_PATH, script.encode(), program),
        managed_files.FileSpec(UNIT_PATH, _UNIT_TEXT.encode(), plain),
        managed_files.FileSpec(DROP_IN_PATH, _DROP_IN_TEXT.encode(), plain),
    ]
    return managed_files.plan((), wanted, ())


def plan_rules(policy: Policy, ufw: Ufw) -> RulesPlan:
    """Return what brings ufw's rules to the policy. Those of others stay as they are.

    ufw lets one rule take the place of another that differs in action or comment only. So where
    somebody has made the opening already, it is his.

    Raises:
        FirewallError: somebody else denies what is to be open.

    """
    after = {family: list(ufw.rules[family]) for family in (4, 6)}
    wanted = wanted_rules(policy, ufw.families)
    keys = {rule.key for rules in wanted for rule in rules}
    leaving = [
        rule
        for rules in after.values()
        for rule in rules
        if ufw.is_ours(rule) and rule.key not in keys
    ]
    additions: list[Command] = []
    recorded = {rule.key for rules in after.values() for rule in rules if ufw.is_ours(rule)}
    for rules in wanted:
        missing = []
        for rule in rules:
            same = next((item for item in after[rule.family] if item.key == rule.key), None)
            if same is None:
                missing.append(rule)
            elif same.action not in _OPENS:
                words = replace(same, comment="").listed()
                raise FirewallError(
                    f"'{rule.listed()}' is declared, and ufw has '{words}' of somebody else's: take "
                    f"one of them back, the latter by 'ufw delete {words}'"
                )
        if not missing:
            continue
        words = missing[0].listed(one_family=len(missing) < len(ufw.families))
        additions.append(
            (f"ufw {words} comment '{COMMENT}'", ("ufw", *shlex.split(words), "comment", COMMENT))
        )
        for rule in missing:
            after[rule.family].append(replace(rule, comment=COMMENT))
            recorded.add(rule.key)
    unknown = {
        rule.listed(): None
        for rules in ufw.rules.values()
        for rule in rules
        if rule.comment == COMMENT and not ufw.is_ours(rule) and rule.key not in keys
    }
    for rule in leaving:
        after[rule.family].remove(rule)
    return RulesPlan(
        tuple(additions),
        _deletions(leaving, after),
        after,
        frozenset(recorded - {rule.key for rule in leaving}),
        tuple(unknown),
    )


def plan_rules_absence(ufw: Ufw, ways_in: Sequence[WayIn], *, stays_active: bool) -> RulesPlan:
    """Return what takes our rules away, but for those without which nobody gets in.

    ``stays_active`` says that ufw goes on denying what no rule lets in. ``ways_in`` are those of
    the run, and of whoever else is logged in.
    """
    whole = [rule for family in ufw.families for rule in ufw.rules[family]]
    ours = [rule for rule in whole if ufw.is_ours(rule)]
    needed: list[Rule] = []
    if stays_active:
        ports = _ports_to_keep(ufw.rules, _without(ufw.rules, ours), ways_in, ufw.families)
        needed = [
            rule
            for rule in ours
            if any(_meets(rule, port) for port in ports)
            and (
                not rule.interface or any(_is_on(rule.interface, way.interface) for way in ways_in)
            )
        ]
    leaving = [rule for rule in ours if rule not in needed]
    after = _without(ufw.rules, leaving)
    unknown = [rule for rule in whole if rule.comment == COMMENT and not ufw.is_ours(rule)]
    return RulesPlan(
        (),
        _deletions(leaving, after),
        after,
        frozenset(rule.key for rule in needed),
        tuple(dict.fromkeys(rule.listed() for rule in (*needed, *unknown))),
    )


def _ports_to_keep(
    before: Rules, after: Rules, ways_in: Sequence[WayIn], families: Collection[int]
) -> set[int]:
    """Return the ports that somebody who is there, or everybody, needs and would lose."""
    ports = {
        way.session.port
        for way in ways_in
        if way.session and shut(after, way, families) and not shut(before, way, families)
    }
    knocked = {port for way in ways_in for port in way.ports}
    ours, others = (
        {port for port in knocked if any(_is_open(rules[family], port) for family in families)}
        for rules in (before, after)
    )
    # A rule for an interface is none for everybody, and lets in whoever is there by it.
    still_in = any(
        way.session and way.session.peer and not shut(after, way, families) for way in ways_in
    )
    return ports if others or still_in else ports | ours


def _without(rules: Rules, leaving: Collection[Rule]) -> dict[int, list[Rule]]:
    return {family: [rule for rule in rules[family] if rule not in leaving] for family in (4, 6)}


def _deletions(leaving: Sequence[Rule], after: Rules) -> tuple[Command, ...]:
    """Return the commands; one of them deletes a rule in both families."""
    staying = {rule.listed() for rules in after.values() for rule in rules if not rule.application}
    words = dict.fromkeys(
        rule.listed(one_family=rule.is_general and rule.listed() in staying) for rule in leaving
    )
    return tuple(
        (f"ufw delete {rule}", ("ufw", "--force", "delete", *shlex.split(rule))) for rule in words
    )


def plan(
    policy: Policy,
    situation: Situation,
    rules: RulesPlan,
    changes: Collection[managed_files.Change],
) -> FirewallPlan:
    """Return what brings ufw and the kernel to the policy.

    An opening is made before anything is denied.
    """
    commands = [*rules.additions, *rules.deletions]
    if (situation.active and situation.incoming != "deny") or not situation.active:
        commands.append(("ufw default deny incoming", ("ufw", "default", "deny", "incoming")))
    if situation.flushed:
        commands.append(("clear what somebody has left of ufw's chains", ("sh", "-c", _CLEAR)))
    if not situation.active:
        commands.append(("ufw enable", ("ufw", "--force", "enable")))
    elif situation.flushed:
        commands.append(("ufw reload, for somebody has flushed its rules", ("ufw", "reload")))
    if any(change.path.startswith("/etc/systemd/") for change in changes):
        commands.append(("daemon-reload", ("systemctl", "daemon-reload")))
    if policy.guard_containers and not situation.guard_enabled:
        commands.append((f"enable {UNIT}", ("systemctl", "enable", UNIT)))
    if policy.guard_containers and situation.engine_runs:
        stale = any(
            not in_force(container_rules(policy, family), table)
            for family, table in situation.guarded.items()
        )
        if stale or changes:
            commands.append((f"restart {UNIT}", ("systemctl", "restart", UNIT)))
    return FirewallPlan(tuple(changes), tuple(commands))


def plan_absence(
    situation: Situation | None,
    rules: RulesPlan | None,
    changes: Collection[managed_files.Change],
    *,
    enabled_by_us: bool,
    incoming: str = "",
    policies: Sequence[tuple[str, ...]] = (),
) -> FirewallPlan:
    """Return what takes our rules away and leaves those of others.

    ``incoming`` is the default that an earlier run has replaced, ``policies`` give the kernel's
    chains back those that they had before ufw was enabled.
    """
    commands: list[Command] = []
    if situation is not None:
        if situation.active and enabled_by_us:
            commands.append(("ufw disable", ("ufw", "disable")))
            # It leaves its chains, without a rule in them, and opens the kernel's own.
            commands.append(("clear ufw's chains", ("sh", "-c", _CLEAR)))
            commands += [(" ".join(argv), argv) for argv in policies if "ACCEPT" not in argv]
        elif situation.active and incoming and incoming != situation.incoming:
            words = ("default", incoming, "incoming")
            commands.append((f"ufw {' '.join(words)}", ("ufw", *words)))
        commands += rules.deletions if rules else ()
        for family, table in situation.tables.items():
            tool = _LISTING[family].removesuffix("-save")
            if f":{CHAIN} " in table:
                commands += [
                    (
                        f"{tool} without {CHAIN}",
                        (tool, "-w", "20", "-D", "DOCKER-USER", "-j", CHAIN),
                    ),
                    (f"{tool} empties {CHAIN}", (tool, "-w", "20", "-F", CHAIN)),
                    (f"{tool} forgets {CHAIN}", (tool, "-w", "20", "-X", CHAIN)),
                ]
                if _is_chain_ours(table):
                    jump = ("-D", "FORWARD", "-j", "DOCKER-USER")
                    commands += [
                        (f"{tool} without DOCKER-USER", (tool, "-w", "20", *jump)),
                        (f"{tool} forgets DOCKER-USER", (tool, "-w", "20", "-X", "DOCKER-USER")),
                    ]
    if any(change.path == UNIT_PATH for change in changes):
        commands.insert(0, (f"disable {UNIT}", ("systemctl", "disable", "--now", UNIT)))
        commands.append(("daemon-reload", ("systemctl", "daemon-reload")))
    return FirewallPlan(tuple(changes), tuple(commands))


def _is_chain_ours(table: str) -> bool:
    """Whether the engine has no use for the chain that our guard has made before its start."""
    lines = table.splitlines()
    others = [line for line in lines if line.startswith(":DOCKER") and _DOCKER not in line]
    rules = [line for line in lines if line.startswith("-A DOCKER-USER ")]
    return not others and {*rules} <= {f"-A DOCKER-USER -j {CHAIN}"}


def protect(
    plan_: FirewallPlan,
    situation: Situation,
    run: Run,
    prepare: Callable[[way_back.Undo], None],
    notes: tuple[str, ...] = (),
) -> None:
    """Prepare the way back of ufw's rules, its state and the kernel's policies, if they change."""
    phrases = [phrase for phrase, argv in plan_.commands if argv[0] == "ufw"]
    if not phrases:
        return
    paths = [str(path) for path in sorted(UFW_DIR.rglob("*")) if path.is_file()]
    again: tuple[tuple[str, ...], ...] = (("ufw", "--force", "enable"),)
    if not situation.filters:
        again = tuple(argv for _phrase, argv in policies(run))
    prepare(
        way_back.Undo(
            f"firewall: {', '.join(phrases)}",
            (*paths, str(UFW_DEFAULTS), *notes),
            () if situation.filters else (("ufw", "--force", "disable"),),
            again,
        )
    )


def policies(run: Run) -> list[Command]:
    """Return what gives the kernel's chains the policies that they have now; ufw sets them all."""
    found = []
    for tool in ("iptables", "ip6tables"):
        try:
            done = run([tool, "-w", "20", "-S"], timeout_seconds=ASK_SECONDS)
        except FileNotFoundError:
            continue
        for line in done.stdout.decode(errors="replace").splitlines():
            words = line.split()
            if words[:1] == ["-P"]:
                found.append((f"{tool} {line}", (tool, "-w", "20", *words)))
    return found


def apply(plan_: FirewallPlan, run: Run, *, files_first: bool = True) -> None:
    """Carry the plan out.

    Raises:
        FirewallError: a command failed; its words are quoted.

    """
    if files_first:
        managed_files.apply(plan_.files, run)
    for _phrase, argv in plan_.commands:
        done = run(list(argv), environment={"LC_ALL": "C"}, timeout_seconds=ASK_SECONDS)
        # A chain that the engine has dropped with its own is gone all the same.
        if not done.ok and not (argv[0].endswith("tables") and "-w" in argv):
            raise FirewallError(f"{' '.join(argv)}: {done.said}{_log(argv, run)}")
    if not files_first:
        managed_files.apply(plan_.files, run)


def _log(argv: Sequence[str], run: Run) -> str:
    if argv[-1] != UNIT:
        return ""
    words = ["journalctl", "--no-pager", "--lines=10", "--output=cat", f"--unit={UNIT}"]
    text = run(words, timeout_seconds=ASK_SECONDS).stdout.decode(errors="replace").strip()
    return f"\nits log ends with:\n{text}" if text else ""


def _ask(argv: list[str], run: Run) -> str:
    return output(
        run, argv, error=FirewallError, environment={"LC_ALL": "C"}, timeout_seconds=ASK_SECONDS
    )
