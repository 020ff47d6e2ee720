"""Who is found inside a directory: real processes, and processes as ``/proc`` could show them."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from factory.core.base import presence

SLEEP = "print(flush=True); import sys; sys.stdin.read()"
OPEN = f"import sys; file = open(sys.argv[1]); {SLEEP}"
# The mapping stays although the file is closed.
MAP = (
    "import ctypes, os, sys; libc = ctypes.CDLL(None); libc.mmap.restype = ctypes.c_void_p;"
    "number = os.open(sys.argv[1], os.O_RDONLY);"
    "at = libc.mmap(None, ctypes.c_size_t(4096), 1, 2, number, ctypes.c_long(0));"
    f"assert at not in (None, 2**64 - 1); os.close(number); {SLEEP}"
)

Start = Callable[..., "subprocess.Popen[bytes]"]


@pytest.fixture
def start() -> Iterator[Start]:
    started: list[subprocess.Popen[bytes]] = []

    def start_and_wait(*argv: str | Path, **options: Any) -> subprocess.Popen[bytes]:
        process = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, **options)
        started.append(process)
        assert process.stdout is not None
        assert process.stdout.readline() == b"\n"
        return process

    yield start_and_wait
    for process in started:
        process.kill()
        process.communicate()


@pytest.fixture
def lane(tmp_path: Path) -> Path:
    lane = tmp_path.resolve() / "lane"
    (lane / "src").mkdir(parents=True)
    (lane / "src/file").write_bytes(b"x" * 8192)
    return lane


def pids(lane: Path) -> set[int]:
    names = presence.find([str(lane)]).inside.get(str(lane), [])
    return {int(name.rpartition("(")[2].rstrip(")")) for name in names}


def test_a_process_that_works_in_it_is_inside(start: Start, lane: Path) -> None:
    process = start(sys.executable, "-c", SLEEP, cwd=lane / "src")

    assert pids(lane) == {process.pid}
    process.kill()
    process.communicate()
    assert pids(lane) == set()


def test_a_process_that_holds_a_file_open_is_inside(start: Start, lane: Path) -> None:
    process = start(sys.executable, "-c", OPEN, lane / "src/file")

    assert pids(lane) == {process.pid}


def test_a_process_that_holds_an_unlinked_file_open_is_inside(start: Start, lane: Path) -> None:
    process = start(sys.executable, "-c", OPEN, lane / "src/file")
    (lane / "src/file").unlink()

    assert pids(lane) == {process.pid}


def test_a_process_that_has_mapped_a_file_is_inside(start: Start, lane: Path) -> None:
    process = start(sys.executable, "-c", MAP, lane / "src/file")

    descriptors = Path(f"/proc/{process.pid}/fd").iterdir()
    assert not any(str(lane) in str(descriptor.readlink()) for descriptor in descriptors)
    assert pids(lane) == {process.pid}


def test_a_process_whose_program_lies_in_it_is_inside(start: Start, lane: Path) -> None:
    program = lane / "src/shell"
    program.write_bytes(Path("/bin/sh").read_bytes())
    program.chmod(0o755)

    process = start(program, "-c", "echo; read line", cwd="/")

    assert pids(lane) == {process.pid}


def test_a_thread_that_works_in_it_is_inside(start: Start, lane: Path) -> None:
    work = (
        "import ctypes, os, sys, threading, time\n"
        "def work():\n"
        "    ctypes.CDLL(None).unshare(0x200)\n"  # CLONE_FS: a directory of its own
        "    os.chdir(sys.argv[1])\n"
        "    print(flush=True)\n"
        "    time.sleep(60)\n"
        "threading.Thread(target=work, daemon=True).start()\n"
        "sys.stdin.read()\n"
    )
    process = start(sys.executable, "-c", work, lane / "src", cwd="/")

    assert Path(f"/proc/{process.pid}/cwd").readlink() == Path("/")
    assert pids(lane) == {process.pid}


def test_a_process_whose_first_thread_has_ended_is_inside(start: Start, lane: Path) -> None:
    work = (
        "import ctypes, sys, threading, time\n"
        "def work():\n"
        "    file = open(sys.argv[1])\n"
        "    time.sleep(0.3)\n"
        "    print(flush=True)\n"
        "    time.sleep(60)\n"
        "threading.Thread(target=work).start()\n"
        "ctypes.CDLL(None).syscall(60, 0)\n"  # exit of this thread alone
    )
    process = start(sys.executable, "-c", work, lane / "src/file", cwd="/")

    assert pids(lane) == {process.pid}


@pytest.mark.parametrize("relative", [True, False], ids=["relative", "absolute"])
def test_a_process_that_listens_in_it_is_inside(start: Start, lane: Path, relative: bool) -> None:
    name = "src/s" if relative else str(lane / "src/s")
    listen = (
        "import os, socket, sys; s = socket.socket(socket.AF_UNIX); os.chdir(sys.argv[1]);"
        "s.bind(sys.argv[2]); s.listen(); print(flush=True); sys.stdin.read()"
    )
    process = start(sys.executable, "-c", listen, lane if relative else "/", name)

    assert process.pid in pids(lane)
    assert process.pid in pids(lane / "src/s")


def test_a_file_that_is_mapped_must_not_get_shorter(start: Start, lane: Path) -> None:
    start(sys.executable, "-c", MAP, lane / "src/file")
    os.link(lane / "src/file", lane / "src/again")
    status = (lane / "src/again").stat()
    look = presence.Presence()

    assert look.maps(str(lane / "src/file"))
    assert look.maps(str(lane / "src/again"), {(status.st_dev, status.st_ino)})
    assert not look.maps(str(lane / "src/none"))


def test_a_neighbour_whose_name_begins_alike_is_not_inside(start: Start, lane: Path) -> None:
    neighbour = lane.with_name("lane-2")
    neighbour.mkdir()
    process = start(sys.executable, "-c", SLEEP, cwd=neighbour)

    assert pids(lane) == set()
    assert pids(neighbour) == {process.pid}


@pytest.mark.parametrize("name", ["with space", "with\ttab", "with\\back", "caf\udce9", "né"])
def test_odd_names_are_found(name: str, start: Start, tmp_path: Path) -> None:
    lane = tmp_path.resolve() / name
    lane.mkdir()
    process = start(sys.executable, "-c", SLEEP, cwd=lane)

    assert pids(lane) == {process.pid}


def test_who_may_not_look_says_so(
    open_path: Path, as_nobody: Callable[[Callable[[], Any]], Any]
) -> None:
    if os.geteuid() != 0:
        pytest.skip("needs a process of another user: the tests' own, seen by nobody")

    unknown = as_nobody(lambda: presence.find([str(open_path)]).unknown)

    assert any(f"({os.getpid()})" in name for name in unknown)


class Proc:
    """A tree that looks like ``/proc``; its own mounts are the server's."""

    def __init__(self, root: Path) -> None:
        self.root = root
        (root / "self").mkdir(parents=True)
        (root / "self/mountinfo").write_text(
            "20 1 8:1 / / rw - ext4 /dev/sda1 rw\n30 20 8:2 / /home rw - ext4 /dev/sda2 rw\n"
        )

    def add(
        self,
        pid: int,
        *,
        mounts: str | None,
        cwd: str = "/",
        files: tuple[str, ...] = (),
        namespace: str = "mnt:[2]",
    ) -> Path:
        base = self.root / str(pid)
        for directory in ("ns", "fd"):
            (base / directory).mkdir(parents=True)
        (base / "ns/mnt").symlink_to(namespace)
        for name, target in {"cwd": cwd, "root": "/", "exe": "/usr/bin/node"}.items():
            (base / name).symlink_to(target)
        for number, file in enumerate(files):
            (base / f"fd/{number}").symlink_to(file)
        (base / "maps").write_text("")
        (base / "comm").write_text("node\n")
        if mounts is not None:
            (base / "mountinfo").write_text(mounts)
        return base

    def find(self, *directories: str) -> presence.Occupants:
        return presence.find(directories, str(self.root), str(self.root / "sys"))


