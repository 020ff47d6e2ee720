"""Checks on real facts: files, sockets, certificates, filesystems, repositories."""

from __future__ import annotations

import http.server
import json
import os
import socket
import socketserver
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from factory import effects
from factory.core.base import times
from factory.core.base.ports import Completed
from factory.core.host import units
from factory.core.jobs import layout, observe
from factory.core.paperclip.settings import PaperclipSettings
from factory.core.watchdog import paperclip
from factory.core.watchdog.checks import clock, memory, pressure, reboot
from factory.core.watchdog.facts import Absent, Known, Unknown
from factory.core.watchdog.sources import Host, Source, side_by_side
from factory.watchdog import gather
from watchdog.conftest import START, Mount, Server, firing, needs_root, refuse, statuses
from watchdog.paperclip_stub import Stub

HOUR, DAY = 3600.0, 86400.0


# -- disks --------------------------------------------------------------------------------


@needs_root
def test_a_really_full_disk_is_raised_and_cleared_when_it_is_empty_again(
    server: Server, tmpfs: Mount
) -> None:
    disk = tmpfs("disk", "size=32m")
    server.section["disks"] = [str(disk)]
    assert firing(server.run(3)) == set()

    subprocess.run(
        ["dd", "if=/dev/zero", f"of={disk}/fill", "bs=1M"], check=False, capture_output=True
    )
    assert os.statvfs(disk).f_bavail == 0
    assert firing(server.run(1)) == set(), "one bad run is no alert"
    document = server.run(1)
    assert f"disk_space:{disk}" in firing(document)
    assert document["disk"][0]["used_percent"] == 100.0

    (disk / "fill").unlink()
    assert firing(server.run(2)) == set()


@needs_root
def test_a_disk_without_inodes_is_raised_though_it_has_space(server: Server, tmpfs: Mount) -> None:
    disk = tmpfs("disk", "size=32m,nr_inodes=40")
    server.section["disks"] = [str(disk)]
    for number in range(38):
        (disk / str(number)).touch()

    document = server.run(2)

    assert firing(document) == {f"disk_inodes:{disk}"}


def test_a_disk_that_is_not_there_is_unknown_and_the_others_are_judged(server: Server) -> None:
    server.section["disks"] = ["/", "/no/such/place"]

    document = server.run(3)

    assert statuses(document, "disk_space")["/no/such/place"] == "unknown"
    assert statuses(document, "disk_space")["/"] in ("ok", "problem")
    assert "unknown:disks:/no/such/place" in firing(document)


@needs_root
def test_a_disk_that_is_not_mounted_never_shows_the_numbers_of_another(
    server: Server, tmpfs: Mount
) -> None:
    disk = tmpfs("disk", "size=32m")
    server.section["disks"] = [str(disk)]
    document = server.run()
    assert statuses(document, "disk_mount") == {str(disk): "ok"}
    assert statuses(document, "disk_space") == {str(disk): "ok"}

    umount(disk)
    document = server.run(2)

    assert f"disk_mount:{disk}" in firing(document)
    for check in ("disk_space", "disk_inodes", "disk_trend"):
        assert statuses(document, check) == {str(disk): "unknown"}
    assert "is not mounted: it lies on /" in str(document["alerts"])
    samples = (server.data / "watchdog/samples.jsonl").read_text().splitlines()
    assert len(samples) == 1, "no history of a filesystem that is not the one"


@needs_root
def test_a_disk_that_became_read_only_or_another_one_is_told(server: Server, tmpfs: Mount) -> None:
    disk = tmpfs("disk", "size=32m")
    server.section["disks"] = [str(disk)]
    server.run(5)
    mount("-o", "remount,ro", str(disk))
    assert f"disk_mount:{disk}" in firing(server.run(2))
    mount("-o", "remount,rw", str(disk))
    assert firing(server.run(2)) == set()

    umount(disk)
    mount("-t", "ramfs", "ramfs", str(disk))

    document = server.run(2)
    (alert,) = [item for item in document["alerts"] if item["check"] == "disk_mount"]
    assert alert["detail"].startswith("ramfs ramfs is mounted for 15 min; before it was tmpfs")
    assert len(document["disk"][0]["history"]) == 1, "the other one's growth is not this one's"
    server.now += DAY
    assert f"disk_mount:{disk}" not in firing(server.run(2)), "it is the usual one by now"


