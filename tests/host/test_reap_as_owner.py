"""Root at work in repositories of others: as they, and never by a name that they can turn."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from factory import effects
from factory.core.base import locks, presence
from factory.core.base.git import GitError
from factory.core.worktrees import owner, reap, trash
from factory.core.worktrees.model import ReapReport, report_from_record
from factory.core.worktrees.settings import Reap

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="becoming somebody else needs root")

OWNER = 54321
TOOLS = reap.ReapTools(effects.run, effects.now)
IDENTITY = {
    f"GIT_{role}_{part}": f"{part.lower()}@example.com"
    for role in ("AUTHOR", "COMMITTER")
    for part in ("NAME", "EMAIL")
}


class Place:
    """A checkout with one landed lane, and a directory of root's own."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.checkout = root / "home/checkout"
        self.lane = root / "home/lanes/landed"
        self.trash = self.lane.parent / trash.TREE_TRASH
        self.mine = root / "root"
        self.mine.mkdir(mode=0o700)
        (self.mine / "file").write_text("root's")
        origin = root / "home/origin.git"
        self.git("init", "-q", "--bare", "-b", "main", origin, at=root)
        self.git("clone", "-q", origin, self.checkout, at=root)
        self.git("checkout", "-q", "-B", "main")
        self.git("commit", "-q", "--allow-empty", "-m", "Begin")
        self.git("push", "-q", "origin", "main")
        self.git("worktree", "add", "-q", "-b", "landed", self.lane)

    def git(self, *words: str | Path, at: Path | None = None) -> None:
        subprocess.run(
            ["git", "-c", "safe.directory=*", "-C", at or self.checkout, *words],
            env={**os.environ, **IDENTITY},
            check=True,
            capture_output=True,
        )

    def give(self) -> None:
        for directory, names, files in os.walk(self.root / "home"):
            for name in (*names, *files, "."):
                os.chown(f"{directory}/{name}", OWNER, OWNER, follow_symlinks=False)

    def reap(self) -> ReapReport:
        task = reap.ReapTask(str(self.checkout), worktree_roots=(str(self.lane.parent),))
        work = owner.act_alone(
            task.repository,
            TOOLS,
            reap.PURPOSE,
            lambda here, _common_dir: reap.run(task, Reap(grace_seconds=0), here).record(),
        )
        return report_from_record(work)

    def empty(self) -> list[str]:
        return owner.empty(str(self.checkout), TOOLS, effects.now())


@pytest.fixture(scope="module")
def built() -> Iterator[Path]:
    path = Path(tempfile.mkdtemp(prefix="owner-"))
    path.chmod(0o755)
    Place(path)
    yield path
    shutil.rmtree(path)