@pytest.fixture
def proc(tmp_path: Path) -> Proc:
    return Proc(tmp_path / "proc")


LANE = "/home/ali/lane"
# The container's root is an overlay; the server's /home/ali is its /mnt.
CONTAINER = "50 1 0:90 / / rw - overlay overlay rw\n51 50 8:2 /ali /mnt rw - ext4 /dev/sda2 rw\n"


def test_a_path_in_a_container_is_seen_as_the_server_sees_it(proc: Proc) -> None:
    proc.add(7, mounts=CONTAINER, cwd="/mnt/lane/src")
    proc.add(8, mounts=CONTAINER, cwd="/", files=("/mnt/lane/a (deleted)", "pipe:[5]"))

    assert sorted(proc.find(LANE).inside[LANE]) == ["node (7)", "node (8)"]


def test_the_same_words_in_a_container_can_mean_another_place(proc: Proc) -> None:
    proc.add(7, mounts=CONTAINER, cwd="/home/ali/lane")  # of its own image

    assert proc.find(LANE).inside == {}


def test_a_part_of_it_that_a_container_has_mounted_counts_though_unused(proc: Proc) -> None:
    line = "52 50 8:2 /ali/lane/data /data rw - ext4 /dev/sda2 rw\n"
    proc.add(7, mounts=CONTAINER + line)

    assert proc.find(LANE, "/home/ali/other").inside == {LANE: ["a mount seen by node (7)"]}


