"""What a walk over real files finds."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from factory.core.worktrees.contents import walk

KIB = 1024
Caller = Callable[[Callable[[], Any]], Any]


def fill(path: Path, kib: int = 64) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(os.urandom(kib * KIB))
    return path


def test_the_size_is_what_du_says(tmp_path: Path) -> None:
    fill(tmp_path / "src/a.ts")
    fill(tmp_path / "node_modules/x/y/z.js", 3)
    (tmp_path / "empty").mkdir()
    (tmp_path / "link").symlink_to("src/a.ts")
    with (tmp_path / "sparse").open("wb") as file:
        file.truncate(1 << 30)
    os.link(tmp_path / "src/a.ts", tmp_path / "twice.ts")

    du = subprocess.run(
        ["du", "-sx", "--block-size=1", tmp_path], capture_output=True, check=True, text=True
    )

    assert walk(str(tmp_path)).bytes == int(du.stdout.split()[0])


def test_a_file_that_lives_on_elsewhere_frees_nothing(tmp_path: Path) -> None:
    store, lane = tmp_path / "store", tmp_path / "lane"
    fill(store / "shared.js", 512)
    (lane / "node_modules").mkdir(parents=True)
    before = walk(str(lane)).bytes

    os.link(store / "shared.js", lane / "node_modules/a.js")
    os.link(store / "shared.js", lane / "node_modules/b.js")

    assert walk(str(lane)).bytes - before < 512 * KIB
    (store / "shared.js").unlink()  # now both of its names lie inside
    assert walk(str(lane)).bytes - before >= 512 * KIB


def test_links_are_not_followed(tmp_path: Path) -> None:
    fill(tmp_path / "outside/large", 512)
    (tmp_path / "outside/.git").mkdir()
    lane = tmp_path / "lane"
    lane.mkdir()
    (lane / "to-outside").symlink_to(tmp_path / "outside")
    (lane / "to-itself").symlink_to(lane)
    (lane / "dangling").symlink_to("/nonexistent")

    found = walk(str(lane))

    assert found.bytes < 64 * KIB
    assert (found.repositories, found.unreadable, found.mounts) == ((), (), ())


def test_the_newest_of_all_entries_is_the_last_activity(tmp_path: Path) -> None:
    deep = fill(tmp_path / "a/b/c/file", 1)
    past = tmp_path.stat().st_mtime - 86400
    for path in (deep, *deep.parents):
        os.utime(path, (past, past))
        if path == tmp_path:
            break
    assert abs(walk(str(tmp_path)).newest_mtime - past) < 1

    os.utime(deep, (past + 100, past + 100))
    assert abs(walk(str(tmp_path)).newest_mtime - past - 100) < 1
    (deep.parent / "new").mkdir()
    assert walk(str(tmp_path)).newest_mtime > past + 1000


def test_repositories_inside_are_found_whatever_their_form(tmp_path: Path) -> None:
    (tmp_path / ".git").write_text("gitdir: /repo/.git/worktrees/lane\n")
    subprocess.run(["git", "init", "-q", tmp_path / "node_modules/clone"], check=True)
    subprocess.run(["git", "init", "-q", "--bare", tmp_path / "dist/bare"], check=True)
    (tmp_path / "worktree").mkdir()
    (tmp_path / "worktree/.git").write_text("gitdir: /other/.git/worktrees/x\n")
    (tmp_path / "no-repository/refs").mkdir(parents=True)

    found = {os.path.relpath(path, tmp_path) for path in walk(str(tmp_path)).repositories}

    # Git's own directory inside of a clone counts once more; one of them is enough to keep it.
    assert found - {"node_modules/clone/.git"} == {"node_modules/clone", "dist/bare", "worktree"}


def test_odd_entries_do_no_harm(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(tmp_path / "s"))
    fill(Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9 \n-rf")), 1)

    assert walk(str(tmp_path)).unreadable == ()


def test_what_cannot_be_read_is_told(open_path: Path, as_nobody: Caller) -> None:
    def prepare_and_walk() -> Any:
        closed = fill(open_path / "lane/closed/file", 1).parent
        blind = fill(open_path / "lane/blind/file", 1).parent
        closed.chmod(0o000)
        blind.chmod(0o400)  # its names can be read, its files cannot be looked at
        return walk(str(open_path / "lane")).unreadable

    assert as_nobody(prepare_and_walk) == (
        str(open_path / "lane/blind/file"),
        str(open_path / "lane/closed"),
    )


def test_a_worktree_that_is_gone_is_unreadable(tmp_path: Path) -> None:
    assert walk(str(tmp_path / "gone")).unreadable == (str(tmp_path / "gone"),)


MOUNTED = """
import sys
sys.path[:0] = sys.argv[2:]
from factory.core.worktrees.contents import walk
found = walk(sys.argv[1])
print(found.bytes, *found.mounts, sep="\\n")
"""


def test_other_file_systems_are_told_and_not_entered(tmp_path: Path) -> None:
    lane = tmp_path / "lane"
    (lane / "volume").mkdir(parents=True)
    unshare = ["unshare", "--mount", "--propagation", "private"]
    mount = ["mount", "-t", "tmpfs", "none", str(lane / "volume")]
    if (
        shutil.which("unshare") is None
        or subprocess.run([*unshare, *mount], check=False, capture_output=True).returncode
    ):
        pytest.skip("this user may not mount anything")
    script = 'mount -t tmpfs none "$1/volume" && head -c 1M /dev/zero >"$1/volume/data" && shift'
    walker = [sys.executable, "-c", MOUNTED, str(lane), *filter(None, sys.path)]
    done = subprocess.run(
        [*unshare, "sh", "-c", f'{script} && exec "$@"', "sh", str(lane), *walker],
        check=True,
        capture_output=True,
        text=True,
    )

    size, *mounts = done.stdout.splitlines()
    assert mounts == [str(lane / "volume")]
    assert int(size) < 64 * KIB
