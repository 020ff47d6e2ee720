"""Taking worktrees away and giving them back, on real repositories."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import committing
import pytest

from factory import effects
from factory.core.base.ports import Completed
from factory.core.worktrees import trash

NOW = 1_700_000_000.0


def undo(path: str, common_dir: str) -> None:
    (entry,) = trash.chosen(path, trash.entries(common_dir))
    trash.put_back(entry, common_dir)


class Repository:
    """A repository with worktrees beside it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.path = root / "repository"
        self.common_dir = str(self.path / ".git")
        subprocess.run(["git", "init", "-q", "-b", "main", self.path], check=True)
        self.git("commit", "-q", "--allow-empty", "-m", "Begin")

    def git(self, *words: str | Path) -> str:
        return committing.git(self.path, *words)

    def lane(self, name: str) -> Path:
        path = self.root / "lanes" / name
        path.parent.mkdir(exist_ok=True)
        self.git("worktree", "add", "-q", "-b", name, "--", path)
        (path / "file").write_text(name)
        return path

    def admin(self, lane: Path) -> str:
        target = (lane / ".git").read_text().removeprefix("gitdir: ").strip()
        return str(Path(target))

    def move(self, lane: Path, now: float = NOW) -> str:
        return trash.move(str(lane), self.admin(lane), self.common_dir, now)

    def listed(self) -> list[str]:
        output = self.git("worktree", "list", "--porcelain", "-z")
        return [part[9:] for part in output.split("\0") if part.startswith("worktree ")]


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    return Repository(tmp_path.resolve())


def snapshot(lane: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(lane)): path.read_bytes() for path in lane.rglob("*") if path.is_file()
    }


@pytest.mark.parametrize("name", ["plain", "with space", "trailing.1234", "né"])
def test_it_goes_at_once_and_comes_back_as_it_was(name: str, repository: Repository) -> None:
    lane = repository.root / "lanes" / name
    lane.parent.mkdir()
    repository.git("worktree", "add", "-q", "-b", "topic", lane)
    (lane / "file").write_text("work")
    before, listed = snapshot(lane), repository.listed()

    repository.move(lane)

    assert not lane.exists()
    assert repository.listed() == [str(repository.path)]
    assert repository.git("fsck", "--no-dangling") == ""
    undo(str(lane), repository.common_dir)
    assert snapshot(lane) == before
    assert repository.listed() == listed
    assert repository.git("-C", str(lane), "status", "--porcelain") == "?? file"
    assert trash.entries(repository.common_dir) == []


def test_a_path_that_is_not_text_comes_back(repository: Repository) -> None:
    lane = Path(os.fsdecode(os.fsencode(repository.root) + b"/caf\xe9\n-x"))
    repository.git("worktree", "add", "-q", "-b", "topic", "--", lane)

    trash.move(
        str(lane), f"{repository.common_dir}/worktrees/{_only_admin(repository)}",
        repository.common_dir, NOW,
    )  # fmt: skip
    assert not lane.exists()

    undo(str(lane), repository.common_dir)
    assert (lane / ".git").is_file()


def _only_admin(repository: Repository) -> str:
    (name,) = os.listdir(f"{repository.common_dir}/worktrees")  # noqa: PTH208 - a name
    return name


