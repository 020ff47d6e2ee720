"""``factory janitor`` on real files and real processes."""

from __future__ import annotations

import fcntl
import gzip
import json
import mmap
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from mounting import mounted
from waiting import until

from factory import effects
from factory.__main__ import main
from factory.core.base import mounts, paths, presence
from factory.core.base.paths import PathError

DAY = 86400.0
LOGS = {"max_age_days": 14, "max_file_mib": 1, "keep_mib": 0.1, "rotated_count": 2}


class Server:
    """A directory that stands for a server, with its configuration."""

    def __init__(self, root: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.root = root
        self.capsys = capsys
        self.projects: list[dict[str, str]] = []
        self.policy: dict[str, Any] = {
            "worktrees_enabled": False,
            "disk_path": str(root),
            "disk_used_high_percent": 99,
            "docker": {"enabled": False},
            "image_use_path": str(root / "image-use.json"),
        }

    def write(self) -> str:
        file = self.root / "factory.json"
        locks = {"directory": str(self.root / "lock")}
        document = {"locks": locks, "janitor": self.policy, "projects": self.projects}
        file.write_text(json.dumps({**document, "reap": {"grace_seconds": 0}}))
        return str(file)

    def run(self, *options: str, command: str = "janitor") -> tuple[int, dict[str, Any]]:
        self.capsys.readouterr()
        code = main([command, "--json", "--config", self.write(), *options])
        return code, json.loads(self.capsys.readouterr().out)

    def directory(self, name: str) -> Path:
        path = self.root / name
        path.mkdir(parents=True, exist_ok=True)
        return path


@pytest.fixture
def server(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Server:
    return Server(tmp_path, capsys)


@pytest.fixture
def later(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let thirty-one days pass: the kernel's change times cannot be forged."""
    monkeypatch.setattr(effects, "now", lambda: time.time() + 31 * DAY)


WRITER = """
import os, sys, time
flags = os.O_WRONLY | os.O_CREAT | (os.O_APPEND if sys.argv[2] == "append" else 0)
log = os.open(sys.argv[1], flags, 0o640)
os.write(log, b"x" * (3 << 20))
print("ready", flush=True)
for line in sys.stdin:
    os.write(log, line.encode())
    print("written", flush=True)
"""


@pytest.fixture(params=["append", "seek"])
def writer(
    request: pytest.FixtureRequest, server: Server
) -> Iterator[tuple[str, Path, subprocess.Popen[str]]]:
    log = server.directory("ops") / "codex-lane.log"
    program = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(log), request.param],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert program.stdout is not None
    program.stdout.readline()
    yield request.param, log, program
    program.communicate()


def say(program: subprocess.Popen[str], text: str) -> None:
    assert program.stdin is not None
    assert program.stdout is not None
    program.stdin.write(text)
    program.stdin.flush()
    program.stdout.readline()


def test_a_large_log_that_a_process_writes_is_cut_and_written_on(
    server: Server, writer: tuple[str, Path, subprocess.Popen[str]]
) -> None:
    mode, log, program = writer
    server.policy["logs"] = {**LOGS, "roots": [str(log.parent)]}
    inode = log.stat().st_ino
    say(program, "the last line\n")

    code, document = server.run()
    say(program, "after the cut\n")

    assert code == 0
    assert log.stat().st_ino == inode
    assert log.stat().st_blocks * 512 < 100_000
    assert log.read_bytes().endswith(b"after the cut\n")
    assert (log.stat().st_size < 100) == (mode == "append")
    part = log.with_name("codex-lane.log.1")
    assert part.read_bytes().endswith(b"x\nthe last line\n") or part.read_bytes().endswith(
        b"xthe last line\n"
    )
    assert part.stat().st_mode & 0o777 == log.stat().st_mode & 0o777
    assert document["kinds"]["logs"]["items"][0]["reason"] == "rotate"
    assert document["kinds"]["logs"]["bytes_freed"] > 2 << 20


def test_deleting_an_open_log_frees_nothing(
    writer: tuple[str, Path, subprocess.Popen[str]],
) -> None:
    _, log, program = writer

    subprocess.run(["find", str(log.parent), "-name", "codex-*.log", "-delete"], check=True)

    held = [link.stat() for link in Path(f"/proc/{program.pid}/fd").iterdir()]
    assert any(file.st_nlink == 0 and file.st_blocks * 512 >= 3 << 20 for file in held)


@pytest.mark.usefixtures("later")
def test_an_old_log_that_is_open_stays(
    server: Server, writer: tuple[str, Path, subprocess.Popen[str]]
) -> None:
    _, log, _ = writer
    (log.parent / "closed.log").write_text("old")
    server.policy["logs"] = {**LOGS, "max_file_mib": 9, "roots": [str(log.parent)]}

    _, document = server.run()

    assert log.exists()
    assert not (log.parent / "closed.log").exists()
    assert document["kinds"]["logs"]["kept"] == {"open": 1}


def test_a_log_that_is_mapped_is_not_cut(server: Server) -> None:
    log = server.directory("ops") / "a.log"
    log.write_bytes(b"x" * (2 << 20))
    server.policy["logs"] = {**LOGS, "roots": [str(log.parent)]}

    with log.open("rb") as file, mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ):
        _, document = server.run()

    assert log.stat().st_size == 2 << 20
    assert document["kinds"]["logs"]["kept"] == {"mapped": 1}


@pytest.mark.usefixtures("later")
def test_a_live_socket_stays_and_a_dead_one_goes(server: Server) -> None:
    leftovers = server.directory("tmp")
    server.policy["temporary"] = {"roots": [str(leftovers)], "min_age_hours": 0}
    with socket.socket(socket.AF_UNIX) as ended:
        ended.bind(str(leftovers / "dead"))
    (leftovers / "folder").mkdir()

    with socket.socket(socket.AF_UNIX) as live:
        live.bind(str(leftovers / "folder/live"))
        live.listen()
        _, document = server.run()

    assert sorted(path.name for path in leftovers.iterdir()) == ["folder"]
    assert document["kinds"]["temporary"]["kept"] == {"open": 1}


@pytest.mark.parametrize("plant", [os.mkfifo, lambda path: path.symlink_to("/etc/passwd")])
def test_what_stands_in_the_place_of_a_part_is_not_read(
    plant: Callable[[Path], None], server: Server
) -> None:
    log = server.directory("ops") / "a.log"
    log.write_bytes(b"x" * (2 << 20))
    plant(log.with_name("a.log.1"))
    server.policy["logs"] = {**LOGS, "roots": [str(log.parent)]}

    code, _ = server.run()

    assert code == 0
    assert sorted(path.name for path in log.parent.iterdir()) == ["a.log", "a.log.1"]
    assert log.with_name("a.log.1").read_bytes()[-1:] == b"x"


def test_earlier_parts_are_compressed_and_counted(server: Server) -> None:
    log = server.directory("ops") / "a.log"
    server.policy["logs"] = {**LOGS, "roots": [str(log.parent)]}

    for number in range(4):
        log.write_bytes(b"%d" % number * (2 << 20))
        server.run()

    assert sorted(path.name for path in log.parent.iterdir()) == ["a.log", "a.log.1", "a.log.2.gz"]
    assert gzip.decompress((log.parent / "a.log.2.gz").read_bytes())[-1:] == b"2"
    assert (log.parent / "a.log.1").read_bytes()[-1:] == b"3"


def test_a_log_can_be_cut_on_a_full_disk(server: Server) -> None:
    disk = server.directory("full")
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(disk)], check=False
    )
    if done.returncode:
        pytest.skip("mounting is not permitted here")
    try:
        log = disk / "a.log"
        with pytest.raises(OSError, match="No space"), log.open("wb", buffering=0) as file:
            while True:
                file.write(b"y" * 65536)
        server.policy["logs"] = {**LOGS, "roots": [str(disk)]}

        code, document = server.run()

        assert (code, document["kinds"]["logs"]["status"]) == (0, "done")
        assert log.stat().st_size == 0
        assert set((disk / "a.log.1").read_bytes()) == {ord("y")}
    finally:
        subprocess.run(["umount", str(disk)], check=True)


