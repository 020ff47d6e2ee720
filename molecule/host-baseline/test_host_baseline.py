from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from behaviour import converge

SCENARIO = Path(__file__).parent

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


def test_the_user_can_work_in_its_directories(host: Any) -> None:
    user = host.user("agent")

    # It was there before the role came, and keeps the shell that it had.
    assert (user.home, user.shell) == ("/home/agent", "/bin/sh")
    assert "users" in user.groups
    assert host.run("su - agent -c 'touch /srv/repos/x && rm /srv/repos/x'").succeeded
    assert host.run("su - agent -c 'touch /etc/aina-factory/x'").failed


@pytest.mark.deep
def test_a_journal_that_a_killed_run_left_behind_is_restarted(host: Any) -> None:
    converge(SCENARIO)
    # The file is right, but it came after the journal had started.
    host.check_output(f"cp {JOURNAL} /tmp/j && rm {JOURNAL} && sleep 0.1 && cp /tmp/j {JOURNAL}")

    (what,) = converge(SCENARIO).changed
    assert what.startswith("restart systemd-journald.service")
    assert converge(SCENARIO).changed == []


@pytest.fixture
def instances(host: Any) -> Iterator[int]:
    """Return the running limit. It is raised only: other test hosts share this kernel."""
    value = int(host.check_output(f"cat {INSTANCES}"))
    yield value
    host.check_output(f"echo {value} > {INSTANCES}")


@pytest.mark.deep
def test_a_higher_value_of_the_kernel_stays(host: Any, instances: int) -> None:
    host.check_output(f"echo {instances + 100} > {INSTANCES}")

    assert converge(SCENARIO).changed == []
    assert host.check_output(f"cat {INSTANCES}") == str(instances + 100)


@pytest.mark.deep
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


@pytest.mark.parametrize(
    "interruption",
    [
        pytest.param(VICTIM, id="configuring"),
        pytest.param(CUT_OFF, id="unpacking", marks=pytest.mark.deep),
    ],
)
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


@pytest.mark.deep
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
