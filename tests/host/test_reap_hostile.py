"""Repositories that their owner has turned against root: whatever lies where, nothing of root's changes."""

from __future__ import annotations

import itertools
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import sampling
from host.test_reap_as_owner import OWNER, Place

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="becoming somebody else needs root")

SECONDS, MEMORY_BYTES = 30, 300 << 20
# What a command of root's nightly job reads or writes in a checkout, or could be made to.
PLACES = (
    ".git/HEAD",
    ".git/config",
    ".git/config.worktree",
    ".git/index",
    ".git/packed-refs",
    ".git/shallow",
    ".git/commondir",
    ".git/info/exclude",
    ".git/info/attributes",
    ".git/info/grafts",
    ".git/objects/info/alternates",
    ".git/refs/heads/landed",
    ".git/refs/remotes/origin/main",
    ".git/hooks",
    ".git/worktrees",
    ".git/worktrees/landed",
    ".git/worktrees/landed/HEAD",
    ".git/worktrees/landed/commondir",
    ".git/worktrees/landed/gitdir",
    ".git/worktrees/landed/index",
    ".git/worktrees/landed/locked",
    ".git/worktrees/landed/logs/HEAD",
    ".git/worktrees/landed/refs/worktree/x",
    ".git/aina-factory-trash",
    ".git/aina-factory-trash/python3.11/gitdir",
    ".git/aina-factory-reap.lock",
    ".git/aina-factory-reap-by-owner.lock",
    "../lanes/landed",
    "../lanes/landed/.git",
    "../lanes/landed/.gitmodules",
    "../lanes/landed/node_modules",
    "../lanes/.aina-factory-trash",
    "../lanes/.aina-factory-trash/python3.11",
)
KINDS = (
    "link to root's file",
    "link to root's directory",
    "link to nothing yet",
    "link to itself",
    "pipe",
    "socket",
    "directory",
    "nothing in it",
    "no bytes but NUL",
    "noise",
    "many lines",
    "three gigabytes of hole",
    "path of root's",
    "closed to everybody",
    "swapped all the time",
)
MUTATIONS = list(itertools.product(PLACES, KINDS))
# The command as the nightly job's reap, with locks of its own and no other processes to look at.
COMMAND = """
import sys
from pathlib import Path
from factory.__main__ import main
from factory.core.base import presence
from factory.core.worktrees import reap
reap.DIRECTORY = Path(sys.argv[1])
presence.find = lambda *_: presence.Occupants()
sys.exit(main(sys.argv[2:]))
"""


@pytest.fixture(scope="module")
def built() -> Iterator[Path]:
    path = Path(tempfile.mkdtemp(prefix="hostile-"))
    path.chmod(0o755)
    for name in ("hostile", "sound"):
        (path / name).mkdir()
        Place(path / name)
    yield path
    shutil.rmtree(path)


@pytest.fixture
def world(built: Path) -> Iterator[Path]:
    aside = built.with_name(f"{built.name}.aside")
    subprocess.run(["cp", "-a", built, aside], check=True)
    for name in ("hostile", "sound"):
        it = Place.__new__(Place)
        it.root = built / name
        it.give()
    yield built
    shutil.rmtree(built)
    aside.rename(built)


def swapping(place: Path, target: Path) -> int:
    """Start the owner's second process: the place is his, then a link to what is root's, and again."""
    child = os.fork()
    if child == 0:
        try:
            os.setgroups([])
            os.setgid(OWNER)
            os.setuid(OWNER)
            while True:
                with suppress(OSError):
                    place.rename(f"{place}.aside")
                    place.symlink_to(target)
                    place.unlink()
                with suppress(OSError):
                    Path(f"{place}.aside").rename(place)
        finally:
            os._exit(0)
    return child