@pytest.mark.usefixtures("later")
def test_only_old_sessions_go_and_never_a_login(server: Server) -> None:
    home = server.directory("home/.codex")
    day = server.directory("home/.codex/sessions/2026/01/02")
    (day / "rollout-old.jsonl").write_text("{}")
    (day / "auth.json").write_text("secret")
    (home / "auth.json").write_text("secret")
    (home / "config.toml").write_text("")
    server.directory("home/.codex/sessions/2026/01/03")
    held = home / "sessions/2026/01/03/rollout-open.jsonl"
    server.policy["codex_sessions"] = {"roots": [str(server.root / "*/.codex")]}

    with held.open("w"):
        _, document = server.run()
    report = document["kinds"]["codex_sessions"]
    assert [item["target"] for item in report["items"]] == [f"{day}/rollout-old.jsonl"]
    assert report["kept"] == {"open": 1}
    assert (day / "auth.json").exists()
    assert (home / "auth.json").exists()
    assert held.exists()


def test_recent_leftovers_stay(server: Server) -> None:
    (server.directory("left") / "a").write_text("new")
    server.policy["temporary"] = {"roots": [str(server.root / "left")], "max_age_days": 1}

    _, document = server.run()

    assert document["kinds"]["temporary"]["kept"] == {"recent": 1}


