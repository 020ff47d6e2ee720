"""The pure decisions: what an end means, when a runner is ended, what a container may do."""

from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path
from typing import Any

import pytest

from factory.core.base import settings, times
from factory.core.base.configuration import ConfigurationError, Section
from factory.core.runners import container, exits, layout, names, native_unit, network, state, watch
from factory.core.runners.exits import Next
from factory.core.runners.layout import Places
from factory.core.runners.network import Openings
from factory.core.runners.offer import offer
from factory.core.runners.settings import Instance, Mode, Network, RunnersSettings, Timing
from factory.core.runners.state import Condition, State
from factory.core.runners.watch import Act, ContainerObservation

ROLE = Path(__file__).parents[5] / "roles/gh_actions_runner"
TIMING = Timing()
POOL = Instance(
    name="demo", mode=Mode.EPHEMERAL, target="factory/demo", slots=2, cpus=2, disk_mib=100
)

# --- what an end means ----------------------------------------------------------

ENDS = [
    # status, had a job, lasted, and what follows
    (0, True, 1.0, Next.GO_ON),
    (0, False, 3600.0, Next.GO_ON),
    (0, False, 1.0, Next.BACK_OFF),
    (1, False, 1.0, Next.BACK_OFF),
    (2, True, 100.0, Next.GO_ON),
    (2, False, 100.0, Next.BACK_OFF),
    (3, False, 100.0, Next.BACK_OFF),
    (4, False, 100.0, Next.BACK_OFF),
    (5, False, 240.0, Next.BACK_OFF),
    (6, False, 100.0, Next.BACK_OFF),
    (7, False, 1.0, Next.OUTDATED),
    (125, False, 0.1, Next.BACK_OFF),
    (127, False, 0.1, Next.BACK_OFF),
    # What a job did is not the runner's failure.
    (7, True, 50.0, Next.GO_ON),
    (134, True, 50.0, Next.GO_ON),
    (137, True, 50.0, Next.GO_ON),
    (137, False, 50.0, Next.BACK_OFF),
    (None, True, 50.0, Next.GO_ON),
    (None, False, 1.0, Next.BACK_OFF),
]


def react(code: int | None, *, failures: int = 0, **more: Any) -> exits.Reaction:
    given = {"had_job": False, "was_ended": False, "lasted_seconds": 1.0, "draw": 0.5, **more}
    return exits.react(code, failures=failures, timing=TIMING, **given)


@pytest.mark.parametrize(("code", "had_job", "lasted", "expected"), ENDS)
def test_every_end_has_its_consequence(
    code: int | None, had_job: bool, lasted: float, expected: Next
) -> None:
    reaction = react(code, had_job=had_job, lasted_seconds=lasted)

    assert reaction.next is expected
    assert reaction.failures_count == (0 if expected is Next.GO_ON else 1)
    if code:
        assert f"status {code}" in reaction.detail


def test_the_wait_doubles_up_to_five_minutes_and_never_gets_longer() -> None:
    waits = [react(1, failures=count, draw=0.0).delay_seconds for count in (*range(8), 10**6)]

    assert waits == [5, 10, 20, 40, 80, 160, 300, 300, 300]
    assert max(exits.delay(n, TIMING, draw / 10) for n in range(1, 99) for draw in range(10)) <= 300


@pytest.mark.parametrize(("outage_seconds", "lost_max_seconds"), [(1, 60), (180, 180)])
def test_little_is_lost_after_an_outage(outage_seconds: float, lost_max_seconds: float) -> None:
    for draw in range(100):
        now, failures = 0.0, 0
        while now < outage_seconds:
            failures += 1
            now += exits.delay(failures, TIMING, draw / 100)
        assert now - outage_seconds < lost_max_seconds


def test_slots_that_failed_together_do_not_come_back_together() -> None:
    waits = {exits.delay(1, TIMING, draw) for draw in (0.0, 0.3, 0.6, 0.99)}

    assert len(waits) == 4
    assert all(10 / 3 <= wait <= 5 for wait in waits)


