"""Start the reaper as its users do, and copy corpora between runs."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from corpus.labels import Corpus

ROOT = Path(__file__).parents[2]
SEED_SCRIPTS = ROOT / "tests" / "corpus" / "seed_scripts"


@dataclass(frozen=True)
class Ran:
    """One end of ``factory reap``."""

    code: int
    document: dict[str, Any]
    errors: str

    def verdicts(self) -> dict[str, dict[str, Any]]:
        """Return the worktrees by path."""
        return {one["path"]: one for one in self.document["worktrees"]}


def environment(**more: str) -> dict[str, str]:
    """Return an environment in which the tree's own ``factory`` is found."""
    keep = {key: value for key, value in os.environ.items() if not key.startswith("GIT_")}
    paths = [
        more.pop("PYTHONPATH", ""),
        str(ROOT / "collections"),
        str(ROOT / "collections/ansible_collections/aina/factory/host"),
    ]
    return keep | {
        "PYTHONPATH": os.pathsep.join(path for path in paths if path),
        "GIT_CONFIG_GLOBAL": "/dev/null",
        "GIT_CONFIG_NOSYSTEM": "1",
    } | more  # fmt: skip


def argv(repository: Path, *options: str) -> list[str]:
    """Return the command line of one reap."""
    return [
        sys.executable, "-m", "factory", "reap", "--repository", str(repository),
        "--github", "none", "--json", *options,
    ]  # fmt: skip


def reap(repository: Path, *options: str, **variables: str) -> Ran:
    """Run one reap to its end."""
    done = subprocess.run(
        argv(repository, *options),
        env=environment(**variables),
        capture_output=True,
        check=False,
        timeout=300,
    )
    errors = done.stderr.decode(errors="replace")
    try:
        document = json.loads(done.stdout)
    except ValueError:
        raise AssertionError(
            f"exit {done.returncode}, no JSON: {done.stdout!r}\n{errors}"
        ) from None
    return Ran(done.returncode, document, errors)


def run_seed_script(name: str, corpus: Corpus) -> None:
    """Run one of the owner's scripts on a corpus."""
    subprocess.run(
        [SEED_SCRIPTS / name, corpus.checkout], env=environment(), capture_output=True, check=False
    )


def clear(root: Path) -> None:
    """Delete a corpus; what a reap left behind to unlink may just be making its lock there."""
    for _attempt in range(20):
        shutil.rmtree(root, ignore_errors=True)
        if not root.exists():
            return
        time.sleep(0.5)
    raise AssertionError(f"{root} cannot be deleted")


class Pristine:
    """A corpus that can be put back as it was; worktrees know their absolute paths."""

    def __init__(self, corpus: Corpus) -> None:
        self.corpus = corpus
        self._root = Path(corpus.root)
        self._aside = self._root.with_name(self._root.name + ".pristine")
        subprocess.run(["cp", "-a", self._root, self._aside], check=True)

    def restore(self) -> Corpus:
        self._end_unlinkers()
        clear(self._root)
        subprocess.run(["cp", "-a", self._aside, self._root], check=True)
        return self.corpus

    def _end_unlinkers(self) -> None:
        """End what waits in the background for the end of an undo period: the paths come again."""
        own = f"--repository={self.corpus.checkout}".encode()
        for process in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):
                words = (process / "cmdline").read_bytes().split(b"\0")
                if own in words and b"--empty-trash" in words:
                    os.kill(int(process.name), signal.SIGKILL)

    def put_back(self) -> None:
        """Put back the worktrees that are gone, and the repository: nothing else was changed."""
        clear(self.corpus.checkout)
        gone = [Path(label.path) for label in self.corpus.labels if not Path(label.path).exists()]
        for path in (self.corpus.checkout, *gone):
            aside = self._aside / path.relative_to(self._root)
            subprocess.run(["cp", "-a", aside, path], check=True)
