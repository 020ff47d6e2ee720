"""Deny what nobody allowed, published container ports included.

``ufw`` guards the host itself. A port that a container publishes never comes by there: the
engine rewrites its destination and lets it through. So a chain of our own in ``DOCKER-USER``
judges those connections first. Both are compared with what the kernel has, not with files.
"""

from __future__ import annotations

import hashlib
import re
import shlex
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

from ansible_collections.aina.factory.plugins.module_utils import managed_files
from ansible_collections.aina.factory.plugins.module_utils.ports import Completed, Run

CHAIN = "AINA-FACTORY"
COMMENT = "aina-factory"
RULES_DIR = "/etc/aina-factory/firewall"
SCRIPT_PATH = "/usr/local/lib/aina-factory-host/docker-firewall"
UNIT = "aina-factory-docker-firewall.service"
UNIT_PATH = f"/etc/systemd/system/{UNIT}"
DROP_IN_PATH = "/etc/systemd/system/docker.service.d/60-aina-factory-firewall.conf"
ASK_SECONDS = 60.0
_BRIDGES = ("docker0", "br-+", "docker_gwbridge")
_PORT = re.compile(r"[0-9]{1,5}(?::[0-9]{1,5})?")
_INTERFACE = re.compile(r"[A-Za-z0-9_.-]{1,15}\+?")
_HEADER = "# Managed by Ansible (aina.factory.firewall); edits are lost.\n"
_LISTING = {4: "iptables-save", 6: "ip6tables-save"}

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


class FirewallError(Exception):
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
class Situation:
    """What the tools say.

    ``added`` are ufw's rules as commands; ``tables`` the kernel's filter rules by address
    family, absent where the engine does not run.
    """

    active: bool
    incoming: str
    added: tuple[str, ...]
    ssh_ports: tuple[int, ...]
    engine_runs: bool
    guard_enabled: bool
    tables: dict[int, str]


@dataclass(frozen=True)
class Plan:
    """Commands in their order, each with the phrase that tells it, and the files."""

    files: tuple[managed_files.Change, ...]
    commands: tuple[tuple[str, tuple[str, ...]], ...]

    @property
    def actions(self) -> list[str]:
        """Return one phrase per step."""
        steps = [f"{change.kind} {change.path}" for change in self.files]
        return steps + [phrase for phrase, _argv in self.commands]


