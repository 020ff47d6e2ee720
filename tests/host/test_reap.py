"""``factory reap`` as its users call it, on a small real repository."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import mounting
import pytest

from factory import effects, github, reaping
from factory.__main__ import main
from factory.core.base import presence
from factory.core.base.configuration import Section
from factory.core.worktrees import reap, trash

DAY = 86400.0
IDENTITY = {
    f"GIT_{role}_{part}": f"{part.lower()}@example.com"
    for role in ("AUTHOR", "COMMITTER")
    for part in ("NAME", "EMAIL")
}


class Server:
    """A checkout whose lanes nobody has touched for two days, and the command."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.checkout = root / "checkout"
        self.lanes = root / "lanes"
        self.landed, self.open = self.lanes / "landed", self.lanes / "open"
        self.capsys: pytest.CaptureFixture[str]

    def build(self) -> None:
        self.git("init", "-q", "--bare", "-b", "main", "o.git", at=self.root)
        self.git("clone", "-q", "o.git", self.checkout, at=self.root)
        self.git("checkout", "-q", "-B", "main")
        self.git("commit", "-q", "--allow-empty", "-m", "Begin")
        self.git("push", "-q", "origin", "main")
        for lane in (self.landed, self.open):
            self.lane(lane.name)
        self.git("commit", "-q", "--allow-empty", "-m", "Open", at=self.open)

    def git(self, *words: str | Path, at: Path | None = None) -> str:
        done = subprocess.run(
            ["git", "-C", at or self.checkout, *words],
            env={**os.environ, **IDENTITY},
            check=True,
            capture_output=True,
        )
        return os.fsdecode(done.stdout).strip()

    def lane(self, name: str, branch: str | None = None) -> Path:
        self.git("worktree", "add", "-q", "-b", branch or name, self.lanes / name)
        return self.lanes / name

    def told(self, *options: str) -> tuple[int, str]:
        """Return the exit status of one call, and what a person reads."""
        self.capsys.readouterr()
        words = ["reap", "--repository", str(self.checkout), "--github", "none", *options]
        return main(words), self.capsys.readouterr().out

    def run(self, *options: str) -> tuple[int, Any]:
        """Return the exit status of one call and its document."""
        code, output = self.told("--json", *options)
        return code, json.loads(output)

    def configured(self, projects: list[dict[str, Any]], *options: str) -> tuple[int, Any]:
        """Do the same for the projects of a configuration."""
        file = self.root / "factory.json"
        locks = {"directory": str(self.root / "locks")}
        file.write_text(json.dumps({"projects": projects, "locks": locks}))
        self.capsys.readouterr()
        words = ["reap", "--config", str(file), "--github", "none", "--json", *options]
        return main(words), json.loads(self.capsys.readouterr().out)

    def project(self) -> dict[str, Any]:
        return {
            "name": "sound",
            "repository": "example/sound",
            "path": str(self.checkout),
            "worktree_roots": [str(self.lanes)],
        }


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("built").resolve() / "server"
    root.mkdir()
    Server(root).build()
    return root


