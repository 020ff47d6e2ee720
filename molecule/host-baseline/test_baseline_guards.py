"""The ways in: who gets through, who does not, and who is kept from locking himself out."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from behaviour import Run, converge

SCENARIO = Path(__file__).parent

SSH_FILE = "/etc/ssh/sshd_config.d/10-aina-factory.conf"
SSH = "ssh -o StrictHostKeyChecking=no -o ConnectTimeout=10 -o BatchMode=yes"
KEY = "-i /home/agent/.ssh/id_ed25519"
ADDRESS = "{{.NetworkSettings.IPAddress}}"
GUARD = "aina-factory-docker-firewall.service"


def words(run: Run) -> str:
    return " ".join(run.output.split())


def gets_in(host: Any) -> bool:
    return bool(host.run(f"{SSH} {KEY} agent@localhost true").succeeded)


def answers(host: Any, port: int) -> bool:
    """Whether a port of the host is open to a neighbour, as seen from outside."""
    address = host.check_output("ip -4 -brief address show eth0").split()[2].partition("/")[0]
    for _attempt in range(20):
        try:
            with socket.create_connection((address, port), timeout=3) as connection:
                connection.sendall(b"GET / HTTP/1.0\r\n\r\n")
                return bool(connection.recv(4))
        except ConnectionRefusedError:
            time.sleep(0.5)  # not listening yet: that says nothing of the firewall
        except OSError:
            return False
    pytest.fail(f"nothing listens on port {port}")


# --- SSH ---------------------------------------------------------------------


def test_a_key_gets_in_and_a_password_is_not_even_asked_for(host: Any) -> None:
    assert gets_in(host)

    refused = host.run(f"{SSH} agent@localhost true")

    assert refused.failed
    assert "Permission denied (publickey)" in refused.stderr


def test_settings_that_lock_the_administrator_out_are_refused(host: Any) -> None:
    before = host.check_output(f"cat {SSH_FILE}")
    host.check_output("mv /home/agent/.ssh/authorized_keys /home/agent/.ssh/away")

    settings = {"PasswordAuthentication": False, "KbdInteractiveAuthentication": False}
    run = converge(SCENARIO, host_baseline_ssh_settings=settings)
    host.check_output("mv /home/agent/.ssh/away /home/agent/.ssh/authorized_keys")

    assert run.returncode != 0
    assert "agent has no public key that would be taken" in words(run)
    assert host.check_output(f"cat {SSH_FILE}") == before
    assert gets_in(host)


@pytest.mark.deep
def test_a_setting_that_another_file_makes_ineffective_is_no_success(host: Any) -> None:
    earlier = "/etc/ssh/sshd_config.d/00-somebody.conf"
    host.check_output(f"echo 'MaxAuthTries 9' > {earlier}")

    run = converge(SCENARIO, host_baseline_ssh_settings={"MaxAuthTries": 3})
    host.check_output(f"rm {earlier}")

    assert run.returncode != 0
    assert "MaxAuthTries: not in force" in words(run)
    assert converge(SCENARIO).returncode == 0


@pytest.mark.deep
def test_a_server_that_does_not_come_back_gets_its_former_settings(host: Any) -> None:
    before = host.check_output(f"cat {SSH_FILE}")

    # Well-formed, but no address of this host.
    run = converge(SCENARIO, host_baseline_ssh_settings={"ListenAddress": "192.0.2.1"})

    assert run.returncode != 0
    assert "the former ones are restored" in words(run)
    assert host.check_output(f"cat {SSH_FILE}") == before
    assert gets_in(host)


@pytest.mark.deep
def test_a_restart_of_the_server_that_a_killed_run_owes_is_made_up_for(host: Any) -> None:
    host.check_output(f"cp {SSH_FILE} /tmp/s && rm {SSH_FILE} && sleep 0.1 && cp /tmp/s {SSH_FILE}")

    run = converge(SCENARIO)

    assert [what for what in run.changed if what.startswith("restart ssh.service")]
    assert converge(SCENARIO).changed == []


# --- Firewall ----------------------------------------------------------------


@pytest.fixture(scope="module")
def listeners(host: Any) -> Iterator[None]:
    """Something on a port of the host, and two containers that publish theirs to everybody."""
    host.check_output(
        "systemd-run --quiet --unit=listener python3 -m http.server 7000 && cd /tmp && mkdir -p root/bin "
        "&& cp /bin/busybox root/bin/ && tar -C root -c . | docker import - tiny:1 >/dev/null"
    )
    for port in (8000, 8001):
        host.check_output(
            f"docker run --detach --restart=always --stop-timeout=1 --name web-{port} --publish {port}:80 tiny:1 "
            "/bin/busybox httpd -f -h /bin -p 80"
        )
    yield
    host.run("docker rm --force web-8000 web-8001; systemctl stop listener")


@pytest.mark.usefixtures("listeners")
def test_what_nobody_allowed_is_closed_published_ports_included(host: Any) -> None:
    assert {port: answers(host, port) for port in (22, 7000, 8000, 8001)} == {
        22: True,
        7000: False,
        8000: False,
        8001: True,
    }
    # Inside, everything goes on: containers reach each other, and the host reaches them.
    for where in ("docker exec web-8001 /bin/busybox", "busybox"):
        address = f"$(docker inspect --format '{ADDRESS}' web-8000)"
        assert host.run(f"{where} wget -q -O /dev/null http://{address}/busybox").succeeded


@pytest.mark.usefixtures("listeners")
def test_published_ports_stay_closed_after_a_restart_of_the_engine(host: Any) -> None:
    host.check_output("systemctl restart docker")

    assert host.service(GUARD).is_running
    assert not answers(host, 8000)
    assert answers(host, 8001)


@pytest.mark.deep
@pytest.mark.usefixtures("listeners")
@pytest.mark.parametrize(
    "damage",
    ["iptables -F DOCKER-USER", "iptables -D AINA-FACTORY 3", "iptables -D FORWARD -j DOCKER-USER"],
)
def test_rules_that_somebody_threw_away_come_back(host: Any, damage: str) -> None:
    host.check_output(damage)

    run = converge(SCENARIO)

    assert f"restart {GUARD}" in run.changed
    assert not answers(host, 8000)


@pytest.mark.deep
@pytest.mark.usefixtures("listeners")
def test_the_ports_are_open_where_the_part_is_off(host: Any) -> None:
    """Without this one, the tests above could pass on a host where nothing listens."""
    assert converge(SCENARIO, firewall_enabled=False).returncode == 0

    assert answers(host, 7000)
    assert answers(host, 8000)
    assert converge(SCENARIO, firewall_enabled=False).changed == []
    assert converge(SCENARIO).returncode == 0
    assert not answers(host, 8000)


def test_a_firewall_that_would_shut_the_administrators_out_is_refused(host: Any) -> None:
    state = "ufw show added; cat /etc/systemd/journald.conf.d/60-aina-factory.conf"
    before = host.check_output(state)

    run = converge(
        SCENARIO,
        host_baseline_firewall_allowed=[{"port": "443"}],
        host_baseline_journal_max_use_mib=49,
    )

    assert run.returncode != 0
    assert "SSH server listens on port 22, which no entry" in words(run)
    # Nor was anything done that comes before the firewall.
    assert host.check_output(state) == before
    assert answers(host, 22)


@pytest.mark.deep
def test_rules_of_others_stay_and_ours_follow_the_declaration(host: Any) -> None:
    host.check_output("ufw allow 9999/tcp")
    udp = {"port": "6000:6010", "protocol": "udp", "sources": ["192.0.2.0/24"]}
    # One that is declared is somebody else's all the same.
    ports = [{"port": "22"}, {"port": "9999"}, udp]

    assert converge(SCENARIO, host_baseline_firewall_allowed=ports).returncode == 0
    rules = host.check_output("ufw show added")
    assert "192.0.2.0/24" in rules
    assert converge(SCENARIO, host_baseline_firewall_allowed=ports).changed == []

    assert converge(SCENARIO).returncode == 0
    rules = host.check_output("ufw show added")
    assert "192.0.2.0/24" not in rules
    assert "ufw allow 9999/tcp" in rules.splitlines()
