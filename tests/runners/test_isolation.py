"""Network and rules of the job containers: in force before each job, whoever removed them."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest

from factory.core.base.github.settings import GitHub
from factory.core.base.ports import Completed
from factory.core.runners import network
from factory.core.runners.settings import Destination, Instance, Mode, Network, RunnersSettings
from factory.runners import isolation

ESTABLISHED = "ct state established,related accept"
POOL = Instance(name="demo", mode=Mode.EPHEMERAL, target="x/y")


@dataclass
class Host:
    """A kernel with rules and an engine with networks."""

    rules: str = ""
    bridge: str = ""
    refuses: str = ""
    calls: list[list[str]] = field(default_factory=list)

    def run(self, argv: Sequence[str | bytes], *, stdin: bytes = b"", **_: Any) -> Completed:
        words = [os.fsdecode(word) for word in argv]
        self.calls.append(words)
        if words[0] == self.refuses:
            return Completed(1, b"", b"permission denied")
        if words[:2] == ["nft", "--file"]:
            self.rules = stdin.decode()
        elif words[0] == "nft":
            return Completed(0 if words[-1] in self.rules else 1, b"", b"")
        elif "inspect" in words:
            missing = Completed(1, b"", b"no such network")
            return Completed(0, f"{self.bridge}\n".encode(), b"") if self.bridge else missing
        elif "create" in words:
            self.bridge = Network().bridge
        return Completed(0, b"", b"")


@pytest.fixture
def host() -> Host:
    return Host()


def settings(**changes: Any) -> RunnersSettings:
    github = GitHub(api_url="https://127.0.0.1:8443/api/v3")
    given = {"github": github, "instances": (POOL,), **changes}
    return RunnersSettings(prefix="box", **given)


def test_network_and_walls_are_made_once(host: Host) -> None:
    assert isolation.enforce(settings(), host.run) == [
        "make the network aina-runners",
        "put the firewall rules in force",
    ]
    assert isolation.enforce(settings(), host.run) == []


def test_rules_that_somebody_removed_are_in_force_again_before_a_job(host: Host) -> None:
    isolation.enforce(settings(), host.run)
    host.rules = ""

    assert isolation.problem(settings(), host.run) == ""

    assert "172.16.0.0/12" in host.rules


def test_rules_that_are_no_longer_those_declared_are_replaced_before_a_job(host: Host) -> None:
    isolation.enforce(settings(), host.run)
    wanted = (Destination(host="10.1.2.3", port=5432),)

    assert isolation.problem(settings(allowed_destinations=wanted), host.run) == ""

    assert "ip daddr 10.1.2.3 tcp dport 5432 accept" in host.rules


def test_no_job_begins_where_it_cannot_be_isolated(host: Host) -> None:
    host.refuses = "nft"

    assert "nft --file -: permission denied" in isolation.problem(settings(), host.run)


def test_github_itself_is_reached_where_it_stands_in_a_private_network(host: Host) -> None:
    assert "ip daddr 127.0.0.1 tcp dport 8443 accept" in isolation.rules(settings())


def test_nobody_talks_to_a_job_its_neighbour_least_of_all() -> None:
    rules = network.ruleset(Network(), network.Openings(allowed=(("10.0.0.7", 443),))).splitlines()
    forward = [rule.strip() for rule in rules[rules.index("  chain forward {") :]]

    answers, drop = (f'oifname "br-runners" {what}' for what in (ESTABLISHED, "drop"))
    assert forward.index(answers) < forward.index(drop)
    # Before any door.
    assert forward.index(drop) < next(n for n, rule in enumerate(forward) if "10.0.0.7" in rule)
    assert "com.docker.network.bridge.enable_icc=false" in network.create_argv(Network())


def test_a_job_on_the_host_reaches_neither_metadata_nor_denied_ports() -> None:
    rules = network.ruleset(
        Network(denied_local_ports=(3100,)), network.Openings(native_users=("1007",))
    )

    assert 'meta skuid "1007" ip daddr 169.254.0.0/16 drop' in rules
    assert 'meta skuid "1007" oifname "lo" tcp dport 3100 reject' in rules
