"""The parts that keep a host in shape while nobody looks."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from behaviour import converge

SCENARIO = Path(__file__).parent

RESERVE = "/var/lib/aina-factory/reserve"
BACKUP = {
    "repository": "/srv/snapshots",
    "paths": ["/etc/aina-factory", "/srv/repos"],
    "excludes": ["node_modules"],
    "check_subset_percent": 100,
}
SECRET = "correct horse battery staple"  # noqa: S105 - opens nothing but the test's own repository
# Everything that the tests below ask for, declared at once.
DECLARED: dict[str, Any] = {
    "host_baseline_security_upgrades_excluded_packages": ["containerd"],
    "host_baseline_temporary_files_kept_paths": ["/tmp/lane-*"],
    "host_baseline_clock_servers": ["192.0.2.7"],
    "host_baseline_backup": BACKUP,
    "host_baseline_secrets": [{"name": "restic-password", "content": SECRET}],
}


@pytest.fixture(scope="module", autouse=True)
def declared() -> Iterator[None]:
    run = converge(SCENARIO, **DECLARED)
    assert run.returncode == 0, run.output
    yield
    assert converge(SCENARIO).returncode == 0


# Two archives that offer version 2 of everything: the distribution's security archive, and another.
ARCHIVES = r"""
set -e
apt-get install --yes --quiet dpkg-dev >/dev/null 2>&1
for origin in Debian-Security Debian; do
  mkdir -p /srv/archive/$origin
done
make() {
  mkdir -p /tmp/p/DEBIAN
  printf 'Package: %s\nVersion: %s\nArchitecture: all\n' "$1" "$2" >/tmp/p/DEBIAN/control
  printf 'Maintainer: x <x@example.com>\nDescription: x\n' >>/tmp/p/DEBIAN/control
  dpkg-deb --build /tmp/p "$3" >/dev/null
}
for name in hole feature containerd-like; do
  make $name 1 /tmp/$name.deb
  dpkg --install /tmp/$name.deb >/dev/null
done
make hole 2 /srv/archive/Debian-Security/hole.deb
make containerd-like 2 /srv/archive/Debian-Security/containerd-like.deb
make feature 2 /srv/archive/Debian/feature.deb
. /etc/os-release
for origin in Debian-Security Debian; do
  cd /srv/archive/$origin
  dpkg-scanpackages . >Packages 2>/dev/null
  suffix=$([ $origin = Debian ] || echo -security)
  {
    printf 'Origin: Debian\nLabel: %s\nCodename: %s%s\nSuite: stable%s\nSHA256:\n' \
      $origin $VERSION_CODENAME "$suffix" "$suffix"
    printf ' %s %s Packages\n' "$(sha256sum Packages | cut -d' ' -f1)" "$(stat -c %s Packages)"
  } >Release
  echo "deb [trusted=yes] file:/srv/archive/$origin ./" >/etc/apt/sources.list.d/test-$origin.list
