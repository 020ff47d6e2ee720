"""Whether the declared rules of the firewall are in the kernel, by what its tools print."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest

from factory.core.base.configuration import Section
from factory.core.base.ports import Completed
from factory.core.host import firewall as rules
from factory.core.watchdog import policy
from factory.core.watchdog.checks import firewall
from factory.core.watchdog.sources import AbsentError, Host

NOW = 1_800_000_000.0
USER_RULES = """*filter
:ufw-user-input - [0:0]
### RULES ###

### tuple ### allow tcp 22 0.0.0.0/0 any 0.0.0.0/0 in comment=61696e61
-A ufw-user-input -p tcp --dport 22 -j ACCEPT

### tuple ### allow tcp 443 0.0.0.0/0 any 0.0.0.0/0 in comment=61696e61
-A ufw-user-input -p tcp --dport 443 -j ACCEPT

### END RULES ###
COMMIT
"""
GUARD = rules.container_rules(rules.Policy((), (), ()), 4)
IN_FORCE = """*filter
:INPUT DROP [12:900]
:FORWARD DROP [0:0]
:OUTPUT ACCEPT [0:0]
:DOCKER-USER - [0:0]
:AINA-FACTORY - [0:0]
:ufw-user-input - [0:0]
-A INPUT -j ufw-before-logging-input
-A INPUT -j ufw-before-input
-A FORWARD -j DOCKER-USER
-A DOCKER-USER -j AINA-FACTORY
-A ufw-user-input -p tcp -m tcp --dport 22 -j ACCEPT
-A ufw-user-input -p tcp -m tcp --dport 443 -j ACCEPT
""" + "".join(line + "\n" for line in GUARD.splitlines() if line.startswith("-A"))
EMPTY = "*filter\n:INPUT ACCEPT [0:0]\n:FORWARD ACCEPT [0:0]\n:OUTPUT ACCEPT [0:0]\nCOMMIT\n"


def host(root: Path, table: str) -> Host:
    (root / "ufw").mkdir()
    (root / "ufw/user.rules").write_text(USER_RULES)
    (root / "default").write_text('DEFAULT_INPUT_POLICY="DROP"\n')
    (root / "docker-user.v4").write_text(GUARD)
    (root / "firewall.json").write_text("{}")

    def run(argv: Sequence[str], **_options: Any) -> Completed:
        assert argv[0] == "iptables-save", "nothing is declared by IPv6"
        return Completed(0, table.encode(), b"")

    chosen = policy.from_section(Section({"data_dir": str(root)}, "watchdog"))
    bare = Host(chosen, Section({}, "whole"), NOW, cast("Any", run), *[cast("Any", None)] * 4)
    return replace(bare, ufw_dir=root / "ufw", ufw_defaults=root / "default", firewall_dir=root)


def without(*passages: str) -> str:
    kept = [line for line in IN_FORCE.splitlines() if not any(item in line for item in passages)]
    return "\n".join(kept) + "\n"


def test_declared_rules_that_are_in_the_kernel_are_in_force(tmp_path: Path) -> None:
    assert firewall.read(host(tmp_path, IN_FORCE)) == firewall.FirewallState(2)


@pytest.mark.parametrize(
    ("table", "words"),
    [
        (EMPTY, "iptables has 0 of the 2 rules of ufw-user-input"),
        (EMPTY, "accepts whoever knocks, though the default is to drop"),
        (EMPTY, "published container ports are not guarded (IPv4)"),
        (without("--dport 443"), "iptables has 1 of the 2 rules of ufw-user-input"),
        (without("-A INPUT"), "leads nobody who knocks to ufw's rules"),
        (IN_FORCE.replace(":INPUT DROP", ":INPUT ACCEPT"), "accepts whoever knocks"),
        (without("-A DOCKER-USER"), "published container ports are not guarded"),
        (without("--ctstate DNAT"), "published container ports are not guarded"),
    ],
    ids=["empty", "open", "unguarded", "one gone", "not led", "accepts", "not reached", "fewer"],
)
def test_a_firewall_that_somebody_has_emptied_is_told(
    tmp_path: Path, table: str, words: str
) -> None:
    assert words in "; ".join(firewall.read(host(tmp_path, table)).missing)


def test_a_host_without_a_declared_firewall_has_none_to_judge(tmp_path: Path) -> None:
    given = host(tmp_path, EMPTY)
    (tmp_path / "firewall.json").unlink()

    with pytest.raises(AbsentError):
        firewall.read(given)
