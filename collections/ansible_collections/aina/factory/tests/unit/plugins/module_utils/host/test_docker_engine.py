"""What the engine is asked before its file is replaced, and what becomes of it afterwards."""

from __future__ import annotations

import ipaddress
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from factory.core.base.ports import Completed, Run
from factory.core.host import docker_engine, managed_files
from factory.core.host.docker_daemon import DockerDaemonError
from factory.core.host.steps import Context, StepError
from factory.core.host.steps import docker_daemon as step
from factory.core.host.way_in import connection

PARAMETERS: dict[str, Any] = {
    "settings": {"log-driver": "local"},
    "build_cache": None,
    "published_address": "",
    "defaults": [],
    "restart_policy": "drained",
    "image_store_switch_allowed": False,
    "state": "present",
}


def host_with(version: str) -> Any:
    """Return a host whose engine of this version does not run."""

    def run(argv: Sequence[str | bytes], **_options: Any) -> Completed:
        answers = {"dockerd": f"Docker version {version}, build 5d6db84", "systemctl": ""}
        return Completed(0, answers[str(argv[0])].encode(), b"")

    return run


@pytest.mark.parametrize(("version", "asks"), [("20.10.24+dfsg1", False), ("26.1.5+dfsg1", True)])
def test_only_an_engine_that_can_judge_its_file_is_asked_to(
    tmp_path: Path, version: str, asks: bool
) -> None:
    run = host_with(version)

    plan = docker_engine.plan(step.wish(PARAMETERS, run), run, 0.0, tmp_path / "daemon.json")

    (change,) = plan.changes
    assert change.file is not None
    assert (change.file.validate[:2] == ("dockerd", "--validate")) is asks
    # Now, and with the host.
    assert plan.actions[1:] == ["start the engine with the host", "start the engine"]


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The engine's file, where anybody may write."""
    path = tmp_path / "daemon.json"
    path.write_text('{"log-driver": "local"}')
    record = tmp_path / "record.json"
    # Their places are defaults of parameters.
    monkeypatch.setattr(docker_engine.plan, "__defaults__", (path,))
    monkeypatch.setattr(docker_engine.load_record, "__defaults__", (record,))
    monkeypatch.setattr(docker_engine, "RECORD", record)
    monkeypatch.setattr(docker_engine, "PENDING", tmp_path / "pending.json")
    # Whatever else is built on this machine.
    monkeypatch.setattr(docker_engine, "_builds", lambda *_: 0)
    monkeypatch.setattr(managed_files, "_set_attributes", lambda *_: None)
    return path


def running(containers: str = "", starts: Callable[[], bool] = lambda: True) -> Run:
    """Return a host on which the engine runs, with these containers; whether it starts again."""
    info = {"LiveRestoreEnabled": True, "LoggingDriver": "local", "Driver": "overlay2"}

    def run(argv: Sequence[str | bytes], **_options: Any) -> Completed:
        words = [str(word) for word in argv]
        if words[:2] in (["systemctl", "restart"], ["systemctl", "start"]):
            return Completed(0 if starts() else 1, b"", b"")
        answers = {
            "--version": "Docker version 26.1.5, build 5d6db84",
            "--property=UnitFileState": "enabled",
            "--property=ActiveState,ExecMainStartTimestampMonotonic": (
                "ActiveState=active\nExecMainStartTimestampMonotonic=4000000000000000"
            ),
            "info": json.dumps(info),
            "ps": containers,
        }
        text = next((answers[word] for word in words if word in answers), "no such driver")
        return Completed(0, text.replace("\\\n", "\n").encode(), b"")

    return run


def test_a_file_with_which_the_engine_does_not_start_gives_way_to_the_former_one(
    file: Path,
) -> None:
    seen: list[str] = []

    def starts() -> bool:
        seen.append(file.read_text())
        return "no-such-driver" not in seen[-1]

    run = running(starts=starts)
    wish = step.wish({**PARAMETERS, "settings": {"storage-driver": "no-such-driver"}}, run)
    plan = docker_engine.plan(wish, run, 0.0, file)

    with pytest.raises(DockerDaemonError, match="the former one is restored and the engine runs"):
        docker_engine.apply(plan, run, 0.0)

    assert len(seen) == 2
    assert file.read_text() == '{"log-driver": "local"}'


