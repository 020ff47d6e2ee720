"""Whether the firewall's rules are in force in the kernel, counted against the declared ones."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from ..check import Answer, BadOrGood, Check, JudgeContext, Status, some
from ..sources import AbsentError, Host, Source

NOTE = "firewall.json"
_FAMILIES = {4: ("iptables-save", "user.rules"), 6: ("ip6tables-save", "user6.rules")}
_ALLOWED = re.compile(r"^-A (ufw6?-user-input) ", re.MULTILINE)
_DEFAULT = re.compile(r'^DEFAULT_INPUT_POLICY="?(\w+)"?', re.MULTILINE)


@dataclass(frozen=True)
class FirewallState:
    """Rules that the kernel has, and what is missing of the declared ones."""

    rules_count: int
    missing: tuple[str, ...] = ()


def read(host: Host) -> FirewallState:
    """Compare what the firewall's own files declare with what the kernel has."""
    if not Path(host.policy.data_dir, NOTE).exists():
        raise AbsentError("no firewall is declared (host_baseline)")
    # Slow to load, and each run pays for it.
    from ...host import firewall

    missing: list[str] = []
    total = 0
    for family, (tool, rules) in _FAMILIES.items():
        wanted = counted(_text(host.ufw_dir / rules))
        if family == 6 and not wanted:
            continue
        table = _table(host, tool)
        found = counted(table)
        total += sum(found.values())
        missing += lacking(wanted, found, tool.removesuffix("-save"))
        missing += open_doors(table, _policy(host), family)
        guard = _text(Path(host.firewall_dir, f"docker-user.v{family}"))
        # Where the engine has no such chain it publishes nothing by IPv6.
        reached = family == 4 or ":DOCKER-USER " in table
        if guard and reached and not firewall.in_force(guard, table):
            missing.append(f"published container ports are not guarded (IPv{family})")
    return FirewallState(total, tuple(missing))


def _text(path: Path) -> str:
    return path.read_text() if path.exists() else ""


def _policy(host: Host) -> str:
    """Return what the declared default does with who knocks."""
    found = _DEFAULT.search(_text(host.ufw_defaults))
    return found[1] if found else "DROP"


def _table(host: Host, tool: str) -> str:
    done = host.run([tool, "-t", "filter"], timeout_seconds=host.policy.gather_seconds / 2)
    if not done.ok:
        raise OSError(f"{tool}: {done.said}")
    return done.stdout.decode(errors="replace")


def counted(text: str) -> Mapping[str, int]:
    """Return how many rules there are of what is allowed to come in, by chain."""
    return Counter(_ALLOWED.findall(text))


def lacking(wanted: Mapping[str, int], found: Mapping[str, int], tool: str) -> Iterator[str]:
    """Yield the chains that have fewer rules in the kernel than are declared."""
    for chain, count in wanted.items():
        there = found.get(chain, 0)
        if there < count:
            yield f"{tool} has {there} of the {count} rules of {chain}"


def open_doors(table: str, policy: str, family: int) -> Iterator[str]:
    """Yield what lets everybody in: a default that accepts, or that nothing leads to the rules."""
    tool, prefix = ("iptables", "ufw") if family == 4 else ("ip6tables", "ufw6")
    default = re.search(r"^:INPUT (\w+)", table, re.MULTILINE)
    if policy != "ACCEPT" and (default is None or default[1] == "ACCEPT"):
        yield f"{tool} accepts whoever knocks, though the default is to {policy.lower()}"
    if not re.search(rf"^-A INPUT .*-j {prefix}-", table, re.MULTILINE):
        yield f"{tool} leads nobody who knocks to ufw's rules"


def judge(state: FirewallState, _context: JudgeContext) -> Iterator[Answer]:
    """Report declared rules that are not in force."""
    if state.missing:
        detail = f"the firewall is not in force: {some(state.missing)}"
        yield Answer("", Status.PROBLEM, detail, state.rules_count)
    else:
        detail = f"{state.rules_count} declared rules are in force"
        yield Answer("", Status.OK, detail, state.rules_count)


SOURCE = Source("firewall", read)
CHECKS = (
    Check(
        name="firewall",
        title="Firewall in force",
        advice="ufw reload; systemctl restart aina-factory-docker-firewall; or converge the host",
        source=SOURCE,
        judge=judge,
        selftest=BadOrGood(lambda bad, _now: FirewallState(7, ("a rule",) if bad else ())),
        severity="critical",
        value_unit="count",
    ),
)
