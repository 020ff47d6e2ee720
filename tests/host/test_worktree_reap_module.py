"""The Ansible module, run as a server runs it, against real worktrees."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import committing
import pytest

ROOT = Path(__file__).resolve().parents[2]
MODULE = "ansible_collections.aina.factory.plugins.modules.worktree_reap"
# Git that writes down how it was called, in one write: others write at the same time.
RECORDER = """#!/bin/sh
called=$(printf '%s\\t' "$@")
printf '%s\\n' "$called" >>{log}
exec {git} "$@"
"""
# What only reads. A fetch brings objects into a directory that is thrown away, and moves no ref.
READS = {
    *("cat-file", "config", "diff-tree", "fetch", "hash-object", "log", "ls-files", "ls-remote"),
    "ls-tree",
    *("merge-tree", "rev-list", "rev-parse", "status", "symbolic-ref", "worktree list"),
}


class Machine:
    """A checkout with worktrees, and ansible-playbook with a git that is listened to."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.checkout = root / "checkout"
        self.log = root / "git.log"
        real = shutil.which("git")
        assert real is not None
        (root / "bin").mkdir()
        (root / "bin/git").write_text(RECORDER.format(log=self.log, git=real))
        (root / "bin/git").chmod(0o755)
        subprocess.run(["git", "init", "-q", "--bare", "-b", "main", root / "o.git"], check=True)
        subprocess.run(["git", "clone", "-q", root / "o.git", self.checkout], check=True)
        self.git("checkout", "-q", "-B", "main")
        self.commit(self.checkout, "Begin")
        self.git("push", "-q", "origin", "main")
        self.landed, self.dirty = root / "lanes/landed", root / "lanes/dirty"
        self.squashed = root / "lanes/squashed detached"
        self.git("worktree", "add", "-q", "-b", "landed", self.landed)
        self.git("worktree", "add", "-q", "-b", "dirty", self.dirty)
        self.git("worktree", "add", "-q", "--detach", self.squashed)
        (self.dirty / "notes").write_text("mine")
        for name in ("one", "two"):
            (self.squashed / name).write_text(name)
            self.commit(self.squashed, name)
        self.git("merge", "--quiet", "--squash", self.git("rev-parse", "HEAD", at=self.squashed))
        self.commit(self.checkout, "Squash")
        self.git("push", "-q", "origin", "main")

    def git(self, *words: str | Path, at: Path | None = None) -> str:
        return committing.git(at or self.checkout, *words)

    def commit(self, at: Path, message: str) -> None:
        self.git("add", "--all", at=at)
        self.git("commit", "-q", "--allow-empty", "-m", message, at=at)

    def state(self) -> dict[str, Any]:
        """Return every path with what a writer would change, and every ref."""
        paths = {
            str(path): (path.lstat().st_mtime_ns, path.lstat().st_ino)
            for path in [*self.root.rglob("*")]
            if path not in (self.log, self.root)
        }
        return {"paths": paths, "refs": self.git("for-each-ref")}

    def reap(self, *, check: bool = False, **parameters: Any) -> dict[str, Any]:
        """Run the module once, as a server's Python does; return its result."""
        self.log.write_text("")
        given = {
            "repository": str(self.checkout), "policy": {"grace_seconds": 0},
            "worktree_roots": [str(self.root / "lanes")],
            "_ansible_check_mode": check, "_ansible_diff": True, **parameters,
        }  # fmt: skip
        done = subprocess.run(
            [sys.executable, "-m", MODULE],
            input=json.dumps({"ANSIBLE_MODULE_ARGS": given}),
            env={
                **os.environ,
                "PATH": f"{self.root / 'bin'}:{os.environ['PATH']}",
                "PYTHONPATH": str(ROOT / "collections"),
            },
            capture_output=True,
            text=True,
            check=False,
        )
        result: dict[str, Any] = json.loads(done.stdout)
        return result

    def git_commands(self) -> set[str]:
        """Return which of git's commands the last run has called."""
        called = set()
        for line in self.log.read_text().splitlines():
            words = line.split("\t")
            name, option = words[words.index("-C") + 2 :][:2]
            called.add(f"{name} {option}" if name == "worktree" or option == "-w" else name)
        return called