def mutate(place: Path, kind: str, root: Path) -> None:
    """Do to ``place`` what its owner could do."""
    if not place.parent.is_dir():
        place.parent.mkdir(parents=True)
        os.chown(place.parent, OWNER, OWNER)
    if kind == "closed to everybody" and os.path.lexists(place):
        place.chmod(0)
        return
    if place.is_dir() and not place.is_symlink():
        shutil.rmtree(place)
    place.unlink(missing_ok=True)
    if kind == "link to root's file":
        place.symlink_to(root / "file")
    elif kind == "link to root's directory":
        place.symlink_to(root)
    elif kind == "link to nothing yet":
        place.symlink_to(root / "new")
    elif kind == "link to itself":
        place.symlink_to(place.name)
    elif kind == "pipe":
        os.mkfifo(place)
    elif kind == "socket":
        with socket.socket(socket.AF_UNIX) as end:
            here = Path.cwd()
            os.chdir(place.parent)  # a socket's path is short
            end.bind(place.name)
            os.chdir(here)
    elif kind == "directory":
        place.mkdir()
    elif kind == "three gigabytes of hole":
        with place.open("wb") as file:
            file.truncate(3 << 30)
    else:
        place.write_bytes(CONTENTS[kind].replace(b"ROOT", os.fsencode(root)))
    os.chown(place, OWNER, OWNER, follow_symlinks=False)


CONTENTS = {
    "nothing in it": b"",
    "closed to everybody": b"",
    "no bytes but NUL": bytes(4096),
    "noise": bytes(range(256)) * 16,
    "many lines": b"0123456789012345678901234567890123456789 refs/heads/x\n" * 100_000,
    "path of root's": b"ROOT/file\n",
}


def inventory(root: Path) -> dict[str, tuple[Any, ...]]:
    """Return content, owner and mode of all that is root's."""
    found: dict[str, tuple[Any, ...]] = {}
    for path in sorted(root.rglob("*")):
        status = path.lstat()
        content = path.read_bytes() if path.is_file() else b""
        found[str(path)] = (status.st_uid, status.st_gid, status.st_mode, status.st_ino, content)
    return found


# A process counts the memory of whoever started it as its own until it runs its program: a small one starts it.
MEASURED = """\
import os, sys
pid = os.posix_spawn(sys.executable, [sys.executable, *sys.argv[2:]], os.environ)
_pid, _status, usage = os.wait4(pid, 0)
with open(sys.argv[1], "w") as peak:
    peak.write(str(usage.ru_maxrss))
"""


def nightly(world: Path) -> dict[str, Any]:
    """Reap both projects, within what the job may take; return the document."""
    file = world / "factory.json"
    projects = [
        {
            "name": name,
            "repository": f"example/{name}",
            "path": str(world / name / "home/checkout"),
            "worktree_roots": [str(world / name / "home/lanes")],
        }
        for name in ("hostile", "sound")
    ]
    locks = world / "locks"
    file.write_text(
        json.dumps(
            {"projects": projects, "locks": {"directory": str(locks)}, "reap": {"grace_seconds": 0}}
        )
    )
    words = ["reap", "--config", str(file), "--github", "none", "--json"]
    began = time.monotonic()
    with tempfile.TemporaryFile() as output:
        child = subprocess.Popen(
            [sys.executable, "-c", MEASURED, str(world / "peak"), "-c", COMMAND, str(locks), *words],
            stdout=output, start_new_session=True,
            env={**os.environ, "INVOCATION_ID": "test"},
        )  # fmt: skip
        end = threading.Timer(2 * SECONDS, os.killpg, (child.pid, signal.SIGKILL))
        end.start()
        child.wait()
        end.cancel()
        assert time.monotonic() - began < SECONDS
        output.seek(0)
        document: dict[str, Any] = json.loads(output.read())
    assert int((world / "peak").read_text()) * 1024 < MEMORY_BYTES
    return document


@pytest.mark.slow
@pytest.mark.parametrize(
    ("where", "kind"), sampling.draw("repositories that are turned against root", MUTATIONS)
)
def test_whatever_lies_in_a_repository_nothing_of_roots_changes(
    where: str, kind: str, world: Path
) -> None:
    mine = world / "hostile/root"
    (mine / "python3.11").write_text("root's")
    place = Path(os.path.normpath(world / "hostile/home/checkout" / where))
    before = inventory(mine)

    second = None
    if kind == "swapped all the time":
        second = swapping(place, mine)
    else:
        mutate(place, kind, mine)
    try:
        document = nightly(world)
    finally:
        if second is not None:
            os.kill(second, signal.SIGKILL)
            os.waitpid(second, 0)

    assert inventory(mine) == before
    sound = document["repositories"][1]
    assert [one["reaped"] for one in sound["worktrees"]] == [False, True]
