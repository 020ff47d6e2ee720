from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from factory.core.host import docker_daemon
from factory.core.host.docker_daemon import (
    DockerDaemonError,
    Record,
    RestartPolicy,
    RunningContainer,
    RunningEngine,
)

OURS = {"log-driver": "local", "log-opts": {"max-size": "20m"}, "live-restore": True}
LANE = RunningContainer("lane-17", survives=False)
SERVICE = RunningContainer("registry", survives=True)


def engine(**changes: Any) -> RunningEngine:
    values: dict[str, Any] = {
        "instance": "boot:1",
        "started_at": 1000.0,
        "containers": (),
        "builds": 0,
        "live_restore": True,
        "log_driver": "local",
        "image_store": "overlay2",
        "images": 0,
        "swarm": False,
    }
    return RunningEngine(**{**values, **changes})


def decide(running: RunningEngine, effective: Any, policy: str = "drained", **wanted: Any) -> Any:
    return docker_daemon.decide(running, effective, {**OURS, **wanted}, RestartPolicy(policy))


def test_keys_of_others_stay_and_are_reported() -> None:
    merged = docker_daemon.merge({"debug": True, "builder": {"x": 1}}, OURS, Record())

    assert merged.settings == {"debug": True, "builder": {"x": 1}, **OURS}
    assert merged.foreign == ("builder.x", "debug")


def test_a_key_that_is_no_longer_declared_goes() -> None:
    wanted = {**OURS, "builder": {"gc": {"enabled": True}}}
    first = docker_daemon.merge({}, wanted, Record())

    second = docker_daemon.merge(first.settings, OURS, Record(owned=first.owned))

    assert second.settings == OURS


def test_a_value_that_stood_there_before_comes_back() -> None:
    before = {"log-driver": "journald", "log-opts": {"tag": "x"}}
    first = docker_daemon.merge(before, OURS, Record())
    assert first.overridden == ("log-driver", "log-opts")

    record = Record(owned=first.owned, replaced=first.replaced)

    assert docker_daemon.merge(first.settings, {}, record).settings == before


def test_options_of_another_log_driver_do_not_survive_beside_ours() -> None:
    # The engine would refuse to start with them.
    merged = docker_daemon.merge({"log-opts": {"awslogs-region": "x"}}, OURS, Record())

    assert merged.settings["log-opts"] == {"max-size": "20m"}


def test_a_foreign_collection_policy_does_not_disarm_our_limits() -> None:
    limits = docker_daemon.build_cache_limits(29, 1, 2, 3)

    merged = docker_daemon.merge(
        {"builder": {"gc": {"policy": [{"all": True}]}}}, {"builder": {"gc": limits}}, Record()
    )

    assert merged.settings["builder"]["gc"] == limits


KEYS = st.sampled_from(["a", "b", "log-opts"])
DOCUMENTS = st.dictionaries(
    KEYS, st.one_of(st.integers(), st.dictionaries(KEYS, st.integers(), min_size=1, max_size=2))
)


@given(before=DOCUMENTS, wanted=DOCUMENTS)
@settings(max_examples=60)
def test_merging_holds_what_is_wanted_and_giving_back_loses_nothing(
    before: dict[str, Any], wanted: dict[str, Any]
) -> None:
    untouched = copy.deepcopy(before)
    merged = docker_daemon.merge(before, wanted, Record())
    record = Record(owned=merged.owned, replaced=merged.replaced)

    again = docker_daemon.merge(merged.settings, wanted, record)
    back = docker_daemon.merge(merged.settings, {}, record)

    after = dict(docker_daemon.leaves(merged.settings))
    assert all(after[path] == value for path, value in docker_daemon.leaves(wanted))
    assert again.settings == merged.settings
    assert before == untouched
    # A scalar that had to make way for an object is the one thing that is not restored by key.
    kept = {path for path, _value in docker_daemon.leaves(before)} & {*after, *merged.owned}
    returned = dict(docker_daemon.leaves(back.settings))
    original = dict(docker_daemon.leaves(before))
    assert all(returned[path] == original[path] for path in kept)


