"""What the janitor does to a real engine, asked of the engine."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from behaviour import converge

SCENARIO = Path(__file__).parent

POLICY = "/etc/aina-factory/conf.d/janitor.json"
POPULATE = """set -eu
docker ps --all --quiet | xargs --no-run-if-empty docker rm --force >/dev/null
docker images --all --quiet | sort -u | xargs --no-run-if-empty docker rmi --force >/dev/null
docker builder prune --all --force >/dev/null
rm --force /var/lib/aina-factory/image-use.json
rm --recursive --force /tmp/image && mkdir -p /tmp/image/bin && cd /tmp/image
cp /bin/busybox bin/ && ln -s busybox bin/sh && ln -s busybox bin/sleep && ln -s busybox bin/true
image() { head --bytes=2000000 /dev/urandom >blob; tar -c . | docker import "$@" >/dev/null; }
image - running:1; image - stopped:1; image - foreign:1; image - replaced:1; image - replaced:1
image --change 'LABEL factory.keep=true' - kept:1; image - factory-base:1; image - plain:1
docker run --detach --name lane-running --label lane=1 running:1 /bin/sleep 1000 >/dev/null
docker run --name lane-stopped --label lane=1 stopped:1 /bin/true
docker run --name foreign foreign:1 /bin/true
docker run --rm --label lane=1 plain:1 /bin/true
printf 'FROM plain:1\\nRUN echo cached >/cached\\n' >/tmp/Dockerfile
docker buildx build --quiet --tag built:1 --file /tmp/Dockerfile /tmp/image >/dev/null
docker rmi built:1 >/dev/null
"""


def janitor(host: Any, *options: str) -> tuple[int, dict[str, Any]]:
    done = host.run(f"factory janitor --json {' '.join(options)}")
    return done.rc, json.loads(done.stdout)


def images(host: Any) -> set[str]:
    return set(host.check_output("docker images --format '{{.Repository}}:{{.Tag}}'").split())


def containers(host: Any) -> set[str]:
    return set(host.check_output("docker ps --all --format '{{.Names}}'").split())


def write_policy(host: Any, text: str) -> None:
    host.check_output(f"printf %s %s >{POLICY}", "%s", text)


def set_policy(host: Any, **changes: Any) -> None:
    document = json.loads(host.check_output(f"cat {POLICY}"))
    document["janitor"].update(changes)
    write_policy(host, json.dumps(document))


@pytest.fixture
def engine(host: Any) -> Iterator[Any]:
    original = host.check_output(f"cat {POLICY}")
    host.check_output("sh -c %s", POPULATE)
    yield host
    write_policy(host, original)


def test_a_policy_that_the_command_refuses_is_not_put_in_force(host: Any) -> None:
    before = host.check_output(f"cat {POLICY}")

    refused = converge(SCENARIO, janitor_journal={"max_age_days": -1})

    assert refused.returncode != 0
    assert "journal.max_age_days is -1" in refused.output
    assert host.check_output(f"cat {POLICY}") == before


def items(document: dict[str, Any]) -> dict[str, list[tuple[str, int, str]]]:
    return {
        name: [(item["target"], item["bytes"], item["reason"]) for item in kind["items"]]
        for name, kind in document["kinds"].items()
    }


def test_only_what_is_old_and_unused_goes(engine: Any) -> None:
    janitor(engine, "--dry-run")
    first, _ = janitor(engine, "--only", "docker_images")
    time.sleep(4)

    _, dry = janitor(engine, "--dry-run")
    before = (images(engine), containers(engine))
    code, real = janitor(engine)

    assert (first, code) == (0, 0)
    assert before[1] == {"lane-running", "lane-stopped", "foreign"}
    assert containers(engine) == {"lane-running", "foreign"}
    assert (
        engine.check_output("docker inspect --format '{{.State.Running}}' lane-running") == "true"
    )
    assert "<none>:<none>" in before[0]
    assert images(engine) == before[0] - {"<none>:<none>"}
    assert items(dry) == items(real)
    assert real["kinds"]["docker_containers"]["kept"] == {"running": 1}
    assert real["kinds"]["docker_images"]["kept"]["labelled_keep"] == 1
    assert real["kinds"]["docker_images"]["kept"]["base_image"] == 1
    assert real["kinds"]["docker_build_cache"]["items"]


@pytest.mark.deep
def test_a_full_disk_takes_the_least_recently_used_images_until_the_target(engine: Any) -> None:
    engine.check_output(
        "cd /tmp/image; for name in a b c; do head --bytes=300000000 /dev/zero >blob; "
        "echo $name >name; tar -c . | docker import - $name-large:1; done; rm blob"
    )
    janitor(engine, "--only", "docker_images")
    time.sleep(4)
    engine.check_output("docker run --rm a-large:1 /bin/true")
    time.sleep(4)
    # Two of the three have to go; other users of the machine's disk may move it a little.
    asked = "df --output=used,avail --block-size=1 /var/lib/docker | tail -1"
    used, available = map(int, engine.check_output(asked).split())
    low = (used - 450_000_000) / (used + available) * 100
    set_policy(engine, disk_used_high_percent=low + 0.0001, disk_used_low_percent=low)

    code, document = janitor(engine, "--only", "docker_images")

    gone = [
        (item["target"], item["reason"]) for item in document["kinds"]["docker_images"]["items"]
    ]
    assert code == 0
    # The small one ran before the first run saw any image, so it is the oldest.
    assert gone == [(f"{name}:1", "watermark") for name in ("plain", "b-large", "c-large")]
    assert {"a-large:1", "replaced:1"} <= images(engine)


@pytest.mark.deep
def test_an_image_in_use_is_never_taken(engine: Any) -> None:
    janitor(engine, "--only", "docker_images")
    time.sleep(4)
    set_policy(engine, disk_used_high_percent=2, disk_used_low_percent=1)

    janitor(engine, "--only", "docker_images")

    assert {"running:1", "foreign:1", "kept:1", "factory-base:1"} <= images(engine)
    assert "plain:1" not in images(engine)
    assert "replaced:1" not in images(engine)


@pytest.mark.deep
def test_two_runs_at_once_are_refused(engine: Any) -> None:
    lock = "/run/aina-factory/locks/factory-worktrees.lock"

    done = engine.run(
        "install --directory /run/aina-factory/locks; "
        f"flock --no-fork {lock} sleep 300 & sleep 2; factory janitor --json; "
        "code=$?; kill $!; exit $code"
    )

    assert done.rc == 75
    assert lock in json.loads(done.stdout)["error"]


@pytest.mark.deep
def test_a_dead_engine_fails_alone(engine: Any) -> None:
    engine.check_output("mkdir -p /srv/ops && head --bytes=3000000 /dev/zero >/srv/ops/a.log")
    engine.check_output("systemctl stop docker.socket docker.service")
    try:
        code, document = janitor(engine)
    finally:
        engine.check_output("systemctl start docker.socket docker.service")

    failed = {name for name, kind in document["kinds"].items() if kind["status"] == "failed"}
    assert code == 1
    assert failed == {
        "docker_containers",
        "docker_dangling_images",
        "docker_build_cache",
        "docker_volumes",
        "docker_networks",
        "docker_images",
    }
    assert document["kinds"]["logs"]["bytes_freed"] > 2_000_000


@pytest.mark.deep
def test_deleting_an_open_log_frees_nothing_where_cutting_it_does(engine: Any) -> None:
    engine.check_output("rm --recursive --force /srv/ops /srv/seed; mkdir -p /srv/ops /srv/seed")
    for directory in ("ops", "seed"):
        engine.check_output(
            f"setsid sh -c 'exec >>/srv/{directory}/codex-a.log; head --bytes=40000000 /dev/urandom; "
            "exec sleep 60' 2>/dev/null </dev/null & sleep 1"
        )

    def used() -> int:
        return int(engine.check_output("df --output=used --block-size=1 /srv | tail -1"))

    full = used()
    engine.check_output("find /srv/seed -maxdepth 1 -name 'codex-*.log' -delete")
    deleted = used()
    _, document = janitor(engine, "--only", "logs")
    cut = used()

    assert full - deleted < 10_000_000
    assert deleted - cut > 30_000_000
    assert document["kinds"]["logs"]["bytes_freed"] > 38_000_000