@pytest.mark.parametrize("option", ["lowerdir=/mnt/lane/src:/usr", "upperdir=/home/ali/lane"])
def test_a_layer_of_an_overlay_counts_as_seen_by_the_process_or_by_the_server(
    option: str, proc: Proc
) -> None:
    line = f"52 50 0:99 / /work rw,relatime - overlay overlay rw,{option},workdir=/w\n"
    proc.add(7, mounts=CONTAINER + line, cwd="/work")

    assert proc.find(LANE).inside == {LANE: ["a mount seen by node (7)"]}


def test_a_colon_and_a_comma_in_the_name_of_a_layer_are_read(proc: Proc) -> None:
    names = "lowerdir=/mnt/a\\134:b\\054c/src:/usr"
    line = f"52 50 0:99 / /work rw,relatime - overlay overlay rw,{names}\n"
    proc.add(7, mounts=CONTAINER + line, cwd="/work")

    lane = "/home/ali/a:b,c"
    assert proc.find(lane).inside == {lane: ["a mount seen by node (7)"]}


def test_a_socket_in_a_container_is_where_the_server_sees_it(proc: Proc) -> None:
    base = proc.add(7, mounts=CONTAINER, files=("socket:[71]",))
    (base / "ns/net").symlink_to("net:[3]")
    (base / "net").mkdir()
    (base / "net/unix").write_text(
        "Num RefCount Protocol Flags Type St Inode Path\n"
        "ff: 00000002 00000000 00010000 0001 01 71 /mnt/lane/s\n"
        "ff: 00000002 00000000 00010000 0001 01 72 @/mnt/other/s\n"
        "ff: 00000002 00000000 00010000 0001 01 73 /mnt/third/of nobody\n"
    )

    lanes = (LANE, "/home/ali/other", "/home/ali/third")
    assert proc.find(*lanes).inside == {LANE: ["node (7)"], lanes[2]: ["a socket"]}


def test_the_file_behind_a_loop_device_is_in_use(proc: Proc, tmp_path: Path) -> None:
    loop = tmp_path / "sys/block/loop3/loop"
    loop.mkdir(parents=True)
    (loop / "backing_file").write_text(f"{LANE}/disk.img\n")

    found = presence.find([LANE, "/home/ali/other"], str(proc.root), str(tmp_path / "sys"))

    assert found.inside == {LANE: ["the loop device loop3"]}