def test_older_engines_get_the_one_limit_they_know() -> None:
    old = docker_daemon.build_cache_limits(26, 1, 2, 3)
    new = docker_daemon.build_cache_limits(28, 1, 2, 3)

    assert old == {"enabled": True, "defaultKeepStorage": "2"}
    assert new == {
        "enabled": True,
        "defaultReservedSpace": "1",
        "defaultMaxUsedSpace": "2",
        "defaultMinFreeSpace": "3",
    }


def test_a_file_older_than_the_engine_is_what_it_runs_with() -> None:
    assert docker_daemon.effective_settings(engine(), OURS, 999.0, Record()) == OURS


def test_a_file_newer_than_the_engine_proves_nothing() -> None:
    assert docker_daemon.effective_settings(engine(), OURS, 1001.0, Record()) is None


def test_notes_count_for_the_very_engine_they_were_taken_of() -> None:
    same = Record(instance="boot:1", settings={"debug": True})
    other = Record(instance="boot:0", settings={"debug": True})

    assert docker_daemon.effective_settings(engine(), OURS, 1001.0, same) == {"debug": True}
    assert docker_daemon.effective_settings(engine(), OURS, 1001.0, other) is None


def test_what_already_runs_needs_nothing() -> None:
    decision = decide(engine(), OURS)

    assert (decision.reload, decision.restart, decision.deferred) == ((), (), "")


def test_a_reloadable_key_does_not_restart_the_engine() -> None:
    decision = decide(engine(containers=(LANE,)), OURS, debug=True)

    assert (decision.reload, decision.restart) == (("debug",), ())


def test_an_engine_of_unknown_settings_is_restarted() -> None:
    assert "log-opts" in decide(engine(), None).restart


def test_the_engine_is_believed_more_than_the_notes() -> None:
    assert decide(engine(log_driver="json-file"), OURS).restart == ("log-driver",)
    assert decide(engine(live_restore=False), OURS).reload == ("live-restore",)


RESTARTS: list[tuple[dict[str, Any], str, bool, str]] = [
    ({}, "drained", True, ""),
    ({"containers": (SERVICE,)}, "drained", True, ""),
    ({"containers": (LANE, SERVICE)}, "drained", True, "lane-17 still running"),
    ({"containers": (LANE,)}, "survivable", True, ""),
    ({"containers": (SERVICE,)}, "survivable", False, "registry would be stopped"),
    ({"containers": (SERVICE,)}, "drained", False, "registry would be stopped"),
    ({"builds": 2}, "survivable", True, "2 image build processes"),
    ({}, "never", True, "docker_host_restart_policy is never"),
]


@pytest.mark.parametrize(("running", "policy", "live_restore", "why"), RESTARTS)
def test_a_restart_waits_for_what_it_would_hurt(
    running: dict[str, Any], policy: str, live_restore: bool, why: str
) -> None:
    # default-shm-size makes the restart due.
    decision = decide(
        engine(live_restore=live_restore, **running),
        {**OURS, "live-restore": live_restore},
        policy,
        **{"default-shm-size": "96m", "live-restore": live_restore},
    )

    assert decision.restart == ("default-shm-size",)
    assert decision.deferred.startswith(why) and bool(decision.deferred) == bool(why)


def test_the_image_store_is_not_switched_under_existing_images() -> None:
    wanted = {"features": {"containerd-snapshotter": True}}

    with pytest.raises(DockerDaemonError, match="would hide the 3 images"):
        docker_daemon.check(wanted, engine(images=3), switch_allowed=False)

    docker_daemon.check(wanted, engine(images=3), switch_allowed=True)
    docker_daemon.check(wanted, engine(images=0), switch_allowed=False)
    docker_daemon.check(wanted, engine(images=3, image_store="containerd"), switch_allowed=False)


def test_a_member_of_a_swarm_gets_no_live_restore() -> None:
    with pytest.raises(DockerDaemonError, match="docker_host_live_restore_enabled to false"):
        docker_daemon.check(OURS, engine(swarm=True), switch_allowed=False)


def test_a_reload_changes_the_notes_for_its_keys_alone() -> None:
    noted = docker_daemon.after_reload({"debug": True, "mtu": 1400}, {"mtu": 1500}, ["debug"])

    assert noted == {"mtu": 1400}