done
apt-get update --quiet >/dev/null 2>&1
"""


def test_only_security_updates_come_by_themselves_and_not_the_excluded(host: Any) -> None:
    host.check_output("bash -c %s", ARCHIVES)

    said = host.check_output("unattended-upgrade --dry-run --verbose 2>&1")
    enabled = host.check_output("apt-config dump APT::Periodic::Unattended-Upgrade")
    host.check_output(
        "rm -r /etc/apt/sources.list.d/test-* /srv/archive && apt-get update --quiet >/dev/null 2>&1 && "
        "apt-get purge --yes --quiet hole feature containerd-like >/dev/null"
    )

    (chosen,) = [line for line in said.splitlines() if "Packages that will be upgraded" in line]
    assert chosen.rpartition(":")[2].split() == ["hole"]
    assert enabled == 'APT::Periodic::Unattended-Upgrade "1";'
    assert host.service("apt-daily-upgrade.timer").is_running


def test_a_service_with_an_outdated_program_is_named_and_not_restarted(host: Any) -> None:
    pid = "systemctl show --property=MainPID --value napper"
    host.check_output(
        "cp /bin/sleep /usr/local/bin/napper "
        "&& systemd-run --quiet --unit=napper --property=Restart=always /usr/local/bin/napper 9999 "
        f"&& until readlink /proc/$({pid})/exe | grep -q napper; do sleep 0.1; done "
        "&& cp /bin/sleep /tmp/s && mv --force /tmp/s /usr/local/bin/napper"
    )
    before = host.check_output(pid)

    said = host.run("DEBIAN_FRONTEND=noninteractive needrestart -b 2>&1").stdout
    host.run("DEBIAN_FRONTEND=noninteractive needrestart 2>&1")
    after = host.check_output(pid)
    # What it would have done without the setting, so that this test can fail.
    host.run("DEBIAN_FRONTEND=noninteractive needrestart -r a 2>&1")
    restarted = host.check_output(pid)
    host.check_output("systemctl stop napper; rm /usr/local/bin/napper")

    assert "NEEDRESTART-SVC: napper" in said
    assert before == after != restarted


def test_old_temporary_files_go_and_recent_and_kept_ones_stay(host: Any) -> None:
    host.check_output("apt-get install --yes --quiet faketime >/dev/null 2>&1")
    host.check_output("touch /tmp/old /tmp/lane-1 /var/tmp/older")
    clean = (
        "NO_FAKE_STAT=1 faketime --exclude-monotonic '+{} days' "
        "systemd-tmpfiles --clean --prefix=/tmp --prefix=/var/tmp"
    )

    host.run(clean.format(9))
    assert host.file("/tmp/old").exists
    host.run(clean.format(11))

    assert not host.file("/tmp/old").exists
    assert host.file("/tmp/lane-1").exists
    assert host.file("/var/tmp/older").exists
    host.check_output("rm -f /tmp/lane-1 /var/tmp/older")


def test_memory_that_runs_out_costs_a_build_and_not_the_server(host: Any) -> None:
    host.check_output(
        "cp /usr/bin/python3 /usr/local/bin/node; cp /usr/bin/python3 /usr/local/bin/dockerd"
    )
    hungry = (
        "systemd-run --quiet --unit={0} /usr/local/bin/{0} "
        "-c 'x = b\"x\" * {1} * 1000000; import time; time.sleep(999)'"
    )
    host.check_output(
        hungry.format("node", 20) + " && " + hungry.format("dockerd", 200) + " && "
        # Until both run; the engine of the host is a dockerd, too.
        "until pgrep -x node >/dev/null && test $(pgrep -xc dockerd) -ge 2; do sleep 0.1; done"
    )
    # The service's own command, told that memory is short whatever it is, and to harm nobody.
    said = host.run(
        "xargs --null --arg-file=/proc/$(systemctl show --property=MainPID --value earlyoom)/cmdline "
        "sh -c 'timeout 3 \"$@\" --dryrun -m 99,98 -s 100,100' sh 2>&1"
    ).stdout
    host.check_output("systemctl stop node dockerd; rm /usr/local/bin/node /usr/local/bin/dockerd")

    victims = [line for line in said.splitlines() if " to process " in line]
    assert victims, said
    assert all('"node"' in line for line in victims)
    assert host.service("earlyoom").is_running


def test_the_host_lives_in_utc_and_cron_notices(host: Any) -> None:
    host.check_output("ln -sf /usr/share/zoneinfo/America/New_York /etc/localtime")
    before = host.check_output("systemctl show --property=MainPID --value cron")

    run = converge(SCENARIO, **DECLARED)

    assert host.check_output("date +%Z") == "UTC"
    assert host.check_output("systemctl show --property=MainPID --value cron") != before
    assert any(what.startswith("restart cron.service") for what in run.changed)
    assert converge(SCENARIO, **DECLARED).changed == []


def test_chrony_asks_the_declared_servers(host: Any) -> None:
    assert host.package("chrony").is_installed

    # A container cannot set the clock, so the daemon declines; -x makes it only watch.
    host.check_output("systemd-run --quiet --unit=watcher chronyd -d -x")
    sources = host.check_output(
        "for i in $(seq 50); do chronyc -n sources && break; sleep 0.1; done"
    )
    host.check_output("systemctl stop watcher")

    assert "192.0.2.7" in sources


def test_the_reserve_holds_real_blocks_and_comes_back_when_it_was_given_up(host: Any) -> None:
    assert int(host.check_output(f"du --block-size=1M {RESERVE} | cut -f1")) == 64

    host.check_output(f"rm {RESERVE}")

    assert converge(SCENARIO, **DECLARED).changed == [f"allocate {RESERVE} (64 MiB)"]


@pytest.fixture
def swap_place(host: Any) -> Iterator[None]:
    """Swapping needs a filesystem of its own; a container's root is none."""
    place = "/var/lib/containerd/swap-place"
    host.check_output(f"mkdir -p {place} /var/swap && mount --bind {place} /var/swap")
    yield
    host.check_output(f"umount /var/swap && rmdir {place}")


