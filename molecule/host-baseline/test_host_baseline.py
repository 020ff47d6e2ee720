from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from behaviour import converge

SCENARIO = Path(__file__).parent

BUNDLE = "/etc/ssl/certs/ca-certificates.crt"
JOURNAL = "/etc/systemd/journald.conf.d/60-aina-factory.conf"
INSTANCES = "/proc/sys/fs/inotify/max_user_instances"

# A package whose installation kills dpkg, once, at the given stage.
VICTIM = """
set -e
mkdir -p /tmp/victim/DEBIAN
printf 'Package: victim\\nVersion: 1\\nArchitecture: all\\nMaintainer: x <x@example.com>\\nDescription: x\\n' \
  >/tmp/victim/DEBIAN/control
printf '#!/bin/sh\\ntest -e /run/killed || { touch /run/killed; kill -9 $PPID; sleep 1; }\\n' \
  >/tmp/victim/DEBIAN/postinst
chmod 0755 /tmp/victim/DEBIAN/postinst
rm -f /run/killed
dpkg-deb --build /tmp/victim /tmp/victim.deb >/dev/null
dpkg --install /tmp/victim.deb || true
"""

# Ends dpkg while it unpacks a large package.
CUT_OFF = """
apt-get purge --yes --quiet vim-runtime >/dev/null 2>&1
apt-get update --quiet >/dev/null
apt-get install --yes --quiet --no-install-recommends vim-runtime >/dev/null 2>&1 &
for poll in $(seq 3000); do
  find /usr/share/vim -name '*.dpkg-new' 2>/dev/null | grep -q . && break
  sleep 0.01
done
kill -9 $(pgrep -x dpkg)
wait || true
"""


@pytest.fixture(scope="module")
def authority(host: Any) -> str:
    """Return a certificate authority; what it has signed is /tmp/site.crt."""
    host.check_output(
        "cd /tmp && openssl req -x509 -newkey rsa:2048 -nodes -days 9 -subj /CN=Example "
        "-keyout ca.key -out ca.crt 2>/dev/null "
        "&& openssl req -newkey rsa:2048 -nodes -subj /CN=site.example.com -keyout site.key -out site.csr "
        "2>/dev/null && openssl x509 -req -in site.csr -CA ca.crt -CAkey ca.key -days 9 -out site.crt 2>/dev/null"
    )
    return str(host.check_output("cat /tmp/ca.crt"))


def trusts_the_authority(host: Any) -> bool:
    return bool(host.run(f"openssl verify -no-CApath -CAfile {BUNDLE} /tmp/site.crt").succeeded)


def restarts(what: list[str]) -> list[str]:
    return [phrase for phrase in what if phrase.startswith("restart ")]


def test_the_user_can_work_in_its_directories(host: Any) -> None:
    user = host.user("agent")

    # It was there before the role came, and keeps the shell that it had.
    assert (user.home, user.shell) == ("/home/agent", "/bin/sh")
    assert "users" in user.groups
    assert host.run("su - agent -c 'touch /srv/repos/x && rm /srv/repos/x'").succeeded
    assert host.run("su - agent -c 'touch /etc/aina-factory/x'").failed


def test_a_converge_without_change_makes_few_module_calls(host: Any) -> None:
    run = converge(SCENARIO)

    assert run.changed == []
    assert run.module_calls <= 1


def test_the_running_journal_obeys_a_changed_limit(host: Any) -> None:
    host.check_output(
        "mkdir -p /var/log/journal && systemctl restart systemd-journald && journalctl --flush"
    )

    run = converge(SCENARIO, host_baseline_journal_max_use_mib=48)
    host.check_output("journalctl --flush")

    said = host.check_output(
        "journalctl --boot --output=cat --grep='System Journal.*max' --lines=1"
    )
    assert len(restarts(run.changed)) == 1
    assert "max 48M" in said.replace("48.0M", "48M")


def test_a_journal_that_a_killed_run_left_behind_is_restarted(host: Any) -> None:
    converge(SCENARIO)
    # The file is right, but it came after the journal had started.
    host.check_output(f"cp {JOURNAL} /tmp/j && rm {JOURNAL} && sleep 0.1 && cp /tmp/j {JOURNAL}")

    assert len(restarts(converge(SCENARIO).changed)) == 1
    assert converge(SCENARIO).changed == []


@pytest.fixture
def instances(host: Any) -> Iterator[int]:
    """Return the running limit. It is raised only: other test hosts share this kernel."""
    value = int(host.check_output(f"cat {INSTANCES}"))
    yield value
    host.check_output(f"echo {value} > {INSTANCES}")


def test_the_running_kernel_is_raised_to_the_limit(host: Any, instances: int) -> None:
    run = converge(SCENARIO, host_baseline_inotify_max_user_instances_count=instances + 1)

    assert f"fs.inotify.max_user_instances: {instances} -> {instances + 1}" in run.changed
    assert host.check_output(f"cat {INSTANCES}") == str(instances + 1)
    assert converge(SCENARIO).returncode == 0


def test_a_higher_value_of_the_kernel_stays(host: Any, instances: int) -> None:
    host.check_output(f"echo {instances + 100} > {INSTANCES}")

    assert converge(SCENARIO).changed == []
    assert host.check_output(f"cat {INSTANCES}") == str(instances + 100)


def test_a_kernel_that_cannot_be_changed_is_reported(host: Any, instances: int) -> None:
    directory = INSTANCES.rpartition("/")[0]
    host.check_output(
        f"mount --bind {directory} {directory} && mount -o remount,bind,ro {directory}"
    )
    run = converge(SCENARIO, host_baseline_inotify_max_user_instances_count=instances + 1)
    host.check_output(f"umount {directory}")

    assert run.returncode == 0
    assert [what for what in run.changed if "inotify" in what] == []
    expected = f"max_user_instances is {instances} instead of at least {instances + 1}"
    assert expected in " ".join(run.output.split())
    assert converge(SCENARIO).returncode == 0


