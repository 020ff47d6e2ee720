from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from behaviour import Run, converge

SCENARIO = Path(__file__).parent

DAEMON_JSON = "/etc/docker/daemon.json"
NOTE = "/var/lib/aina-factory/docker-daemon.json"
PENDING = "/var/lib/aina-factory/docker-restart-pending.json"
SOURCES = (
    "/etc/apt/sources.list.d/aina-factory-docker.sources",
    "/etc/apt/keyrings/aina-factory-docker.asc",
)


def pid_of_engine(host: Any) -> str:
    return str(host.check_output("systemctl show --property=MainPID --value docker.service"))


def document(host: Any) -> dict[str, Any]:
    return dict(json.loads(host.check_output(f"cat {DAEMON_JSON}")))


def edit(host: Any, **values: Any) -> None:
    """Change the file behind the role's back, as an administrator would."""
    text = json.dumps({**document(host), **values})
    host.check_output("printf %%s %s > %s", text, DAEMON_JSON)


@pytest.fixture(scope="module")
def image(host: Any) -> str:
    host.check_output(
        "apt-get install --yes --quiet busybox-static >/dev/null && cd /tmp && mkdir -p root/bin "
        "&& cp /bin/busybox root/bin/sh && tar -C root -c . | docker import - tiny:1 >/dev/null"
    )
    return "tiny:1"


@pytest.fixture
def container(host: Any, image: str) -> Iterator[str]:
    host.check_output(f"docker run --detach --name worker {image} /bin/sh -c 'sleep 10000'")
    yield "worker"
    host.run("docker rm --force worker")


def started_at(host: Any, container: str) -> str:
    form = "{{.State.Running}} {{.State.Pid}} {{.State.StartedAt}}"
    return str(host.check_output("docker inspect --format %s %s", form, container))


def test_the_running_engine_collects_build_cache_above_the_limit(host: Any) -> None:
    policies = host.check_output("docker buildx inspect")

    # Engines before 28 call the one limit that they know "Keep Bytes".
    assert policies.count("7GiB") == 3


def test_the_log_of_a_new_container_is_rotated(host: Any, image: str) -> None:
    # Noise that cannot be compressed away.
    noise = "head -c 9000000 /dev/urandom | base64"
    host.check_output(f"docker run --name talker {image} /bin/sh -c '{noise}'")

    identifier = host.check_output("docker inspect --format '{{.Id}}' talker")
    files = host.check_output(f"ls /var/lib/docker/containers/{identifier}/local-logs").split()
    used = host.check_output(f"du -sk /var/lib/docker/containers/{identifier}/local-logs")

    assert len(files) == 2
    assert int(used.split()[0]) < 3 * 1024
    host.run("docker rm --force talker")


def test_a_network_takes_its_subnet_from_the_pool(host: Any) -> None:
    host.check_output("docker network create pooled")
    subnet = host.check_output(
        "docker network inspect --format '{{(index .IPAM.Config 0).Subnet}}' pooled"
    )
    host.run("docker network rm pooled")

    assert subnet.startswith("172.30.") and subnet.endswith("/24")


def test_a_published_port_is_bound_to_the_loopback_unless_it_says_otherwise(
    host: Any, image: str
) -> None:
    host.check_output("docker network create own")
    run = f"docker run --detach --rm --publish {{}} --network {{}} {image} /bin/sh -c 'sleep 9999'"
    for port, network in (("7001:80", "bridge"), ("7002:80", "own"), ("0.0.0.0:7003:80", "own")):
        host.check_output(run.format(port, network))
    listening = host.check_output("ss --listening --tcp --numeric --no-header")
    host.check_output("docker rm --force $(docker ps --quiet) && docker network rm own")

    addresses = {word.rpartition(":")[::2] for word in listening.split() if ":700" in word}
    loopback, everywhere = "127.0.0.1", "0.0.0.0"  # noqa: S104 - this is what it asked for
    assert addresses == {(loopback, "7001"), (loopback, "7002"), (everywhere, "7003")}


@pytest.mark.deep
def test_the_engine_starts_with_the_host(host: Any) -> None:
    assert host.service("docker").is_enabled
    assert host.service("docker").is_running