def test_a_restart_that_has_to_wait_is_noted_for_whoever_watches(file: Path) -> None:
    ours = {"log-driver": "local", "live-restore": True}
    file.write_text(json.dumps(ours))
    context = Context(running("worker\t"), False, lambda _words: None)

    def converge(**more: Any) -> dict[str, Any]:
        return step.execute({**PARAMETERS, "settings": {**ours, **more}}, context)

    first = converge(mtu=9)
    noted = json.loads(docker_engine.PENDING.read_text())
    again = converge(mtu=9)

    assert (noted["keys"], noted["why"]) == (["mtu"], "worker still running")
    assert "worker still running" in first["waiting"][0]["for"]
    assert (again["changed"], len(again["waiting"])) == (False, 1)
    converge()
    assert not docker_engine.PENDING.exists()


def test_nothing_is_given_back_while_containers_run(file: Path) -> None:
    context = Context(running("worker\t"), False, pytest.fail)

    with pytest.raises(StepError, match="not given back while containers run: worker"):
        step.execute({**PARAMETERS, "state": "absent"}, context)


def test_an_address_with_a_password_is_in_no_difference(file: Path) -> None:
    mirror = {"registry-mirrors": ["https://me:hunter2@mirror.example.com"]}

    result = step.execute(
        {**PARAMETERS, "settings": mirror}, Context(running(), True, lambda _words: None)
    )

    assert result["changed"]
    assert "hunter2" not in str(result["diff"])


def test_a_file_that_is_not_json_is_not_overwritten(file: Path) -> None:
    file.write_text("{")

    with pytest.raises(StepError, match="is not JSON"):
        step.execute(PARAMETERS, Context(running(), False, pytest.fail))

    assert file.read_text() == "{"


def test_what_is_replaced_and_what_stays_of_others_is_told_with_both_values(file: Path) -> None:
    theirs = {"log-driver": "json-file", "ip": "192.0.2.1", "mtu": 1400}
    file.write_text(json.dumps(theirs))
    context = Context(running(), True, pytest.fail)
    declared = {"settings": {"mtu": 1450, "log-driver": "local"}, "published_address": "127.0.0.1"}

    found = step.execute(
        {**PARAMETERS, **declared, "defaults": ["log-driver", "published_address"]}, context
    )

    assert [(item["kind"], item["what"]) for item in found["consequences"]] == [
        ("replaced", "the engine's mtu"),
        ("left", "the engine's ip"),
        ("left", "the engine's log-driver"),
    ]
    assert found["consequences"][0]["why"] == "1400 -> 1450"
    assert '"json-file" was there, and "local" is a default' in found["consequences"][2]["why"]