def test_a_published_port_stays_on_the_loopback_in_every_network_that_the_engine_knows() -> None:
    new = docker_daemon.published_address(29, "127.0.0.1")
    old = docker_daemon.published_address(20, "127.0.0.1")

    assert old == {"ip": "127.0.0.1"}
    assert new["ip"] == "127.0.0.1"
    assert list(new["default-network-opts"]["bridge"].values()) == ["127.0.0.1"]


DEFAULTS = {
    **OURS,
    "ip": "127.0.0.1",
    "default-network-opts": {
        "bridge": {"com.docker.network.bridge.host_binding_ipv4": "127.0.0.1"}
    },
    "builder": {"gc": {"enabled": True}},
}


@pytest.mark.parametrize(
    ("current", "declared", "theirs", "kept"),
    [
        ({}, {}, {}, {}),
        # One of what belongs together is somebody's: so is the rest.
        (
            {"log-driver": "json-file"},
            {},
            {"log-driver": "json-file"},
            {"log-driver": ("json-file", "local")},
        ),
        (
            {"log-opts": {"max-size": "9m"}},
            {},
            {"log-opts": {"max-size": "9m"}},
            {"log-opts": ({"max-size": "9m"}, {"max-size": "20m"})},
        ),
        ({"ip": "0.0.0.0"}, {}, {"ip": "0.0.0.0"}, {"ip": ("0.0.0.0", "127.0.0.1")}),  # noqa: S104
        (
            {"builder": {"gc": {"enabled": False}}, "live-restore": True},
            {},
            {"builder": {"gc": {"enabled": False}}},
            {"builder.gc": ({"enabled": False}, {"enabled": True})},
        ),
        # What the inventory says replaces it.
        ({"log-driver": "json-file", "log-opts": {"x": "1"}}, OURS, {}, {}),
        ({}, {"log-driver": "journald"}, {"log-driver": "journald"}, {}),
    ],
)
def test_a_default_never_takes_the_place_of_what_somebody_has_set(
    current: dict[str, Any],
    declared: dict[str, Any],
    theirs: dict[str, Any],
    kept: dict[str, Any],
) -> None:
    settings, found = docker_daemon.with_defaults(current, declared, DEFAULTS, Record())

    assert found == kept
    after = docker_daemon.merge(current, settings, Record()).settings
    assert {key: after[key] for key in theirs} == theirs
    if "log-driver" in theirs:
        assert "log-opts" not in after
    if "ip" in theirs:
        assert "default-network-opts" not in after
    if not theirs:
        assert {key: after[key] for key in OURS} == OURS


def test_a_default_that_an_earlier_run_put_there_stays_and_gives_back_what_it_replaced() -> None:
    before = {"log-driver": "json-file", "ip": "192.0.2.1"}
    first = docker_daemon.merge(before, {**DEFAULTS, "mtu": 9}, Record())
    record = Record(owned=first.owned, replaced=first.replaced)
    # Somebody has changed one of ours since.
    spoilt = {**first.settings, "live-restore": False}

    settings, _kept = docker_daemon.with_defaults(spoilt, {"mtu": 9}, DEFAULTS, record)
    after = docker_daemon.merge(spoilt, settings, record).settings

    assert {key: after.get(key) for key in (*before, "log-opts", "live-restore", "mtu")} == {
        **before,
        "log-opts": None,
        "live-restore": True,
        "mtu": 9,
    }


@pytest.mark.parametrize(
    ("names", "deferred"),
    [([], ""), (["site"], "site still running, with which it would keep its network")],
)
def test_a_network_that_a_restart_has_left_as_it_was_is_still_owed(
    names: list[str], deferred: str
) -> None:
    wanted = {**OURS, "ip": "127.0.0.1", "mtu": 1400}
    running = engine(
        containers=tuple(docker_daemon.RunningContainer(name, survives=True) for name in names),
        live_restore=True,
        default_network={"ip": "0.0.0.0", "mtu": "1400", "bip": "172.17.0.1/16"},  # noqa: S104
    )

    # What was written down says that all of it is in force.
    decision = docker_daemon.decide(running, wanted, wanted, RestartPolicy.SURVIVABLE)

    assert (decision.restart, decision.deferred) == (("ip",), deferred)