@pytest.mark.deep
def test_a_converge_without_change_makes_few_module_calls(host: Any) -> None:
    run = converge(SCENARIO)

    assert run.changed == []
    assert run.module_calls <= 5


@pytest.mark.deep
def test_settings_that_dockerd_refuses_do_not_replace_the_good_ones(host: Any) -> None:
    before, engine = document(host), pid_of_engine(host)

    run = converge(SCENARIO, docker_host_daemon_options={"no-such-setting": True})

    assert run.returncode != 0
    assert "no-such-setting" in run.output
    assert "dockerd refuses it" in run.output
    assert document(host) == before
    assert pid_of_engine(host) == engine
    assert converge(SCENARIO).changed == []


@pytest.mark.deep
def test_settings_that_keep_the_engine_from_starting_are_taken_back(host: Any) -> None:
    before = document(host)

    # --validate accepts it, the start does not.
    run = converge(SCENARIO, docker_host_daemon_options={"storage-driver": "no-such-driver"})

    assert run.returncode != 0
    assert "the former one is restored and the engine runs again" in " ".join(run.output.split())
    assert document(host) == before
    assert host.service("docker").is_running
    assert converge(SCENARIO).changed == []


@pytest.mark.deep
def test_a_foreign_key_stays_and_our_removed_key_goes(host: Any) -> None:
    edit(host, labels=["site=example"])
    assert (
        converge(SCENARIO, docker_host_daemon_options={"max-concurrent-uploads": 3}).returncode == 0
    )
    assert document(host)["max-concurrent-uploads"] == 3

    assert converge(SCENARIO).returncode == 0

    assert document(host)["labels"] == ["site=example"]
    assert "max-concurrent-uploads" not in document(host)
    assert "site=example" in host.check_output("docker info --format '{{.Labels}}'")


@pytest.mark.deep
def test_a_restart_that_a_killed_run_owes_is_made_up_for(host: Any) -> None:
    engine = pid_of_engine(host)
    # The file says one thing, the engine runs another: where a kill before the restart leaves it.
    edit(host, **{"shutdown-timeout": 31, "default-shm-size": "96m"})

    run = converge(SCENARIO)

    assert run.returncode == 0
    assert any(what.startswith("restart the engine") for what in run.changed)
    assert pid_of_engine(host) != engine
    assert converge(SCENARIO).changed == []


@pytest.mark.deep
def test_a_lost_note_leads_to_one_restart_and_not_to_silence(host: Any) -> None:
    host.check_output(f"rm {NOTE}")
    edit(host, **{"default-shm-size": "97m"})

    assert any(what.startswith("restart the engine") for what in converge(SCENARIO).changed)
    assert converge(SCENARIO).changed == []

    # Whose the keys are is lost with the note: start over with a file that is entirely ours.
    host.check_output(f"rm {NOTE} {DAEMON_JSON} && systemctl restart docker")
    assert converge(SCENARIO).returncode == 0


@pytest.mark.deep
def test_a_container_survives_a_converge_without_change(host: Any, container: str) -> None:
    before = started_at(host, container)

    assert converge(SCENARIO).changed == []

    assert started_at(host, container) == before
    assert before.startswith("true")


def test_changed_log_options_wait_for_a_running_container(host: Any, container: str) -> None:
    before, engine = started_at(host, container), pid_of_engine(host)

    run = converge(SCENARIO, docker_host_log_max_size_mib=3)

    assert run.returncode == 0
    assert started_at(host, container) == before
    assert pid_of_engine(host) == engine
    assert "worker still running" in run.output
    assert json.loads(host.check_output(f"cat {PENDING}"))["keys"] == ["log-opts"]


@pytest.mark.deep
def test_the_owed_restart_happens_once_the_host_is_drained(host: Any, container: str) -> None:
    converge(SCENARIO, docker_host_log_max_size_mib=3)
    host.check_output(f"docker rm --force {container}")

    run = converge(SCENARIO, docker_host_log_max_size_mib=3)

    assert any(what.startswith("restart the engine (log-opts)") for what in run.changed)
    assert not host.file(PENDING).exists


