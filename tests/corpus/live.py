"""What files cannot hold: processes inside of worktrees, and things touched just now."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from corpus.factory import DAY_SECONDS, admin_directories, touch
from corpus.labels import Corpus, Label

# Long enough for any test; ended by the context manager.
SLEEP_SECONDS = "900"


@contextmanager
def live(corpus: Corpus) -> Iterator[None]:
    """Set up every label's live effect, and end all processes afterwards."""
    admins = admin_directories(corpus.checkout)
    started: list[subprocess.Popen[bytes]] = []
    try:
        for label in corpus.labels:
            if label.live:
                process = _start(label, admins)
                if process:
                    started.append(process)
        yield
    finally:
        for process in started:
            process.kill()
            process.wait()


def _start(label: Label, admins: dict[Path, Path]) -> subprocess.Popen[bytes] | None:
    path = Path(label.path)
    effect, _, detail = (label.live or "").partition(":")
    now = time.time()
    if effect == "touch":
        os.utime(path / detail, (now, now))
        return None
    if effect == "touch_admin":
        os.utime(admins[path] / detail, (now, now))
        return None
    if effect == "lock":
        process = _sleep()
        (admins[path] / "locked").write_text(f"lane pid {process.pid}\n")
        return process
    return {
        "cwd": lambda: _sleep(cwd=path),
        "cwd_below": lambda: _sleep(cwd=path / "docs"),
        "open_file": lambda: _sleep(stdin=path / "README.md"),
        "executable": lambda: _copied_program(path),
        "mapped": lambda: _mapped_library(path),
    }[effect]()


def _sleep(
    cwd: Path | None = None,
    stdin: Path | None = None,
    program: Path | None = None,
    preload: Path | None = None,
) -> subprocess.Popen[bytes]:
    with Path(stdin or os.devnull).open("rb") as source:
        return subprocess.Popen(
            [program or "sleep", SLEEP_SECONDS],
            cwd=cwd or "/",
            stdin=source,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env=os.environ | ({"LD_PRELOAD": str(preload)} if preload else {}),
        )


def _old(path: Path) -> Path:
    touch(path / "node_modules", int(time.time()) - 5 * DAY_SECONDS)
    os.utime(path, (time.time() - 5 * DAY_SECONDS,) * 2)
    return path


def _copied_program(path: Path) -> subprocess.Popen[bytes]:
    program = path / "node_modules" / ".bin" / "sleeper"
    shutil.copy(shutil.which("sleep") or "/bin/sleep", program)
    process = _sleep(program=program)
    _old(path)
    return process


def _mapped_library(path: Path) -> subprocess.Popen[bytes]:
    library = path / "node_modules" / "native.node"
    library.parent.mkdir(exist_ok=True)
    candidates = sorted(Path("/lib").glob("*-linux-gnu/libutil.so.1"))
    shutil.copy(candidates[0] if candidates else "/lib/libutil.so.1", library)
    process = _sleep(preload=library)
    _old(path)
    return process