def test_success_forgives_and_the_supervisors_own_deed_is_no_failure() -> None:
    assert react(0, had_job=True, failures=4).failures_count == 0
    assert react(137, was_ended=True, failures=4).next is Next.GO_ON


# --- when a runner is ended --------------------------------------------------------

QUIET = {
    "age_seconds": 600.0,
    "listening": True,
    "job_seconds": None,
    "worker": False,
    "misses_count": 0,
    "written_mib": 1.0,
}
WATCHED: list[tuple[dict[str, Any], Act]] = [
    ({}, Act.KEEP),
    ({"misses_count": 2}, Act.KEEP),
    ({"misses_count": 3}, Act.END),
    # Within its grace, with a worker, or where nobody knows whether there is one: not yet.
    ({"misses_count": 3, "age_seconds": 100.0}, Act.KEEP),
    ({"misses_count": 9, "worker": True}, Act.KEEP),
    ({"misses_count": 9, "worker": None}, Act.KEEP),
    ({"misses_count": 9, "job_seconds": 5.0}, Act.KEEP),
    ({"listening": False, "age_seconds": 299.0}, Act.KEEP),
    ({"listening": False, "age_seconds": 301.0}, Act.END),
    ({"forgotten_seconds": 901.0, "job_seconds": 5.0}, Act.END),
    ({"forgotten_seconds": 899.0, "job_seconds": 5.0}, Act.KEEP),
    ({"age_seconds": 86401.0}, Act.CLOSE),
    ({"age_seconds": 86401.0, "job_seconds": 10.0}, Act.KEEP),
    ({"job_seconds": 360 * 60 + 1.0}, Act.END),
    ({"written_mib": 101.0}, Act.END),
    ({"written_mib": 101.0, "job_seconds": 1.0}, Act.END),
    ({"written_mib": None}, Act.KEEP),
    ({"leaving": "it is drained"}, Act.CLOSE),
    ({"leaving": "it is drained", "job_seconds": 1.0, "leaving_seconds": 599.0}, Act.KEEP),
    ({"leaving": "it is drained", "job_seconds": 1.0, "leaving_seconds": 601.0}, Act.END),
]


@pytest.mark.parametrize(("changes", "expected"), WATCHED)
def test_a_runner_is_ended_exactly_when_it_must_be(changes: dict[str, Any], expected: Act) -> None:
    advice = watch.advise(ContainerObservation(**{**QUIET, **changes}), POOL, TIMING)

    assert advice.act is expected
    assert bool(advice.reason) is (expected is not Act.KEEP)


# --- the container ------------------------------------------------------------------

TURN = container.ContainerRun(
    slot="demo-1",
    name="box-demo-1-x",
    runner_id=7,
    image="ci",
    cgroup_parent="p",
    cpuset="0,1",
    network="n",
)


def test_the_container_has_no_power_and_bounds_on_everything() -> None:
    argv = container.create_argv(TURN, POOL)
    text = " ".join(argv)

    for word in (
        "--cap-drop=ALL",
        "--security-opt=no-new-privileges",
        "--user=1001:1001",
        "--init",
    ):
        assert word in argv
    assert "--memory 4096m --memory-swap 4096m" in text
    assert "--pids-limit 2048" in text and "--cpuset-cpus 0,1" in text
    assert re.search(r"--tmpfs=\S+/_work:\S*size=2048m", text)
    assert "docker.sock:" not in text and "--volume" not in text and "--privileged" not in text


def test_only_what_was_vouched_for_reaches_the_engine() -> None:
    instance = Instance(
        name="d",
        mode=Mode.EPHEMERAL,
        target="a/b",
        docker_socket_reason="builds images",
        runtime="runsc",
    )

    argv = " ".join(container.create_argv(TURN, instance))

    assert "--volume /run/docker.sock:/run/docker.sock" in argv
    assert "--runtime runsc" in argv