def test_swap_space_is_in_use(proc: Proc) -> None:
    (proc.root / "swaps").write_text(f"Filename Type Size\n{LANE}/my\\040swap file 9 0 -2\n")

    assert proc.find(LANE).inside == {LANE: ["swap space"]}


# the kernel's line of a mount, whether somebody may be unseen
HIDDEN = [
    ("40 20 0:5 mnt:[4026532999] /run/work/ns rw - nsfs nsfs rw", True),
    ("40 20 0:5 mnt:[2] /run/work/ns rw - nsfs nsfs rw", False),
    ("40 20 0:5 net:[4026532999] /run/netns/x rw - nsfs nsfs rw", False),
    ("40 20 0:5 mnt:[4026532999] /run/snapd/ns/lxd.mnt rw - nsfs nsfs rw", False),
    ("40 20 0:6 / /proc rw - proc proc rw,hidepid=invisible", True),
    ("40 20 0:6 / /proc rw - proc proc rw,hidepid=2", True),
    ("40 20 0:6 / /proc rw - proc proc rw,hidepid=0", False),
    ("40 20 0:6 / /proc rw - proc proc rw", False),
    ("40 20 0:6 / /other/proc rw - proc proc rw,hidepid=2", False),
]


@pytest.mark.parametrize(("line", "unseen"), HIDDEN)
def test_what_cannot_be_seen_is_said(line: str, unseen: bool, proc: Proc) -> None:
    table = proc.root / "self/mountinfo"
    table.write_text(f"{table.read_text()}{line}\n")
    (proc.root / "self/status").write_text("CapEff:\t0000000000000000\n")
    proc.add(7, mounts=CONTAINER)

    assert bool(proc.find(LANE).unknown) == unseen


def test_who_may_see_all_processes_is_hidden_nothing(proc: Proc) -> None:
    table = proc.root / "self/mountinfo"
    table.write_text(f"{table.read_text()}40 20 0:6 / /proc rw - proc proc rw,hidepid=2\n")
    (proc.root / "self/status").write_text("CapEff:\t000001ffffffffff\n")

    assert proc.find(LANE).unknown == []


def test_another_disk_with_the_same_path_inside_is_another_place(proc: Proc) -> None:
    proc.add(7, mounts=CONTAINER.replace("8:2", "8:3"), cwd="/mnt/lane")

    assert proc.find(LANE).inside == {}


def test_of_two_mounts_on_one_point_the_later_is_seen(proc: Proc) -> None:
    later = "53 51 8:9 / /mnt rw - ext4 /dev/sdb1 rw\n"
    proc.add(7, mounts=CONTAINER + later, cwd="/mnt/lane")

    assert proc.find(LANE).inside == {}


def test_escaped_characters_of_the_mount_table_are_read(proc: Proc) -> None:
    line = "52 50 8:2 /ali/my\\040lane\\011x /d\\134r rw - ext4 /dev/sda2 rw\n"
    proc.add(7, mounts="50 1 0:90 / / rw - overlay overlay rw\n" + line, cwd="/d\\r/src")

    lane = "/home/ali/my lane\tx"
    assert set(proc.find(lane).inside) == {lane}


def test_a_process_without_a_readable_mount_table_is_unknown(proc: Proc) -> None:
    proc.add(7, mounts=None, cwd=LANE)

    found = proc.find(LANE)
    assert (found.inside, found.unknown) == ({}, ["node (7)"])


def test_init_alone_may_stay_unseen(proc: Proc) -> None:
    proc.add(1, mounts=None)

    assert proc.find(LANE).unknown == []


def test_a_process_that_ends_meanwhile_is_nobody(proc: Proc) -> None:
    base = proc.add(7, mounts=CONTAINER, cwd="/mnt/lane")
    (base / "ns/mnt").unlink()

    found = proc.find(LANE)
    assert (found.inside, found.unknown) == ({}, [])


def test_nothing_asked_nothing_looked_at(proc: Proc) -> None:
    proc.add(7, mounts=None)

    assert proc.find().unknown == []