def test_a_kill_between_the_two_renames_is_finished_by_putting_it_back(
    repository: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    lane = repository.lane("a")
    before, admin = snapshot(lane), repository.admin(lane)
    rename = os.rename
    done: list[str] = []

    def killed_before_the_second(source: Any, target: Any) -> None:
        if done:
            raise KeyboardInterrupt  # as good as a kill: nothing here handles it
        done.append(str(source))
        rename(source, target)

    monkeypatch.setattr(os, "rename", killed_before_the_second)
    with pytest.raises(KeyboardInterrupt):
        repository.move(lane)
    monkeypatch.setattr(os, "rename", rename)
    assert not lane.exists()
    assert str(lane) in repository.listed()
    assert trash.entries(repository.common_dir) == []

    assert trash.restore_interrupted([(str(lane), admin)]) == [str(lane)]
    assert snapshot(lane) == before
    assert trash.restore_interrupted([(str(lane), admin)]) == []


def test_a_kill_within_an_undo_is_finished_by_the_next_run(
    repository: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    lane = repository.lane("a")
    before, admin = snapshot(lane), repository.admin(lane)
    repository.move(lane)
    rename = os.rename

    def killed_before_the_tree(source: Any, target: Any) -> None:
        if str(target) == str(lane):
            raise KeyboardInterrupt
        rename(source, target)

    monkeypatch.setattr(os, "rename", killed_before_the_tree)
    with pytest.raises(KeyboardInterrupt):
        undo(str(lane), repository.common_dir)
    monkeypatch.setattr(os, "rename", rename)

    assert trash.restore_interrupted([(str(lane), admin)]) == [str(lane)]
    assert snapshot(lane) == before


def test_the_tree_goes_back_when_the_record_cannot_be_moved(repository: Repository) -> None:
    lane = repository.lane("a")
    before = snapshot(lane)
    # A directory that is not empty stands where the record would go.
    place = Path(repository.common_dir, trash.ADMIN_TRASH, f"a.{int(NOW * 1000)}")
    (place / "full").mkdir(parents=True)

    with pytest.raises(trash.TrashError, match="worktrees/a cannot be moved to"):
        repository.move(lane)

    assert snapshot(lane) == before
    assert str(lane) in repository.listed()


def test_a_half_deleted_tree_is_never_given_back(repository: Repository) -> None:
    lane = repository.lane("a")
    admin = repository.admin(lane)
    repository.move(lane)
    (entry,) = trash.entries(repository.common_dir)

    def killed(argv: Any, **_: Any) -> Completed:
        assert argv[-1] == entry.tree + ".deleting"
        (Path(argv[-1]) / "file").unlink()
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        trash.empty(repository.common_dir, NOW, killed)

    (left,) = trash.entries(repository.common_dir)
    assert left.deleting
    with pytest.raises(trash.TrashError, match="is not in the trash"):
        undo(str(lane), repository.common_dir)
    assert trash.restore_interrupted([(str(lane), admin)]) == []
    assert not lane.exists()
    # The next one finishes it, however young it is.
    assert trash.empty(repository.common_dir, 0, effects.run) == []
    assert trash.entries(repository.common_dir) == []
    assert [path.name for path in Path(entry.tree).parent.iterdir()] == [".gitignore"]


def test_only_a_tree_that_names_the_record_is_put_back(repository: Repository) -> None:
    lane = repository.lane("a")
    admin = repository.admin(lane)
    repository.move(lane)
    # The lane is made anew, and then its directory vanishes: the tree in the trash is another.
    Path(trash.entries(repository.common_dir)[0].admin).rename(repository.root / "kept")
    foreign = lane.parent / trash.TREE_TRASH / f"a.{int(NOW * 1000)}" / ".git"
    foreign.write_text("gitdir: /elsewhere/.git/worktrees/a\n")

    assert trash.restore_interrupted([(str(lane), admin)]) == []


def test_two_trees_that_could_be_meant_are_both_left(repository: Repository) -> None:
    lane = repository.lane("a")
    admin = repository.admin(lane)
    place = lane.parent / trash.TREE_TRASH
    for token in ("a.1", "a.2"):
        (place / token).mkdir(parents=True)
        (place / token / ".git").write_text((lane / ".git").read_text())
    lane.rename(repository.root / "gone")

    assert trash.restore_interrupted([(str(lane), admin)]) == []
    assert len(list(place.iterdir())) == 2


def test_undo_refuses_while_its_branch_is_checked_out_elsewhere(repository: Repository) -> None:
    lane = repository.lane("a")
    repository.move(lane)
    other = repository.root / "elsewhere"
    repository.git("worktree", "add", "-q", other, "a")

    with pytest.raises(trash.TrashError, match="was on refs/heads/a, which is checked out"):
        undo(str(lane), repository.common_dir)

    assert not lane.exists()
    repository.git("worktree", "remove", "--force", other)
    undo(str(lane), repository.common_dir)
    assert (lane / "file").read_text() == "a"


def test_a_detached_worktree_comes_back_beside_other_detached_ones(repository: Repository) -> None:
    lane = repository.lane("a")
    repository.git("-C", str(lane), "checkout", "-q", "--detach")
    repository.move(lane)
    repository.git("checkout", "-q", "--detach")

    undo(str(lane), repository.common_dir)

    assert (lane / "file").exists()


def test_undo_works_where_git_keeps_refs_in_tables(repository: Repository) -> None:
    lane = repository.lane("a")
    # What HEAD says in every worktree of such a repository.
    Path(repository.admin(lane), "HEAD").write_text("ref: refs/heads/.invalid\n")
    repository.move(lane)
    Path(repository.common_dir, "HEAD").write_text("ref: refs/heads/.invalid\n")

    undo(str(lane), repository.common_dir)

    assert (lane / "file").exists()


@pytest.mark.parametrize("kind", ["directory", "file", "dangling link"])
def test_undo_overwrites_nothing(kind: str, repository: Repository) -> None:
    lane = repository.lane("a")
    repository.move(lane)
    if kind == "directory":
        lane.mkdir()
    elif kind == "file":
        lane.write_text("mine")
    else:
        lane.symlink_to("/nonexistent")

    with pytest.raises(trash.TrashError, match="exists again; move it away and undo again"):
        undo(str(lane), repository.common_dir)

    assert len(trash.entries(repository.common_dir)) == 1
    assert os.path.lexists(lane)


def test_of_two_entries_of_one_path_the_later_comes_back(repository: Repository) -> None:
    lane = repository.lane("a")
    repository.move(lane)
    repository.git("worktree", "add", "-q", lane, "a")
    (lane / "file").write_text("second")
    repository.move(lane, NOW + 5)

    undo(str(lane), repository.common_dir)

    assert (lane / "file").read_text() == "second"
    assert len(trash.entries(repository.common_dir)) == 1


def test_what_was_never_reaped_cannot_be_undone(repository: Repository) -> None:
    lane = repository.lane("a")

    with pytest.raises(trash.TrashError, match="is not in the trash"):
        undo(str(lane), repository.common_dir)


def test_only_what_is_due_is_deleted(repository: Repository) -> None:
    young, old = repository.lane("young"), repository.lane("old")
    repository.move(young, NOW)
    repository.move(old, NOW - 600)
    assert trash.oldest(repository.common_dir) == NOW - 600

    assert trash.empty(repository.common_dir, NOW - 600, effects.run) == []

    assert [entry.path for entry in trash.entries(repository.common_dir)] == [str(young)]
    undo(str(young), repository.common_dir)
    assert (young / "file").exists()


def test_a_failed_deletion_is_told_and_tried_again(repository: Repository) -> None:
    repository.move(repository.lane("a"))

    def broken(argv: Any, **_: Any) -> Completed:
        return Completed(1, b"", b"rm: disk on fire")

    (problem,) = trash.empty(repository.common_dir, NOW, broken)

    assert problem.endswith(".deleting: rm: disk on fire")
    assert trash.empty(repository.common_dir, 0, effects.run) == []
    assert trash.entries(repository.common_dir) == []


def test_it_is_unlinked_at_idle_priority(repository: Repository) -> None:
    repository.move(repository.lane("a"))
    called: list[list[str]] = []

    def run(argv: Any, **_: Any) -> Completed:
        called.append(argv)
        return effects.run(argv)

    assert trash.empty(repository.common_dir, NOW, run) == []

    assert {tuple(argv[:6]) for argv in called} == {("nice", "-n", "19", "ionice", "-c", "3")}


def test_what_links_lead_to_stays(repository: Repository) -> None:
    lane = repository.lane("a")
    outside = repository.root / "outside"
    outside.mkdir()
    (outside / "file").write_text("mine")
    (lane / "link").symlink_to(outside)
    repository.move(lane)

    assert trash.empty(repository.common_dir, NOW, effects.run) == []

    assert (outside / "file").read_text() == "mine"


def test_directories_without_write_permission_go_whole_or_stay_whole(
    open_path: Path, as_nobody: Callable[[Callable[[], Any]], Any]
) -> None:
    def story() -> list[Any]:
        os.environ["HOME"] = str(open_path)
        repository = Repository(open_path)
        lane = repository.lane("a")
        for name in ("deep/er", "other"):
            (lane / name).mkdir(parents=True)
            (lane / name / "file").write_text("x")
        for name in ("deep/er", "deep", "other", "."):
            (lane / name).chmod(0o555)
        before = snapshot(lane)
        repository.move(lane)
        seen: list[Any] = [lane.exists()]
        undo(str(lane), repository.common_dir)
        seen.append(snapshot(lane) == before)
        repository.move(lane, NOW + 1)
        seen.append(trash.empty(repository.common_dir, NOW + 1, effects.run))
        seen.append(sorted(os.listdir(lane.parent / trash.TREE_TRASH)))  # noqa: PTH208
        return seen

    assert as_nobody(story) == [False, True, [], [".gitignore"]]


def test_who_may_not_move_it_leaves_it_whole(
    open_path: Path, as_nobody: Callable[[Callable[[], Any]], Any]
) -> None:
    def story() -> list[Any]:
        os.environ["HOME"] = str(open_path)
        repository = Repository(open_path)
        lane = repository.lane("a")
        before = snapshot(lane)
        lane.chmod(0o555)
        lane.parent.chmod(0o555)  # nothing in it can be renamed
        try:
            repository.move(lane)
        except trash.TrashError as error:
            mode = lane.stat().st_mode & 0o777
            return [str(error), snapshot(lane) == before, mode, str(lane) in repository.listed()]
        return []

    message, whole, mode, listed = as_nobody(story)
    assert "cannot be moved" in message
    assert "Permission denied" in message
    assert (whole, mode, listed) == (True, 0o555, True)


def test_a_link_in_the_place_of_the_trash_is_not_followed(repository: Repository) -> None:
    lane = repository.lane("a")
    (lane.parent / trash.TREE_TRASH).symlink_to(repository.root)

    with pytest.raises(trash.TrashError, match="it is no directory"):
        repository.move(lane)

    assert (lane / "file").exists()
