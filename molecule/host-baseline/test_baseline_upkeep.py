"""The parts that keep a host in shape while nobody looks: declared at once, and at once no longer."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from behaviour import Run, converge
from waiting import until

SCENARIO = Path(__file__).parent

BUNDLE = "/etc/ssl/certs/ca-certificates.crt"
RESERVE = "/var/lib/aina-factory/reserve"
SECRETS = "/etc/aina-factory/secrets"
INSTANCES = "/proc/sys/fs/inotify/max_user_instances"
BACKUP = {
    "backup_repository": "/srv/snapshots",
    "backup_paths": ["/etc/aina-factory", "/srv/repos"],
    "backup_excludes": ["node_modules"],
    "backup_check_subset_percent": 100,
}
SECRET = "correct horse battery staple"  # noqa: S105 - opens nothing but the test's own repository
# As a server is found that nobody has looked after; what is mended is seen below.
NEGLECT = (
    f"ln -sf /usr/share/zoneinfo/America/New_York /etc/localtime; rm {RESERVE}; "
    "mkdir -p /var/log/journal && systemctl restart systemd-journald && journalctl --flush"
)


@pytest.fixture(scope="module")
def authority(host: Any) -> str:
    """Return a certificate authority; beside it is what it has signed."""
    host.check_output(
        "mkdir -p /srv/authority && cd /srv/authority "
        "&& openssl req -x509 -newkey rsa:2048 -nodes -days 9 -subj /CN=Example -keyout ca.key -out ca.crt 2>/dev/null "
        "&& openssl req -newkey rsa:2048 -nodes -subj /CN=site.example.com -keyout site.key -out site.csr "
        "2>/dev/null && openssl x509 -req -in site.csr -CA ca.crt -CAkey ca.key -days 9 -out site.crt 2>/dev/null"
    )
    return str(host.check_output("cat /srv/authority/ca.crt"))


@pytest.fixture(scope="module")
def instances(host: Any) -> Iterator[int]:
    """Return the running limit. It is raised only: other test hosts share this kernel."""
    value = int(host.check_output(f"cat {INSTANCES}"))
    yield value
    host.check_output(f"echo {value} > {INSTANCES}")


@pytest.fixture(scope="module")
def swap_place(host: Any) -> Iterator[None]:
    """Swapping needs a filesystem of its own; a container's root is none."""
    place = "/var/lib/containerd/swap-place"
    host.check_output(f"mkdir -p {place} /var/swap && mount --bind {place} /var/swap")
    yield
    host.run("swapoff /var/swap/factory")
    host.check_output(f"umount /var/swap && rm -rf {place}")


@pytest.fixture(scope="module")
def wanted(authority: str, instances: int) -> dict[str, Any]:
    """Everything that the tests below ask for."""
    return {
        "host_baseline_security_upgrades_excluded_packages": ["containerd"],
        "host_baseline_temporary_files_kept_paths": ["/tmp/lane-*"],
        "host_baseline_clock_servers": ["192.0.2.7"],
        "host_baseline_journal_max_use_mib": 48,
        "host_baseline_inotify_max_user_instances_count": instances + 1,
        "host_baseline_extra_ca_certificates": [{"name": "example", "content": authority}],
        "host_baseline_ssh_settings": {"PasswordAuthentication": "no", "ClientAliveInterval": 61},
        "host_baseline_swap_mib": 8,
        **BACKUP,
        "host_baseline_secrets": [
            {"name": "restic-password", "content": SECRET},
            {"name": "token", "content": "Xq7-not-for-the-log", "owner": "agent"},
        ],
    }


@pytest.fixture(scope="module")
def session(host: Any) -> Iterator[str]:
    """Return the unit of a client that is logged in over SSH, since before anything is declared."""
    ssh = "ssh -i /home/agent/.ssh/id_ed25519 -o StrictHostKeyChecking=no -o BatchMode=yes"
    run = "systemd-run --quiet --collect --unit=session"
    host.check_output(f"{run} {ssh} agent@localhost sleep 86399")
    until(lambda: host.run("pgrep -u agent -xf 'sleep 86399'").succeeded, "a session over SSH")
    yield "session"
    host.run("systemctl stop session; pkill -u agent -xf 'sleep 86399'")


@pytest.fixture(scope="module", autouse=True)
def declared(host: Any, swap_place: None, session: str, wanted: dict[str, Any]) -> Run:
    assert not trusts_the_authority(host)
    host.check_output(NEGLECT)
    run = converge(SCENARIO, "--diff", "-vvv", **wanted)
    assert run.returncode == 0, run.output
    host.check_output("journalctl --flush")
    return run


@pytest.fixture(scope="module")
def declared_no_longer(declared: Run) -> Run:
    run = converge(SCENARIO)
    assert run.returncode == 0, run.output
    return run


