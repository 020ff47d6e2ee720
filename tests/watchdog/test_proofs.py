"""What is proved and not believed: containers, reachability, kills, mounts, changes, missed turns."""

from __future__ import annotations

import http.server
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar, cast
from urllib.parse import parse_qs, urlsplit

import pytest

from factory import __main__, effects
from factory.core.base import times
from factory.core.base.ports import Completed, Request, Response
from factory.core.status import page, terminal
from factory.core.watchdog import filesystems, local_drift
from factory.core.watchdog.checks import out_of_memory, reachability, zombies
from factory.core.watchdog.facts import Known
from factory.core.watchdog.sources import Host
from factory.outcome import Exit
from factory.watchdog import gather, prove
from watchdog.conftest import Server, firing, statuses
from watchdog.test_real_facts import _Socket

LANE = "aina-factory/lane:current"


class _Docker(http.server.BaseHTTPRequestHandler):
    """An engine that creates, starts, waits for and removes containers; some images do not start."""

    broken: ClassVar[dict[str, int]] = {}
    left: ClassVar[list[str]] = []
    made: ClassVar[list[dict[str, Any]]] = []
    oom: ClassVar[list[str]] = []

    def _answer(self) -> None:
        address = urlsplit(self.path)
        path = address.path.removeprefix("/v1.51")
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if path == "/containers/json":
            self._say(200, [{"Id": name} for name in self.left])
        elif path == "/containers/create":
            self._create(json.loads(body), parse_qs(address.query)["name"][0])
        elif path.endswith("/start"):
            self._say(self.broken.get("start", 204), {"message": "no runtime"})
        elif path.endswith("/wait"):
            self._say(200, {"StatusCode": self.broken.get("exit", 0)})
        elif self.command == "DELETE":
            self.left.remove(path.rsplit("/", 1)[1])
            self._say(204, None)
        elif path == "/version":
            self._say(200, {"ApiVersion": "1.51", "Components": []})
        elif path == "/events":
            events = [{"Actor": {"Attributes": {"name": name}}} for name in self.oom]
            self._say(200, *events)
        else:
            self._say(200, "OK")

    def _create(self, wanted: dict[str, Any], name: str) -> None:
        if wanted["Image"] != LANE:
            self._say(404, {"message": f"No such image: {wanted['Image']}"})
            return
        self.made.append(wanted)
        self.left.append(name)
        self._say(201, {"Id": name})

    def _say(self, status: int, *answers: Any) -> None:
        self.send_response(status)
        self.end_headers()
        self.wfile.write(
            b"\n".join(json.dumps(item).encode() for item in answers if item is not None)
        )

    do_GET = do_POST = do_DELETE = _answer  # noqa: N815 - the server's own naming

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@contextmanager
def docker(server: Server, **state: Any) -> Iterator[type[_Docker]]:
    path = server.root / "engine.sock"
    path.unlink(missing_ok=True)
    server.section["engine_socket_path"] = str(path)
    fresh: dict[str, Any] = {"broken": {}, "left": [], "made": [], "oom": []}
    handler = type("Handler", (_Docker,), {**fresh, **state})
    with _Socket(str(path), handler) as listening:
        threading.Thread(target=listening.serve_forever, args=(0.02,), daemon=True).start()
        try:
            yield handler
        finally:
            listening.shutdown()


def put_image(server: Server, name: str, image: str) -> None:
    record = {"schema": 1, "image": image, "smoke": "ok", "size_bytes": 1}
    server.put(f"images/{name}.json", {**record, "built_at": times.iso_or_none(server.now)})


def proved(server: Server, root: Path = Path("/nowhere")) -> dict[str, Any]:
    return prove.prove(server.watchdog().policy, server.run_program, server.now, root=root)


# -- containers ---------------------------------------------------------------------------


def test_a_container_of_each_image_is_created_and_started_without_network(server: Server) -> None:
    put_image(server, "lane", LANE)
    with docker(server, left=["aina-factory-proof-1"]) as engine:
        document = proved(server)

    assert document["images"] == [{"name": "lane", "started": True, "detail": ""}]
    assert engine.made[0]["HostConfig"]["NetworkMode"] == "none"
    assert engine.made[0]["HostConfig"]["CapDrop"] == ["ALL"]
    assert engine.left == [], "neither its own nor that of a run that was killed"