def test_a_container_survives_a_restart_that_is_allowed(host: Any, container: str) -> None:
    before, engine = started_at(host, container), pid_of_engine(host)

    run = converge(
        SCENARIO, docker_host_log_max_size_mib=4, docker_host_restart_policy="survivable"
    )

    assert run.returncode == 0
    assert pid_of_engine(host) != engine
    assert started_at(host, container) == before


@pytest.mark.deep
def test_nobody_is_restarted_while_live_restore_is_off(host: Any, container: str) -> None:
    before = started_at(host, container)

    run = converge(
        SCENARIO,
        docker_host_live_restore_enabled=False,
        docker_host_log_max_size_mib=5,
        docker_host_restart_policy="survivable",
    )

    assert "live-restore is off" in run.output
    assert started_at(host, container) == before


@pytest.mark.deep
def test_a_switch_of_the_image_store_is_refused_while_images_exist(host: Any, image: str) -> None:
    run = converge(
        SCENARIO, docker_host_daemon_options={"features": {"containerd-snapshotter": True}}
    )

    assert run.returncode != 0
    assert "would hide the 1 images" in " ".join(run.output.split())
    assert host.check_output("docker images --quiet") != ""


@pytest.mark.deep
def test_only_declared_users_join_the_group_and_others_are_reported(host: Any) -> None:
    host.run("useradd agent; useradd stranger; gpasswd --add stranger docker")
    assert converge(SCENARIO).returncode == 0

    run = converge(SCENARIO, docker_host_root_equivalent_users=["agent"])

    assert run.changed == ["add agent to docker"]
    assert "stranger: member of group docker, which nobody declared" in " ".join(run.output.split())
    assert host.user("stranger").groups == ["stranger", "docker"]

    assert converge(SCENARIO, docker_host_root_equivalent_users=[]).changed == [
        "take agent out of docker"
    ]
    assert host.group("docker").members == ["stranger"]


def test_the_engine_is_left_alone_by_unattended_upgrades(host: Any) -> None:
    host.check_output("apt-get install --yes --quiet unattended-upgrades >/dev/null")

    report = host.run("unattended-upgrade --dry-run --debug").stdout

    blacklist = next(line for line in report.splitlines() if line.startswith("Initial blacklist"))
    assert {"containerd", "docker-ce", r"docker\.io"} <= set(blacklist.split())


@pytest.mark.deep
def test_absence_is_refused_while_containers_run(host: Any, container: str) -> None:
    run = converge(SCENARIO, docker_host_state="absent")

    assert run.returncode != 0
    assert "not given back while containers run: worker" in " ".join(run.output.split())
    assert host.service("docker").is_running


def test_absence_gives_the_engine_back_and_keeps_what_it_stored(host: Any) -> None:
    edit(host, **{"default-shm-size": "70m"})

    assert converge(SCENARIO, docker_host_state="absent").returncode == 0

    assert host.run("command -v dockerd").failed
    assert document(host).keys() <= {"default-shm-size", "labels", "shutdown-timeout"}
    assert host.run("ls -A /var/lib/aina-factory | grep docker").failed
    assert host.run("apt-config dump | grep 'Package-Blacklist::.*docker'").failed
    assert host.run("ls -A /var/lib/docker/image/overlay2").stdout != ""
    assert converge(SCENARIO, docker_host_state="absent").changed == []


def said_to_stay(run: Run) -> set[str]:
    """Return what the recap says was to go and did not."""
    recap = run.output.partition("KEPT, SEE THE WARNINGS ABOVE")[2].splitlines()
    return set(recap[1].rpartition(": ")[2].split(", "))


@pytest.mark.deep
def test_absence_leaves_an_engine_that_was_there_before(host: Any) -> None:
    host.check_output("apt-get install --yes --quiet --no-install-recommends docker.io >/dev/null")
    assert converge(SCENARIO).returncode == 0

    run = converge(SCENARIO, docker_host_state="absent")

    assert run.returncode == 0
    assert host.service("docker").is_running
    assert said_to_stay(run) == {"package docker.io", "stranger in group docker"}


