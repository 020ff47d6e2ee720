from __future__ import annotations

import pytest

from ansible_collections.aina.factory.plugins.module_utils import firewall
from ansible_collections.aina.factory.plugins.module_utils.firewall import (
    FirewallError,
    Opening,
    Policy,
    Situation,
)

SSH = Opening("22", "tcp")
WEB = Opening("443", "tcp", ("10.0.0.0/8", "2001:db8::/32"))
POLICY = Policy((SSH,), (WEB,), ("wg0",))
RULES = [
    f"allow in on wg0 comment '{firewall.COMMENT}'",
    f"allow 22/tcp comment '{firewall.COMMENT}'",
]


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


def situation(
    added: tuple[str, ...] = tuple(RULES), *, active: bool = True, kernel: str | None = None
) -> Situation:
    tables = {4: table() if kernel is None else kernel}
    return Situation(active, "deny", added, (22,), True, True, tables)


def phrases(found: Situation, policy: Policy = POLICY) -> list[str]:
    return firewall.plan(policy, found, []).actions


def test_what_is_in_force_needs_nothing() -> None:
    assert phrases(situation()) == []


def test_an_opening_is_made_before_anything_is_denied() -> None:
    assert phrases(situation((), active=False)) == [
        *(f"ufw {rule}" for rule in RULES),
        "ufw default deny incoming",
        "ufw enable",
    ]


def test_our_stale_rules_go_and_those_of_others_stay() -> None:
    added = (*RULES, f"allow 80/tcp comment '{firewall.COMMENT}'", "allow 9999/tcp")

    assert phrases(situation(added)) == ["ufw delete allow 80/tcp"]


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
    assert phrases(situation(kernel=kernel)) == [f"restart {firewall.UNIT}"]


def test_a_changed_declaration_of_containers_is_noticed_in_the_kernel() -> None:
    policy = Policy((SSH,), (), ("wg0",))

    assert phrases(situation(), policy) == [f"restart {firewall.UNIT}"]


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
        (Policy((Opening("80", "tcp"),), (), ()), "listens on port 22, which no entry"),
        (Policy((Opening("22", "udp"),), (), ()), "listens on port 22, which no entry"),
        (Policy((SSH, Opening("http", "tcp")), (), ()), "must be a number or a range"),
        (Policy((SSH, Opening("70000", "tcp")), (), ()), "must be a number or a range"),
        (Policy((SSH,), (), ("eth0; reboot",)), "is no name of an interface"),
    ],
)
def test_what_is_misspelt_or_shuts_the_administrators_out_is_refused(
    policy: Policy, words: str
) -> None:
    with pytest.raises(FirewallError, match=words):
        firewall.check(policy, [22])


def test_a_range_may_open_the_port_of_the_ssh_server() -> None:
    firewall.check(Policy((Opening("20:25", "tcp"),), (), ()), [22])


def test_absence_takes_only_what_is_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    added = (*RULES, "allow 9999/tcp")
    kernel = f":{firewall.CHAIN} - [0:0]\n{table()}"

    mine = firewall.plan_absence(situation(added, kernel=kernel), [], enabled_by_us=True)
    theirs = firewall.plan_absence(situation(added, kernel=kernel), [], enabled_by_us=False)

    assert mine.actions[0] == "ufw disable"
    assert "ufw disable" not in theirs.actions
    assert not any("9999" in action for action in mine.actions)
    assert f"iptables forgets {firewall.CHAIN}" in theirs.actions