@pytest.mark.parametrize(
    ("state", "words"),
    [
        ({"broken": {"start": 500}}, "no runtime"),
        ({"broken": {"exit": 126}}, "it ended with 126"),
    ],
)
def test_an_image_of_which_no_container_runs_is_an_alert(
    server: Server, state: dict[str, Any], words: str
) -> None:
    put_image(server, "lane", LANE)
    put_image(server, "ci", "aina-factory/ci:current")
    with docker(server, **state) as engine:
        proved(server)
        document = server.run()
    assert statuses(document, "container_start") == {"lane": "problem", "ci": "problem"}
    assert {"container_start:lane", "container_start:ci"} <= firing(document)
    details = " ".join(item["detail"] for item in document["alerts"])
    assert words in details
    assert "No such image: aina-factory/ci:current" in details
    assert engine.left == []


def test_an_engine_that_is_away_is_told_once_and_not_by_image(server: Server) -> None:
    put_image(server, "lane", LANE)
    with docker(server):
        proved(server)
        server.run(2)
    # The socket file is still there, as after a crash.
    proved(server)
    document = server.run(2)

    raised = {item["key"]: item["cause"] for item in document["alerts"]}
    assert raised["container_start:lane"] == "engine"
    told = [item["key"] for item in document["timeline"] if item["change"] == "raised"]
    assert "container_start:lane" not in told


def test_a_proof_that_is_missing_or_old_is_not_ok(server: Server) -> None:
    put_image(server, "lane", LANE)
    with docker(server):
        assert statuses(server.run(), "container_start") == {"": "absent"}, "it is new"
        server.now += 4 * 3600
        assert statuses(server.run(), "container_start") == {"lane": "unknown"}
        proved(server)
        assert statuses(server.run(), "container_start") == {"lane": "ok"}
        server.now += 3 * 3600
        assert statuses(server.run(), "container_start") == {"lane": "unknown"}


# -- what has changed ---------------------------------------------------------------------


