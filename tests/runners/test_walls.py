"""Network and walls of the job containers: put up before each job, whoever took them down."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest

from factory.core.base.github.settings import GitHub
from factory.core.base.ports import Completed
from factory.core.runners import network
from factory.core.runners.model import Destination, Instance, Mode, Network, Settings
from factory.runners import walls

ESTABLISHED = "ct state established,related accept"
POOL = Instance("demo", Mode.EPHEMERAL, "x/y")


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


def settings(**changes: Any) -> Settings:
    hub = GitHub(api_url="https://127.0.0.1:8443/api/v3")
    given = {"github": hub, "instances": (POOL,), **changes}
    return Settings(prefix="box", **given)


def test_network_and_walls_are_made_once(host: Host) -> None:
    assert walls.put_up(settings(), host.run) == [
        "make the network aina-runners",
        "put the walls up",
    ]
    assert walls.put_up(settings(), host.run) == []


def test_walls_that_somebody_took_down_are_up_again_before_a_job(host: Host) -> None:
    walls.put_up(settings(), host.run)
    host.rules = ""

    assert walls.problem(settings(), host.run) == ""

    assert "172.16.0.0/12" in host.rules


def test_rules_that_are_no_longer_those_declared_are_replaced_before_a_job(host: Host) -> None:
    walls.put_up(settings(), host.run)
    wanted = Network(allowed=(Destination("10.1.2.3", 5432),))

    assert walls.problem(settings(network=wanted), host.run) == ""

    assert "ip daddr 10.1.2.3 tcp dport 5432 accept" in host.rules


def test_no_job_begins_where_the_walls_cannot_be_put_up(host: Host) -> None:
    host.refuses = "nft"

    assert "nft --file -: permission denied" in walls.problem(settings(), host.run)


def test_github_itself_is_reached_where_it_stands_in_a_private_network(host: Host) -> None:
    assert "ip daddr 127.0.0.1 tcp dport 8443 accept" in walls.rules(settings())


def test_nobody_talks_to_a_job_its_neighbour_least_of_all() -> None:
    rules = network.ruleset(Network(), network.Walls(allowed=(("10.0.0.7", 443),))).splitlines()
    forward = [rule.strip() for rule in rules[rules.index("  chain forward {") :]]

    answers, drop = (f'oifname "br-runners" {what}' for what in (ESTABLISHED, "drop"))
    assert forward.index(answers) < forward.index(drop)
    # Before any door.
    assert forward.index(drop) < next(n for n, rule in enumerate(forward) if "10.0.0.7" in rule)
    assert "com.docker.network.bridge.enable_icc=false" in network.create_argv(Network())


def test_a_job_on_the_host_reaches_neither_metadata_nor_denied_ports() -> None:
    rules = network.ruleset(
        Network(denied_local_ports=(3100,)), network.Walls(native_users=("1007",))
    )

    assert 'meta skuid "1007" ip daddr 169.254.0.0/16 drop' in rules
    assert 'meta skuid "1007" oifname "lo" tcp dport 3100 reject' in rules