def trusts_the_authority(host: Any) -> bool:
    return bool(
        host.run(f"openssl verify -no-CApath -CAfile {BUNDLE} /srv/authority/site.crt").succeeded
    )


def swap_kib(host: Any) -> int:
    lines = [line.split() for line in host.check_output("cat /proc/swaps").splitlines()]
    return sum(int(line[2]) for line in lines if line[0].endswith("/factory"))


def restarts(run: Run, unit: str) -> int:
    return sum(what.startswith(f"restart {unit}") for what in run.changed)


def test_a_converge_takes_one_module_call_for_each_role(declared: Run) -> None:
    assert declared.module_calls == 3


def test_an_open_session_outlives_a_restart_of_the_ssh_server(
    host: Any, session: str, declared: Run
) -> None:
    assert restarts(declared, "ssh.service") == 1

    assert host.service(session).is_running


# Two archives that offer version 2 of everything: the distribution's security archive, and another.
ARCHIVES = r"""
set -e
mkdir -p /srv/archive/Debian-Security /srv/archive/Debian
make() {
  mkdir -p /tmp/p/DEBIAN
  printf 'Package: %s\nVersion: %s\nArchitecture: all\n' "$1" "$2" >/tmp/p/DEBIAN/control
  printf 'Maintainer: x <x@example.com>\nDescription: x\n' >>/tmp/p/DEBIAN/control
  dpkg-deb --build /tmp/p "$3" >/dev/null
}
sum() { sha256sum "$1" | cut -d' ' -f1; }
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
  for package in *.deb; do
    dpkg-deb --field $package
    printf 'Filename: ./%s\nSize: %s\nSHA256: %s\n\n' $package "$(stat -c %s $package)" "$(sum $package)"
  done >Packages
  suffix=$([ $origin = Debian ] || echo -security)
  {
    printf 'Origin: Debian\nLabel: %s\nCodename: %s%s\nSuite: stable%s\nSHA256:\n' \
      $origin $VERSION_CODENAME "$suffix" "$suffix"
    printf ' %s %s Packages\n' "$(sum Packages)" "$(stat -c %s Packages)"
  } >Release
  echo "deb [trusted=yes] file:/srv/archive/$origin ./"
done >/etc/apt/sources.list.d/test.list
apt-get update --quiet --option=Dir::Etc::SourceList=/etc/apt/sources.list.d/test.list \
  --option=Dir::Etc::SourceParts=/dev/null --option=APT::Get::List-Cleanup=0 >/dev/null 2>&1
"""


def test_only_security_updates_come_by_themselves_and_not_the_excluded(host: Any) -> None:
    host.check_output("bash -c %s", ARCHIVES)

    said = host.check_output("unattended-upgrade --dry-run --verbose 2>&1")
    settings = host.check_output("apt-config dump")
    host.check_output(
        "rm -r /etc/apt/sources.list.d/test.list /srv/archive /var/lib/apt/lists/*srv_archive* && "
        "dpkg --purge hole feature containerd-like >/dev/null"
    )

    (chosen,) = [line for line in said.splitlines() if "Packages that will be upgraded" in line]
    assert chosen.rpartition(":")[2].split() == ["hole"]
    assert 'APT::Periodic::Unattended-Upgrade "1";' in settings
    assert 'Unattended-Upgrade::Automatic-Reboot "false";' in settings
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


def test_the_host_lives_in_utc_and_cron_notices(host: Any, declared: Run) -> None:
    assert host.check_output("date +%Z") == "UTC"
    assert restarts(declared, "cron.service") == 1


def test_the_running_journal_obeys_a_changed_limit(host: Any, declared: Run) -> None:
    said = host.check_output(
        "journalctl --boot --output=cat --grep='System Journal.*max' --lines=1"
    )

    assert restarts(declared, "systemd-journald") == 1
    assert "max 48M" in said.replace("48.0M", "48M")


def test_the_running_kernel_and_the_next_boot_have_the_limit(
    host: Any, declared: Run, instances: int
) -> None:
    boot = host.check_output("sysctl --dry-run --load=/etc/sysctl.d/60-aina-factory.conf")

    assert f"fs.inotify.max_user_instances: {instances} -> {instances + 1}" in declared.changed
    assert host.check_output(f"cat {INSTANCES}") == str(instances + 1)
    assert f"fs.inotify.max_user_instances = {instances + 1}" in boot.splitlines()


def test_an_additional_authority_is_trusted(host: Any) -> None:
    assert trusts_the_authority(host)


@pytest.mark.deep
def test_a_bundle_that_a_killed_run_left_behind_is_rebuilt(
    host: Any, wanted: dict[str, Any]
) -> None:
    host.check_output(f": >{BUNDLE}; rm /etc/ssl/certs/example.pem")
    assert not trusts_the_authority(host)

    run = converge(SCENARIO, **wanted)

    assert run.changed == [f"rebuild {BUNDLE} (it lacks example)"]
    assert trusts_the_authority(host)


