from __future__ import annotations

import ipaddress
import subprocess
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from factory.core.base.ports import Completed
from factory.core.host import firewall
from factory.core.host.firewall import (
    FirewallError,
    Opening,
    Policy,
    Rule,
    RulesPlan,
    Situation,
    Ufw,
    WayIn,
)
from factory.core.host.way_in import way_back
from factory.core.host.way_in.connection import Listener, Session

SSH = Opening("22", "tcp")
WEB = Opening("443", "tcp", ("10.0.0.0/8", "2001:db8::/32"))
POLICY = Policy((SSH,), (WEB,), ("wg0",))
MARK = f"comment '{firewall.COMMENT}'"
OURS = f"comment={firewall.COMMENT.encode().hex()}"
RULES = [f"allow in on wg0 {MARK}", f"allow 22/tcp {MARK}"]


def tuples(*rules: str) -> list[Rule]:
    """Return rules as ufw writes them into its file: action, protocol, port, and so on."""
    return firewall.parse_rules("".join(f"### tuple ### {rule}\n" for rule in rules))


def both(rule: str) -> tuple[str, str]:
    """Return a rule that ufw makes for both families."""
    return rule.replace("ANY", "0.0.0.0/0"), rule.replace("ANY", "::/0")


def ufw(*rules: str, recorded: bool = True, families: tuple[int, ...] = (4, 6)) -> Ufw:
    """Return ufw's rules; each with our comment was made by us, unless nothing is recorded."""
    found = tuples(*(family for rule in rules for family in sorted(set(both(rule)))))
    keys = {rule.key for rule in found if rule.comment == firewall.COMMENT} if recorded else set()
    by_family = {number: [rule for rule in found if rule.family == number] for number in (4, 6)}
    return Ufw(by_family, families, frozenset(keys))


MINE = (f"allow any any ANY any ANY in_wg0 {OURS}", f"allow tcp 22 ANY any ANY in {OURS}")


def phrases(plan: RulesPlan) -> list[str]:
    return [phrase for phrase, _argv in (*plan.additions, *plan.deletions)]


def came(peer: str, port: int = 22, interface: str = "eth0", *ports: int) -> WayIn:
    """Return the way in of a run that came from ``peer``."""
    address = "192.0.2.1" if ":" not in peer else "2001:db8::1"
    session = Session("ali", ipaddress.ip_address(peer), ipaddress.ip_address(address), port)
    everywhere = ipaddress.ip_address("::")
    return WayIn(session, interface, tuple(Listener(everywhere, item) for item in ports or (port,)))


def table(policy: Policy = POLICY, family: int = 4) -> str:
    """Return what the kernel lists once everything is in force."""
    lines = [
        line
        for line in firewall.container_rules(policy, family).splitlines()
        if line.startswith("-A")
    ]
    return "\n".join(
        [
            "-A FORWARD -j DOCKER-USER",
            "-A FORWARD -j DOCKER-FORWARD",
            f"-A DOCKER-USER -j {firewall.CHAIN}",
            *lines,
        ]
    )


def kernel_phrases(kernel: str, policy: Policy = POLICY) -> list[str]:
    situation = Situation(True, "deny", True, True, {4: kernel})
    return firewall.plan(policy, situation, firewall.plan_rules(policy, ufw(*MINE)), []).actions


def test_what_is_in_force_needs_nothing() -> None:
    assert kernel_phrases(table()) == []


def test_an_opening_is_made_before_anything_is_denied() -> None:
    off = Situation(False, "", True, True, {4: table()})

    assert firewall.plan(POLICY, off, firewall.plan_rules(POLICY, ufw()), []).actions == [
        *(f"ufw {rule}" for rule in RULES),
        "ufw default deny incoming",
        "ufw enable",
    ]


