"""What counts as landed, on small real repositories."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

import committing
import pytest

from factory import effects
from factory.core.base.git import Git
from factory.core.worktrees import landed
from factory.core.worktrees.settings import Reap


class World:
    """An origin and a clone with one lane, ``lane``, which is checked out."""

    def __init__(self, root: Path) -> None:
        self.clone = root / "clone"
        subprocess.run(["git", "init", "-q", "--bare", "-b", "main", root / "o.git"], check=True)
        subprocess.run(["git", "clone", "-q", root / "o.git", self.clone], check=True)
        self.git("checkout", "-q", "-B", "main")
        self.commit(text="".join(f"{number}\n" for number in range(30)))
        self.publish()
        self.git("checkout", "-q", "-b", "lane")

    def git(self, *words: str) -> str:
        return committing.git(self.clone, *words)

    def commit(self, **files: str) -> None:
        for name, content in files.items():
            (self.clone / name).write_text(content)
        self.git("add", "--all")
        self.git("commit", "-q", "-m", "Work")

    def edit(self, old: str, new: str) -> None:
        content = (self.clone / "text").read_text()
        self.commit(text=content.replace(f"\n{old}\n", f"\n{new}\n"))

    def publish(self) -> None:
        self.git("push", "-q", "origin", "HEAD:main")

    def squash(self) -> None:
        self.git("checkout", "-q", "--detach", "origin/main")
        self.git("merge", "-q", "--squash", "lane")
        self.git("commit", "-q", "-m", "Land")
        self.publish()
        self.git("checkout", "-q", "lane")

    def on_main(self, act: Callable[[], object]) -> None:
        self.git("checkout", "-q", "--detach", "origin/main")
        act()
        self.publish()
        self.git("checkout", "-q", "lane")

    def evidence(self, policy: Reap | None = None) -> str | None:
        git = Git(effects.run, str(self.clone))
        head = self.git("rev-parse", "lane")
        proofs = landed.prove(
            git,
            str(self.clone / ".git"),
            [landed.ask_remote(git, "origin", None, policy)],
            [head],
            [],
            count_pushed=True,
            merged_pull_requests=None,
        )
        found = proofs.evidence.get(head)
        return found.kind if found else None


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def test_a_squash_of_several_commits_has_landed(world: World) -> None:
    world.edit("5", "five")
    world.edit("7", "seven")

    world.squash()

    assert world.evidence() == "snapshot"


def test_a_squash_after_main_renamed_the_file_has_landed(world: World) -> None:
    world.edit("5", "five")

    def rename() -> None:
        world.git("mv", "text", "words")
        world.commit()

    world.on_main(rename)

    world.squash()

    assert world.evidence() == "replay"


def test_what_the_default_branch_contains_has_landed(world: World) -> None:
    world.edit("5", "five")
    assert world.evidence() is None

    world.on_main(lambda: world.git("merge", "-q", "--no-ff", "-m", "Merge", "lane"))

    assert world.evidence() == "ancestor"


def test_what_the_default_branch_has_given_up_is_not_landed(world: World) -> None:
    world.edit("5", "five")
    world.squash()
    assert world.evidence() == "snapshot"

    world.git("push", "-q", "--force", "origin", "lane~1:main")

    assert world.evidence() is None


def test_a_commit_after_the_landing_is_not_landed(world: World) -> None:
    world.edit("5", "five")
    world.squash()

    world.edit("7", "seven")

    assert world.evidence() is None


def test_one_of_two_files_on_main_is_not_landed(world: World) -> None:
    world.commit(one="content", two="content")

    world.on_main(lambda: world.commit(one="content"))

    assert world.evidence() is None


def test_a_squash_that_was_edited_by_hand_is_not_landed(world: World) -> None:
    world.commit(one="content")

    world.on_main(lambda: world.commit(one="content, and more"))

    assert world.evidence() is None


def test_a_pull_request_that_the_remote_holds_proves_its_commit(world: World) -> None:
    world.edit("5", "five")

    world.git("push", "-q", "origin", "lane:refs/pull/7/head")

    assert world.evidence() == "remote_ref"


def test_github_is_asked_for_what_git_alone_cannot_prove(world: World) -> None:
    world.edit("5", "five")
    open_head = world.git("rev-parse", "lane")
    landed_head = world.git("rev-parse", "lane~1")
    git = Git(effects.run, str(world.clone))
    asked: list[list[str]] = []

    def merged(heads: Sequence[str]) -> dict[str, str]:
        asked.append(list(heads))
        return {open_head: "pull request #7 with this commit was merged"}

    proofs = landed.prove(
        git,
        str(world.clone / ".git"),
        [landed.ask_remote(git, "origin", None)],
        [open_head, landed_head],
        [],
        count_pushed=True,
        merged_pull_requests=merged,
    )

    assert asked == [[open_head]]
    assert proofs.evidence[open_head].kind == "pull_request"


def test_an_empty_commit_after_the_landing_is_not_landed(world: World) -> None:
    world.edit("5", "five")
    world.squash()

    world.git("commit", "-q", "--allow-empty", "-m", "Findings")

    assert world.evidence() is None


def test_a_later_commit_and_its_revert_are_not_landed(world: World) -> None:
    world.edit("5", "five")
    world.squash()

    world.edit("7", "seven")
    world.edit("seven", "7")

    assert world.evidence() is None


def test_a_reverted_part_of_a_file_is_not_landed(world: World) -> None:
    world.edit("1", "one")
    world.edit("28", "twenty-eight")
    world.git("revert", "--no-edit", "HEAD~1")

    world.on_main(lambda: world.git("cherry-pick", "lane~1"))

    assert world.evidence() is None


def test_a_file_that_came_and_went_is_not_landed(world: World) -> None:
    world.commit(research="findings", fix="content")
    (world.clone / "research").unlink()
    world.commit()

    world.on_main(lambda: world.commit(fix="content"))

    assert world.evidence() is None


def test_edits_of_a_file_that_the_lane_then_deleted_are_not_landed(world: World) -> None:
    world.edit("5", "five")
    world.edit("7", "seven")
    world.git("rm", "-q", "text")
    world.commit()

    world.on_main(lambda: world.git("cherry-pick", "lane~2"))

    def delete() -> None:
        world.git("rm", "-q", "text")
        world.commit()

    world.on_main(delete)

    assert world.evidence() is None


def test_a_squash_of_an_edit_and_a_rename_has_landed(world: World) -> None:
    world.edit("5", "five")
    world.git("mv", "text", "words")
    world.commit()

    world.squash()

    assert world.evidence() == "snapshot"


def test_a_rebase_of_a_file_that_came_and_went_has_landed(world: World) -> None:
    world.commit(research="findings")
    (world.clone / "research").unlink()
    world.commit(fix="content")
    both = world.git("rev-list", "--reverse", "origin/main..lane").split()

    world.on_main(lambda: world.commit(other="of main"))
    world.on_main(lambda: world.git("cherry-pick", both[0]))
    assert world.evidence() is None
    world.on_main(lambda: world.git("cherry-pick", both[1]))

    assert world.evidence() == "rebase"


def test_a_rebase_with_an_empty_commit_is_not_landed(world: World) -> None:
    world.commit(research="findings")
    (world.clone / "research").unlink()
    world.commit(fix="content")
    both = world.git("rev-list", "--reverse", "origin/main..lane").split()
    world.git("commit", "-q", "--allow-empty", "-m", "Findings")

    world.on_main(lambda: world.git("cherry-pick", *both))

    assert world.evidence() is None


def test_a_stale_tracking_branch_proves_nothing(world: World) -> None:
    world.edit("5", "five")
    world.git("push", "-q", "origin", "lane")
    assert world.evidence() == "remote_ref"

    world.git("push", "-q", "origin", ":lane")
    world.git("update-ref", "refs/remotes/origin/lane", "lane")

    assert world.evidence() is None


def test_one_damaged_history_is_unknown_and_spares_the_others(world: World) -> None:
    world.edit("5", "five")
    good = world.git("rev-parse", "HEAD")
    world.squash()
    world.git("checkout", "-q", "-b", "broken", "origin/main")
    world.commit(a="1")
    lost = world.git("rev-parse", "HEAD")
    world.commit(b="2")
    broken = world.git("rev-parse", "HEAD")
    (world.clone / ".git" / "objects" / lost[:2] / lost[2:]).unlink()
    git = Git(effects.run, str(world.clone))

    proofs = landed.prove(
        git,
        str(world.clone / ".git"),
        [landed.ask_remote(git, "origin", None)],
        [good, broken],
        [],
        count_pushed=True,
        merged_pull_requests=None,
    )

    assert set(proofs.evidence) == {good}
    assert set(proofs.unknown) == {broken}


@pytest.mark.parametrize("ref", ["refs/merge-requests/7/head", "refs/tags/v1"])
def test_whatever_a_forge_calls_its_refs_holds_a_commit(ref: str, world: World) -> None:
    world.edit("5", "five")

    world.git("push", "-q", "origin", f"lane:{ref}")

    assert world.evidence() == "remote_ref"


def test_a_pull_request_that_went_on_elsewhere_holds_what_it_began_with(world: World) -> None:
    world.edit("5", "five")
    world.edit("7", "seven")
    world.git("push", "-q", "origin", "lane:refs/pull/7/head")
    world.git("reset", "-q", "--hard", "lane~1")
    world.git("reflog", "expire", "--expire=now", "--all")
    world.git("gc", "-q", "--prune=now")

    assert world.evidence() == "remote_ref"


def test_a_second_squash_from_the_same_branch_has_landed(world: World) -> None:
    world.commit(first="1\n")
    world.commit(second="2\n")
    world.squash()
    world.git("merge", "-q", "-m", "Merge main", "origin/main")
    world.edit("9", "nine")
    assert world.evidence() is None

    world.squash()
    world.on_main(lambda: world.edit("20", "twenty"))

    assert world.evidence() == "snapshot"


def test_a_revert_after_the_first_landing_is_not_landed(world: World) -> None:
    world.edit("5", "five")
    world.squash()
    world.git("merge", "-q", "-m", "Merge main", "origin/main")
    world.edit("five", "5")

    world.on_main(lambda: world.edit("20", "twenty"))

    assert world.evidence() is None


def test_a_squash_on_a_base_branch_that_is_named_has_landed(world: World) -> None:
    world.edit("5", "five")
    world.git("checkout", "-q", "--detach", "origin/main")
    world.git("merge", "-q", "--squash", "lane")
    world.git("commit", "-q", "-m", "Land")
    world.git("push", "-q", "origin", "HEAD:refs/heads/release/1")
    world.git("checkout", "-q", "lane")

    assert world.evidence() is None
    assert world.evidence(Reap(base_branches=("release/*",))) == "snapshot"