def check(policy: Policy, ssh_ports: Sequence[int]) -> None:
    """Refuse what is misspelt and what would shut the administrators out.

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
    for name in policy.trusted_interfaces:
        if not _INTERFACE.fullmatch(name):
            raise FirewallError(f"interface {name!r} is no name of an interface")
    for port in ssh_ports:
        if not any(_covers(opening, port) for opening in policy.host):
            raise FirewallError(
                f"the SSH server listens on port {port}, which no entry of the firewall's allowed "
                "ports opens: this would lock everybody out, nothing was changed; allow it"
            )


def _covers(opening: Opening, port: int) -> bool:
    ends = [int(part) for part in opening.port.split(":")]
    return opening.protocol == "tcp" and ends[0] <= port <= ends[-1]


def ufw_rules(policy: Policy) -> list[str]:
    """Return the rules of the host in the words in which ufw lists them."""
    found = [f"allow in on {name} comment '{COMMENT}'" for name in policy.trusted_interfaces]
    for opening in policy.host:
        if not opening.sources:
            found.append(f"allow {opening.port}/{opening.protocol} comment '{COMMENT}'")
        found += [
            f"allow from {source} to any port {opening.port} proto {opening.protocol} "
            f"comment '{COMMENT}'"
            for source in opening.sources
        ]
    return found


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


def read(run: Run, *, sshd_ports: Sequence[int]) -> Situation:
    """Ask ufw and the kernel.

    Raises:
        FirewallError: one of them does not answer.

    """
    status = _ask(["ufw", "status", "verbose"], run)
    added = _ask(["ufw", "show", "added"], run)
    default = re.search(r"^Default: (\w+) \(incoming\)", status, re.MULTILINE)
    active = bool(re.search(r"^Status: active$", status, re.MULTILINE))
    if not active and "Status: inactive" not in status:
        raise FirewallError(f"ufw status says neither active nor inactive: {status.strip()}")
    state = run(["systemctl", "is-active", "docker.service"], timeout_seconds=ASK_SECONDS)
    engine_runs = state.stdout.strip() == b"active"
    enabled = run(["systemctl", "is-enabled", UNIT], timeout_seconds=ASK_SECONDS).ok
    tables = {}
    if engine_runs:
        for family, tool in _LISTING.items():
            table = _ask([tool, "-t", "filter"], run)
            # Without that chain the engine publishes nothing by this family.
            if family == 4 or ":DOCKER-USER " in table:
                tables[family] = table
    commands = [line.removeprefix("ufw ") for line in added.splitlines() if line.startswith("ufw ")]
    incoming = default[1] if default else ""
    return Situation(
        active, incoming, tuple(commands), tuple(sshd_ports), engine_runs, enabled, tables
    )


def files(policy: Policy | None) -> list[managed_files.Change]:
    """Return the changes of our files; all of them go without a policy or without the guard."""
    rules = {family: f"{RULES_DIR}/docker-user.v{family}" for family in (4, 6)}
    if policy is None or not policy.guard_containers:
        return managed_files.plan((), (), [UNIT_PATH, DROP_IN_PATH, SCRIPT_PATH, RULES_DIR])
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


def plan(policy: Policy, situation: Situation, changes: Collection[managed_files.Change]) -> Plan:
    """Return what brings ufw and the kernel to the policy. Rules of others stay.

    An opening is made before anything is denied.
    """
    wanted = ufw_rules(policy)
    ours = [rule for rule in situation.added if rule.endswith(f"comment '{COMMENT}'")]
    commands = [(f"ufw {rule}", ("ufw", *shlex.split(rule))) for rule in wanted if rule not in ours]
    commands += _deletions(rule for rule in ours if rule not in wanted)
    if (situation.active and situation.incoming != "deny") or not situation.active:
        commands.append(("ufw default deny incoming", ("ufw", "default", "deny", "incoming")))
    if not situation.active:
        commands.append(("ufw enable", ("ufw", "--force", "enable")))
    if any(change.path.startswith("/etc/systemd/") for change in changes):
        commands.append(("daemon-reload", ("systemctl", "daemon-reload")))
    if policy.guard_containers and not situation.guard_enabled:
        commands.append((f"enable {UNIT}", ("systemctl", "enable", UNIT)))
    if policy.guard_containers and situation.engine_runs:
        stale = any(
            not in_force(container_rules(policy, family), table)
            for family, table in situation.tables.items()
        )
        if stale or changes:
            commands.append((f"restart {UNIT}", ("systemctl", "restart", UNIT)))
    return Plan(tuple(changes), tuple(commands))


def plan_absence(
    situation: Situation | None, changes: Collection[managed_files.Change], *, enabled_by_us: bool
) -> Plan:
    """Return what takes our rules away and leaves those of others."""
    commands: list[tuple[str, tuple[str, ...]]] = []
    if situation is not None:
        if situation.active and enabled_by_us:
            commands.append(("ufw disable", ("ufw", "disable")))
        commands += _deletions(rule for rule in situation.added if rule.endswith(f"'{COMMENT}'"))
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
    if any(change.path == UNIT_PATH for change in changes):
        commands.insert(0, (f"disable {UNIT}", ("systemctl", "disable", "--now", UNIT)))
        commands.append(("daemon-reload", ("systemctl", "daemon-reload")))
    return Plan(tuple(changes), tuple(commands))


def _deletions(rules: Iterator[str]) -> list[tuple[str, tuple[str, ...]]]:
    bare = [rule.removesuffix(f" comment '{COMMENT}'") for rule in rules]
    return [
        (f"ufw delete {rule}", ("ufw", "--force", "delete", *shlex.split(rule))) for rule in bare
    ]


def apply(plan_: Plan, run: Run, *, files_first: bool = True) -> None:
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
            raise FirewallError(f"{' '.join(argv)}: {_words(done)}{_log(argv, run)}")
    if not files_first:
        managed_files.apply(plan_.files, run)


def _log(argv: Sequence[str], run: Run) -> str:
    if argv[-1] != UNIT:
        return ""
    words = ["journalctl", "--no-pager", "--lines=10", "--output=cat", f"--unit={UNIT}"]
    text = run(words, timeout_seconds=ASK_SECONDS).stdout.decode(errors="replace").strip()
    return f"\nits log ends with:\n{text}" if text else ""


def _ask(argv: list[str], run: Run) -> str:
    done = run(argv, environment={"LC_ALL": "C"}, timeout_seconds=ASK_SECONDS)
    if not done.ok:
        raise FirewallError(f"{' '.join(argv)}: {_words(done)}")
    return done.stdout.decode(errors="replace")


def _words(done: Completed) -> str:
    return (done.stderr.strip() or done.stdout.strip()).decode(errors="replace")