def test_an_engine_of_the_jobs_own_gets_what_it_needs_and_no_job_without_one_does() -> None:
    with_one = Instance(name="d", target="a/b", engine="podman", engine_mib=900, disk_mib=100)
    walls = {word for word in container.create_argv(TURN, POOL) if word.startswith("--")}
    words = {word for word in container.create_argv(TURN, with_one) if word.startswith("--")}

    assert walls - words == {"--security-opt=no-new-privileges"}
    store = f"--tmpfs={layout.ENGINE_STORE}:rw,exec,nosuid,nodev,size=900m,nr_inodes=230400"
    assert words - walls == {
        "--cap-add=SETUID",
        "--cap-add=SETGID",
        f"--security-opt=seccomp={layout.ENGINE_SECCOMP}",
        "--security-opt=apparmor=unconfined",
        "--security-opt=systempaths=unconfined",
        "--device=/dev/net/tun",
        f"{store},uid=1001,gid=1001,mode=0700",
    }
    assert "docker.sock:" not in " ".join(container.create_argv(TURN, with_one))
    told = dict(container.environment(with_one, ""))
    assert told["DOCKER_HOST"] == f"unix://{layout.ENGINE_SOCKET}"
    # The engine is there before the runner, and never sees its configuration.
    entry = container.create_argv(TURN, with_one)[-1]
    assert entry.index("podman system service") < entry.index("read -r ACTIONS")
    assert "podman" not in container.create_argv(TURN, POOL)[-1]
    assert offer(with_one).engine and not offer(POOL).engine


MOUNTS = """
22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw
40 22 8:16 / /var/lib rw,relatime shared:2 - xfs /dev/sdb rw,attr2,inode64,prjquota
41 22 8:17 / /var/library rw - xfs /dev/sdc rw
"""


@pytest.mark.parametrize(
    ("driver", "root", "mounts", "bounded"),
    [
        ("overlay2", "/var/lib/docker", MOUNTS, True),
        ("overlay2", "/var/lib/docker", MOUNTS.replace("prjquota", "noquota"), False),
        ("overlay2", "/var/library/docker", MOUNTS, False),
        ("overlay2", "/srv/docker", MOUNTS, False),
        ("overlay2", "/var/lib/docker", "", False),
        ("overlayfs", "/var/lib/docker", MOUNTS, False),
        ("btrfs", "/srv/docker", "", True),
    ],
)
def test_what_a_job_writes_is_bounded_by_the_file_system_where_that_can(
    driver: str, root: str, mounts: str, *, bounded: bool
) -> None:
    assert container.has_quota(driver, root, mounts) is bounded
    run = dataclasses.replace(TURN, has_quota=bounded)
    assert ("size=100m" in container.create_argv(run, POOL)) is bounded


def test_the_profile_of_an_engine_refuses_what_is_the_hosts() -> None:
    path = ROLE / "files/engine-seccomp.json"
    document = json.loads(path.read_text())
    assert document["defaultAction"] == "SCMP_ACT_ALLOW"
    (refused,) = document["syscalls"]
    assert refused["action"] == "SCMP_ACT_ERRNO"
    assert {"bpf", "keyctl", "kexec_load", "init_module", "io_uring_setup"} < set(refused["names"])
    files = (ROLE / "vars/main/main.yml").read_text()
    assert f"path: {layout.ENGINE_SECCOMP}" in files


def test_the_work_folder_lies_on_the_disk_where_it_has_no_size_in_memory() -> None:
    on_disk = Instance(name="d", mode=Mode.EPHEMERAL, target="a/b", work_mib=0, tmp_mib=7)

    argv = " ".join(container.create_argv(TURN, on_disk))

    assert "/_work" not in argv
    assert "--tmpfs=/tmp:rw,exec,nosuid,nodev,size=7m,nr_inodes=1792" in argv


@pytest.mark.parametrize(("shm_mib", "shown"), [(0, "2048m"), (300, "300m")])
def test_shared_memory_follows_the_jobs_memory_unless_it_is_declared(
    shm_mib: int, shown: str
) -> None:
    instance = Instance(name="d", target="a/b", memory_mib=4096, shm_mib=shm_mib)

    assert f"--shm-size {shown}" in " ".join(container.create_argv(TURN, instance))


