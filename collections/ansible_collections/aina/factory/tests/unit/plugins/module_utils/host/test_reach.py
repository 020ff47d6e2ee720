from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from factory.core.base.ports import Completed
from factory.core.host import firewall, reach
from factory.core.host.firewall import Opening, Policy

# As ss of iproute2 6.15 prints it.
LISTENING = """\
udp   UNCONN 0      0               0.0.0.0:68         0.0.0.0:*    users:(("dhclient",pid=300,fd=6))
udp   UNCONN 0      0               0.0.0.0:51820      0.0.0.0:*
udp   UNCONN 0      0               0.0.0.0:161        0.0.0.0:*    users:(("snmpd",pid=9,fd=6))
tcp   LISTEN 0      128             0.0.0.0:22         0.0.0.0:*    users:(("sshd",pid=512,fd=6))
tcp   LISTEN 0      128                [::]:22            [::]:*    users:(("sshd",pid=512,fd=7))
tcp   LISTEN 0      5               0.0.0.0:9000       0.0.0.0:*    users:(("python3",pid=700,fd=3))
tcp   LISTEN 0      4096          127.0.0.1:5432       0.0.0.0:*    users:(("postgres",pid=7,fd=3))
tcp   LISTEN 0      4096      127.0.0.53%lo:53         0.0.0.0:*    users:(("systemd-resolve",pid=4,fd=3))
tcp   LISTEN 0      4096            0.0.0.0:8080       0.0.0.0:*    users:(("docker-proxy",pid=8,fd=7))
tcp   LISTEN 0      511                   *:80               *:*    users:(("nginx: master",pid=5,fd=3))
"""
PUBLISHED = (
    "web\t0.0.0.0:8080->80/tcp, [::]:8080->80/tcp\n"
    "db\t127.0.0.1:5433->5432/tcp\n"
    "sip\t0.0.0.0:6000-6010->6000-6010/udp\nidle\t\n"
)
POLICY = Policy((Opening("22", "tcp"), Opening("161", "udp", ("192.0.2.0/24",))), (), ())
NOBODY_GUARDS = reach.Guards(None, None)


def run(argv: Sequence[str | bytes], **_options: Any) -> Completed:
    return Completed(0, (LISTENING if argv[0] == "ss" else PUBLISHED).encode(), b"")


def rules(policy: Policy) -> dict[int, list[firewall.Rule]]:
    wanted = [rule for group in firewall.wanted_rules(policy) for rule in group]
    return {family: [rule for rule in wanted if rule.family == family] for family in (4, 6)}


def told(before: reach.Guards, after: reach.Guards) -> dict[str, str]:
    return {item["what"]: item["why"] for item in reach.cut_off(reach.read(run), before, after)}


def test_whatever_a_new_firewall_cuts_off_is_named_and_nothing_else() -> None:
    found = told(NOBODY_GUARDS, reach.guarded(POLICY, rules(POLICY)))

    assert found == {
        "80/tcp of nginx: master": "no entry of the firewall's allowed ports opens it",
        "161/udp of snmpd": "only 192.0.2.0/24 will reach it",
        "6000/udp of container sip": "no entry of the firewall's published ports opens it",
        "6010/udp of container sip": "no entry of the firewall's published ports opens it",
        "8080/tcp of container web": "no entry of the firewall's published ports opens it",
        "9000/tcp of python3": "no entry of the firewall's allowed ports opens it",
    }


def test_what_nobody_reaches_before_is_not_cut_off() -> None:
    policy = Policy((Opening("22", "tcp"), Opening("9000", "tcp")), (), ())
    tables = {4: firewall.container_rules(policy, 4)}

    found = told(reach.found(rules(policy), tables), reach.guarded(POLICY, rules(POLICY)))

    assert found == {"9000/tcp of python3": "no entry of the firewall's allowed ports opens it"}


def test_containers_that_nobody_guards_stay_reachable() -> None:
    policy = Policy(POLICY.host, (), (), guard_containers=False)

    assert not [
        what
        for what in told(NOBODY_GUARDS, reach.guarded(policy, rules(policy)))
        if "container" in what
    ]


@pytest.mark.parametrize(
    ("opening", "port", "sources"),
    [
        (Opening("8000:8100", "tcp"), 8080, (reach.EVERYBODY,)),
        (Opening("8080", "udp"), 8080, ()),
        (
            Opening("8080", "tcp", ("192.0.2.1", "198.51.100.0/24")),
            8080,
            ("192.0.2.1", "198.51.100.0/24"),
        ),
    ],
)
def test_who_reaches_a_container_is_read_off_the_kernel(
    opening: Opening, port: int, sources: tuple[str, ...]
) -> None:
    table = firewall.container_rules(Policy((), (opening,), ()), 4)
    service = reach.ReachableService("tcp", port, "container x", in_container=True)

    assert reach.found(None, {4: table}).open_to(service) == sources


def test_a_rule_of_somebody_elses_that_denies_first_counts() -> None:
    deny = firewall.Rule("deny", "tcp", "9000", "0.0.0.0/0", "any", "0.0.0.0/0")
    guards = reach.Guards({4: [deny, *rules(POLICY)[4]], 6: []}, None)

    assert guards.open_to(reach.ReachableService("tcp", 9000, "x")) == ()
    assert guards.open_to(reach.ReachableService("tcp", 22, "sshd")) == (reach.EVERYBODY,)


@pytest.mark.parametrize("failing", [FileNotFoundError, TimeoutError])
def test_a_host_that_does_not_tell_is_not_called_safe(failing: type[Exception]) -> None:
    def dumb(argv: Sequence[str | bytes], **_options: Any) -> Completed:
        raise failing(str(argv[0]))

    (item,) = reach.cut_off(reach.read(dumb), NOBODY_GUARDS, NOBODY_GUARDS)

    assert item["what"] == "nobody knows what"
