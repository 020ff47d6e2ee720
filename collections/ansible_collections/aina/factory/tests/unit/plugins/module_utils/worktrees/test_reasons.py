"""One worktree for each reason to keep one, in a real repository that is planned once."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import committing
import pytest

from factory import effects
from factory.core.base import mounts, presence
from factory.core.base.ports import Completed
from factory.core.worktrees import reap
from factory.core.worktrees.model import Verdict
from factory.core.worktrees.settings import Reap

# Above the largest process id that Linux gives out.
NO_PROCESS = 4194305


class World:
    """An origin and a checkout with one lane per reason, all without work of their own."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.checkout = root / "checkout"
        self.origin = root / "origin.git"
        subprocess.run(["git", "init", "-q", "--bare", "-b", "main", self.origin], check=True)
        subprocess.run(["git", "clone", "-q", self.origin, self.checkout], check=True)
        self.git("checkout", "-q", "-B", "main")
        (self.checkout / "README.md").write_text("# app\n")
        (self.checkout / ".gitignore").write_text(".env\nnode_modules/\n")
        self.commit(self.checkout)
        self.git("push", "-q", "origin", "main")

    def git(self, *words: str | Path, at: Path | None = None, check: bool = True) -> str:
        return committing.git(at or self.checkout, *words, check=check)

    def commit(self, at: Path) -> None:
        self.git("add", "--all", at=at)
        self.git("commit", "-q", "--allow-empty", "-m", "Work", at=at)

    def add(self, reason: str) -> Path:
        inside = ".paperclip/worktrees" if reason == "paperclip_workspace" else "lanes"
        path = self.root / inside / reason
        self.git("worktree", "add", "-q", "-b", reason, path)
        return path

    def admin(self, lane: Path) -> Path:
        return self.checkout / ".git/worktrees" / lane.name


def leave_it(_world: World, _lane: Path) -> None:
    """Somebody else does something in it, or with it."""


def commit(world: World, lane: Path) -> None:
    world.commit(lane)


def edit(_world: World, lane: Path) -> None:
    (lane / "README.md").write_text("# mine\n")


def hide_an_edit(world: World, lane: Path) -> None:
    world.git("update-index", "--assume-unchanged", "README.md", at=lane)
    (lane / "README.md").write_text("# mine\n")


def write(name: str) -> Callable[[World, Path], None]:
    def make(_world: World, lane: Path) -> None:
        (lane / name).write_text("mine")

    return make


def write_a_key(_world: World, lane: Path) -> None:
    (lane / "node_modules").mkdir()
    (lane / "node_modules/id_rsa").write_text("mine")


def stash(world: World, lane: Path) -> None:
    edit(world, lane)
    world.git("stash", "push", "-q", at=lane)


def keep_a_ref(world: World, lane: Path) -> None:
    world.commit(lane)
    world.git("update-ref", "refs/worktree/mine", "HEAD", at=lane)
    world.git("reset", "-q", "--hard", "HEAD~1", at=lane)


def commit_in_a_submodule(world: World, lane: Path) -> None:
    world.git("clone", "-q", world.origin, lane / "library")
    world.commit(lane / "library")
    world.commit(lane)
    world.git("push", "-q", "origin", "HEAD:submodule", at=lane)


def clone_among_the_dependencies(world: World, lane: Path) -> None:
    world.git("clone", "-q", world.origin, lane / "node_modules/library")


def stop_half_way(world: World, lane: Path) -> None:
    # Already there: git stops on the empty pick and leaves a clean status.
    world.git("cherry-pick", "HEAD", at=lane, check=False)


def lock_the_index(world: World, lane: Path) -> None:
    (world.admin(lane) / "index.lock").touch()


def lock(reason: str) -> Callable[[World, Path], None]:
    def make(world: World, lane: Path) -> None:
        world.git("worktree", "lock", "--reason", reason, lane)

    return make


def put_another_inside(world: World, lane: Path) -> None:
    world.git("worktree", "add", "-q", "-b", "inner", lane / "node_modules/inner")


def delete(_world: World, lane: Path) -> None:
    shutil.rmtree(lane)


def move_behind_a_link(world: World, lane: Path) -> None:
    lane.rename(world.root / "elsewhere")
    lane.symlink_to(world.root / "elsewhere")


def begin_an_orphan(world: World, lane: Path) -> None:
    world.git("symbolic-ref", "HEAD", "refs/heads/none", at=lane)


def truncate_the_index(world: World, lane: Path) -> None:
    os.truncate(world.admin(lane) / "index", 20)


# reason, what was done to the worktree
KEPT: dict[str, Callable[[World, Path], None]] = {
    "not_landed": commit,
    "uncommitted_changes": edit,
    "untracked_files": write("notes.md"),
    "hidden_changes": hide_an_edit,
    "ignored_files": write(".env"),
    "precious_files": write_a_key,
    "stash": stash,
    "private_refs": keep_a_ref,
    "submodule": commit_in_a_submodule,
    "nested_repository": clone_among_the_dependencies,
    "process_inside": leave_it,
    "head_moved": leave_it,
    "operation_in_progress": stop_half_way,
    "git_lock_file": lock_the_index,
    "locked": lock(f"lane pid {os.getpid()}"),
    "locked_by_dead_process": lock(f"lane pid {NO_PROCESS}"),
    "paperclip_workspace": leave_it,
    "contains_worktree": put_another_inside,
    "missing_directory": delete,
    "broken_gitfile": write(".git"),
    "no_commit": begin_an_orphan,
    "not_a_directory": move_behind_a_link,
    "mount_point": leave_it,
    "mount_inside": leave_it,
    "status_failed": truncate_the_index,
}


def planned(world: World) -> dict[str, Verdict]:
    moving = world.root / "lanes/head_moved"

    def run(argv: Sequence[str | bytes], **options: Any) -> Completed:
        if str(moving) in argv and "status" in argv:  # between the list and the look
            world.git("commit", "-q", "--allow-empty", "-m", "Meanwhile", at=moving)
        return effects.run(argv, **options)

    def occupants(directories: Iterable[str]) -> presence.Occupants:
        inside = [path for path in directories if path.endswith("/process_inside")]
        return presence.Occupants({path: ["codex (7)"] for path in inside})

    tools = reap.ReapTools(run, effects.now, occupants=occupants)
    report = reap.plan(reap.ReapTask(str(world.checkout)), Reap(grace_seconds=0), tools)
    return {Path(verdict.listed.path).name: verdict for verdict in report.verdicts}


@pytest.fixture(scope="module")
def verdicts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Verdict]]:
    world = World(tmp_path_factory.mktemp("reasons").resolve())
    for reason in (*KEPT, "landed"):
        lane = world.add(reason)
        KEPT.get(reason, leave_it)(world, lane)
    lanes = world.root / "lanes"
    mounted = [*mounts.points(), str(lanes / "mount_point"), str(lanes / "mount_inside/src")]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(mounts, "points", lambda: mounted)
        yield planned(world)


@pytest.mark.parametrize("reason", KEPT)
def test_a_worktree_stays_and_the_answer_says_why(
    reason: str, verdicts: dict[str, Verdict]
) -> None:
    verdict = verdicts[reason]

    assert (verdict.reap, verdict.reason) == (False, reason)
    assert verdict.detail


def test_the_one_of_which_nothing_would_be_lost_goes(verdicts: dict[str, Verdict]) -> None:
    verdict = verdicts["landed"]

    assert (verdict.reap, verdict.reason) == (True, "ancestor")