def test_a_job_is_told_what_was_declared_for_it() -> None:
    instance = Instance(
        name="d",
        mode=Mode.EPHEMERAL,
        target="a/b",
        environment={"TZ": "UTC"},
        job_container_required=True,
    )

    told = dict(container.environment(instance, "/etc/ssl/ca.crt"))

    assert told["TZ"] == "UTC"
    assert told["ACTIONS_RUNNER_REQUIRE_JOB_CONTAINER"] == "true"
    assert told["NODE_EXTRA_CA_CERTS"] == container.CERTIFICATES
    assert "ACTIONS_RUNNER_REQUIRE_JOB_CONTAINER" not in dict(container.environment(POOL, ""))


def test_neighbours_get_other_processors_while_there_are_enough() -> None:
    other = Instance(name="other", mode=Mode.EPHEMERAL, target="a/b", cpus=3)
    pools = (POOL, other)

    assert [container.cpuset(pools, slot, 8) for slot in ("demo-1", "demo-2", "other-1")] == [
        "0,1",
        "2,3",
        "4,5,6",
    ]
    assert container.cpuset(pools, "demo-2", 2) == "0,1"
    assert container.cpuset(pools, "other-1", 2) == "0,1"


# --- names ---------------------------------------------------------------------------


def test_a_name_tells_its_slot_and_its_age_and_no_foreign_name_does() -> None:
    name = names.runner_name_of("box", "demo-1", 1_800_000_000.0, 0.5)

    assert names.slot_of(name, "box") == ("demo-1", 1_800_000_000.0)
    assert names.runner_name_of("box", "demo-1", 1_800_000_000.0, 0.6) != name
    for foreign in ("box-one", "other-demo-1-tokenxy", "box-demo-1", f"{name}x9", f"my{name}"):
        assert names.slot_of(foreign, "box") is None


# --- the isolation -------------------------------------------------------------------


def test_doors_open_to_private_addresses_alone_and_the_rules_tell_what_they_are() -> None:
    openings = Openings(
        allowed=(("10.0.0.7", 443), ("93.184.216.34", 443)), nameservers=("10.0.0.2",)
    )

    rules = network.ruleset(Network(), openings)

    assert 'iifname "br-runners" ip daddr 10.0.0.7 tcp dport 443 accept' in rules
    assert "93.184.216.34" not in rules
    assert rules.count("ip daddr 10.0.0.2 udp dport 53 accept") == 2
    assert network.marker_of(rules) == network.marker_of(network.ruleset(Network(), openings))
    assert network.marker_of(rules) != network.marker_of(network.ruleset(Network(), Openings()))


@pytest.mark.parametrize(
    ("address", "closed"),
    [
        ("169.254.169.254", True),
        ("172.31.255.1", True),
        ("8.8.8.8", False),
        ("172.32.0.1", False),
        ("::1", True),
    ],
)
def test_what_lies_behind_the_walls(address: str, closed: bool) -> None:
    assert network.is_closed(address) is closed


# --- the unit -------------------------------------------------------------------------


def test_sudo_works_in_a_workflow_only_where_that_is_declared() -> None:
    box = read({"prefix": "box"})

    strict = native_unit.render(Instance(name="a", mode=Mode.NATIVE, target="x/y"), box, Places())
    relaxed = native_unit.render(
        Instance(name="a", mode=Mode.NATIVE, target="x/y", hardening="sudo"), box, Places()
    )

    assert "NoNewPrivileges=yes" in strict
    assert "NoNewPrivileges" not in relaxed
    assert "ProtectSystem=strict" in relaxed


# --- what is declared -------------------------------------------------------------------