@pytest.mark.parametrize(("family", "chain"), [(4, "ufw"), (6, "ufw6")])
def test_rules_that_somebody_has_flushed_come_back(family: int, chain: str) -> None:
    lines = [f"-A INPUT -j {chain}-before-input", f"-A {chain}-before-input -j {chain}-user-input"]
    whole = "\n".join([f":{chain}-user-input - [0:0]", *lines])
    flushed = Situation(True, "deny", True, True, {4: table()}, flushed=True)
    rules = firewall.plan_rules(POLICY, ufw(*MINE))
    seen: list[way_back.Undo] = []

    plan = firewall.plan(POLICY, flushed, rules, [])
    firewall.protect(
        plan, flushed, lambda *_w, **_m: Completed(0, b"-P INPUT ACCEPT", b""), seen.append
    )

    # Without the first, ufw would deny everything and reach none of its rules.
    cleared = "clear what somebody has left of ufw's chains"
    assert plan.actions == [cleared, "ufw reload, for somebody has flushed its rules"]
    off = replace(flushed, active=False)
    assert firewall.plan(POLICY, off, rules, []).actions[-2:] == [cleared, "ufw enable"]
    assert ("iptables", "-w", "20", "-P", "INPUT", "ACCEPT") in seen[0].then
    assert not firewall.is_flushed(family, whole, active=True)
    assert all(firewall.is_flushed(family, whole.replace(line, ""), active=True) for line in lines)
    # Where ufw has no chains it is not what filters.
    assert not firewall.is_flushed(family, "", active=True)
    # What is off has no rules, and is reached all the same.
    assert not firewall.is_flushed(family, whole.replace(lines[1], ""), active=False)


def test_our_stale_rules_go_and_those_of_others_stay() -> None:
    rules = (*MINE, f"allow tcp 80 ANY any ANY in {OURS}", "allow tcp 9999 ANY any ANY in")

    plan = firewall.plan_rules(POLICY, ufw(*rules))

    assert phrases(plan) == ["ufw delete allow 80/tcp"]
    assert plan.kept == ()


# An opening that somebody has made, in any words that mean what is declared to ufw.
@pytest.mark.parametrize(
    "rule",
    [
        "allow tcp 22 ANY any ANY in",
        "limit tcp 22 ANY any ANY in",
        "allow_log tcp 22 ANY any ANY in",
    ],
)
def test_an_opening_that_somebody_has_made_is_not_made_ours(rule: str) -> None:
    policy = Policy((SSH,), (), ())

    plan = firewall.plan_rules(policy, ufw(rule))

    assert phrases(plan) == []
    assert plan.recorded == frozenset()
    left = firewall.plan_rules_absence(ufw(rule), [WayIn()], stays_active=True)
    assert (phrases(left), left.kept) == ([], ())


def test_what_somebody_denies_is_not_replaced_by_an_opening() -> None:
    with pytest.raises(FirewallError, match="ufw has 'reject 22/tcp' of somebody else's"):
        firewall.plan_rules(POLICY, ufw("reject tcp 22 ANY any ANY in"))


def test_one_family_is_opened_where_somebody_has_opened_the_other() -> None:
    there = Ufw({4: tuples("allow tcp 22 0.0.0.0/0 any 0.0.0.0/0 in"), 6: []})

    plan = firewall.plan_rules(Policy((SSH,), (), ()), there)

    assert phrases(plan) == [f"ufw allow from ::/0 to any port 22 proto tcp {MARK}"]
    mine = Ufw(plan.after, (4, 6), plan.recorded)
    assert phrases(firewall.plan_rules(Policy((SSH,), (), ()), mine)) == []
    left = firewall.plan_rules_absence(mine, [WayIn()], stays_active=False)
    assert phrases(left) == ["ufw delete allow from ::/0 to any port 22 proto tcp"]
    assert left.after[4] == there.rules[4]


def test_a_rule_with_our_comment_that_nothing_records_stays_and_is_named() -> None:
    rules = (f"allow tcp 80 ANY any ANY in {OURS}", *MINE)

    plan = firewall.plan_rules(POLICY, ufw(*rules, recorded=False))
    left = firewall.plan_rules_absence(ufw(*rules, recorded=False), [WayIn()], stays_active=True)

    assert (phrases(plan), plan.kept) == ([], ("allow 80/tcp",))
    assert phrases(left) == []
    assert left.kept == ("allow 80/tcp", "allow in on wg0", "allow 22/tcp")