@pytest.mark.deep
def test_what_a_release_without_records_has_brought_stays_and_is_named(host: Any) -> None:
    assert converge(SCENARIO, docker_host_root_equivalent_users=["agent"]).returncode == 0
    host.check_output("rm /var/lib/aina-factory/packages-* /var/lib/aina-factory/members-*")

    run = converge(SCENARIO, docker_host_state="absent")

    assert run.returncode == 0
    assert host.service("docker").is_running
    assert set(host.group("docker").members) == {"agent", "stranger"}
    stay = {f"package {name}" for name in ("docker.io", "docker-cli", "docker-buildx")}
    stay |= {f"{name} in group docker" for name in ("agent", "stranger")}
    assert said_to_stay(run) == stay
    words = "nothing records that an earlier run has installed them, so they stay"
    assert words in " ".join(run.output.split())
    host.check_output("apt-get remove --yes --quiet docker.io docker-cli docker-buildx >/dev/null")


@pytest.mark.deep
def test_a_foreign_engine_is_adopted_and_not_replaced(host: Any) -> None:
    host.check_output(
        "mkdir -p /tmp/ce/DEBIAN && printf 'Package: docker-ce\nVersion: 5:29.5.3\nArchitecture: all\n"
        "Maintainer: x <x@example.com>\nDescription: x\n' >/tmp/ce/DEBIAN/control "
        "&& dpkg-deb --build /tmp/ce /tmp/ce.deb && dpkg --install /tmp/ce.deb"
    )

    run = converge(SCENARIO, "--check")

    assert run.returncode == 0
    assert [what for what in run.changed if what.startswith("install ")] == []
    host.check_output("dpkg --purge docker-ce")


# A signed repository of a vendor, with packages that are there by name only.
REPOSITORY = """
set -e
apt-get install --yes --quiet --no-install-recommends gnupg apt-utils >/dev/null
mkdir -p /srv/apt && cd /srv/apt
package() {
  mkdir -p /tmp/$1/DEBIAN
  printf 'Package: %s\\nVersion: 5:29.5.3\\nArchitecture: all\\nMaintainer: x <x@example.com>\\nDescription: x\\n' $1 \
    >/tmp/$1/DEBIAN/control
  dpkg-deb --build /tmp/$1 /srv/apt/$1.deb >/dev/null
}
for name in docker-ce docker-ce-cli containerd.io docker-buildx-plugin; do package $name; done
apt-ftparchive packages . >Packages
apt-ftparchive release . >Release
export GNUPGHOME=/tmp/gnupg
install -d -m 0700 $GNUPGHOME
gpg --batch --quiet --passphrase '' --quick-generate-key x@example.com
gpg --batch --quiet --yes --clearsign --output InRelease Release
gpg --armor --export x@example.com
"""


def test_a_signed_repository_is_the_source_when_declared(host: Any) -> None:
    host.check_output("apt-get remove --yes --quiet 'docker*' containerd >/dev/null")
    key = host.check_output("bash -c %s", REPOSITORY)
    repository = {"url": "file:/srv/apt", "suite": "./", "key": key + "\n"}

    run = converge(
        SCENARIO, docker_host_engine_source="repository", docker_host_repository=repository
    )

    assert host.package("docker-ce").version == "5:29.5.3"
    # These packages hold no engine, which is an error and not a settled host.
    assert run.returncode != 0
    assert "dockerd" in run.output
    host.check_output(
        "apt-get purge --yes --quiet 'docker-ce*' containerd.io docker-buildx-plugin >/dev/null"
    )
    # Once it is the source no longer, it goes.
    assert set(SOURCES) <= set(converge(SCENARIO, "--check").changed)


@pytest.mark.deep
def test_a_repository_that_is_the_source_no_longer_is_forgotten(host: Any) -> None:
    assert "file:/srv/apt" in host.check_output("apt-cache policy")

    assert converge(SCENARIO).returncode == 0

    assert "file:/srv/apt" not in host.check_output("apt-cache policy")
    assert host.package("docker.io").is_installed