WRONG: list[tuple[dict[str, Any], str]] = [
    ({}, "runners.prefix is missing"),
    ({"prefix": "a b"}, "runners.prefix is 'a b'"),
    ({"prefix": "x", "version": "2.328.0"}, "be 2.329.0 or newer"),
    ({"prefix": "x", "version": "v2.330.0"}, "must be 'latest' or such as 2.330.0"),
    ({"prefix": "x", "version_sha256": "abc"}, "64 hexadecimal digits"),
    ({"prefix": "x", "version_warn_days": 25, "version_fail_days": 20}, "must not exceed"),
    ({"prefix": "x", "network_subnet": "10.0.0.1/8"}, "be an IPv4 network"),
    (
        {"prefix": "x", "denied_local_ports": ["ssh"]},
        "denied_local_ports[0] is 'ssh'; it must be a number",
    ),
    ({"prefix": "x", "timing": {"orphan_misses": 1}}, "timing.orphan_misses is not known"),
]
WRONG_INSTANCES: list[tuple[dict[str, Any], str]] = [
    ({"name": "A"}, "lower-case letters"),
    ({"target": "a/b/c"}, "be owner/name or an organization"),
    ({"mode": "docker"}, "one of native, ephemeral"),
    ({"labels": ["a b"]}, "label without spaces"),
    ({"default_labels": False}, "at least one label"),
    ({"slots": 0}, "slots is 0"),
    ({"memory": 1}, "memory is not known"),
    ({"environment": {"ACTIONS_RUNNER_INPUT_TOKEN": "x"}}, "leave the runner's own inputs alone"),
    ({"environment": {"A": "x\ny"}}, "be one line"),
    ({"image": "-v"}, "be the name of an image"),
    ({"engine": "docker"}, "one of none, podman"),
    ({"engine": "podman", "mode": "native"}, "be none for a native runner"),
    ({"engine": "podman", "docker_socket_reason": "x"}, "may command the host's engine"),
]


def read(document: dict[str, Any]) -> RunnersSettings:
    return settings.read(RunnersSettings, Section(document, "runners"))


@pytest.mark.parametrize(("document", "words"), WRONG)
def test_a_wrong_setting_is_named(document: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigurationError, match=re.escape(words)):
        read(document)


@pytest.mark.parametrize(("changes", "words"), WRONG_INSTANCES)
def test_a_wrong_instance_is_named(changes: dict[str, Any], words: str) -> None:
    instance = {"name": "demo", "target": "factory/demo", **changes}

    with pytest.raises(ConfigurationError, match=re.escape(words)):
        read({"prefix": "x", "instances": [instance]})


def test_a_slots_name_is_taken_once() -> None:
    pool = {"name": "a", "target": "x/y", "slots": 2}

    with pytest.raises(ConfigurationError, match="'a-1'; it must be the name of one runner"):
        read(
            {"prefix": "x", "instances": [pool, {"name": "a-1", "target": "x/y", "mode": "native"}]}
        )


def test_a_target_is_registered_by_the_address_that_a_person_visits() -> None:
    assert read({"prefix": "x"}).web_url("a/b") == "https://github.com/a/b"


# --- what is told -----------------------------------------------------------------------

NOW = 1_800_000_000.0
IDLE = State(
    "demo-1",
    "ephemeral",
    "demo",
    Condition.IDLE,
    times.iso(NOW - 60),
    updated_at=times.iso(NOW),
)


def documents(**changes: Any) -> dict[str, Any]:
    return {"demo-1": {**vars(IDLE), **changes}}


def test_an_old_document_counts_as_unknown_and_not_as_what_it_says() -> None:
    found = state.facts({**documents(updated_at=times.iso(NOW - 5000)), "x": None}, NOW)

    assert found.counts["idle"] == 0
    assert found.counts["unknown"] == 2
    assert found.runners[0]["state"] == "unknown"


def test_the_time_since_when_holds_until_the_condition_changes() -> None:
    later = IDLE.changed(NOW + 5, Condition.IDLE, "still")
    busy = later.changed(NOW + 9, Condition.BUSY)

    assert (later.since, later.updated_at) == (IDLE.since, times.iso(NOW + 5))
    assert busy.since == times.iso(NOW + 9)


def test_foreign_words_cannot_move_the_cursor() -> None:
    assert IDLE.changed(NOW, Condition.BUSY, "evil\x1b[2J\njob").detail == "evil?[2J?job"


def test_metrics_name_every_state_and_leave_out_what_is_unknown() -> None:
    text = state.metrics(state.facts(documents(version_age_days=None), NOW), NOW)

    assert 'factory_runners{state="idle"} 1' in text
    assert 'factory_runners{state="failed"} 0' in text
    assert 'factory_runner_up{instance="demo-1",mode="ephemeral"} 1' in text
    assert "version_age_days" not in text