def mount(*words: str) -> None:
    subprocess.run(["mount", *words], check=True)


def umount(place: Path) -> None:
    subprocess.run(["umount", str(place)], check=True)


# -- engine -------------------------------------------------------------------------------


class _Engine(http.server.BaseHTTPRequestHandler):
    status, wait, version_wait = 200, 0.0, 0.0
    parts = (("Engine", "28"), ("containerd", "2"))
    images: tuple[dict[str, Any], ...] = ()
    root = "/var/lib/docker"

    def do_GET(self) -> None:
        path = urlsplit(self.path).path
        answers: dict[str, Any] = {
            "/_ping": "OK",
            "/version": {"Components": [{"Name": a, "Version": b} for a, b in self.parts]},
            "/images/json": self.images,
            "/info": {"DockerRootDir": self.root},
        }
        time.sleep(self.version_wait if path == "/version" else self.wait)
        self.send_response(self.status)
        self.end_headers()
        with suppress(BrokenPipeError):
            self.wfile.write(json.dumps(answers[path]).encode())

    def log_message(self, *_: object) -> None:
        """Say nothing."""


class _Socket(socketserver.ThreadingUnixStreamServer):
    daemon_threads = True

    def get_request(self) -> tuple[socket.socket, Any]:
        request, _ = super().get_request()
        return request, ("local", 0)


@contextmanager
def engine(path: Path, **answers: Any) -> Iterator[None]:
    handler = type("Handler", (_Engine,), answers)
    with _Socket(str(path), handler) as listening:
        threading.Thread(target=listening.serve_forever, args=(0.02,), daemon=True).start()
        try:
            yield
        finally:
            listening.shutdown()


def test_an_engine_is_up_down_broken_or_unknown(server: Server) -> None:
    path = server.root / "engine.sock"
    server.section["engine_socket_path"] = str(path)
    server.section["gather_seconds"] = 1

    with engine(path):
        assert statuses(server.run(), "engine") == {"": "ok"}
    # The socket file is still there, as after a crash.
    assert path.exists()
    assert statuses(server.run(), "engine") == {"": "problem"}
    path.unlink()
    assert "engine" in firing(server.run())
    with engine(path, status=500):
        assert statuses(server.run(), "engine") == {"": "problem"}
    path.unlink()
    with engine(path, wait=3):
        assert statuses(server.run(), "engine") == {"": "unknown"}


BROKEN = [
    {"parts": (("Engine", "28"), ("runc", "1"))},
    {"parts": (("Engine", "28"), ("containerd", "N/A"))},
    {"version_wait": 1.0},
]


@pytest.mark.parametrize("answers", BROKEN, ids=str)
def test_an_engine_that_answers_but_starts_nothing_is_a_problem(
    server: Server, answers: dict[str, Any]
) -> None:
    path = server.root / "engine.sock"
    server.section["engine_socket_path"] = str(path)
    server.section["gather_seconds"] = 2

    with engine(path, **answers):
        document = server.run()

    assert statuses(document, "engine") == {"": "problem"}
    assert "no container can start" in document["engine"]["items"][0]["detail"]


def test_another_engine_without_containerd_is_none_the_worse(server: Server) -> None:
    path = server.root / "engine.sock"
    server.section["engine_socket_path"] = str(path)
    with engine(path, parts=(("Podman Engine", "5"), ("Conmon", "2"))):
        assert statuses(server.run(), "engine") == {"": "ok"}