@pytest.mark.usefixtures("later")
def test_a_symbolic_link_is_removed_but_never_followed(server: Server) -> None:
    precious = server.directory("precious")
    (precious / "work").write_text("mine")
    left = server.directory("left")
    (left / "link").symlink_to(precious)
    (left / "tree").mkdir()
    (left / "tree/link").symlink_to(precious)
    (server.root / "trap").symlink_to(precious)
    server.policy["temporary"] = {"roots": [str(left)]}
    server.policy["runner"] = {"roots": [str(server.root)]}
    server.directory("_work")
    (server.root / "_work/_temp").symlink_to(precious)

    code, document = server.run()

    assert (precious / "work").read_text() == "mine"
    assert list(left.iterdir()) == []
    assert code == 1
    assert document["kinds"]["runner"]["status"] == "failed"
    assert "symbolic links are not followed" in document["kinds"]["runner"]["detail"]
    assert document["kinds"]["temporary"]["status"] == "done"


@pytest.mark.usefixtures("later")
def test_leftovers_in_which_something_is_mounted_stay_whole(server: Server) -> None:
    left, home = server.directory("left"), server.directory("home")
    (home / "thesis.tex").write_text("x")
    (left / "jail/home").mkdir(parents=True)
    (left / "jail/passwd").write_text("x")
    (left / "old").mkdir()
    server.policy["temporary"] = {"roots": [str(left)]}

    with mounted(home, left / "jail/home"):
        code, document = server.run()

        assert (left / "jail/home/thesis.tex").exists()
    assert (code, document["kinds"]["temporary"]["kept"]) == (0, {"mount_inside": 1})
    assert (left / "jail/passwd").exists()
    assert not (left / "old").exists()


def test_nothing_is_removed_through_a_mount_that_came_after_the_look(server: Server) -> None:
    left, home = server.directory("left"), server.directory("home")
    (home / "thesis.tex").write_text("x")
    (left / "jail/home").mkdir(parents=True)
    (listed,) = paths.entries(str(left))
    with mounted(home, left / "jail/home"):
        with pytest.raises(PathError, match="unmount it first"):
            paths.remove(listed)
        # Nor where the table of mounts was read too early.
        with pytest.MonkeyPatch.context() as early:
            early.setattr(mounts, "points", list)
            with pytest.raises(PathError, match="unmount it first"):
                paths.remove(listed)
        assert (home / "thesis.tex").exists()


@pytest.mark.usefixtures("later")
def test_a_hard_linked_file_frees_its_bytes_once(server: Server) -> None:
    left = server.directory("left")
    for name in ("pair", "half"):
        server.directory(f"left/{name}")
        (left / name / "a").write_bytes(b"z" * 65536)
    os.link(left / "pair/a", left / "pair/b")
    os.link(left / "half/a", server.root / "outside")
    server.policy["temporary"] = {"roots": [str(left)]}

    _, document = server.run("--dry-run")

    sizes = {Path(i["target"]).name: i["bytes"] for i in document["kinds"]["temporary"]["items"]}
    assert 65536 <= sizes["pair"] < 2 * 65536
    assert sizes["half"] < 65536


@pytest.mark.usefixtures("later")
def test_a_dry_run_tells_what_the_real_run_then_does(server: Server) -> None:
    left = server.directory("left")
    for number in range(6):
        (left / f"f {number}\n").write_bytes(b"z" * 5000)
    server.policy["temporary"] = {"roots": [str(left)], "max_per_run": 4}

    _, dry = server.run("--dry-run")
    assert len(list(left.iterdir())) == 6
    _, real = server.run()

    def targets(document: dict[str, Any]) -> list[tuple[str, int, str]]:
        items = document["kinds"]["temporary"]["items"]
        return [(item["target"], item["bytes"], item["reason"]) for item in items]

    assert targets(dry) == targets(real)
    assert dry["bytes_planned"] == real["bytes_freed"]
    assert (dry["changed"], real["changed"]) == (False, True)
    assert real["kinds"]["temporary"]["kept"] == {"run_limit": 2}
    assert len(list(left.iterdir())) == 2


def run_until_empty(server: Server, directory: Path) -> None:
    """Run the janitor until nothing is left; a job of this machine may hold it back meanwhile."""
    deadline = time.monotonic() + 120
    while True:
        _, document = server.run()
        if not list(directory.iterdir()):
            return
        assert time.monotonic() < deadline, document["kinds"]["runner"]
        time.sleep(1)