def test_an_additional_authority_is_trusted_and_forgotten_again(host: Any, authority: str) -> None:
    assert not trusts_the_authority(host)
    certificates = [{"name": "example", "content": authority}]

    assert converge(SCENARIO, host_baseline_extra_ca_certificates=certificates).returncode == 0
    assert trusts_the_authority(host)
    assert converge(SCENARIO, host_baseline_extra_ca_certificates=certificates).changed == []

    assert converge(SCENARIO).returncode == 0
    assert not trusts_the_authority(host)
    assert converge(SCENARIO).changed == []


def test_a_bundle_that_a_killed_run_left_behind_is_rebuilt(host: Any, authority: str) -> None:
    host.check_output(f"cp {BUNDLE} /tmp/bundle")
    certificates = [{"name": "example", "content": authority}]
    converge(SCENARIO, host_baseline_extra_ca_certificates=certificates)
    host.check_output(f"cp /tmp/bundle {BUNDLE}; rm /etc/ssl/certs/example.pem")
    assert not trusts_the_authority(host)

    run = converge(SCENARIO, host_baseline_extra_ca_certificates=certificates)

    assert run.changed == [f"rebuild {BUNDLE} (it lacks example)"]
    assert trusts_the_authority(host)
    assert converge(SCENARIO).returncode == 0


def test_a_private_key_among_the_certificates_is_refused_and_not_shown(
    host: Any, authority: str
) -> None:
    key = host.check_output("cat /tmp/ca.key")

    run = converge(
        SCENARIO, host_baseline_extra_ca_certificates=[{"name": "example", "content": key}]
    )

    assert run.returncode != 0
    assert "holds a private key" in run.output
    assert key.splitlines()[1] not in run.output


def test_a_secret_is_for_its_user_alone_and_goes_with_its_declaration(host: Any) -> None:
    secrets = [{"name": "token", "content": "Xq7-not-for-the-log", "owner": "agent"}]

    planned = converge(SCENARIO, "--check", "--diff", "-vvv", host_baseline_secrets=secrets)
    run = converge(SCENARIO, "--diff", "-vvv", host_baseline_secrets=secrets)

    assert planned.changed == run.changed == ["/etc/aina-factory/secrets/token"]
    # What ansible-playbook was called with is this test's own doing.
    told = [line for line in (planned.output + run.output).splitlines() if "extra-vars" not in line]
    assert "Xq7-not" not in "\n".join(told)
    assert "Xq7-not" not in host.check_output("journalctl --boot --output=cat")
    assert host.check_output("su - agent -c 'cat /etc/aina-factory/secrets/token'") == (
        "Xq7-not-for-the-log"
    )
    assert host.run("su - nobody -s /bin/sh -c 'cat /etc/aina-factory/secrets/token'").failed
    assert host.run("su - nobody -s /bin/sh -c 'ls /etc/aina-factory/secrets'").failed

    assert converge(SCENARIO).changed == ["/etc/aina-factory/secrets/token"]
    assert not host.file("/etc/aina-factory/secrets/token").exists


@pytest.mark.parametrize("interruption", [VICTIM, CUT_OFF], ids=["configuring", "unpacking"])
def test_an_installation_that_was_killed_is_finished(host: Any, interruption: str) -> None:
    host.run("bash -c %s", interruption)
    # Where that leaves a host: apt refuses everything.
    assert (
        "dpkg was interrupted" in host.run("apt-get check").stderr
        or host.run("dpkg --audit").stdout
    )

    run = converge(SCENARIO)

    assert run.returncode == 0, run.output
    assert "finish the interrupted installation" in run.changed
    assert host.check_output("dpkg --audit") == ""
    assert host.run("apt-get check").succeeded
    assert converge(SCENARIO).changed == []


def test_a_missing_package_is_installed_while_another_manager_is_waited_for(host: Any) -> None:
    lock = "import fcntl,time; f=open('/var/lib/dpkg/lock-frontend','w'); fcntl.lockf(f,2); time.sleep(6)"
    host.check_output("nohup python3 -c %s >/dev/null 2>&1 &", lock)

    run = converge(SCENARIO, host_baseline_packages=["git", "bc"])

    assert run.returncode == 0
    assert run.changed == ["install bc"]


def test_absence_takes_the_settings_back_and_keeps_what_belongs_to_people(host: Any) -> None:
    host.check_output("touch /home/agent/work /srv/repos/work /etc/aina-factory/secrets/token")

    assert converge(SCENARIO, host_baseline_state="absent").returncode == 0

    assert not host.file(JOURNAL).exists
    assert not host.file("/etc/aina-factory/secrets").exists
    assert not host.file("/var/lib/aina-factory/reserve").exists
    # What was there before stays, and of the packages those go that the role has brought.
    assert {
        name: host.package(name).is_installed for name in ("docker.io", "earlyoom", "ufw", "chrony")
    } == {
        "docker.io": True,
        "earlyoom": False,
        "ufw": False,
        "chrony": False,
    }
    assert "AINA-FACTORY" not in host.check_output("iptables -S")
    assert host.check_output("iptables -S INPUT | head -1") == "-P INPUT ACCEPT"
    assert host.check_output("systemctl list-units --failed --no-legend") == ""
    assert host.user("agent").exists
    assert host.file("/home/agent/work").exists
    assert host.file("/srv/repos/work").exists
    assert converge(SCENARIO, host_baseline_state="absent").changed == []