@pytest.mark.deep
def test_a_private_key_among_the_certificates_is_refused_and_not_shown(
    host: Any, wanted: dict[str, Any]
) -> None:
    key = host.check_output("cat /srv/authority/ca.key")
    certificates = [{"name": "example", "content": key}]

    run = converge(SCENARIO, **{**wanted, "host_baseline_extra_ca_certificates": certificates})

    assert run.returncode != 0
    assert "holds a private key" in run.output
    assert key.splitlines()[1] not in run.output


def test_a_secret_is_for_its_user_alone_and_in_no_log(host: Any, declared: Run) -> None:
    # What ansible-playbook was called with is this test's own doing.
    told = [line for line in declared.output.splitlines() if "extra-vars" not in line]
    said = "\n".join([*told, host.check_output("journalctl --boot --output=cat")])

    assert "Xq7-not" not in said
    assert SECRET not in said
    assert host.check_output(f"su - agent -c 'cat {SECRETS}/token'") == "Xq7-not-for-the-log"
    assert host.run(f"su - nobody -s /bin/sh -c 'cat {SECRETS}/token'").failed
    assert host.run(f"su - nobody -s /bin/sh -c 'ls {SECRETS}'").failed


def test_chrony_asks_the_declared_servers(host: Any) -> None:
    assert host.package("chrony").is_installed

    # A container cannot set the clock, so the daemon declines; -x makes it only watch.
    host.check_output("systemd-run --quiet --unit=watcher chronyd -d -x")
    sources = host.check_output(
        "for i in $(seq 50); do chronyc -n sources && break; sleep 0.1; done"
    )
    host.check_output("systemctl stop watcher")

    assert "192.0.2.7" in sources


def test_the_reserve_holds_real_blocks_and_comes_back_when_it_was_given_up(
    host: Any, declared: Run
) -> None:
    assert f"allocate {RESERVE} (64 MiB)" in declared.changed
    assert int(host.check_output(f"du --block-size=1M {RESERVE} | cut -f1")) == 64


def test_the_swap_file_is_in_use(host: Any) -> None:
    assert 7000 < swap_kib(host) < 8192


@pytest.mark.deep
def test_the_swap_file_grows(host: Any, wanted: dict[str, Any]) -> None:
    larger = {**wanted, "host_baseline_swap_mib": 9}

    assert converge(SCENARIO, **larger).returncode == 0

    assert 8192 < swap_kib(host) < 9216
    assert converge(SCENARIO, **larger).changed == []


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


@pytest.mark.deep
@pytest.mark.usefixtures("repository")
def test_a_file_that_cannot_be_had_makes_a_backup_incomplete(host: Any) -> None:
    host.check_output("mv /srv/repos /srv/away")

    document = back_up(host)
    host.check_output("mv /srv/away /srv/repos")

    assert document["state"] == "incomplete"
    assert "/srv/repos does not exist" in document["detail"]


@pytest.mark.deep
@pytest.mark.usefixtures("repository")
def test_a_repository_that_vanished_is_not_made_anew(host: Any) -> None:
    host.check_output("mv /srv/snapshots /srv/unmounted")

    document = back_up(host)
    anew = host.file("/srv/snapshots/config").exists
    host.check_output("rm -rf /srv/snapshots && mv /srv/unmounted /srv/snapshots")

    assert document["state"] == "failed"
    assert "earlier runs wrote to one here" in document["detail"]
    assert not anew


@pytest.mark.deep
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


@pytest.mark.deep
def test_a_password_in_the_address_is_refused(wanted: dict[str, Any]) -> None:
    bad = "rest:https://me:hunter2@backup.example.com/"

    run = converge(SCENARIO, **{**wanted, "backup_repository": bad})

    assert run.returncode != 0
    assert "hold no user name or password" in " ".join(run.output.split())


# --- What is declared no longer ----------------------------------------------


def test_a_secret_goes_with_its_declaration(host: Any, declared_no_longer: Run) -> None:
    assert f"{SECRETS}/token" in declared_no_longer.changed
    assert host.check_output(f"ls -A {SECRETS}") == ""


def test_an_authority_is_forgotten_with_its_declaration(host: Any, declared_no_longer: Run) -> None:
    assert declared_no_longer.returncode == 0
    assert not trusts_the_authority(host)


def test_a_part_that_is_off_is_taken_back(host: Any, declared_no_longer: Run) -> None:
    assert declared_no_longer.returncode == 0
    assert swap_kib(host) == 0
    assert not host.file("/var/swap/factory").exists
    assert "backup" not in json.loads(host.check_output("factory validate --json"))["sections"]
    assert not host.package("restic").is_installed