@pytest.mark.parametrize(
    ("sources", "words"),
    [
        (("10.1.2.3/8",), ["from 10.0.0.0/8 to any port 22 proto tcp"]),
        (
            ("192.0.2.7/32", "2001:DB8::7"),
            [
                "from 192.0.2.7 to any port 22 proto tcp",
                "from 2001:db8::7 to any port 22 proto tcp",
            ],
        ),
        (("0.0.0.0/0",), ["from 0.0.0.0/0 to any port 22 proto tcp"]),
    ],
)
def test_sources_are_compared_in_the_form_in_which_ufw_keeps_them(
    sources: tuple[str, ...], words: list[str]
) -> None:
    policy = Policy((Opening("22", "tcp", sources),), (), ())

    plan = firewall.plan_rules(policy, ufw())

    assert phrases(plan) == [f"ufw allow {item} {MARK}" for item in words]
    assert phrases(firewall.plan_rules(policy, Ufw(plan.after, (4, 6), plan.recorded))) == []


@pytest.mark.parametrize(
    "damage",
    [
        ("-A FORWARD -j DOCKER-USER\n", ""),
        ("-A FORWARD -j DOCKER-USER\n-A FORWARD", "-A FORWARD -j ACCEPT\n-A FORWARD"),
        (f"-A DOCKER-USER -j {firewall.CHAIN}\n", ""),
        (f"-A DOCKER-USER -j {firewall.CHAIN}", "-A DOCKER-USER -j RETURN"),
        (f"-A {firewall.CHAIN} -i docker0 -j RETURN\n", ""),
        (f"--comment {firewall.COMMENT}-", "--comment old-"),
    ],
)
def test_rules_that_are_not_reached_or_not_whole_are_put_in_force_again(
    damage: tuple[str, str],
) -> None:
    kernel = table().replace(*damage)

    assert kernel != table()
    assert kernel_phrases(kernel) == [f"restart {firewall.UNIT}"]


@pytest.mark.parametrize("containers", [(), (Opening("8443", "tcp", WEB.sources),)])
def test_a_changed_declaration_of_containers_is_noticed_in_the_kernel(
    containers: tuple[Opening, ...],
) -> None:
    policy = Policy((SSH,), containers, ("wg0",))

    assert kernel_phrases(table(), policy) == [f"restart {firewall.UNIT}"]


def test_a_source_opens_only_its_own_address_family() -> None:
    by_family = {family: firewall.container_rules(POLICY, family) for family in (4, 6)}

    assert "-s 10.0.0.0/8 -p tcp -m conntrack --ctorigdstport 443" in by_family[4]
    assert "2001:db8" not in by_family[4]
    assert "-s 2001:db8::/32" in by_family[6]
    only_four = Policy((SSH,), (Opening("443", "tcp", ("10.0.0.0/8",)),), ())
    assert "443" not in firewall.container_rules(only_four, 6)


@pytest.mark.parametrize(
    ("policy", "words"),
    [
        (Policy((SSH, Opening("http", "tcp")), (), ()), "must be a number or a range"),
        (Policy((SSH, Opening("70000", "tcp")), (), ()), "must be a number or a range"),
        (
            Policy((Opening("22", "tcp", ("my-office",)),), (), ()),
            "must be an address or a network",
        ),
        (Policy((SSH,), (), ("eth0; reboot",)), "is no name of an interface"),
    ],
)
def test_what_is_misspelt_is_refused(policy: Policy, words: str) -> None:
    with pytest.raises(FirewallError, match=words):
        firewall.check(policy)


OFFICE = Opening("22", "tcp", ("10.0.0.0/8", "2001:db8:1::/48"))
EVERYBODY = Policy((SSH,), (), ())
NOBODY = WayIn(listeners=(Listener(ipaddress.ip_address("::"), 22),))