@pytest.fixture
def server(
    built: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Iterator[Server]:
    # Other processes of the machine are not the subject here.
    monkeypatch.setattr(presence, "find", lambda *_: presence.Occupants())
    monkeypatch.setattr(reap, "DIRECTORY", built / "locks-of-root")
    monkeypatch.setattr(effects, "now", lambda: time.time() + 2 * DAY)
    # As a unit of systemd, which leaves no process behind.
    monkeypatch.setenv("INVOCATION_ID", "test")
    # Git knows its worktrees by their absolute paths: they are put back where they were.
    aside = built.with_name("aside")
    subprocess.run(["cp", "-a", built, aside], check=True)
    it = Server(built)
    it.capsys = capsys
    yield it
    shutil.rmtree(built)
    aside.rename(built)


def judged(document: Any) -> dict[str, tuple[str, str, bool]]:
    return {
        Path(one["path"]).name: (one["verdict"], one["reason"], one["reaped"])
        for one in document["worktrees"]
        if one["reason"] != "main_worktree"
    }


def everything(root: Path) -> dict[str, int]:
    return {str(path): path.lstat().st_mtime_ns for path in root.rglob("*")}


def test_a_dry_run_tells_what_the_real_run_does_and_changes_nothing(server: Server) -> None:
    before = everything(server.root)

    foretold, dry = server.run("--dry-run")
    assert everything(server.root) == before
    real, done = server.run()

    keep = {"open": ("keep", "not_landed", False)}
    assert (foretold, real) == (0, 0)
    assert judged(dry) == {**keep, "landed": ("reap", "ancestor", False)}
    assert judged(done) == {**keep, "landed": ("reap", "ancestor", True)}
    same = ("path", "branch", "head", "verdict", "reason", "evidence", "bytes")
    assert [[one[key] for key in same] for one in dry["worktrees"]] == [
        [one[key] for key in same] for one in done["worktrees"]
    ]
    assert (dry["changed"], done["changed"]) == (False, True)
    assert done["bytes_freed"] == dry["bytes_reapable"] > 0
    assert not server.landed.exists()
    assert server.open.is_dir()
    assert server.git("branch", "--list", "landed") == "landed"


def test_a_full_disk_prevents_no_reap(server: Server, tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    with mounting.small_disk(disk):
        full = Server(disk)
        full.build()
        full.root, full.capsys = tmp_path, server.capsys
        full.git("worktree", "lock", full.landed)
        assert full.configured([full.project()])[1]["changed"] is False
        full.git("worktree", "unlock", full.landed)
        mounting.fill(disk)
        with pytest.raises(OSError, match="No space left"):
            (disk / "more").mkdir()

        code, document = full.configured([full.project()])

        assert (code, document["changed"]) == (0, True)
        assert not full.landed.exists()
        assert full.open.is_dir()


def test_a_second_run_has_nothing_to_do(server: Server) -> None:
    server.run()

    code, again = server.run()

    assert (code, again["changed"], again["bytes_freed"]) == (0, False, 0)
    assert judged(again) == {"open": ("keep", "not_landed", False)}


def test_people_read_verdict_reason_and_why(server: Server) -> None:
    (server.open / "notes").write_text("mine")
    server.git("push", "-q", "origin", "open")

    code, table = server.told("--dry-run")

    assert code == 0
    assert f"{server.checkout} (default branch: main)" in table
    assert [line.split()[:2] for line in table.splitlines()[2:4]] == [
        ["reap", "ancestor"],
        ["keep", "untracked_files"],
    ]
    assert table.splitlines()[4].strip() == "└ notes"
    assert "1 of 2 worktrees would be reaped" in table


def test_undo_gives_it_back_as_it_was(server: Server) -> None:
    admin = server.checkout / ".git/worktrees/landed"
    before = (server.git("worktree", "list"), (admin / "index").read_bytes())
    server.run()
    assert (server.lanes / trash.TREE_TRASH).is_dir()

    code, document = server.run("--undo", str(server.landed))

    assert (code, document["restored"]) == (0, [str(server.landed)])
    assert (server.git("worktree", "list"), (admin / "index").read_bytes()) == before
    assert server.git("status", "--porcelain", at=server.landed) == ""


def test_undo_finds_the_project_whose_worktree_it_was(server: Server) -> None:
    other = {"name": "other", "repository": "example/other", "path": str(server.root / "o.git")}
    projects = [other, server.project()]
    server.configured(projects)
    assert not server.landed.exists()

    code, document = server.configured(projects, "--undo", str(server.landed))

    assert (code, document["restored"]) == (0, [str(server.landed)])
    assert server.landed.is_dir()


def test_an_emptied_trash_gives_nothing_back(server: Server) -> None:
    server.run()
    assert len(list((server.lanes / trash.TREE_TRASH).glob("landed.*"))) == 1

    emptied, document = server.run("--empty-trash")
    code, refused = server.run("--undo", str(server.landed))

    assert (emptied, document["failures"]) == (0, [])
    assert not list((server.lanes / trash.TREE_TRASH).glob("landed.*"))
    assert code == 1
    assert "was never reaped or is deleted" in refused["failures"][0]


def test_the_answer_for_one_repository_is_one_document_and_else_a_list(server: Server) -> None:
    _, one = server.run("--dry-run")
    _, several = server.configured([server.project()], "--dry-run")

    assert one["schema"] == several["schema"] == 1
    assert one["repository"] == str(server.checkout)
    del one["schema"]
    assert several["repositories"] == [one]
    assert (several["bytes_freed"], several["changed"]) == (0, False)


def test_a_path_that_is_not_text_keeps_its_bytes(server: Server) -> None:
    name = os.fsdecode(b"caf\xe9")
    server.lane(name, branch="odd")

    _, document = server.run()

    assert "caf\udce9" in judged(document)
    assert judged(document)["caf\udce9"] == ("reap", "ancestor", True)
    assert not os.path.lexists(server.lanes / name)


def test_one_project_is_chosen_by_its_name(server: Server) -> None:
    other = {"name": "other", "repository": "example/other", "path": str(server.root / "gone")}

    code, document = server.configured([other, server.project()], "--dry-run", "--project=sound")
    unknown, refused = server.configured([other, server.project()], "--project=sund")

    assert code == 0
    assert [one["repository"] for one in document["repositories"]] == [str(server.checkout)]
    assert unknown == 2
    assert "known are: other, sound" in refused["error"]


def test_of_a_project_without_a_checkout_nothing_is_reaped(server: Server) -> None:
    elsewhere = {"name": "elsewhere", "repository": "o/elsewhere"}

    code, document = server.configured([elsewhere, server.project()])

    assert code == 0
    assert [one["repository"] for one in document["repositories"]] == [str(server.checkout)]
    assert server.configured([elsewhere, server.project()], "--project=elsewhere")[0] == 2


def test_a_project_that_fails_is_told_and_stops_no_other(server: Server) -> None:
    other = {"name": "other", "repository": "example/other", "path": str(server.root / "gone")}

    code, document = server.configured([other, server.project()])

    assert code == 1
    assert str(server.root / "gone") in document["repositories"][0]["failures"][0]
    assert not server.landed.exists()


def test_what_is_no_repository_is_named(server: Server) -> None:
    (server.root / "empty").mkdir()

    failed, document = server.run("--repository", str(server.root / "empty"))
    wrong, refused = server.run("--repository", str(server.root / "gone"))

    assert failed == 1
    assert f"{server.root}/empty: git rev-parse" in document["failures"][0]
    assert wrong == 2
    assert "there is no such directory" in refused["error"]


def test_directories_unknown_to_git_are_told(server: Server) -> None:
    (server.lanes / "by-hand").mkdir()

    _, document = server.configured([server.project()], "--dry-run")

    assert document["repositories"][0]["unknown_directories"] == [str(server.lanes / "by-hand")]


def test_sizes_are_left_out_on_request(server: Server) -> None:
    _, measured = server.run("--dry-run")
    _, quick = server.run("--dry-run", "--no-sizes")

    sizes = {Path(one["path"]).name: one["bytes"] for one in measured["worktrees"]}
    assert min(sizes["landed"], sizes["open"]) > 0
    assert {one["bytes"] for one in quick["worktrees"]} == {None}
    assert judged(quick) == judged(measured)


def test_a_pushed_commit_is_safe_unless_that_is_switched_off(server: Server) -> None:
    server.git("push", "-q", "origin", "open")

    _, counted = server.run("--dry-run")
    _, strict = server.run("--dry-run", "--no-reap-pushed")

    assert judged(counted)["open"] == ("reap", "remote_ref", False)
    assert judged(strict)["open"] == ("keep", "not_landed", False)


def test_a_grace_period_can_be_given(server: Server) -> None:
    _, longer = server.run("--dry-run", f"--grace-seconds={3 * DAY}")
    wrong, refused = server.run("--dry-run", "--grace-seconds=nan")

    assert judged(longer)["landed"] == ("keep", "recently_active", False)
    assert wrong == 2
    assert "--grace-seconds is nan" in refused["error"]


def test_a_lock_of_a_dead_process_is_overcome_on_request_only(server: Server) -> None:
    server.git("worktree", "lock", "--reason", "lane pid 4194305", server.landed)

    _, plain = server.run("--dry-run")
    _, asked = server.run("--dry-run", "--reap-dead-locks")

    assert judged(plain)["landed"] == ("keep", "locked_by_dead_process", False)
    assert judged(asked)["landed"] == ("reap", "ancestor", False)


def test_one_more_name_can_be_disposable(server: Server) -> None:
    with (server.checkout / ".git/info/exclude").open("a") as file:
        file.write("generated/\n")
    (server.landed / "generated").mkdir()
    (server.landed / "generated/api.ts").write_text("x")

    _, plain = server.run("--dry-run")
    _, asked = server.run("--dry-run", "--disposable=generated/")

    assert judged(plain)["landed"] == ("keep", "ignored_files", False)
    assert judged(asked)["landed"] == ("reap", "ancestor", False)


@pytest.mark.parametrize(("options", "asked"), [((), True), (("--github=none",), False)])
def test_github_is_asked_about_the_remote_unless_that_is_switched_off(
    options: tuple[str, ...], asked: bool, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    about: list[str] = []

    def lookup(address: str, _repository: object, _settings: object) -> Any:
        about.append(address)
        return lambda heads: dict.fromkeys(heads, "pull request #7 with this commit was merged")

    monkeypatch.setattr(github, "merged_pull_requests", lookup)
    main(["reap", "--repository", str(server.checkout), "--dry-run", "--json", *options])
    document = json.loads(server.capsys.readouterr().out)

    reason = ("reap", "pull_request", False) if asked else ("keep", "not_landed", False)
    assert judged(document)["open"] == reason
    assert about == ([f"{server.root}/o.git"] if asked else [])


def test_another_branch_can_be_the_one_that_work_lands_on(server: Server) -> None:
    server.git("push", "-q", "origin", "open:release")

    _, document = server.run("--dry-run", "--no-reap-pushed", "--default-branch=release")

    assert judged(document)["open"] == ("reap", "ancestor", False)


def test_two_reaps_of_one_repository_exclude_each_other(server: Server) -> None:
    lock = reap.lock_path(f"{server.checkout}/.git", reap.PURPOSE)
    lock.parent.mkdir(exist_ok=True)
    with lock.open("w") as held:
        held.write("4711\n")
        held.flush()
        fcntl.flock(held, fcntl.LOCK_EX)
        code, document = server.run()

    assert code == 75
    assert "(process 4711)" in document["error"]
    assert server.landed.is_dir()


def test_nothing_is_reaped_while_a_lane_is_being_started(server: Server) -> None:
    (server.root / "locks").mkdir()
    with (server.root / "locks/factory-worktrees.lock").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        code, document = server.configured([server.project()])
        dry, _ = server.configured([server.project()], "--dry-run")

    assert (code, dry) == (75, 0)
    assert "factory-worktrees.lock" in document["error"]
    assert server.landed.is_dir()


def nightly(server: Server, *, dry_run: bool = False) -> dict[str, tuple[str, bool]]:
    """Return what the janitor's reap says of each worktree that goes or is freed."""
    whole = Section({"projects": [server.project()]}, "configuration")
    verdicts, failures = reaping.reap_all(whole, dry_run=dry_run)
    assert failures == []
    return {
        f"{one['verdict']} {Path(one['path']).name}": (one["reason"], one["reaped"])
        for one in verdicts
        if one["verdict"] != "keep"
    }


def test_what_the_janitor_reaps_can_be_had_back_until_its_time_is_over(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "statvfs", lambda _path: os.statvfs_result([0] * 11))
    night = effects.now()
    moved = nightly(server)
    (kept,) = (server.lanes / trash.TREE_TRASH).glob("landed.*")
    again = nightly(server)
    assert kept.is_dir()
    monkeypatch.setattr(effects, "now", lambda: night + DAY)

    foretold = nightly(server, dry_run=True)
    freed = nightly(server)

    assert (moved, again) == ({"reap landed": ("ancestor", True)}, {})
    assert foretold == {"free landed": ("retention_over", False)}
    assert freed == {"free landed": ("retention_over", True)}
    assert not kept.exists()


def test_a_disk_that_is_too_full_takes_the_oldest_back_before_its_time(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    second = server.lane("second")
    monkeypatch.setattr(os, "statvfs", lambda _path: os.statvfs_result([0] * 11))
    (second / "busy").touch()
    nightly(server)
    (second / "busy").unlink()
    night = effects.now()
    monkeypatch.setattr(effects, "now", lambda: night + 60)
    nightly(server)
    # One byte more than may be used.
    full = os.statvfs_result([1, 1, 1000, 149, 149, 0, 0, 0, 0, 255])
    monkeypatch.setattr(os, "statvfs", lambda _path: full)

    freed = nightly(server)

    assert freed == {"free landed": ("disk_full", True)}
    assert list((server.lanes / trash.TREE_TRASH).glob("second.*"))


def test_what_was_reaped_is_listed_with_its_reason_and_its_time(server: Server) -> None:
    server.run()

    code, document = server.run("--list")
    (entry,) = document["reaped"]
    _, text = server.told("--list")

    assert (code, entry["path"], entry["reason"]) == (0, str(server.landed), "ancestor")
    assert entry["until"] == entry["since"] + 600
    assert entry["bytes"] > 0
    assert str(server.landed) in text


def test_what_could_not_be_deleted_is_listed_and_counts_as_not_freed(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.run()
    real = effects.run
    monkeypatch.setattr(
        effects,
        "run",
        lambda argv, **options: real(["false"] if "rm" in argv else argv, **options),
    )
    whole = Section({"projects": [server.project()]}, "configuration")
    now = effects.now()
    monkeypatch.setattr(effects, "now", lambda: now + DAY)

    verdicts, failures = reaping.reap_all(whole, dry_run=False)
    _, document = server.run("--list")

    assert [one["reaped"] for one in verdicts if one["verdict"] == "free"] == [False]
    assert len(failures) == 1
    assert [(one["path"], one["until"]) for one in document["reaped"]] == [
        (str(server.landed), None)
    ]


@pytest.mark.parametrize("wanted", ["landed", "work/landed", "2000-01-01T00:00"])
def test_undo_takes_a_name_a_branch_or_a_time(wanted: str, server: Server) -> None:
    server.git("branch", "-m", "landed", "work/landed")
    server.run()

    later, _ = server.run("--undo", "2999-01-01")
    code, document = server.run("--undo", wanted)

    assert later == 1
    assert (code, document["restored"]) == (0, [str(server.landed)])
    assert server.git("status", "--porcelain", at=server.landed) == ""


def test_undo_gives_the_branch_back_that_was_deleted_meanwhile(server: Server) -> None:
    before = server.git("rev-parse", "landed")
    server.run()
    server.git("branch", "-D", "landed")

    server.run("--undo", str(server.landed))

    assert server.git("rev-parse", "HEAD", at=server.landed) == before


def test_undo_of_several_gives_back_all_but_what_has_no_place(server: Server) -> None:
    second = server.lane("second")
    server.run()
    server.git("branch", "-D", "landed")
    second.mkdir()

    code, document = server.run("--undo", "2001-01-01")

    assert (code, document["restored"]) == (1, [str(server.landed)])
    assert [str(second) in problem for problem in document["failures"]] == [True]
    assert server.git("branch", "--show-current", at=server.landed) == "landed"
    second.rmdir()
    assert server.run("--undo", "2001-01-01")[1]["restored"] == [str(second)]


def test_a_worktree_may_have_the_name_of_gits_own_directory(server: Server) -> None:
    server.lane("refs")
    (server.checkout / ".git/worktrees/refs/much").write_bytes(b"x" * (2 << 20))

    code, document = server.run()

    assert (code, judged(document)["refs"][0]) == (0, "reap")


@pytest.mark.parametrize("option", ["--empty-trash", "--list", "--undo=x"])
def test_a_worktree_is_named_only_to_be_reaped(server: Server, option: str) -> None:
    server.run()

    assert server.run(str(server.landed), option)[0] == 2
    assert len(server.run("--list")[1]["reaped"]) == 1


def test_one_named_worktree_is_judged_and_reaped_alone(server: Server) -> None:
    other = server.lane("other")

    _, kept = server.run(str(server.open))
    code, document = server.run(str(server.landed))
    unknown, _ = server.run(str(server.root))

    assert judged(kept) == {"open": ("keep", "not_landed", False)}
    assert (code, judged(document)) == (0, {"landed": ("reap", "ancestor", True)})
    assert other.is_dir()
    assert unknown == 2


def test_a_process_of_its_own_is_left_behind_to_unlink_later(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[tuple[list[str], dict[str, Any]]] = []
    monkeypatch.delenv("INVOCATION_ID")
    monkeypatch.setattr(os, "statvfs", lambda _path: os.statvfs_result([0] * 11))
    programs = SimpleNamespace(
        Popen=lambda argv, **options: started.append((argv, options)), DEVNULL=subprocess.DEVNULL
    )
    monkeypatch.setattr(reaping, "subprocess", programs)

    server.run()

    ((argv, options),) = started
    assert argv[:2] == [sys.executable, sys.argv[0]]
    assert {"reap", "--empty-trash", f"--repository={server.checkout}"} <= {*argv}
    (due,) = [word for word in argv if word.startswith("--when-due=")]
    assert 599 <= float(due.partition("=")[2]) <= 601
    assert options["start_new_session"]
    (moved,) = (server.lanes / trash.TREE_TRASH).glob("landed.*")
    assert moved.is_dir()


def test_what_is_left_behind_waits_for_its_time(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.run()
    slept: list[float] = []
    clock = [effects.now()]

    def sleep(seconds: float) -> None:
        assert list((server.lanes / trash.TREE_TRASH).glob("landed.*"))
        slept.append(seconds)
        clock[0] += seconds

    monkeypatch.setattr(effects, "now", lambda: clock[0])
    monkeypatch.setattr(reaping, "time", SimpleNamespace(sleep=sleep))
    code, _ = server.run("--empty-trash", "--when-due=600")

    assert code == 0
    assert [round(seconds, -1) for seconds in slept] == [600]
    assert not list((server.lanes / trash.TREE_TRASH).glob("landed.*"))


@pytest.mark.parametrize(("free", "gone"), [(15, False), (14, True)])
def test_a_nearly_full_disk_gets_its_space_back_at_once_and_it_is_said(
    free: int, gone: bool, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    full = os.statvfs_result([4096, 4096, 100, free, free, 0, 0, 0, 0, 255])
    monkeypatch.setattr(os, "statvfs", lambda _path: full)

    _, document = server.run()

    assert bool(list((server.lanes / trash.TREE_TRASH).glob("landed.*"))) == (not gone)
    assert any("too full" in warning for warning in document["warnings"]) == gone


def test_it_is_put_back_after_a_kill_and_judged_anew(server: Server) -> None:
    place = server.lanes / trash.TREE_TRASH
    place.mkdir(mode=0o700)
    server.landed.rename(place / "landed.1")  # and git's record of it is where it was
    (place / "landed.1/notes").write_text("mine")

    code, document = server.run()

    assert code == 0
    assert judged(document)["landed"] == ("keep", "untracked_files", False)
    assert (server.landed / "notes").read_text() == "mine"