@pytest.fixture
def place(built: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    monkeypatch.setattr(presence, "find", lambda *_: presence.Occupants())
    mine = built.with_name(f"{built.name}.locks")
    monkeypatch.setattr(reap, "DIRECTORY", mine)
    aside = built.with_name(f"{built.name}.aside")
    subprocess.run(["cp", "-a", built, aside], check=True)
    it = Place.__new__(Place)
    it.root, it.checkout, it.lane = built, built / "home/checkout", built / "home/lanes/landed"
    it.trash, it.mine = it.lane.parent / trash.TREE_TRASH, built / "root"
    it.give()
    yield it
    shutil.rmtree(built)
    shutil.rmtree(mine, ignore_errors=True)
    aside.rename(built)


def test_the_work_is_done_as_the_owner_with_nothing_of_root(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GH_TOKEN", "secret")
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")

    def work(_tools: reap.ReapTools) -> dict[str, Any]:
        status = dict(
            line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines()
        )
        return {
            "users": os.getresuid(),
            "groups": [os.getresgid(), os.getgroups()],
            "rights": [int(status[name], 16) for name in ("CapPrm", "CapEff", "CapAmb")],
            "no more": status["NoNewPrivs"].strip(),
            "environment": sorted(os.environ),
            "session": os.getsid(0) == os.getpid(),
            "open": len(os.listdir("/proc/thread-self/fd")),  # noqa: PTH208
        }

    with (place.mine / "file").open():
        seen = owner.act(str(place.checkout), TOOLS, work)

    assert seen["users"] == [OWNER] * 3
    assert seen["groups"] == [[OWNER] * 3, []]
    assert seen["rights"] == [0, 0, 0]
    assert seen["no more"] == "1"
    assert "GH_TOKEN" not in seen["environment"]
    assert {"PATH", "HOME", "GIT_CONFIG_NOSYSTEM"} <= set(seen["environment"])
    assert seen["session"]
    assert seen["open"] <= 6  # the standard three, two of the link, and the listing


def test_a_lane_of_another_goes_and_comes_back_and_goes_for_good(place: Place) -> None:
    report = place.reap()

    assert (report.failures, report.changed) == ([], True)
    assert not place.lane.exists()
    assert {path.lstat().st_uid for path in [place.trash, *place.trash.rglob("*")]} == {OWNER}

    owner.act_alone(
        str(place.checkout),
        TOOLS,
        reap.PURPOSE,
        lambda here, _common_dir: reap.undo(
            reap.ReapTask(str(place.checkout)), here, str(place.lane)
        ),
    )
    assert place.lane.is_dir()

    place.reap()
    (kept,) = place.trash.glob("landed.*")
    (kept / "made").mkdir()
    (kept / "made/by-root").write_text("x")
    assert place.empty() == []
    assert [path.name for path in place.trash.iterdir()] == [".gitignore"]
    assert not list((place.checkout / ".git/aina-factory-trash").glob("landed*"))


def test_owners_who_share_a_directory_of_lanes_do_not_stop_each_other(place: Place) -> None:
    place.trash.mkdir(mode=0o700)
    os.chown(place.trash, OWNER + 1, OWNER + 1)

    assert place.reap().changed
    second = place.trash.with_name(f"{trash.TREE_TRASH}-{OWNER}")
    (moved,) = second.glob("landed.*")
    (place.checkout / ".git/worktrees").mkdir(exist_ok=True)
    token = place.checkout / ".git/aina-factory-trash" / moved.name
    token.rename(place.checkout / ".git/worktrees/landed")  # as a kill between the renames

    assert place.reap().changed
    assert len(list(second.glob("landed.*"))) == 1
    assert place.empty() == []
    assert [path.name for path in second.iterdir()] == [".gitignore"]
    assert list(place.trash.iterdir()) == []


def link_the_locks(place: Place) -> None:
    for name in ("reap.lock", "reap-by-owner.lock", "unlink.lock", "unlink-by-owner.lock"):
        (place.checkout / f".git/aina-factory-{name}").symlink_to(place.mine / "file")


def link_the_locks_to_nothing(place: Place) -> None:
    for name in ("reap.lock", "reap-by-owner.lock"):
        (place.checkout / f".git/aina-factory-{name}").symlink_to(place.mine / "made")


def forge_an_entry(place: Place) -> None:
    (place.mine / "tree3.11").mkdir()
    (place.mine / "tree3.11/file").write_text("root's")
    admin = place.checkout / ".git/aina-factory-trash/tree3.11"
    admin.mkdir(parents=True)
    (place.root / "home/x").mkdir()
    (place.root / "home/x" / trash.TREE_TRASH).symlink_to(place.mine)
    (admin / "gitdir").write_text(f"{place.root}/home/x/y/.git\n")
    (admin / "HEAD").write_text("ref: refs/heads/x\n")


def link_the_trash(place: Place) -> None:
    place.trash.symlink_to(place.mine)
    (place.checkout / ".git/aina-factory-trash").symlink_to(place.mine)


def link_the_lanes(place: Place) -> None:
    (place.mine / "landed").mkdir()
    place.lane.parent.rename(place.root / "home/away")
    place.lane.parent.symlink_to(place.mine)


def link_the_git_directory_of_the_lane(place: Place) -> None:
    admin = place.checkout / ".git/worktrees/landed"
    shutil.rmtree(admin)
    admin.symlink_to(place.mine)


def inventory(directory: Path) -> list[tuple[Any, ...]]:
    return sorted(
        (str(path), *path.lstat()[:6], path.read_bytes() if path.is_file() else b"")
        for path in [directory, *directory.rglob("*")]
    )


@pytest.mark.parametrize(
    "plant",
    [
        *(link_the_locks, link_the_locks_to_nothing, forge_an_entry),
        *(link_the_trash, link_the_lanes, link_the_git_directory_of_the_lane),
    ],
)
def test_nothing_of_root_is_changed_through_what_an_owner_planted(
    plant: Callable[[Place], None], place: Place
) -> None:
    plant(place)
    place.give()
    before = inventory(place.mine)

    for work in (place.reap, place.empty):
        try:
            work()
        except (GitError, OSError) as error:
            assert str(error)

    assert inventory(place.mine) == before


def settings_that_run(place: Place) -> str:
    mark = place.root / "home/ran"
    program = place.root / "home/program"
    program.write_text(f"#!/bin/sh\nid -u >> {mark}\n")
    program.chmod(0o755)
    place.git("config", "remote.origin.uploadpack", str(program))
    return str(mark)


@pytest.mark.parametrize("roots", ["", ".git", ".git/config"])
def test_no_program_of_the_settings_runs_as_root(roots: str, place: Place) -> None:
    """Whose is the checkout, whose are its git directory and its settings."""
    mark = Path(settings_that_run(place))
    place.give()
    os.chown(place.checkout / roots, 0, 0)

    if roots == ".git/config":  # in the owner's directory it is the owner's
        place.reap()
        assert set(mark.read_text().split()) == {str(OWNER)}
    else:
        with pytest.raises(GitError, match="make them belong to one account"):
            place.reap()
        assert not mark.exists()


@pytest.mark.parametrize(
    "others", ["home/checkout/.git/config", "home/checkout/.git/worktrees/landed/HEAD", "home"]
)
def test_root_refuses_its_own_repository_where_others_can_change_it(
    others: str, place: Place
) -> None:
    for path in [place.root / "home", *(place.root / "home").rglob("*")]:
        os.chown(path, 0, 0, follow_symlinks=False)
    assert reap.plan(reap.ReapTask(str(place.checkout)), Reap(), TOOLS).verdicts
    (place.root / others).chmod(0o777)

    with pytest.raises(GitError, match=f"{place.root / others} can be changed by others"):
        place.reap()


def test_root_refuses_settings_that_others_can_change(place: Place) -> None:
    for path in [place.root / "home", *(place.root / "home").rglob("*")]:
        os.chown(path, 0, 0, follow_symlinks=False)
    (place.root / "settings").touch()
    place.git("config", "include.path", "../../../settings")
    assert not place.reap().failures
    os.chown(place.root / "settings", OWNER, OWNER)

    with pytest.raises(GitError, match="settings can be changed by others"):
        place.reap()


@pytest.mark.parametrize("others", ["home/lanes", "home/lanes/landed"])
def test_root_keeps_a_lane_that_others_can_replace(others: str, place: Place) -> None:
    for path in [place.root / "home", *(place.root / "home").rglob("*")]:
        os.chown(path, 0, 0, follow_symlinks=False)
    os.chown(place.root / others, OWNER, OWNER)

    verdicts = {item.listed.path: item for item in place.reap().verdicts}

    assert verdicts[str(place.lane)].reason == "others_can_change"
    assert place.lane.is_dir()
    assert not place.trash.exists() or others != "home/lanes"


def pipe_for_the_place(place: Place) -> None:
    file = place.checkout / ".git/worktrees/landed/gitdir"
    file.unlink()
    os.mkfifo(file)


def pipe_for_the_head(place: Place) -> None:
    (place.checkout / ".git/worktrees/landed/HEAD").unlink()
    os.mkfifo(place.checkout / ".git/worktrees/landed/HEAD")


def large_head(place: Place) -> None:
    os.truncate(place.checkout / ".git/worktrees/landed/HEAD", 3 << 30)


def large_git_file(place: Place) -> None:
    os.truncate(place.lane / ".git", 3 << 30)


def large_ref(place: Place) -> None:
    refs = place.checkout / ".git/worktrees/landed/refs/worktree"
    refs.mkdir(parents=True)
    (refs / "x").touch()
    os.truncate(refs / "x", 3 << 30)


@pytest.mark.parametrize(
    "plant", [pipe_for_the_place, pipe_for_the_head, large_head, large_git_file, large_ref]
)
def test_what_never_ends_ends_at_once(plant: Callable[[Place], None], place: Place) -> None:
    plant(place)
    place.give()
    began = time.monotonic()
    try:
        report = place.reap()
    except GitError as error:
        assert "no plain file" in str(error)
    else:
        assert not report.changed
    assert time.monotonic() - began < 20
    assert place.lane.is_dir()


def test_root_answers_what_the_owner_cannot_know(place: Place) -> None:
    told: list[tuple[str, int, int]] = []
    head = "a" * 40
    tools = replace(
        TOOLS,
        progress=lambda *words: told.append(words),
        occupants=lambda paths: presence.Occupants(
            {next(iter(paths)): [f"seen by {os.geteuid()}"]}, ["x (8)"]
        ),
        merged_pull_requests=lambda heads: {one: str(os.geteuid()) for one in heads},
    )

    def work(here: reap.ReapTools) -> list[Any]:
        assert here.merged_pull_requests is not None
        here.progress("at work", 1, 2)
        found = here.occupants(["/x"])
        merged = here.merged_pull_requests([head, 'x") { evil }'])
        return [found.inside, found.unknown, merged, here.run(["id", "-u"]).stdout.decode()]

    answer = owner.act(str(place.checkout), tools, work)

    assert answer == [{"/x": ["seen by 0"]}, ["x (8)"], {head: "0"}, f"{OWNER}\n"]
    assert told == [("at work", 1, 2)]


def stopped(_tools: reap.ReapTools) -> None:
    os.kill(os.getpid(), signal.SIGSTOP)


def killed(_tools: reap.ReapTools) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def silent(_tools: reap.ReapTools) -> None:
    time.sleep(60)


def wrong(_tools: reap.ReapTools) -> None:
    raise KeyError("x")


@pytest.mark.parametrize(
    ("work", "says"),
    [
        (stopped, "was stopped by somebody"),
        (killed, "ended too early"),
        (silent, "said nothing for"),
        (wrong, "KeyError: 'x'"),
    ],
)
def test_a_child_that_fails_is_a_failure_of_this_repository(
    work: Callable[[reap.ReapTools], Any], says: str, place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(owner, "_LOOK_SECONDS", 0.1)
    monkeypatch.setattr(owner, "_SILENCE_SECONDS", 0.5)
    with pytest.raises(GitError, match=says):
        owner.act(str(place.checkout), TOOLS, work)
    assert Path("/proc/thread-self/children").read_text() == ""


def test_the_child_ends_with_root(place: Place) -> None:
    reading, writing = os.pipe()

    def progress(*_words: object) -> None:
        os.write(writing, b"x")

    def work(here: reap.ReapTools) -> None:
        here.progress("at work", 0, 1)
        time.sleep(60)

    parent = os.fork()
    if parent == 0:
        try:
            owner.act(str(place.checkout), replace(TOOLS, progress=progress), work)
        finally:
            os._exit(0)
    os.read(reading, 1)
    (child,) = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
    os.kill(parent, signal.SIGKILL)
    os.waitpid(parent, 0)
    until = time.monotonic() + 10
    while os.path.lexists(f"/proc/{child}/exe"):
        assert time.monotonic() < until
        time.sleep(0.02)
    for end in (reading, writing):
        os.close(end)


def test_the_owner_can_neither_take_nor_hold_roots_lock(place: Place) -> None:
    def hold(here: reap.ReapTools, common_dir: str) -> str:
        return str(reap.lock_path(common_dir, reap.PURPOSE))

    theirs = Path(owner.act_alone(str(place.checkout), TOOLS, reap.PURPOSE, hold))
    roots = reap.lock_path(str(place.checkout / ".git"), reap.PURPOSE)

    assert theirs.parent == place.checkout / ".git"
    assert (theirs.stat().st_uid, theirs.stat().st_mode & 0o777) == (OWNER, 0o600)
    assert roots.parent.stat().st_mode & 0o777 == 0o700
    with locks.exclusive(roots), pytest.raises(locks.LockedError):
        place.reap()


def test_root_waits_for_nobody_while_the_owner_reaps(place: Place) -> None:
    theirs = place.checkout / ".git/aina-factory-reap-by-owner.lock"
    holding = subprocess.Popen(
        ["flock", "--no-fork", theirs, "sh", "-c", "echo; exec sleep 60"],
        user=OWNER, group=OWNER, extra_groups=[], stdout=subprocess.PIPE,
    )  # fmt: skip
    try:
        assert holding.stdout is not None
        holding.stdout.readline()
        with pytest.raises(GitError, match="another run holds"):
            place.reap()
    finally:
        holding.kill()
        holding.communicate()
    assert place.lane.is_dir()