# The declaration, what ufw has already, how one comes in, and what is said against it.
WAYS_IN = [
    (EVERYBODY, (), came("203.0.113.9"), ""),
    (EVERYBODY, (), came("2001:db8:2::9"), ""),
    (Policy((Opening("20:25", "tcp"),), (), ()), (), came("203.0.113.9"), ""),
    # No session: the listeners are judged alone, and those of the loopback not at all.
    (EVERYBODY, (), NOBODY, ""),
    (Policy((), (), ()), (), WayIn(listeners=(Listener(ipaddress.ip_address("::1"), 22),)), ""),
    (
        EVERYBODY,
        (),
        WayIn(listeners=(Listener(ipaddress.ip_address("192.0.2.1"), 2222),)),
        "listens on port 2222, which no entry",
    ),
    (Policy((Opening("80", "tcp"),), (), ()), (), NOBODY, "port 22, which no entry"),
    (Policy((Opening("22", "udp"),), (), ()), (), NOBODY, "port 22, which no entry"),
    (EVERYBODY, (), came("203.0.113.9", 2222), "came from 203.0.113.9 to port 2222, and no rule"),
    (EVERYBODY, (), came("203.0.113.9", 22, "eth0", 22, 2222), "port 2222, which no entry"),
    (Policy((OFFICE,), (), ()), (), came("10.1.2.3"), ""),
    (Policy((OFFICE,), (), ()), (), came("2001:db8:1::9"), ""),
    (Policy((OFFICE,), (), ()), (), came("203.0.113.9"), "came from 203.0.113.9 to port 22"),
    (Policy((OFFICE,), (), ()), (), came("2001:db8:2::9"), "came from 2001:db8:2::9 to port 22"),
    (Policy((OFFICE,), (), ()), (), came("127.0.0.1"), ""),
    # What others have opened stays open, and what they deny stays denied.
    (
        Policy((OFFICE,), (), ()),
        ("allow tcp 22 ANY any ANY OpenSSH - in",),
        came("203.0.113.9"),
        "",
    ),
    (Policy((OFFICE,), (), ()), ("allow any 22,2222 ANY any ANY in",), came("203.0.113.9"), ""),
    (Policy((), (), ()), ("limit tcp 22 ANY any ANY in",), came("203.0.113.9"), ""),
    (
        Policy((), (), ()),
        ("allow tcp 22 198.51.100.1 any 0.0.0.0/0 in",),
        came("203.0.113.9"),
        "no rule",
    ),
    (
        Policy((), (), ()),
        ("allow tcp 22 0.0.0.0/0 1024 0.0.0.0/0 in",),
        came("203.0.113.9"),
        "no rule",
    ),
    (
        EVERYBODY,
        ("deny any any 0.0.0.0/0 any 203.0.113.0/24 in",),
        came("203.0.113.9"),
        "meets it first (deny",
    ),
    (EVERYBODY, ("deny any any 0.0.0.0/0 any 198.51.100.0/24 in",), came("203.0.113.9"), ""),
    (EVERYBODY, ("deny any any ANY any ANY out",), came("203.0.113.9"), ""),
    (EVERYBODY, ("deny tcp 22 ANY any ANY in_eth0",), came("203.0.113.9"), "meets it first (deny"),
    (EVERYBODY, ("deny tcp 22 ANY any ANY in_eth1",), came("203.0.113.9"), ""),
    (
        EVERYBODY,
        ("deny tcp 22 ANY any ANY in_eth1",),
        came("203.0.113.9", 22, ""),
        "meets it first",
    ),
    (Policy((OFFICE,), (), ("wg+",)), (), came("203.0.113.9", 22, "wg0"), ""),
    (Policy((OFFICE,), (), ("wg+",)), (), came("203.0.113.9", 22, ""), "no rule lets it in"),
    (Policy((OFFICE,), (), ("wg0",)), (), came("203.0.113.9", 22, "eth0"), "no rule lets it in"),
]


@pytest.mark.parametrize(("policy", "there", "way_in", "words"), WAYS_IN)
def test_the_way_by_which_the_run_came_and_the_servers_stay_open(
    policy: Policy, there: tuple[str, ...], way_in: WayIn, words: str
) -> None:
    problems = firewall.closed(firewall.plan_rules(policy, ufw(*there)).after, way_in)

    assert words in "; ".join(problems)
    assert bool(words) == bool(problems)