@pytest.fixture(scope="module")
def untouched(tmp_path_factory: pytest.TempPathFactory) -> Machine:
    return Machine(tmp_path_factory.mktemp("untouched").resolve())


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path.resolve())


def judged(result: dict[str, Any]) -> dict[str, tuple[str, str]]:
    return {
        Path(item["path"]).name: (item["verdict"], item["reason"]) for item in result["worktrees"]
    }


def test_check_equals_real_and_a_second_run_changes_nothing(machine: Machine) -> None:
    before = machine.state()
    foretold = machine.reap(check=True)

    assert {"status", "worktree list", "diff-tree"} <= machine.git_commands() <= READS
    assert machine.state() == before
    assert foretold["changed"] is True
    assert judged(foretold) == {
        "checkout": ("keep", "main_worktree"),
        "dirty": ("keep", "untracked_files"),
        "landed": ("reap", "ancestor"),
        "squashed detached": ("reap", "snapshot"),
    }

    head = machine.git("rev-parse", "HEAD", at=machine.squashed)
    real = machine.reap()

    assert machine.git_commands() - READS <= {"update-ref", "for-each-ref"}
    for key in ("changed", "changed_paths", "diff", "bytes_freed"):
        assert real[key] == foretold[key], key
    assert judged(real) == judged(foretold)
    assert sorted(real["changed_paths"]) == sorted(map(str, (machine.landed, machine.squashed)))
    assert real["bytes_freed"] > 0
    assert not machine.landed.exists()
    assert not machine.squashed.exists()
    assert (machine.dirty / "notes").read_text() == "mine"
    assert machine.git("for-each-ref", "--format=%(objectname)", "refs/reaped") == head

    settled = machine.state()
    again = machine.reap()

    assert (again["changed"], again["changed_paths"], again["diff"]) == (False, [], {})
    refs, paths = machine.state()["refs"], machine.state()["paths"]
    assert refs == settled["refs"]
    assert set(paths) == set(settled["paths"])


def test_what_is_due_is_unlinked_before_the_module_returns(machine: Machine) -> None:
    machine.reap(policy={"grace_seconds": 0, "trash_retention_seconds": 0})

    trash = machine.root / "lanes/.aina-factory-trash"
    assert [path.name for path in trash.iterdir()] == [".gitignore"]
    assert machine.git("worktree", "list").count("\n") == 1


# parameters, what the failure says
WRONG: list[tuple[dict[str, Any], str]] = [
    ({"policy": {"grace_seconds": "nan"}}, "policy.grace_seconds is nan; it must be a number"),
    ({"policy": {"grace_seconds": -1}}, "policy.grace_seconds is -1.0; it must be at least 0"),
    (
        {"policy": {"trash_disk_used_percent": 101}},
        "trash_disk_used_percent is 101.0; it must lie between",
    ),
    ({"policy": {"paperclip_roots": ["relative"]}}, "it must be an absolute path"),
    ({"repository": "/nonexistent"}, "/nonexistent"),
]


@pytest.mark.parametrize(("parameters", "message"), WRONG)
def test_what_it_refuses_it_names(
    parameters: dict[str, Any], message: str, untouched: Machine
) -> None:
    result = untouched.reap(**parameters)

    assert result["failed"] is True
    assert message in result["msg"]
    assert untouched.landed.exists()


def test_a_missing_checkout_is_foretold_as_nothing_to_do(untouched: Machine) -> None:
    result = untouched.reap(check=True, repository="/nonexistent")

    assert result["changed"] is False
    assert "failed" not in result or result["failed"] is False
    assert "/nonexistent does not exist yet" in str(result["warnings"])


def test_it_fails_while_another_holds_the_lock(untouched: Machine) -> None:
    lock = untouched.root / "lock"
    with lock.open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        result = untouched.reap(lock_path=str(lock))

    assert result["failed"] is True
    assert f"another run holds {lock}" in result["msg"]
    assert untouched.landed.exists()