@pytest.mark.usefixtures("swap_place")
def test_the_swap_file_is_in_use_grows_and_goes(host: Any) -> None:
    def size_kib() -> int:
        lines = [line.split() for line in host.check_output("cat /proc/swaps").splitlines()]
        return sum(int(line[2]) for line in lines if line[0].endswith("/factory"))

    run = converge(SCENARIO, **DECLARED, host_baseline_swap_mib=8)
    assert run.returncode == 0, run.output
    assert 7000 < size_kib() < 8192

    assert converge(SCENARIO, **DECLARED, host_baseline_swap_mib=9).returncode == 0
    assert 8192 < size_kib() < 9216
    assert converge(SCENARIO, **DECLARED, host_baseline_swap_mib=9).changed == []

    assert converge(SCENARIO, **DECLARED).returncode == 0
    assert size_kib() == 0
    assert not host.file("/var/swap/factory").exists


# --- Backup ------------------------------------------------------------------


def back_up(host: Any, *words: str) -> dict[str, Any]:
    """Run the command as a job does: systemd hands it the credential."""
    credential = "restic-password:/etc/aina-factory/secrets/restic-password"
    done = host.run(
        f"systemd-run --quiet --collect --pipe --wait --property=LoadCredential={credential} "
        f"factory backup --json {' '.join(words)}"
    )
    document: dict[str, Any] = json.loads(done.stdout)
    assert (done.rc == 0) == (document["state"] == "ok")
    assert SECRET not in done.stdout + done.stderr
    return document


@pytest.fixture(scope="module")
def repository(host: Any) -> Iterator[None]:
    yield
    host.check_output("rm -rf /srv/snapshots /var/lib/aina-factory/backup")


@pytest.mark.usefixtures("repository")
def test_what_was_lost_is_restored_from_the_last_snapshot(host: Any) -> None:
    host.check_output(
        "mkdir -p /srv/repos/node_modules && touch /srv/repos/node_modules/x && echo work > /srv/repos/w"
    )

    document = back_up(host)

    assert (document["state"], document["restore_test"]) == ("ok", "ok")
    host.check_output("rm -r /srv/repos/w /srv/repos/node_modules")
    host.check_output(
        "restic --repo /srv/snapshots --password-file /etc/aina-factory/secrets/restic-password restore latest "
        "--target / --include /srv/repos"
    )
    assert host.check_output("cat /srv/repos/w") == "work"
    assert not host.file("/srv/repos/node_modules").exists
    assert back_up(host, "--verify")["check"] == "ok"


@pytest.mark.usefixtures("repository")
def test_a_file_that_cannot_be_had_makes_a_backup_incomplete(host: Any) -> None:
    host.check_output("mv /srv/repos /srv/away")

    document = back_up(host)
    host.check_output("mv /srv/away /srv/repos")

    assert document["state"] == "incomplete"
    assert "/srv/repos does not exist" in document["detail"]


@pytest.mark.usefixtures("repository")
def test_a_repository_that_vanished_is_not_made_anew(host: Any) -> None:
    host.check_output("mv /srv/snapshots /srv/unmounted")

    document = back_up(host)
    anew = host.file("/srv/snapshots/config").exists
    host.check_output("rm -rf /srv/snapshots && mv /srv/unmounted /srv/snapshots")

    assert document["state"] == "failed"
    assert "earlier runs wrote to one here" in document["detail"]
    assert not anew


@pytest.mark.usefixtures("repository")
def test_damage_is_found(host: Any) -> None:
    assert back_up(host)["state"] == "ok"
    host.check_output(
        "file=$(find /srv/snapshots/data -type f -size +1k | head -1) && cp $file /tmp/good && chmod u+w $file "
        "&& printf xxxx | dd of=$file bs=1 seek=100 conv=notrunc 2>/dev/null && echo $file > /tmp/which"
    )

    document = back_up(host, "--verify")
    host.check_output("cp /tmp/good $(cat /tmp/which)")

    assert document["state"] == "failed"
    assert "damage" in document["detail"]
    assert document["last_success_at"] is not None


@pytest.mark.usefixtures("repository")
def test_a_password_in_the_address_is_refused(host: Any) -> None:
    bad = {**BACKUP, "repository": "rest:https://me:hunter2@backup.example.com/"}

    run = converge(SCENARIO, **{**DECLARED, "host_baseline_backup": bad})

    assert run.returncode != 0
    assert "holds a user name or password" in " ".join(run.output.split())