def runs(process: subprocess.Popen[bytes], name: str) -> bool:
    """Whether the process has become this program, and no longer is what started it."""
    words = Path(f"/proc/{process.pid}/cmdline").read_bytes()
    return name in words.decode() and b"exec" not in words


# A worker that sees another root directory than the host.
CONTAINED = """
import os, pathlib, signal, sys
pathlib.Path("/proc/self/comm").write_text("Runner.Worker")
os.chroot(sys.argv[1])
print("ready", flush=True)
signal.pause()
"""


@pytest.mark.usefixtures("later")
def test_a_runner_with_a_job_is_left_alone(server: Server, tmp_path: Path) -> None:
    temp = server.directory("runner/_work/_temp")
    (temp / "script.sh").write_text("run me")
    server.policy["runner"] = {"roots": [str(tmp_path / "runner")]}
    worker = subprocess.Popen(["bash", "-c", "exec -a /x/bin/Runner.Worker sleep 60"])
    try:
        until(lambda: runs(worker, "Runner.Worker"), pause_seconds=0.01)
        _, busy = server.run()
    finally:
        worker.kill()
        worker.wait()
    assert busy["kinds"]["runner"]["kept"] == {"job_running": 1}

    run_until_empty(server, temp)


@pytest.mark.skipif(os.geteuid() != 0, reason="needs the right to change the root directory")
@pytest.mark.usefixtures("later")
def test_a_job_in_a_container_holds_no_runner_of_the_host(server: Server, tmp_path: Path) -> None:
    temp = server.directory("runner/_work/_temp")
    (temp / "script.sh").write_text("run me")
    server.policy["runner"] = {"roots": [str(tmp_path / "runner")]}
    elsewhere = server.directory("elsewhere")
    worker = subprocess.Popen(
        [sys.executable, "-c", CONTAINED, str(elsewhere)], stdout=subprocess.PIPE
    )
    try:
        assert worker.stdout is not None
        assert worker.stdout.readline() == b"ready\n"
        run_until_empty(server, temp)
    finally:
        worker.kill()
        worker.communicate()


def test_two_runs_at_once_are_refused(server: Server) -> None:
    lock = server.directory("lock") / "factory-worktrees.lock"
    with lock.open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        code, document = server.run()

    assert code == 75
    assert str(lock) in document["error"]


def test_an_engine_that_is_down_does_not_stop_the_others(server: Server) -> None:
    (server.directory("ops") / "a.log").write_bytes(b"z" * (2 << 20))
    server.policy["docker"] = {"socket_path": str(server.root / "no.sock")}
    server.policy["logs"] = {**LOGS, "roots": [str(server.root / "ops")]}

    code, document = server.run()

    states = {name: kind["status"] for name, kind in document["kinds"].items()}
    assert code == 1
    assert {name for name, state in states.items() if state == "failed"} == {
        "docker_containers",
        "docker_dangling_images",
        "docker_build_cache",
        "docker_volumes",
        "docker_networks",
        "docker_images",
    }
    assert document["kinds"]["logs"]["bytes_freed"] > 0


def test_one_word_stands_for_all_kinds_of_the_engine(server: Server) -> None:
    server.policy["docker"] = {"socket_path": str(server.root / "no.sock")}

    _, several = server.run("--only", "docker", "--only", "logs")

    assert {*several["kinds"]} == {
        "logs",
        "docker_containers",
        "docker_dangling_images",
        "docker_build_cache",
        "docker_volumes",
        "docker_networks",
        "docker_images",
    }


def test_an_unknown_kind_is_refused(server: Server) -> None:
    code, document = server.run("--only", "everything")

    assert code == 2
    assert "codex_sessions" in document["error"]


@pytest.mark.parametrize(
    ("policy", "kind"), [({"worktrees_enabled": False}, "worktrees"), ({}, "docker")]
)
def test_a_kind_that_is_switched_off_is_not_known(
    policy: dict[str, Any], kind: str, server: Server
) -> None:
    server.policy.update(policy)

    code, document = server.run("--only", kind)

    assert code == 2
    assert f"--only {kind}: no such kind" in document["error"]


PNPM = """#!/bin/sh
case "$1" in
  --version) echo 10.11.0 ;;
  store) find "$4"/v10/files -type f -links 1 -delete; exit ${PRUNE_STATUS:-0} ;;
esac
"""