def test_an_image_is_there_only_if_the_engine_has_it_now(server: Server) -> None:
    path, name = server.root / "engine.sock", "aina-factory/lane:current"
    server.section["engine_socket_path"] = str(path)
    record = {
        "schema": 1,
        "image": name,
        "smoke": "ok",
        "content": "c1",
        "built_at": times.iso_or_none(START),
    }
    server.put("images/lane.json", record)

    def labelled(content: str) -> dict[str, Any]:
        return {"RepoTags": [name], "Labels": {"aina-factory.content": content}}

    for images, status, words in (
        ((labelled("c1"),), "ok", "built 15 min ago"),
        ((), "problem", "it is not in the engine any more"),
        ((labelled("c2"),), "problem", "another image has its name"),
        (({"RepoTags": None, "Labels": None},), "problem", "it is not in the engine any more"),
    ):
        with engine(path, images=images):
            document = server.run()
        path.unlink()
        assert statuses(document, "image") == {"lane": status}
        assert any(item["detail"].startswith(words) for item in document["checks"])
    assert statuses(server.run(), "image") == {"": "unknown"}, "nobody can be asked"
    with engine(path, status=500):
        assert statuses(server.run(), "image") == {"": "unknown"}


# -- what others wrote down ---------------------------------------------------------------


def runner(server: Server, **changes: Any) -> dict[str, Any]:
    # Written just before the next run.
    later = times.iso_or_none(server.now + 900)
    values = {"schema": 1, "instance": "vds-1", "project": "demo", "mode": "native"}
    return {**values, "state": "idle", "since": later, "updated_at": later, **changes}


def test_runners_are_judged_by_what_their_supervisor_wrote(server: Server) -> None:
    assert statuses(server.run(), "runner") == {"": "absent"}
    server.put("runners/vds-1.json", runner(server))
    assert statuses(server.run(), "runner") == {"vds-1": "ok"}
    server.put("runners/vds-1.json", runner(server, state="failed", detail="exit 7"))
    assert "runner:vds-1" in firing(server.run(2))
    server.put("runners/vds-1.json", "{")
    document = server.run()
    assert statuses(document, "runner") == {"vds-1": "unknown"}
    assert "runner:vds-1" in firing(document), "unknown is not well"
    server.put(
        "runners/vds-1.json", runner(server, updated_at=times.iso_or_none(server.now - HOUR))
    )
    assert statuses(server.run(), "runner") == {"vds-1": "unknown"}


def test_a_declared_runner_that_never_wrote_anything_is_unknown(server: Server) -> None:
    project = {"name": "demo", "repository": "a/demo", "path": str(server.root)}
    server.others["projects"] = [{**project, "runner": {"mode": "ephemeral", "slots": 2}}]
    server.put("runners/demo-1.json", runner(server, instance="demo-1"))

    assert statuses(server.run(), "runner") == {"demo-1": "ok", "demo": "unknown"}


def test_runners_that_wait_for_their_login_say_which_file(server: Server) -> None:
    project = {"name": "demo", "repository": "a/demo", "path": str(server.root)}
    token = server.root / "runner-token"
    server.others["projects"] = [{**project, "runner": {"mode": "native"}}]
    login = {"method": "token_file", "token_file": str(token)}
    server.others |= {"runners": {}, "github": {"logins": {"runners": login}}}

    said = [item["detail"] for item in server.run()["checks"] if item["check"] == "runner"]
    token.touch()
    then = [item["detail"] for item in server.run()["checks"] if item["check"] == "runner"]

    assert said[0].endswith(f"have written no state: {token} must be put there, then converge")
    assert then[0].endswith("have written no state")