def test_networks_by_which_the_run_came_are_refused_and_others_have_a_way_back(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    peer, address = map(ipaddress.ip_address, ("172.30.7.2", "192.0.2.10"))
    session = connection.Session("ali", peer, address, 22)
    monkeypatch.setattr(step, "_sessions", lambda _run: [session])
    monkeypatch.setattr(docker_engine.swallowed, "__defaults__", (file,))
    routes = running()

    def run(argv: Sequence[str | bytes], **options: Any) -> Completed:
        if argv[0] == "ip":
            return Completed(0, b"172.30.7.2 via 192.0.2.1 dev eth0", b"")
        return routes(argv, **options)

    seen: list[Any] = []
    context = Context(run, True, pytest.fail, protect=seen.append)

    def wanted(base: str) -> dict[str, Any]:
        pools = [{"base": base, "size": 24}]
        return {**PARAMETERS, "settings": {"default-address-pools": pools}}

    with pytest.raises(
        StepError, match=r"172\.30\.0\.0/16 holds 172\.30\.7\.2, .* were not changed"
    ):
        step.guard(wanted("172.30.0.0/16"), context)
    step.guard(wanted("172.29.0.0/16"), context)
    step.execute(wanted("172.29.0.0/16"), context)

    (undo,) = seen
    assert undo.what == "the engine's networks: default-address-pools"
    assert undo.files == (str(file), str(docker_engine.RECORD))


def test_an_engine_that_systemd_does_not_start_by_its_name_is_named_with_the_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "dockerd"
    monkeypatch.setattr(docker_engine, "PROGRAMS", (str(program),))
    usual: Run = host_with("28.1.0")

    def run(argv: Sequence[str | bytes], **options: Any) -> Completed:
        if "--property=LoadState" in argv:
            return Completed(0, b"not-found", b"")
        return usual(argv, **options)

    def plan() -> docker_engine.EnginePlan:
        return docker_engine.plan(step.wish(PARAMETERS, run), run, 0.0, tmp_path / "daemon.json")

    # On a blank host the unit comes with the package.
    assert plan().wanted
    program.touch()
    with pytest.raises(
        DockerDaemonError, match=r"no docker\.service that starts it: give it a unit"
    ):
        plan()


def test_whoever_wrote_the_file_gets_his_own_text_back(file: Path) -> None:
    theirs = '{ "mtu" : 1400,\n\t"log-driver":"local"}'
    file.write_text(theirs)
    context = Context(running(), False, pytest.fail)

    for settings in ({"mtu": 9}, {"mtu": 9, "live-restore": True}):
        step.execute({**PARAMETERS, "settings": settings}, context)
    ours = json.loads(file.read_text())
    step.execute({**PARAMETERS, "state": "absent"}, context)

    assert ours == {"log-driver": "local", "mtu": 9, "live-restore": True}
    assert file.read_text() == theirs


@pytest.mark.parametrize(
    ("containers", "then"),
    [("", (("systemctl", "try-restart", docker_engine.UNIT),)), ("worker\t", ())],
)
def test_an_engine_that_has_not_been_restarted_is_not_restarted_by_the_way_back(
    containers: str, then: tuple[Any, ...], file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(step, "_sessions", lambda _run: [connection.Session("ali")])
    seen: list[Any] = []
    context = Context(running(containers), True, lambda _words: None, protect=seen.append)

    step.execute({**PARAMETERS, "settings": {"bip": "172.29.0.1/24"}}, context)

    (undo,) = seen
    assert undo.then == then
    assert undo.files[0] == str(file)


def test_the_role_looks_for_an_engine_where_this_module_does() -> None:
    variables = Path(__file__).parents[5] / "roles/docker_host/vars/main.yml"
    listed = next(
        line for line in variables.read_text().splitlines() if "__docker_host_programs:" in line
    )

    assert listed == f"__docker_host_programs: [{', '.join(docker_engine.PROGRAMS)}]"


def test_the_default_network_is_asked_what_it_really_has() -> None:
    options = {
        "com.docker.network.bridge.host_binding_ipv4": "0.0.0.0",  # noqa: S104
        "com.docker.network.driver.mtu": "1500",
    }
    configured = [
        {"Subnet": "fd00::/64", "Gateway": "fd00::1"},
        {"Subnet": "172.28.0.0/24", "Gateway": "172.28.0.1"},
    ]
    told = [{"Options": options, "IPAM": {"Config": configured}}]
    answers = {0: json.dumps(told).encode(), 1: b"[]"}

    def found(code: int) -> dict[str, str]:
        def run(argv: Sequence[str | bytes], **_options: Any) -> Completed:
            assert argv[-1] == "bridge"
            return Completed(code, answers[code], b"no such network")

        return docker_engine._default_network(run)

    assert found(0) == {"ip": "0.0.0.0", "mtu": "1500", "bip": "172.28.0.1/24"}  # noqa: S104
    assert found(1) == {}