@pytest.fixture
def small(tmp_path: Path) -> Path:
    root = tmp_path / "host"
    for name in ("var/lib/dpkg/status", "etc/passwd", "etc/group", "etc/cron.d/ours"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text("x\n")
    return root


def no_tables(argv: Any, **_options: Any) -> Completed:
    return Completed(0, b"*filter\n-A INPUT -j ufw-before-input\n", b"")


def test_a_change_since_the_last_converge_is_an_alert_until_a_converge_records_it(
    server: Server, small: Path
) -> None:
    policy = server.watchdog().policy
    assert statuses(server.run(), "local_drift") == {"": "absent"}, "nothing is recorded yet"
    prove.remember(policy, no_tables, root=small)
    prove.prove(policy, no_tables, server.now, root=small)
    assert statuses(server.run(), "local_drift") == {"": "ok"}

    (small / "etc/cron.d/foreign").write_text("* * * * * root true\n")
    prove.prove(policy, no_tables, server.now, root=small)
    begun = times.iso(server.now)
    document = server.run()

    assert "local_drift" in firing(document)
    assert "/etc/cron.d/foreign is new" in str(document["alerts"])
    server.now += 3600
    again = prove.prove(policy, no_tables, server.now, root=small)
    assert again["changes"] == [{"what": "file /etc/cron.d/foreign is new", "since": begun}]
    prove.remember(policy, no_tables, root=small)
    assert "local_drift" not in firing(server.run(2)), "a converge has settled it"


def test_a_look_that_fails_is_unknown_and_keeps_what_was_found(server: Server, small: Path) -> None:
    policy = server.watchdog().policy
    prove.remember(policy, no_tables, root=small)
    (small / "etc/cron.d/ours").unlink()
    found = prove.prove(policy, no_tables, server.now, root=small)["changes"]
    (small / "etc/passwd").unlink()

    document = prove.prove(policy, no_tables, server.now, root=small)

    assert document["changes"] == found != []
    assert statuses(server.run(), "local_drift") == {"": "unknown"}


def test_the_record_is_roots_alone(server: Server, small: Path) -> None:
    prove.remember(server.watchdog().policy, no_tables, root=small)

    path = server.data / "watchdog" / local_drift.BASELINE
    assert path.stat().st_mode & 0o777 == 0o600


def test_the_hourly_look_costs_less_than_a_second_of_cpu(server: Server) -> None:
    policy = server.watchdog().policy
    prove.remember(policy, no_tables)
    begun = time.process_time()

    prove.prove(policy, no_tables, server.now)

    assert time.process_time() - begun < 1.0


def test_a_converge_ends_with_a_status_and_a_record(
    server: Server, capsys: pytest.CaptureFixture[str]
) -> None:
    server.write_config()

    code = __main__.main(["watchdog", "--record", "--config", str(server.config)])

    capsys.readouterr()
    assert code == Exit.DONE
    assert server.status()["host"]
    assert (server.data / "watchdog" / local_drift.BASELINE).exists()


# -- missed turns -------------------------------------------------------------------------


def test_whoever_proves_tells_that_the_watchdog_has_missed_several_turns(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    uptime = server.root / "uptime"
    monkeypatch.setattr(prove, "_UPTIME", uptime)
    monkeypatch.setattr("factory.core.jobs.layout.RUNTIME_PAUSED_DIR", str(server.root / "paused"))
    uptime.write_text("90000.0 1.0\n")
    server.run()
    assert proved(server)["problems"] == []
    server.now += 3 * 900 + 60

    (words,) = proved(server)["problems"]

    assert "the watchdog looked last at" in words
    uptime.write_text("60.0 1.0\n")
    assert proved(server)["problems"] == [], "the host has just begun"
    uptime.write_text("90000.0 1.0\n")
    (server.root / "paused").mkdir()
    (server.root / "paused/watchdog").write_text("{}")
    assert proved(server)["problems"] == [], "somebody paused it"


# -- names and GitHub ---------------------------------------------------------------------

PROJECT = {"name": "demo", "repository": "a/demo", "path": "/srv/demo"}


def at_host(server: Server, **changes: Any) -> Host:
    server.others["projects"] = [PROJECT]
    watchdog = server.watchdog()
    real = gather.host(watchdog.policy, watchdog.whole, server.now, effects.run)
    return replace(real, **changes)


def fails(*_arguments: object, **_options: object) -> Any:
    raise OSError(-3, "Temporary failure in name resolution")


def test_a_name_that_is_not_resolved_is_told_and_hides_no_other(server: Server) -> None:
    server.section["resolved_names"] = ["registry.example.com"]

    def resolve(name: str) -> list[str]:
        return ["192.0.2.1"] if name == "registry.example.com" else cast("list[str]", fails())

    found = reachability.read_names(at_host(server, resolve=resolve))

    assert found["registry.example.com"] == Known(
        reachability.Reached(True, "registry.example.com is 192.0.2.1")
    )
    broken = found["api.github.com"]
    assert isinstance(broken, Known)
    assert not broken.value.well
    assert "Temporary failure" in broken.value.detail


@pytest.mark.parametrize(("status", "well"), [(200, True), (403, True), (429, True), (503, False)])
def test_github_is_away_when_it_does_not_answer_or_says_so(
    server: Server, status: int, well: bool
) -> None:
    asked: list[str] = []

    def fetch(request: Request, **_options: Any) -> Response:
        asked.append(request.url)
        return Response(status, {}, b"")

    assert reachability.read_github(at_host(server, fetch=fetch)).well is well
    assert asked == ["https://api.github.com/meta"]
    assert not reachability.read_github(at_host(server, fetch=fails)).well


def test_a_github_that_is_away_is_one_message_with_what_hangs_on_it(server: Server) -> None:
    away = Known(reachability.Reached(False, "api.github.com answers with status 503"))
    server.given[reachability.GITHUB] = away
    failed = {"schema": 1, "instance": "r", "project": "demo", "mode": "native", "version": "2"}
    at = times.iso_or_none(server.now)
    stopped = {"state": "stopped", "since": at, "updated_at": times.iso_or_none(server.now + 3600)}
    server.put("runners/r.json", {**failed, **stopped})
    stopped["updated_at"] = times.iso_or_none(server.now + 900)
    server.put("runners/r.json", {**failed, **stopped})

    document = server.run(2)

    assert firing(document) == {"github", "runner:r"}
    assert [item["key"] for item in document["timeline"]] == ["github"]
    causes = {item["key"]: item["cause"] for item in document["alerts"]}
    assert causes == {"github": None, "runner:r": "github"}


# -- the kernel ---------------------------------------------------------------------------


def test_a_kill_for_want_of_memory_is_told_once_with_its_container(server: Server) -> None:
    del server.given[out_of_memory.SOURCE]
    total = [7]
    vmstat = server.root / "vmstat"

    def killed(count: int) -> None:
        total[0] += count
        vmstat.write_text(f"nr_free_pages 1\noom_kill {total[0]}\n")

    killed(0)
    with docker(server, oom=["lane-17", "lane-17"]), pytest.MonkeyPatch.context() as patch:
        patch.setattr(out_of_memory, "_OWN_GROUP", vmstat)
        assert statuses(server.run(), "out_of_memory") == {"": "absent"}
        assert statuses(server.run(), "out_of_memory") == {"": "ok"}
        killed(2)
        document = server.run()
        assert "out_of_memory" in firing(document)
        assert "killed 2 processes since the last look, in lane-17" in str(document["alerts"])
        assert statuses(server.run(), "out_of_memory") == {"": "ok"}
        # The host was restarted, and one was killed since.
        total[0] = 0
        killed(1)
        assert statuses(server.run(), "out_of_memory") == {"": "problem"}
        vmstat.write_text("nr_free_pages 1\noom_ki")
        assert statuses(server.run(), "out_of_memory") == {"": "unknown"}


def test_processes_that_nobody_collects_are_counted_with_their_parent(server: Server) -> None:
    script = "import os,time\nfor _n in range(5): os.fork() or os._exit(0)\nprint(1,flush=True);time.sleep(60)"
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        parent.stdout.readline()
        try:
            found = zombies.read(at_host(server))
        finally:
            parent.kill()

    own = {name: count for name, count in found.parents.items() if f"({parent.pid})" in name}
    assert list(own.values()) == [5]
    assert found.count >= 5


# -- disks --------------------------------------------------------------------------------


def test_a_disk_that_cannot_be_written_is_told_though_it_is_mounted(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(_descriptor: int, _content: bytes) -> int:
        raise OSError(5, "Input/output error")

    server.section["disks"] = ["/"]
    assert statuses(server.run(), "disk_mount") == {"/": "ok"}
    monkeypatch.setattr(os, "write", broken)

    document = server.run(2)

    assert "disk_mount:/" in firing(document)
    assert "it cannot be written: Input/output error" in str(document["alerts"])


def test_another_device_than_fstab_declares_is_told(server: Server) -> None:
    table = b"30 1 8:17 / /srv/data rw - ext4 /dev/sdb1 rw\n"
    proc, links = server.root / "proc", server.root / "by-uuid"
    (proc / "self").mkdir(parents=True)
    (proc / "self/mountinfo").write_bytes(table.replace(b"/srv/data", str(server.root).encode()))
    server.section["disks"] = [str(server.root)]
    links.mkdir()
    fstab = server.root / "fstab"
    host = at_host(server, proc=proc, device_dir=links, fstab=fstab)
    names = {"8:17": "aa-11", "8:33": "bb-22"}

    def mounted(declared: str) -> str:
        fstab.write_text(f"{declared} {server.root} ext4 defaults 0 2\n")
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(filesystems, "_names_of_devices", lambda _directory: names)
            fact = filesystems.read_mounts(host)[str(server.root)]
        assert isinstance(fact, Known), fact
        return fact.value.fault

    assert mounted("UUID=AA-11") == ""
    assert mounted("UUID=bb-22") == "/etc/fstab says UUID=bb-22, which is another device"
    assert mounted("UUID=cc-33") == "/etc/fstab says UUID=cc-33, which is another device"
    assert mounted("LABEL=never-seen") == "", "nobody knows which one that is"


def test_a_disk_that_does_not_answer_hides_no_other(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, released = os.statvfs, threading.Event()

    def slow(path: str) -> Any:
        if path == str(server.root):
            released.wait(30)
        return real(path)

    monkeypatch.setattr(os, "statvfs", slow)
    server.section |= {"disks": ["/", str(server.root)], "gather_seconds": 1.5}
    try:
        document = server.run()
    finally:
        released.set()

    assert statuses(document, "disk_space") == {
        "/": statuses(document, "disk_space")["/"],
        str(server.root): "unknown",
    }
    assert statuses(document, "disk_space")["/"] in ("ok", "problem")


# -- planned work -------------------------------------------------------------------------


def test_planned_work_is_a_state_and_no_alarm_until_it_is_forgotten(server: Server) -> None:
    at = times.iso_or_none(server.now)
    server.run()
    server.put("draining.json", {"schema": 1, "reason": "new disk", "by": "ali", "since": at})
    runner = {"schema": 1, "instance": "r", "project": "demo", "mode": "native", "version": "2"}

    def stop() -> None:
        stopped = {"state": "stopped", "since": at, "updated_at": times.iso_or_none(server.now)}
        server.put("runners/r.json", {**runner, **stopped})

    for _turn in range(8):
        stop()
        document = server.run()

    assert document["planned"] == {"since": at, "reason": "new disk", "by": "ali"}
    for shown in (terminal.render(document, server.now, 200), page.main(document, server.now)):
        assert "mptied of work since" in shown
        assert "no backup is declared" in shown
    assert document["overall"] == "ok"
    assert document["timeline"] == [], "nobody is told anything"
    assert "runner:r" in firing(document), "and nothing is hidden"
    assert document["silences"] == []
    server.now += 12 * 3600
    stop()
    document = server.run(2)
    assert {"planned_work", "runner:r"} <= {item["key"] for item in document["timeline"]}
    (server.data / "draining.json").unlink()
    assert server.run()["planned"] is None