@pytest.fixture
def store(server: Server) -> Path:
    files = server.directory("store/v10/files/00")
    (files / "used").write_bytes(b"u" * 9000)
    (files / "unused").write_bytes(b"n" * 9000)
    os.link(files / "used", server.root / "installed")
    program = server.root / "pnpm"
    program.write_text(PNPM)
    program.chmod(0o755)
    path = server.root / "store"
    user = os.environ.get("USER") or "root"
    server.policy["package_stores"] = [{"path": str(path), "user": user, "command": [str(program)]}]
    return files


@pytest.mark.skipif(os.geteuid() != 0, reason="switching users needs root")
def test_a_package_store_loses_what_nothing_links_to(server: Server, store: Path) -> None:
    _, dry = server.run("--dry-run")
    code, real = server.run()

    assert code == 0
    assert [path.name for path in store.iterdir()] == ["used"]
    assert dry["bytes_planned"] == real["bytes_freed"] > 0


@pytest.mark.skipif(os.geteuid() != 0, reason="switching users needs root")
def test_a_pnpm_that_fails_is_reported(server: Server, store: Path) -> None:
    (server.root / "pnpm").write_text(
        "#!/bin/sh\n[ $1 = --version ] && exit 0\necho broken; exit 3\n"
    )

    code, document = server.run()

    report = document["kinds"]["package_stores"]
    assert (code, report["status"]) == (1, "failed")
    assert "status 3: broken" in report["detail"]


@pytest.mark.skipif(os.geteuid() != 0, reason="switching users needs root")
def test_a_missing_pnpm_is_said_to_be_missing(server: Server, store: Path) -> None:
    (server.root / "pnpm").unlink()

    code, document = server.run()

    report = document["kinds"]["package_stores"]
    assert (code, report["status"], report["detail"]) == (0, "skipped", "not_installed")
    assert store.exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="switching users needs root")
def test_a_store_waits_for_a_running_installation(server: Server, store: Path) -> None:
    script = server.root / "bin/pnpm"
    script.parent.mkdir()
    script.write_text("#!/bin/sh\nread line\n")
    script.chmod(0o755)
    install = subprocess.Popen([str(script), "install"], stdin=subprocess.PIPE)
    try:
        until(lambda: runs(install, "pnpm"), pause_seconds=0.01)
        _, document = server.run()
    finally:
        install.communicate()

    assert document["kinds"]["package_stores"]["kept"] == {"installation_running": 1}
    assert (store / "unused").exists()


def git(*words: str | Path) -> None:
    identity = {f"GIT_{role}_{part}": "x@example.com" for role in ("AUTHOR", "COMMITTER")
                for part in ("NAME", "EMAIL")}  # fmt: skip
    subprocess.run(["git", *words], env={**os.environ, **identity}, check=True, capture_output=True)


@pytest.mark.parametrize("is_repository", [False, True])
def test_a_project_that_fails_stops_no_other(
    server: Server, monkeypatch: pytest.MonkeyPatch, is_repository: bool
) -> None:
    monkeypatch.setattr(presence, "find", lambda *_: presence.Occupants())
    origin, checkout = server.root / "origin.git", server.root / "checkout"
    git("init", "-q", "--bare", "-b", "main", origin)
    git("clone", "-q", origin, checkout)
    git("-C", checkout, "checkout", "-q", "-B", "main")
    git("-C", checkout, "commit", "-q", "--allow-empty", "-m", "Begin")
    git("-C", checkout, "push", "-q", "origin", "main")
    git("-C", checkout, "worktree", "add", "-q", "-b", "landed", server.root / "lanes/landed")
    server.policy["worktrees_enabled"] = True
    broken = server.directory("broken")
    if is_repository:
        git("clone", "-q", origin, broken)
        git("-C", broken, "worktree", "add", "-q", "-b", "open", server.root / "lanes/open")
        git("-C", server.root / "lanes/open", "commit", "-q", "--allow-empty", "-m", "Open")
        (broken / ".git/shallow").write_bytes(b"\xff\0\n")
    server.projects = [
        {"name": "broken", "repository": "example/broken", "path": str(broken)},
        {"name": "sound", "repository": "example/sound", "path": str(checkout)},
    ]

    foretold = server.run("--dry-run", "--only", "worktrees")
    assert (server.root / "lanes/landed").exists()
    real = server.run("--only", "worktrees")

    for code, document in (foretold, real):
        kind = document["kinds"]["worktrees"]
        assert (code, kind["status"]) == (1, "failed")
        assert str(broken) in kind["detail"]
        assert [item["target"] for item in kind["items"]] == [str(server.root / "lanes/landed")]
    assert not (server.root / "lanes/landed").exists()
