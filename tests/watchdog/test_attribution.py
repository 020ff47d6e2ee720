"""Who holds the disk, measured on real filesystems."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from factory import __main__
from factory.outcome import Exit
from factory.watchdog import measure
from watchdog.conftest import Mount, Server, firing, needs_root, statuses
from watchdog.test_real_facts import engine

# The seed's layout, a mebibyte for each of its gibibytes.
LAYOUT = {
    "home/ali/agent-workspaces": 71,
    "srv/repos": 22,
    "srv/repos/aina/.paperclip/worktrees": 2,
    "srv/aina/ops": 3,
    "home/ali/.paperclip": 3,
    "home/ali/.codex/sessions": 3,
    "home/ali/.codex": 2,
    "home/ali/.local/share/pnpm": 3,
    "var/lib/containerd": 40,
    "var/lib/docker": 1,
    "var/log/journal": 4,
    "usr": 6,
    "tmp": 2,
    "opt/nobody-thought-of": 1,
}
# As the role's defaults and an inventory name them: catch-alls, and places within them.
ROOTS = [
    *("/home", "/srv", "/var", "/usr", "/tmp", "/swapfile"),
    *(
        "/home/*/.codex",
        "/home/*/.codex/sessions",
        "/home/*/.paperclip",
        "/home/*/.local/share/pnpm",
    ),
    *(
        "/home/ali/agent-workspaces",
        "/srv/repos",
        "/srv/repos/*/.paperclip/worktrees",
        "/srv/aina/ops",
    ),
    *("/var/lib/containerd", "/var/lib/docker", "/var/log/journal"),
]


@pytest.fixture(autouse=True)
def its_own_time(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("factory.effects.now", lambda: server.now)


def write(path: Path, mib: float) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, round(mib * (1 << 20)))
    return path


def layout(disk: Path, sizes: dict[str, int] = LAYOUT) -> None:
    for name, mib in sizes.items():
        write(disk / name / "data", mib)
    # pnpm's hard links: one file with three names in three places is there once.
    shared = write(disk / "home/ali/.local/share/pnpm/linked", 5)
    for place in ("home/ali/agent-workspaces", "srv/repos"):
        (disk / place / "linked").hardlink_to(shared)


def measured(server: Server, disk: Path, roots: list[str]) -> dict[str, Any]:
    server.data = server.root / "data"
    server.section |= {
        "data_dir": str(server.data),
        "disks": [str(disk)],
        "measure": {"roots": [f"{disk}{root}" for root in roots], "timeout_seconds": 60},
    }
    server.write_config()
    argv = ["watchdog", "--measure", "--config", str(server.config)]
    assert __main__.main(argv) == Exit.DONE
    document = server.run()
    owners: dict[str, Any] = document["disk"][0]["owners"]
    return {**owners, "sizes": {item["name"]: item["bytes"] for item in owners["buckets"]}}


@needs_root
def test_the_seeds_layout_is_explained_and_the_buckets_are_what_df_says(
    server: Server, tmpfs: Mount
) -> None:
    disk = tmpfs("disk", "size=300m")
    layout(disk)

    found = measured(server, disk, ROOTS)

    used = subprocess.run(
        ["df", "--block-size=1", "--output=used", str(disk)], capture_output=True, check=True
    )
    assert sum(found["sizes"].values()) == int(used.stdout.split()[-1]) == found["used_bytes"]
    # All but the megabyte that nobody thought of, and that has a name of its own.
    assert found["explained_percent"] >= 98
    assert found["sizes"]["unattributed"] == pytest.approx(1 << 20, rel=0.05)
    assert found["sizes"][f"{disk}/home/ali/agent-workspaces"] == pytest.approx(71 << 20, rel=0.1)
    assert found["sizes"][f"{disk}/var/lib/containerd"] == pytest.approx(40 << 20, rel=0.01)
    # Each without what lies in a deeper one.
    assert found["sizes"][f"{disk}/home/ali/.codex"] == pytest.approx(2 << 20, rel=0.01)
    assert found["sizes"][f"{disk}/home"] < 1 << 20


@needs_root
def test_what_no_root_names_is_unattributed_and_alerts(server: Server, tmpfs: Mount) -> None:
    disk = tmpfs("disk", "size=300m")
    layout(disk)

    found = measured(server, disk, ["/home", "/srv"])

    rest = 40 + 1 + 4 + 6 + 2 + 1
    assert found["sizes"]["unattributed"] == pytest.approx(rest << 20, rel=0.01)
    assert f"disk_owners:{disk}" in firing(server.run(2))


@needs_root
def test_growth_over_a_day_is_told_by_place(server: Server, tmpfs: Mount) -> None:
    disk = tmpfs("disk", "size=300m")
    layout(disk)
    measured(server, disk, ROOTS)
    write(disk / "srv/aina/ops/more", 30)
    server.now += 86400 - 900

    found = measured(server, disk, ROOTS)

    growth = {item["name"]: item["growth_bytes"] for item in found["buckets"]}
    assert growth[f"{disk}/srv/aina/ops"] == 30 << 20
    assert growth[f"{disk}/usr"] == 0
    server.section["limits"] = {"disk_used_percent": {"raise": 20, "clear": 10}}
    document = server.run(2)
    (alert,) = [item for item in document["alerts"] if item["check"] == "disk_space"]
    assert f"grew most in 24 h: {disk}/srv/aina/ops +30.0 MiB" in alert["detail"]


HOLDER = """
import os, sys
file = open(sys.argv[1], "wb")
file.write(b"x" * (20 << 20))
file.flush()
os.unlink(sys.argv[1])
print("ready", flush=True)
sys.stdin.read()
"""


@needs_root
def test_deleted_but_open_is_a_bucket_with_a_name(server: Server, tmpfs: Mount) -> None:
    disk = tmpfs("disk", "size=300m")
    layout(disk)
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(disk / "log")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == b"ready\n"
    try:
        found = measured(server, disk, ROOTS)
        server.section["limits"] = {"deleted_open_mib": {"raise": 10, "clear": 5}}
        raised = firing(server.run(2))
    finally:
        process.communicate(b"")

    assert found["sizes"]["deleted but still open"] == 20 << 20
    assert found["deleted_open"][0]["holder"].endswith(f"({process.pid})")
    assert f"disk_deleted_open:{disk}" in raised
    assert measured(server, disk, ROOTS)["sizes"]["deleted but still open"] == 0


def test_a_measurement_that_takes_too_long_keeps_what_it_has(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "a/data", 1)
    slow = tmp_path / "du"
    slow.write_text(f'#!/bin/sh\nprintf "42\\t{tmp_path}/a\\0"\nexec sleep 60\n')
    slow.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")

    started = time.monotonic()
    sizes = measure._sizes([f"{tmp_path}/a", f"{tmp_path}/b"], 0.5)

    assert time.monotonic() - started < 20
    assert sizes == {f"{tmp_path}/a": 42}


@needs_root
def test_what_the_engine_holds_is_measured_wherever_it_lies(server: Server, tmpfs: Mount) -> None:
    disk = tmpfs("disk", "size=32m")
    write(disk / "moved/engine/layer", 3)
    server.section["engine_socket_path"] = str(server.root / "engine.sock")

    with engine(server.root / "engine.sock", root=str(disk / "moved/engine")):
        found = measured(server, disk, ["/home"])

    assert found["sizes"][f"{disk}/moved/engine"] == 3 << 20


def test_what_was_never_measured_is_unknown(server: Server) -> None:
    server.section["measure"] = {"roots": ["/usr"]}
    # A server that was just made has had no chance yet.
    assert statuses(server.run(), "disk_owners") == {"": "absent"}
    server.now += 7 * 3600
    assert statuses(server.run(), "disk_owners") == {"": "unknown"}
    server.put("watchdog/owners.json", "{")
    document = server.run()
    assert statuses(document, "disk_owners") == {"": "unknown"}
    assert document["disk"][0]["owners"] is None


def test_two_measurements_at_once_are_refused(
    server: Server, capsys: pytest.CaptureFixture[str]
) -> None:
    from factory.locks import exclusive

    server.write_config()
    argv = ["watchdog", "--measure", "--json", "--config", str(server.config)]
    with exclusive(server.root / "lock/factory-measure.lock"):
        assert __main__.main(argv) == Exit.LOCKED
    assert "factory-measure.lock" in json.loads(capsys.readouterr().out)["error"]