def test_lanes_that_wait_for_a_secret_are_told(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    token, key = server.root / "github-token", server.root / "codex-key"
    login = {"method": "token_file", "token_file": str(token)}
    server.others |= {"lanes": {}, "github": {"login": login}}
    server.put("lanes/keep", "")
    handed = [units.Credential("codex", str(key))]
    monkeypatch.setattr(units, "credentials", lambda _name, _run: handed)

    assert "unknown:lanes:all" in firing(server.run(3))

    token.touch()
    (told,) = [item for item in server.run()["checks"] if item["check"] == "lane_stuck"]
    assert told["detail"] == f"no lane can start: {key} must be put there, then converge"
    key.touch()
    assert statuses(server.run(), "lane_stuck").get("all") is None


def test_lanes_are_stuck_when_they_say_nothing(server: Server) -> None:
    assert statuses(server.run(), "lane_stuck") == {"": "absent"}
    lane = {
        "schema": 1,
        "state": "running",
        "started_at": times.iso_or_none(server.now),
        "project": "demo",
    }
    server.put("lanes/l1/state.json", lane)
    assert statuses(server.run(), "lane_stuck") == {"l1": "ok"}
    assert firing(server.run(3)) == {"lane_stuck:l1"}
    server.put("lanes/l1/result.json", {"schema": 1})
    assert firing(server.run(2)) == set()
    server.put("lanes/l2/state.json", "no json")
    assert statuses(server.run(), "lane_stuck") == {"l2": "unknown"}


def test_what_lanes_left_behind_is_an_alert(server: Server) -> None:
    clean: dict[str, Any] = {"schema": 1, "checked_at": times.iso_or_none(START), "differences": []}
    server.put("lanes/residue.json", clean)
    assert statuses(server.run(), "lane_residue") == {"": "ok"}
    server.put("lanes/residue.json", {**clean, "differences": [{"what": "volume x"}]})
    assert "lane_residue" in firing(server.run(2))
    server.put("lanes/residue.json", {"schema": 1})
    assert statuses(server.run(), "lane_residue") == {"": "unknown"}


def test_a_lane_that_ended_without_a_look_is_unknown_and_a_later_delivery_is_no_end(
    server: Server,
) -> None:
    looked = times.iso_or_none(server.now)
    server.put("lanes/residue.json", {"schema": 1, "checked_at": looked, "differences": []})
    # Written anew today, of a lane that ended before the look.
    server.put("lanes/l/result.json", {"schema": 1, "finished_at": looked})
    os.utime(server.data / "lanes/l/result.json", (server.now + 9000, server.now + 9000))
    server.now += 9000
    assert statuses(server.run(), "lane_residue") == {"": "ok"}

    later = times.iso_or_none(server.now)
    server.put("lanes/l2/result.json", {"schema": 1, "finished_at": later})

    assert statuses(server.run(), "lane_residue") == {"": "unknown"}


def marshal(server: Server, **changes: Any) -> None:
    report = {
        **{"schema": 1, "project": "demo", "repository": "a/demo", "mode": "fast"},
        **{"time": server.now + 900, "failed": False, "pull_requests": [], "merged": []},
        **{"gate": "", "stopped": "", "halted_since": 0, "halted_reason": "", "main_red_since": 0},
        **{"incomplete": ""},
        **{"requests": 2, "points": 2, "points_remaining": 4998},
    }
    server.put("marshal/demo/report.json", {**report, **changes})


def test_the_merge_queue_is_read_from_the_marshals_own_report(server: Server) -> None:
    project = {"name": "demo", "repository": "a/demo"}
    server.others["marshal"] = {"state_dir": str(server.data / "marshal"), "projects": [project]}
    assert statuses(server.run(), "merge_report") == {"demo": "unknown"}
    marshal(server)
    document = server.run()
    for check in ("merge_report", "merge_halted", "main_red", "merge_waiting"):
        assert statuses(document, check) == {"demo": "ok"}
    marshal(server, halted_since=server.now - HOUR, halted_reason="x", main_red_since=START - DAY)
    assert {"merge_halted:demo", "main_red:demo"} <= firing(server.run())
    marshal(server, failed=True, stopped="failed: no token")
    assert "merge_report:demo" in firing(server.run(2))
    marshal(server, time=server.now - 2 * HOUR)
    assert statuses(server.run(), "merge_halted") == {"demo": "unknown"}
    server.put("marshal/demo/report.json", "{")
    assert statuses(server.run(), "merge_waiting") == {"demo": "unknown"}


def test_images_and_drift_are_read_from_their_files(server: Server) -> None:
    assert statuses(server.run(), "image") == {"": "absent"}
    assert statuses(server.run(), "drift") == {"": "absent"}
    server.others |= {"images": {}, "drift": {}}
    server.put("images/problem", {"detail": "the base cannot be pulled:\nno such host"})
    document = server.run()
    assert (statuses(document, "image"), statuses(document, "drift")) == (
        {"": "unknown"},
        {"": "unknown"},
    )
    said = [item["detail"] for item in document["checks"] if item["check"] == "image"]
    assert "the base cannot be pulled: no such host" in said[0]
    image = {"schema": 1, "image": "ci", "smoke": "ok", "size_bytes": 1}
    server.put("images/ci.json", {**image, "built_at": times.iso_or_none(START)})
    server.put("drift.json", {"schema": 1, "checked_at": times.iso_or_none(START), "changes": []})
    document = server.run()
    assert (statuses(document, "image"), statuses(document, "drift")) == ({"ci": "ok"}, {"": "ok"})
    server.put("images/ci.json", {**image, "built_at": times.iso_or_none(START - 20 * DAY)})
    server.put(
        "drift.json",
        {"schema": 1, "checked_at": times.iso_or_none(START), "changes": [{"what": "/etc/x"}]},
    )
    assert firing(server.run(2)) == {"image:ci", "drift"}
    server.put("images/ci.json", {**image, "built_at": "new"})
    server.put("drift.json", "[]")
    document = server.run()
    assert statuses(document, "image") == {"ci": "unknown"}
    assert statuses(document, "drift") == {"": "unknown"}


def test_a_declared_backup_that_is_bad_old_or_was_never_made_is_told(server: Server) -> None:
    assert statuses(server.run(), "backup") == {"": "absent"}
    server.others["backup"] = {"repository": "/srv/r", "paths": ["/etc"]}
    assert statuses(server.run(), "backup") == {"": "absent"}
    server.now += 3 * DAY
    assert "backup" in firing(server.run()), "none was made though there was time enough"

    good = {
        "schema": 1,
        "state": "ok",
        "detail": "",
        "last_success_at": times.iso_or_none(server.now),
    }
    server.put("backup/report.json", good)
    assert statuses(server.run(), "backup") == {"": "ok"}
    server.put(
        "backup/report.json", {**good, "state": "incomplete", "detail": "/srv holds no file"}
    )
    assert "/srv holds no file" in str(server.run()["alerts"])
    server.put(
        "backup/report.json", {**good, "last_success_at": times.iso_or_none(server.now - 3 * DAY)}
    )
    assert statuses(server.run(), "backup") == {"": "problem"}
    server.put("backup/report.json", {**good, "last_success_at": None})
    assert statuses(server.run(), "backup") == {"": "problem"}
    server.put("backup/report.json", "{")
    assert statuses(server.run(), "backup") == {"": "unknown"}


# -- jobs and units -----------------------------------------------------------------------


def test_a_systemd_that_does_not_answer_makes_jobs_unknown(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(observe, "systemd_is_running", lambda: True)
    job = {"name": "tick", "schedule": "*:0/5", "command": ["/bin/true"]}
    server.others["jobs"] = {"jobs": [job]}
    server.run_program = refuse

    document = server.run(3)

    assert statuses(document, "job_failed") == {"": "unknown"}
    assert {"unknown:jobs", "unknown:units"} <= firing(document)
    assert document["jobs"]["state"] == "unknown"


class Loop:
    """Stands for a systemd with one unit that dies and is started again for ever."""

    restarts = 7

    def __call__(self, argv: Any, **options: Any) -> Completed:
        if argv[0] != "systemctl":
            return effects.run(argv, **options)
        text = ""
        if argv[1] == "show":
            text = f"Id=loop.service\nLoadState=loaded\nActiveState=activating\nNRestarts={self.restarts}\n"
        elif "--all" in argv:
            text = "loop.service loaded activating auto-restart A loop\n"
        return Completed(0, text.encode(), b"")


def test_a_unit_that_restarts_for_ever_is_told_until_it_stays_up(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(observe, "systemd_is_running", lambda: True)
    server.run_program = loop = Loop()
    assert statuses(server.run(), "unit_running") == {"": "ok"}, "whenever these seven were"
    for _turn in range(2):
        loop.restarts += 30
        document = server.run()

    assert firing(document) == {"unit_running:loop.service"}
    assert "restarted 60 times within 30 min" in document["alerts"][0]["detail"]
    assert statuses(document, "unit_failed") == {"": "ok"}
    assert firing(server.run(7)) == set()


def test_a_broken_jobs_section_is_unknown_by_its_key(server: Server) -> None:
    server.others["jobs"] = {"jobs": [{"name": "tick", "schedule": "*:0/5"}]}

    document = server.run()

    assert "jobs.tick.command" in document["jobs"]["reason"]


def test_a_job_that_failed_and_succeeded_between_two_looks_is_told_once(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(layout, "RUNS_DIR", str(server.data / "runs"))
    job = {"name": "tick", "schedule": "*:0/5", "command": ["/bin/true"]}
    server.others["jobs"] = {"jobs": [job]}
    server.put("runs/tick.json", {"result": "success", "ended_at_seconds": int(START)})
    assert statuses(server.run(), "job_failed") == {"tick": "ok"}

    note = {"schema": 1, "unit": "factory-job-tick.service", "result": "exit-code"}
    failed_at = int(server.now + 300)
    server.put("failures/factory-job-tick.service.json", {**note, "failed_at_seconds": failed_at})
    (alert,) = server.run()["alerts"]

    assert alert["key"] == "job_failed:tick"
    assert alert["detail"] == "failed 10 min ago: exit-code; last run: success"
    assert "job_failed:tick" not in firing(server.run(2)), "no news the next time"
    server.put("failures/factory-job-tick.service.json", "{")
    assert "job_failed:tick" in firing(server.run())
    assert "job_failed:tick" not in firing(server.run(4)), "it relapsed, and so takes longer"

    # The note of a failure that was seen by itself comes only afterwards.
    ended = {"ended_at_seconds": int(server.now), "exit_status": "1", "invocation_id": "i7"}
    server.put("runs/tick.json", {"result": "exit-code", **ended})
    assert "job_failed:tick" in firing(server.run())
    server.put("runs/tick.json", {"result": "success", "ended_at_seconds": int(server.now)})
    again = {**note, "failed_at_seconds": int(server.now), "invocation_id": "i7"}
    server.put("failures/factory-job-tick.service.json", again)
    assert statuses(server.run(), "job_failed") == {"tick": "ok"}


def test_failures_from_before_the_first_look_are_no_news(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(layout, "RUNS_DIR", str(server.data / "runs"))
    job = {"name": "tick", "schedule": "*:0/5", "command": ["/bin/true"]}
    server.others["jobs"] = {"jobs": [job]}
    server.put("runs/tick.json", {"result": "success", "ended_at_seconds": int(START)})
    note = {"schema": 1, "unit": "factory-job-tick.service", "failed_at_seconds": int(START - DAY)}
    server.put("failures/factory-job-tick.service.json", note)

    assert statuses(server.run(), "job_failed") == {"tick": "ok"}
    assert statuses(server.run(), "job_failed") == {"tick": "ok"}


# -- Paperclip ----------------------------------------------------------------------------


def test_paperclip_is_judged_by_what_it_brings_about(server: Server) -> None:
    with Stub(now=lambda: server.now) as stub:
        server.others["paperclip"] = {"url": stub.url, "port": stub.port, "database_port": 1}
        document = server.run()
        for check in ("paperclip", "paperclip_exposed", "paperclip_progress", "paperclip_agents"):
            assert set(statuses(document, check).values()) == {"ok"}, check
        assert document["board"]["items"][0]["tasks_done"] == 134

        stub.agents_error = 2
        stub.last_success_ago = 10 * HOUR
        stub.silent_for = 2 * HOUR
        expected = {"paperclip_agents:Demo", "paperclip_progress:Demo", "paperclip_silent:Demo"}
        assert expected <= firing(server.run(2))

        # The last success is recent enough, and everything since has failed.
        stub.last_success_ago, stub.failed_runs = 600.0, 30
        document = server.run(2)
        assert statuses(document, "paperclip_progress") == {"Demo": "ok"}
        assert "paperclip_runs:Demo" in firing(document)
        assert "20 of the last 20 runs failed: no_cwd" in str(document["alerts"])

        stub.broken_dashboard = True
        document = server.run()
        assert statuses(document, "paperclip") == {"": "ok"}
        assert statuses(document, "paperclip_agents") == {"": "unknown"}
        assert "paperclip_agents:Demo" in firing(document)

        # As after a full disk: the server answers, its database is gone.
        stub.broken_dashboard, stub.healthy = False, False
        document = server.run(2)
        assert "paperclip" in firing(document)
        assert "database_unreachable" in document["board"]["detail"]
    assert statuses(server.run(), "paperclip") == {"": "problem"}


def test_a_port_that_others_reach_is_an_alert(server: Server) -> None:
    with Stub(now=lambda: server.now, address="0.0.0.0") as stub:  # noqa: S104 - the very mistake
        url = f"http://127.0.0.1:{stub.port}"
        server.others["paperclip"] = {"url": url, "port": stub.port, "database_port": 1}
        assert "paperclip_exposed" in firing(server.run())


def test_codex_homes_that_froze_are_told(server: Server) -> None:
    own = server.put("codex/config.toml", "model = 'a'")
    server.put("homes/one/config.toml", "model = 'a'")
    server.put("homes/two/config.toml", "model = 'b'")
    settings = PaperclipSettings(
        url="http://x", codex_config_path=str(own), codex_homes=(str(server.data / "homes/*"),)
    )

    assert paperclip.codex_drift(settings) == Known((str(server.data / "homes/two"),))
    own.unlink()
    assert isinstance(paperclip.codex_drift(settings), Absent)


# -- host ---------------------------------------------------------------------------------


def certificate(path: Path, days: int) -> None:
    argv = ["openssl", "req", "-x509", "-newkey", "ed25519", "-nodes", "-subj", "/CN=x"]
    argv += ["-keyout", f"{path}.key", "-out", str(path), "-days", str(days)]
    subprocess.run(argv, check=True, capture_output=True)


def test_real_certificates_are_read_and_end(server: Server) -> None:
    server.now = time.time()
    directory = server.root / "certificates"
    directory.mkdir()
    certificate(directory / "fine.pem", 100)
    certificate(directory / "soon.pem", 5)
    (directory / "none.pem").write_text("no certificate")
    server.section["certificates"] = [f"{directory}/*.pem", "/no/such.pem"]

    document = server.run()

    found = {Path(name).name: status for name, status in statuses(document, "certificate").items()}
    assert found == {
        "fine.pem": "ok",
        "soon.pem": "problem",
        "none.pem": "unknown",
        "such.pem": "unknown",
    }
    assert firing(document) == {f"certificate:{directory}/soon.pem"}


def host(server: Server, **changes: Any) -> Host:
    watchdog = server.watchdog()
    real = gather.host(watchdog.policy, watchdog.whole, server.now, effects.run)
    return replace(real, **changes)


def test_memory_pressure_and_reboot_are_read_from_the_kernel_and_the_distribution(
    server: Server,
) -> None:
    real = host(server)
    assert memory.read(real).total_bytes > 0
    assert reboot.read(host(server, system_run_dir=server.root)) == reboot.Reboot(None)
    proc = server.root / "proc"
    (proc / "pressure").mkdir(parents=True)
    (proc / "meminfo").write_text(
        "MemTotal: 100 kB\nMemAvailable: 1 kB\nSwapTotal: 0 kB\nSwapFree: 0 kB\n"
    )
    for kind in ("memory", "io", "cpu"):
        line = "avg10=0 avg60=0 avg300=50.0 total=1"
        (proc / "pressure" / kind).write_text(f"some {line}\nfull {line}\n")
    (server.root / "reboot-required").touch()
    (server.root / "reboot-required.pkgs").write_text("linux-image\nlinux-image\nlibc6\n")
    fake = host(server, proc=proc, system_run_dir=server.root)
    assert memory.read(fake).available_bytes == 1024
    assert pressure.read(fake).memory_full == 50.0
    asked = reboot.read(fake)
    assert isinstance(asked, Known)
    assert asked.value.packages == ("linux-image", "libc6")
    (proc / "pressure/io").write_text("nonsense\n")
    with pytest.raises(ValueError, match="no line"):
        pressure.read(fake)


def test_the_clock_is_the_kernels(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    server.section["clock_enabled"] = True
    assert clock.read(host(server)).max_error_seconds >= 0
    monkeypatch.setattr(gather, "_adjtimex", lambda: (0, 0, 20_000))
    assert statuses(server.run(), "clock") == {"": "ok"}
    monkeypatch.setattr(gather, "_adjtimex", lambda: (5, 0x40, 16_000_000))
    assert "clock" in firing(server.run(2))

    def refused() -> tuple[int, int, int]:
        raise OSError(1, "not permitted")

    monkeypatch.setattr(gather, "_adjtimex", refused)
    assert statuses(server.run(), "clock") == {"": "unknown"}


def git(*words: str, cwd: Path) -> None:
    environment = {**os.environ, "GIT_CONFIG_GLOBAL": "/dev/null", "GIT_CONFIG_NOSYSTEM": "1"}
    identity = ["-c", "user.name=x", "-c", "user.email=x@example.com"]
    subprocess.run(
        ["git", *identity, *words], cwd=cwd, env=environment, check=True, capture_output=True
    )


def repository(path: Path) -> Path:
    path.mkdir(parents=True)
    git("init", "--quiet", cwd=path)
    git("commit", "--quiet", "--allow-empty", "--message=x", cwd=path)
    return path


def test_worktrees_that_lost_their_directory_are_told(server: Server) -> None:
    main = repository(server.root / "main")
    for name in ("kept", "lost", "locked"):
        git("worktree", "add", "--quiet", str(server.root / name), cwd=main)
    git("worktree", "lock", str(server.root / "locked"), cwd=main)
    server.others["projects"] = [{"name": "main", "repository": "a/b", "path": str(main)}]
    assert statuses(server.run(), "worktree") == {"": "ok"}

    subprocess.run(
        ["rm", "-rf", str(server.root / "lost"), str(server.root / "locked")], check=True
    )

    document = server.run(2)
    assert firing(document) == {"worktree"}
    (told,) = server.status()["worktrees"]["items"]
    assert told == {"count": 3, "dangling": [str(server.root / "lost")], "missing": []}


def test_what_is_declared_and_not_there_is_unknown_by_its_name(server: Server) -> None:
    pattern, root = f"{server.root}/live/*/fullchain.pem", f"{server.root}/nowhere"
    wildcard, project = f"{server.root}/homes/*/workspaces", f"{server.root}/checkout"
    server.section["certificates"] = [pattern]
    server.section["heal"] = {"workspace_roots": [root, wildcard]}
    server.others["projects"] = [{"name": "main", "repository": "a/b", "path": project}]

    document = server.run(3)

    assert statuses(document, "certificate") == {pattern: "unknown"}
    assert statuses(document, "workspace") == {root: "unknown", wildcard: "unknown"}
    assert statuses(document, "worktree") == {project: "unknown"}
    assert len(firing(document)) == 4
    assert document["workspaces"]["items"][0]["missing"] == sorted([root, wildcard])


def test_a_certificate_that_was_removed_does_not_stay_in_its_old_words(server: Server) -> None:
    server.now = time.time()
    directory = server.root / "live"
    directory.mkdir()
    certificate(directory / "soon.pem", 5)
    server.section["certificates"] = [f"{directory}/*.pem"]
    assert firing(server.run()) == {f"certificate:{directory}/soon.pem"}

    (directory / "soon.pem").unlink()

    (alert,) = server.run()["alerts"]
    assert alert["detail"].startswith("no longer found; before: ends in")
    assert firing(server.run(2)) == {f"unknown:certificates:{directory}/*.pem"}


def test_sources_that_hang_or_crash_hold_up_nobody(server: Server) -> None:
    released = threading.Event()
    hangs, crashes, answers = (Source[Any](name) for name in ("hangs", "crashes", "answers"))
    questions = {
        hangs: lambda: released.wait(30),
        crashes: lambda: json.loads("{"),
        answers: lambda: 42,
    }

    started = time.monotonic()
    found = side_by_side(questions, 0.3)
    took = time.monotonic() - started
    released.set()

    assert took < 5
    assert found[answers] == Known(42)
    assert found[hangs] == Unknown("no answer within 0.3 s")
    assert "Expecting" in found[crashes].reason  # type: ignore[union-attr]