def test_nobody_comes_by_ipv6_where_ufw_leaves_it_closed(tmp_path: Path) -> None:
    (tmp_path / "user.rules").write_text("### tuple ### limit tcp 22 0.0.0.0/0 any 0.0.0.0/0 in\n")
    (tmp_path / "defaults").write_text('IPV6="no"\n')

    found = firewall.read_ufw((), tmp_path, tmp_path / "defaults")
    plan = firewall.plan_rules(EVERYBODY, found)

    assert phrases(plan) == []
    assert firewall.closed(plan.after, came("203.0.113.9"), found.families) == []
    (problem,) = firewall.closed(plan.after, came("2001:db8:2::9"), found.families)
    assert "say IPV6=yes" in problem


def test_a_rule_of_an_unknown_form_is_no_success() -> None:
    with pytest.raises(FirewallError, match="a form that is not known: ### tuple ### allow tcp 22"):
        tuples("allow tcp 22 in")


def test_absence_takes_only_what_is_ours() -> None:
    rules = ufw(*MINE, "allow tcp 9999 ANY any ANY in")
    kernel = Situation(True, "deny", True, True, {4: f":{firewall.CHAIN} - [0:0]\n{table()}"})

    mine, theirs = (
        firewall.plan_absence(
            kernel,
            firewall.plan_rules_absence(rules, [WayIn()], stays_active=not ours),
            [],
            enabled_by_us=ours,
            incoming="allow",
        )
        for ours in (True, False)
    )

    assert mine.actions[0] == "ufw disable"
    assert theirs.actions[:3] == [
        "ufw default allow incoming",
        "ufw delete allow in on wg0",
        "ufw delete allow 22/tcp",
    ]
    assert not any("9999" in action for action in mine.actions)
    assert f"iptables forgets {firewall.CHAIN}" in theirs.actions


@pytest.mark.parametrize(
    ("others", "stays_active", "deleted"),
    [
        # Somebody else has the firewall on, and only our rule lets anybody in.
        ((), True, ["ufw delete allow in on wg0"]),
        (("allow tcp 22 198.51.100.1 any 0.0.0.0/0 in",), True, ["ufw delete allow in on wg0"]),
        (
            ("allow tcp 22 ANY any ANY OpenSSH - in",),
            True,
            ["ufw delete allow in on wg0", "ufw delete allow 22/tcp"],
        ),
        ((), False, ["ufw delete allow in on wg0", "ufw delete allow 22/tcp"]),
    ],
)
def test_a_rule_without_which_nobody_gets_in_outlives_absence(
    others: tuple[str, ...], stays_active: bool, deleted: list[str]
) -> None:
    there = ufw(*MINE, *others)

    left = firewall.plan_rules_absence(there, [came("203.0.113.9")], stays_active=stays_active)

    assert phrases(left) == deleted
    assert left.kept == (() if "ufw delete allow 22/tcp" in deleted else ("allow 22/tcp",))
    if stays_active:
        assert firewall.closed(left.after, came("203.0.113.9")) == []


def test_absence_keeps_what_somebody_needs_who_is_there_and_nothing_else() -> None:
    ours = [f"allow tcp {port} ANY any ANY in {OURS}" for port in (22, 2222)]
    there = ufw("allow tcp 22 0.0.0.0/0 any 203.0.113.9 in", *ours)
    run, other = came("203.0.113.9", 22, "eth0", 22, 2222), came("198.51.100.7", 2222)

    alone = firewall.plan_rules_absence(there, [run], stays_active=True)
    together = firewall.plan_rules_absence(there, [run, other], stays_active=True)

    # Before these rules were there, the run came in, and nobody by 2222.
    assert phrases(alone) == ["ufw delete allow 22/tcp", "ufw delete allow 2222/tcp"]
    assert phrases(together) == ["ufw delete allow 22/tcp"]


def test_the_last_opening_of_ssh_stays_though_nobody_is_in_by_it() -> None:
    """Nothing is known of the run's own way where it came by none of SSH's."""
    way_in = WayIn(listeners=(Listener(ipaddress.ip_address("::"), 22),))

    left = firewall.plan_rules_absence(ufw(*MINE), [way_in], stays_active=True)

    assert phrases(left) == ["ufw delete allow in on wg0"]
    assert left.kept == ("allow 22/tcp",)


def test_absence_gives_back_a_host_that_lets_in_by_one_interface() -> None:
    there = ufw("allow any any ANY any ANY in_eth0", f"allow tcp 22 ANY any ANY in {OURS}")

    left = firewall.plan_rules_absence(there, [came("203.0.113.9")], stays_active=True)

    assert phrases(left) == ["ufw delete allow 22/tcp"]


def test_whoever_else_is_logged_in_is_not_shut_out() -> None:
    rules = ufw("allow tcp 22 0.0.0.0/0 any 203.0.113.9 in").rules
    other = replace(came("198.51.100.7"), is_of_the_run=False)

    (problem,) = firewall.closed(rules, other)

    assert problem.startswith("ali is logged in from 198.51.100.7 to port 22, and no rule")


def test_the_kernel_gets_its_policies_back_once_ufw_is_off() -> None:
    there = firewall.Situation(True, "deny", False, False, {})
    policies = [("iptables", "-w", "20", "-P", chain, to) for chain, to in POLICIES]

    plan = firewall.plan_absence(there, None, [], enabled_by_us=True, policies=policies)

    assert plan.actions == ["ufw disable", "clear ufw's chains", "iptables -w 20 -P INPUT DROP"]


POLICIES = (("INPUT", "DROP"), ("OUTPUT", "ACCEPT"))


def test_an_engine_without_its_chain_cannot_be_guarded_and_that_is_said(tmp_path: Path) -> None:
    for name in ("iptables", "ip6tables"):
        (tmp_path / name).write_text("#!/bin/sh\nexit 1\n")
        (tmp_path / name).chmod(0o755)

    done = subprocess.run(
        ["sh", "-c", firewall._SCRIPT],
        env={"PATH": f"{tmp_path}:/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 1
    assert "published ports cannot be guarded" in done.stderr


@pytest.mark.parametrize(
    ("has_ipv6", "complaint"), [(False, ""), (True, "ip6tables-save: no such")]
)
def test_a_table_that_cannot_be_read_is_no_empty_one(
    has_ipv6: bool, complaint: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(firewall, "_IPV6", tmp_path if has_ipv6 else tmp_path / "none")
    listed: list[str] = []

    def run(argv: Sequence[str | bytes], **_options: Any) -> Completed:
        listed.append(str(argv[0]))
        if argv[0] == "ip6tables-save":
            return Completed(1, b"", b"no such table")
        return Completed(
            0, b"Status: active\nDefault: deny (incoming)" if argv[0] == "ufw" else b"active", b""
        )

    try:
        found = firewall.read(run)
    except FirewallError as error:
        assert complaint in str(error)
    else:
        assert not complaint
        assert (found.filters, found.lets_all_in, [*found.guarded]) == (True, False, [4])
    assert listed.count("ip6tables-save") == 1


@pytest.mark.parametrize(
    ("more", "goes"),
    [("", True), (":DOCKER - [0:0]\n", False), ("-A DOCKER-USER -s 192.0.2.1/32 -j DROP\n", False)],
)
def test_a_chain_that_only_the_guard_has_made_goes_with_it(more: str, goes: bool) -> None:
    ours = f":{firewall.CHAIN} - [0:0]\n:DOCKER-USER - [0:0]\n-A DOCKER-USER -j {firewall.CHAIN}\n"
    # The engine that it was made for has gone already.
    there = Situation(False, "", False, False, {6: ours + more})

    plan = firewall.plan_absence(there, None, [], enabled_by_us=False)

    phrases = [phrase for phrase, _argv in plan.commands]
    assert f"ip6tables forgets {firewall.CHAIN}" in phrases
    assert ("ip6tables forgets DOCKER-USER" in phrases) == goes
