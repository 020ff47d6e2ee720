"""Plans on small real repositories: worktrees in worktrees, and refs kept in tables."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import committing
import pytest
from mounting import mounted

from factory import effects
from factory.core.base import mounts, presence
from factory.core.base.git import Git, GitError
from factory.core.base.ports import Completed
from factory.core.worktrees import reap, survey, trash
from factory.core.worktrees.model import ReapReport, Verdict
from factory.core.worktrees.settings import Reap

POLICY = Reap(grace_seconds=0)


def undo(path: str, common_dir: str) -> None:
    (entry,) = trash.chosen(path, trash.entries(common_dir))
    trash.put_back(entry, common_dir)


class World:
    """An origin and a checkout; lanes begin where the default branch is."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.checkout = root / "checkout"
        self.task = reap.ReapTask(str(self.checkout))
        origin = root / "origin.git"
        subprocess.run(["git", "init", "-q", "--bare", "-b", "main", origin], check=True)
        subprocess.run(["git", "clone", "-q", origin, self.checkout], check=True)
        self.git("checkout", "-q", "-B", "main")
        self.git("commit", "-q", "--allow-empty", "-m", "Begin")
        self.git("push", "-q", "origin", "main")

    def git(self, *words: str | Path, at: Path | None = None) -> str:
        return committing.git(at or self.checkout, *words)

    def lane(self, path: Path) -> Path:
        self.git("worktree", "add", "-q", "-b", path.name, path)
        return path

    def plan(self, run: Any = effects.run) -> dict[str, Verdict]:
        report = reap.plan(self.task, POLICY, reap.ReapTools(run, effects.now))
        return by_name(report)

    def reap(self) -> dict[str, Verdict]:
        tools = reap.ReapTools(effects.run, effects.now)
        reap.recover(self.task, tools)
        report = reap.plan(self.task, POLICY, tools)
        reap.carry_out(report, self.task, POLICY, tools)
        assert report.failures == []
        return by_name(report)


def by_name(report: ReapReport) -> dict[str, Verdict]:
    return {Path(verdict.listed.path).name: verdict for verdict in report.verdicts}


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    # Other processes of the machine are not the subject here.
    monkeypatch.setattr(presence, "find", lambda *_: presence.Occupants())
    return World(tmp_path.resolve())


@pytest.mark.parametrize("pattern", ["lanes/\n", "lanes/inner\n"])
def test_an_outer_worktree_follows_when_the_trash_of_the_inner_is_empty(
    pattern: str, world: World
) -> None:
    outer = world.lane(world.root / "outer")
    with Path(world.checkout, ".git/info/exclude").open("a") as file:
        file.write(pattern)
    inner = world.lane(outer / "lanes/inner")

    first = world.reap()
    assert first["inner"].reaped
    assert (first["outer"].reap, first["outer"].reason) == (False, "contains_worktree")
    # The inner one can be had back, so its place has to stay.
    second = world.reap()
    assert second["outer"].reason in {"ignored_files", "nested_repository"}
    assert not second["outer"].reap
    undo(str(inner), f"{world.checkout}/.git")
    assert world.reap()["inner"].reaped

    assert trash.empty(f"{world.checkout}/.git", effects.now(), effects.run) == []
    assert world.reap()["outer"].reaped
    assert not outer.exists()


def test_a_trash_that_holds_a_tree_of_another_repository_keeps_the_outer(world: World) -> None:
    outer = world.lane(world.root / "outer")
    other = outer / trash.TREE_TRASH / "other.1"
    other.mkdir(parents=True)
    (outer / trash.TREE_TRASH / ".gitignore").write_text("*\n")
    (other / ".git").write_text("gitdir: /another/repository/.git/worktrees/other\n")

    verdict = world.plan()["outer"]

    assert (verdict.reap, verdict.reason) == (False, "ignored_files")


@pytest.mark.parametrize("what", ["file", "link", "folder"])
def test_anything_else_in_an_ignored_folder_keeps_the_outer(what: str, world: World) -> None:
    outer = world.lane(world.root / "outer")
    with Path(world.checkout, ".git/info/exclude").open("a") as file:
        file.write("lanes/\n")
    place = outer / "lanes" / trash.TREE_TRASH
    place.mkdir(parents=True)
    (place / ".gitignore").write_text("*\n")
    assert world.plan()["outer"].reap
    if what == "file":
        (place / "notes.md").write_text("mine")
    elif what == "link":
        (place.parent / "elsewhere").symlink_to("/")
    else:
        (place / "deep").mkdir()
        (place / "deep/.gitignore").write_text("*.o")

    verdict = world.plan()["outer"]

    assert (verdict.reap, verdict.reason) == (False, "ignored_files")


def private(world: World, lane: Path) -> str:
    """Give the worktree a ref of its own to a commit that nothing else holds."""
    tree = world.git("rev-parse", "HEAD^{tree}")
    commit = world.git("commit-tree", "-m", "Kept", "-p", "HEAD", tree)
    world.git("update-ref", "refs/worktree/mine", commit, at=lane)
    return commit


def test_a_ref_of_its_own_keeps_it(world: World) -> None:
    lane = world.lane(world.root / "lane")
    assert world.plan()["lane"].reap

    commit = private(world, lane)

    verdict = world.plan()["lane"]
    assert (verdict.reap, verdict.reason) == (False, "private_refs")
    assert commit in verdict.detail
    world.git("update-ref", "refs/worktree/mine", "HEAD", at=lane)
    assert world.plan()["lane"].reap


Answer = Callable[[Sequence[str | bytes]], "Completed | None"]


def instead(answer: Answer) -> Any:
    """Return a ``Run`` that answers some calls itself."""

    def run(argv: Sequence[str | bytes], **options: Any) -> Completed:
        return answer(argv) or effects.run(argv, **options)

    return run


def in_tables(world: World, lane: Path) -> None:
    """Make it look as if git kept this worktree's refs in tables; files of refs it has none."""
    (world.checkout / ".git/worktrees" / lane.name / "reftable").mkdir()


def test_refs_in_tables_are_asked_of_git(world: World) -> None:
    lane = world.lane(world.root / "lane")
    in_tables(world, lane)
    assert world.plan()["lane"].reap

    commit = private(world, lane)
    # Had git kept it in a table, there would be no such file.
    held = world.checkout / ".git/worktrees/lane/refs/worktree/mine"
    answer = f"{held.read_text().strip()}\n".encode()
    held.unlink()

    def tables(argv: Sequence[str | bytes]) -> Completed | None:
        return Completed(0, answer, b"") if "refs/worktree" in argv else None

    verdict = world.plan(instead(tables))["lane"]
    assert (verdict.reap, verdict.reason) == (False, "private_refs")
    assert commit in verdict.detail


def test_a_worktree_whose_own_refs_cannot_be_read_stays_and_others_go(world: World) -> None:
    blind, other = world.lane(world.root / "blind"), world.lane(world.root / "other")
    in_tables(world, blind)

    def broken(argv: Sequence[str | bytes]) -> Completed | None:
        return Completed(128, b"", b"fatal: bad table") if "refs/worktree" in argv else None

    verdicts = world.plan(instead(broken))
    assert (verdicts["blind"].reap, verdicts["blind"].reason) == (False, "unknown")
    assert "bad table" in verdicts["blind"].detail
    assert verdicts[other.name].reap


def test_real_tables(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = subprocess.run(
        ["git", "init", "-q", "--ref-format=reftable", tmp_path / "probe"],
        check=False,
        capture_output=True,
    )
    if made.returncode:
        pytest.skip("this git knows no reftable")
    monkeypatch.setenv("GIT_DEFAULT_REF_FORMAT", "reftable")
    monkeypatch.setattr(presence, "find", lambda *_: presence.Occupants())
    world = World(tmp_path.resolve())
    lane = world.lane(world.root / "lane")
    assert world.plan()["lane"].reap
    commit = private(world, lane)

    common_dir = f"{world.checkout}/.git"
    items = survey.listed(Git(effects.run, str(world.checkout)), common_dir)
    assert survey.private_commits(Git(effects.run, str(world.checkout)), items[1]) == [commit]
    assert world.plan()["lane"].reason == "private_refs"
    world.git("update-ref", "-d", "refs/worktree/mine", at=lane)
    assert world.reap()["lane"].reaped
    undo(str(lane), common_dir)
    assert world.git("symbolic-ref", "--short", "HEAD", at=lane) == "lane"


def test_a_remote_that_does_not_answer_keeps_all(world: World) -> None:
    world.lane(world.root / "lane")
    (world.root / "origin.git").rename(world.root / "moved.git")

    verdict = world.plan()["lane"]

    assert (verdict.reap, verdict.reason) == (False, "remote_unreachable")


def with_dependencies(world: World) -> Path:
    """Return a lane with an old, ignored ``node_modules``."""
    lane = world.lane(world.root / "lane")
    with Path(world.checkout, ".git/info/exclude").open("a") as file:
        file.write("node_modules/\nclone/\n")
    package = lane / "node_modules/package"
    package.mkdir(parents=True)
    (package / "index.js").write_text("x")
    return lane


@pytest.mark.parametrize("place", ["node_modules", "node_modules/package/deep"])
@pytest.mark.parametrize("bare", [False, True])
def test_a_repository_among_the_dependencies_keeps_it(place: str, bare: bool, world: World) -> None:
    lane = with_dependencies(world)
    (lane / "node_modules/package/refs").mkdir()  # only bears the name
    assert world.plan()["lane"].reap

    world.git("init", "-q", *(["--bare"] if bare else []), lane / place)

    verdict = world.plan()["lane"]
    assert (verdict.reap, verdict.reason) == (False, "nested_repository")
    assert verdict.detail == str(lane / place)


def test_a_file_written_in_place_among_the_dependencies_is_activity(world: World) -> None:
    lane = with_dependencies(world)
    past = effects.now() - 10_000
    for directory, folders, files in os.walk(world.root):
        for name in [*folders, *files]:
            os.utime(Path(directory, name), (past, past), follow_symlinks=False)
    os.utime(world.root, (past, past))
    tools = reap.ReapTools(effects.run, effects.now)

    def verdict(grace_seconds: float) -> Verdict:
        policy = Reap(grace_seconds=grace_seconds)
        return by_name(reap.plan(world.task, policy, tools))["lane"]

    assert verdict(9_000).reap
    with (lane / "node_modules/package/index.js").open("w") as file:
        file.write("y")  # the directory does not change with it
    assert (verdict(9_000).reap, verdict(9_000).reason) == (False, "recently_active")
    os.utime(lane / "node_modules/package/index.js", (past, past))
    assert verdict(9_000).reap


def test_something_mounted_among_the_dependencies_keeps_it(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    lane = with_dependencies(world)
    monkeypatch.setattr(mounts, "points", lambda: ["/", str(lane / "node_modules/package")])

    verdict = world.plan()["lane"]

    assert (verdict.reap, verdict.reason) == (False, "mount_inside")


def test_something_mounted_among_the_sources_keeps_it_though_its_content_is_the_same(
    world: World,
) -> None:
    lane = world.lane(world.root / "lane")
    (lane / "data").mkdir()
    (lane / "data/table").write_text("rows")
    world.git("add", ".", at=lane)
    world.git("commit", "-q", "-m", "Data", at=lane)
    world.git("push", "-q", "origin", "HEAD:main", at=lane)
    elsewhere = world.root / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "table").write_text("rows")
    report = reap.plan(world.task, POLICY, reap.ReapTools(effects.run, effects.now))
    assert by_name(report)["lane"].reap
    with mounted(elsewhere, lane / "data"):
        assert world.plan()["lane"].reason == "mount_inside"

        # One that came after the plan is seen as well.
        reap.carry_out(report, world.task, POLICY, reap.ReapTools(effects.run, effects.now))
        assert by_name(report)["lane"].reason == "changed_since_plan"
    assert (elsewhere / "table").exists()


def test_the_trash_is_not_emptied_through_a_mount(world: World) -> None:
    lane = world.lane(world.root / "lane")
    assert world.reap()["lane"].reaped
    (tree,) = (lane.parent / trash.TREE_TRASH).glob("lane.*")
    elsewhere = world.root / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "table").write_text("rows")
    (tree / "data").mkdir()
    with mounted(elsewhere, tree / "data"):
        (problem,) = trash.empty(f"{world.checkout}/.git", effects.now(), effects.run)
        assert "unmount it first" in problem
        assert (elsewhere / "table").exists()
    assert trash.empty(f"{world.checkout}/.git", effects.now(), effects.run) == []
    assert (elsewhere / "table").exists()


IGNORED = [
    # rules of .gitignore, tracked files, ignored files, and why the lane stays
    (".env", ["build/webpack.config.js"], ["build/.env"], "ignored_files"),
    ("*.sqlite", [], ["services/out/prod.sqlite"], "ignored_files"),
    ("dist/*\n.env", ["dist/.gitkeep"], ["dist/.env"], "ignored_files"),
    ("dist/*\n!dist/.gitkeep", ["dist/.gitkeep"], ["dist/app.js"], ""),
    ("/packages/*/build/**", ["packages/a/index.js"], ["packages/a/build/app.js"], ""),
    ("dist/", [], ["dist/app.js"], ""),
    ("*.pyc", ["src/a.py"], ["src/__pycache__/a.pyc"], ""),
    ("dist/", [], ["dist/.hg/store/data"], "nested_repository"),
]


@pytest.mark.parametrize(("rules", "tracked", "ignored", "reason"), IGNORED)
def test_what_is_ignored_goes_only_with_a_directory_that_is_ignored_itself(
    rules: str, tracked: list[str], ignored: list[str], reason: str, world: World
) -> None:
    lane = world.lane(world.root / "lane")
    for name in (".gitignore", *tracked, *ignored):
        (lane / name).parent.mkdir(parents=True, exist_ok=True)
        (lane / name).write_text(f"{rules}\n" if name == ".gitignore" else "x")
    world.git("add", "--force", ".gitignore", *tracked, at=lane)
    world.git("commit", "-q", "-m", "Rules", at=lane)
    world.git("push", "-q", "origin", "HEAD:main", at=lane)

    verdict = world.plan()["lane"]

    assert verdict.reap is not bool(reason)
    if reason:
        assert verdict.reason == reason


def _case(lane: Path) -> None:
    (lane / "readme.md").write_text("mine")


def _mode(lane: Path) -> None:
    (lane / "README.md").chmod(0o755)


def _content(lane: Path) -> None:
    (lane / "README.md").write_text("# APP\n")


def _same_size_and_time(lane: Path) -> None:
    before = (lane / "README.md").stat()
    subprocess.run(["sleep", "1"], check=True)  # git compares times of change by the second
    (lane / "README.md").write_text("# APP\n")
    os.utime(lane / "README.md", ns=(before.st_atime_ns, before.st_mtime_ns))


BLINDING = [
    (["core.ignoreCase=true"], _case),
    (["core.fileMode=false"], _mode),
    (["core.trustCtime=false", "core.checkStat=minimal"], _same_size_and_time),
    (["extensions.worktreeConfig=true", "core.worktree={root}/copy"], _content),
    (["filter.a=b.clean=printf '# app\\n'"], _content),
]


@pytest.mark.parametrize(("settings", "change"), BLINDING)
def test_no_setting_of_the_repository_hides_a_change(
    settings: list[str], change: Callable[[Path], None], world: World
) -> None:
    lane = world.lane(world.root / "lane")
    (lane / "README.md").write_text("# app\n")
    os.utime(lane / "README.md", (1e9, 1e9))  # long before git looked at it
    (lane / ".gitattributes").write_text("README.md filter=a=b\n")
    world.git("add", ".", at=lane)
    world.git("commit", "-q", "-m", "Begin", at=lane)
    world.git("push", "-q", "origin", "HEAD:main", at=lane)
    (world.root / "copy").mkdir()
    for name in ("README.md", ".gitattributes"):
        (world.root / "copy" / name).write_text((lane / name).read_text())
    for setting in settings:
        name, _equals, value = setting.rpartition("=")
        world.git("config", name, value.format(root=world.root))
    assert world.plan()["lane"].reap
    change(lane)

    assert not world.plan()["lane"].reap


# What a full disk or a power cut leaves of a file, and the files of a lane that it may hit.
ZEROS = b"\0" * 41
HIT = ["{lane}/.git", *("{admin}/" + name for name in (
    "HEAD", "gitdir", "commondir", "index", "ORIG_HEAD", "logs/HEAD", "locked", "config.worktree",
)), "{git}/refs/heads/odd", "{git}/objects/{object}"]  # fmt: skip


@pytest.mark.parametrize("file", HIT)
def test_a_worktree_that_cannot_be_read_keeps_itself_and_no_other(file: str, world: World) -> None:
    odd = world.lane(world.root / "odd")
    world.lane(world.root / "fine")
    world.git("commit", "-q", "--allow-empty", "-m", "Odd", at=odd)
    object_id = world.git("rev-parse", "HEAD", at=odd)
    git = world.checkout / ".git"
    loose = f"{object_id[:2]}/{object_id[2:]}"
    hit = Path(file.format(lane=odd, git=git, admin=git / "worktrees/odd", object=loose))
    hit.parent.mkdir(exist_ok=True)
    hit.unlink(missing_ok=True)
    hit.write_bytes(ZEROS)

    verdicts = world.plan()

    assert verdicts["fine"].reap
    assert not any(verdict.reap for name, verdict in verdicts.items() if name != "fine")


def test_dependencies_that_nothing_can_look_at_keep_it(world: World) -> None:
    with_dependencies(world)

    def broken(argv: Sequence[str | bytes]) -> Completed | None:
        return Completed(1, b"", b"find: Permission denied") if argv[0] == "find" else None

    verdict = world.plan(instead(broken))["lane"]

    assert (verdict.reap, verdict.reason) == (False, "unreadable")
    assert "Permission denied" in verdict.detail


def test_a_tracked_directory_with_a_disposable_name_is_looked_at_like_any_other(
    world: World,
) -> None:
    lane = world.lane(world.root / "lane")
    (lane / "build/clone").mkdir(parents=True)
    (lane / "build/rules.mk").write_text("all:\n")
    world.git("add", ".", at=lane)
    world.git("commit", "-q", "-m", "Build", at=lane)
    world.git("push", "-q", "origin", "HEAD:main", at=lane)
    tools = reap.ReapTools(effects.run, effects.now)
    report = reap.plan(world.task, POLICY, tools)
    assert by_name(report)["lane"].reap

    # A change since shows there, too.
    with (lane / "build/rules.mk").open("a") as file:
        file.write("clean:\n")
    reap.carry_out(report, world.task, POLICY, tools)

    assert by_name(report)["lane"].reason == "changed_since_plan"
    assert (lane / "build/rules.mk").read_text().endswith("clean:\n")


def _visit(directories: Iterable[str], *, moved: bool) -> presence.Occupants:
    inside = [path for path in directories if (trash.TREE_TRASH in path) is moved]
    return presence.Occupants({path: ["codex (7)"] for path in inside if "/lane" in path})


def walk_in(directories: Iterable[str]) -> presence.Occupants:
    return _visit(directories, moved=False)


def walk_in_at_the_last_moment(directories: Iterable[str]) -> presence.Occupants:
    return _visit(directories, moved=True)


@pytest.mark.parametrize("occupants", [walk_in, walk_in_at_the_last_moment])
def test_a_process_that_walks_in_after_the_plan_saves_its_worktree(
    occupants: trash.Look, world: World
) -> None:
    lane, other = world.lane(world.root / "lane"), world.lane(world.root / "other")
    tools = reap.ReapTools(effects.run, effects.now)
    report = reap.plan(world.task, POLICY, tools)
    assert by_name(report)["lane"].reap

    reap.carry_out(report, world.task, POLICY, replace(tools, occupants=occupants))

    verdict = by_name(report)["lane"]
    assert (verdict.reap, verdict.reaped, verdict.reason) == (False, False, "changed_since_plan")
    assert verdict.detail == "process_inside: codex (7)"
    assert (lane / ".git").is_file()
    assert str(lane) in world.git("worktree", "list")
    assert by_name(report)["other"].reaped
    assert not other.exists()


def _written(_world: World, lane: Path) -> None:
    (lane / "notes.md").write_text("just in time")


def _committed(world: World, lane: Path) -> None:
    world.git("commit", "-q", "--allow-empty", "-m", "Just in time", at=lane)


def _locked(world: World, lane: Path) -> None:
    world.git("worktree", "lock", lane)


def _begun(world: World, lane: Path) -> None:
    (world.checkout / ".git/worktrees" / lane.name / "MERGE_HEAD").write_text("x")


# what happened after the plan, how the answer begins
SINCE: list[tuple[Callable[[World, Path], None], str]] = [
    (_written, "something in it changed"),
    (_committed, "head_moved: "),
    (_locked, "locked: "),
    (_begun, "operation_in_progress: "),
]


@pytest.mark.parametrize(("change", "told"), SINCE)
def test_what_changed_since_the_plan_stays(
    change: Callable[[World, Path], None], told: str, world: World
) -> None:
    lane = world.lane(world.root / "lane")
    tools = reap.ReapTools(effects.run, effects.now)
    report = reap.plan(world.task, POLICY, tools)
    assert by_name(report)["lane"].reap

    change(world, lane)
    reap.carry_out(report, world.task, POLICY, tools)

    verdict = by_name(report)["lane"]
    assert verdict.reason == "changed_since_plan"
    assert verdict.detail.startswith(told)
    assert lane.is_dir()


def test_what_cannot_be_moved_stays_and_is_told(world: World) -> None:
    lane, other = world.lane(world.root / "a/lane"), world.lane(world.root / "b/other")
    (lane.parent / trash.TREE_TRASH).write_text("in its place")
    tools = reap.ReapTools(effects.run, effects.now)
    report = reap.plan(world.task, POLICY, tools)

    reap.carry_out(report, world.task, POLICY, tools)

    assert by_name(report)["lane"].reason == "failed"
    assert "cannot be moved" in report.failures[0]
    assert lane.is_dir()
    assert not other.exists()


def test_who_may_be_anywhere_keeps_all(world: World) -> None:
    world.lane(world.root / "lane")
    tools = reap.ReapTools(
        effects.run, effects.now, occupants=lambda _paths: presence.Occupants({}, ["sudo (8)"])
    )

    verdict = by_name(reap.plan(world.task, POLICY, tools))["lane"]

    assert (verdict.reap, verdict.reason) == (False, "processes_unknown")
    assert "sudo (8)" in verdict.detail


def test_worktrees_below_a_root_of_paperclip_stay(world: World) -> None:
    world.lane(world.root / "paperclip/lane")
    world.lane(world.root / "other")
    policy = replace(POLICY, paperclip_roots=(str(world.root / "paperclip"),))

    verdicts = by_name(reap.plan(world.task, policy, reap.ReapTools(effects.run, effects.now)))

    assert (verdicts["lane"].reap, verdicts["lane"].reason) == (False, "paperclip_workspace")
    assert verdicts["other"].reap


def _filter(world: World, program: str) -> None:
    world.git("config", "filter.evil.clean", program)
    Path(world.checkout, ".git/info/attributes").write_text("* filter=evil\n")


def _monitor(world: World, program: str) -> None:
    world.git("config", "core.fsmonitor", program)


def _hook(world: World, program: str) -> None:
    hooks = world.root / "hooks"
    hooks.mkdir()
    (hooks / "reference-transaction").symlink_to(program)
    world.git("config", "core.hooksPath", hooks)


def _merge_driver(world: World, program: str) -> None:
    world.git("config", "merge.evil.driver", program)
    Path(world.checkout, ".git/info/attributes").write_text("* merge=evil\n")


@pytest.mark.parametrize("configure", [_filter, _monitor, _hook, _merge_driver])
def test_no_program_of_the_configuration_runs(
    configure: Callable[[World, str], None], world: World
) -> None:
    text = world.checkout / "text"
    text.write_text("1\n2\n3\n4\n5\n6\n7\n8\n")
    world.git("add", ".")
    world.git("commit", "-q", "-m", "Text")
    lane = world.lane(world.root / "lane")
    (lane / "text").write_text(text.read_text().replace("1", "one"))
    world.git("commit", "-q", "-a", "-m", "One", at=lane)
    # Main moves under the lane's file, so that only a merge shows that it landed.
    text.write_text(text.read_text().replace("8", "eight"))
    world.git("commit", "-q", "-a", "-m", "Eight")
    world.git("merge", "-q", "--squash", "lane")
    world.git("commit", "-q", "-m", "Land")
    world.git("push", "-q", "origin", "main")
    world.git("checkout", "-q", "--detach", at=lane)
    world.git("branch", "-q", "-D", "lane")
    ran, program = world.root / "ran", world.root / "program"
    program.write_text(f"#!/bin/sh\ntouch {ran}\ncat\n")
    program.chmod(0o755)
    configure(world, str(program))
    (lane / "text").touch()  # git has to read it again

    verdict = world.reap()["lane"]

    assert not ran.exists()
    # A merge whose driver is switched off conflicts, and proves nothing.
    assert verdict.reason == ("not_landed" if configure is _merge_driver else "replay")


def test_a_user_reaps_only_what_is_his(
    open_path: Path, as_nobody: Callable[[Callable[[], Any]], Any]
) -> None:
    if os.geteuid() != 0:
        pytest.skip("needs a repository of somebody else")
    subprocess.run(["git", "init", "-q", open_path / "checkout"], check=True)
    subprocess.run(["chmod", "-R", "a+rX", open_path / "checkout"], check=True)
    task = reap.ReapTask(str(open_path / "checkout"))

    def story() -> str:
        os.environ["HOME"] = "/nonexistent"
        try:
            reap.plan(task, POLICY, reap.ReapTools(effects.run, effects.now))
        except GitError as error:
            return str(error)
        return "it was reaped"

    assert "dubious ownership" in as_nobody(story)


@pytest.mark.parametrize("on_a_branch", [False, True])
def test_a_commit_that_landed_under_another_id_is_kept_though_no_branch_holds_it(
    on_a_branch: bool, world: World
) -> None:
    lane = world.lane(world.root / "lane")
    (lane / "work").write_text("x")
    world.git("add", ".", at=lane)
    world.git("commit", "-q", "-m", "Work", at=lane)
    head = world.git("rev-parse", "HEAD", at=lane)
    world.git("commit", "-q", "--allow-empty", "-m", "Of main")
    world.git("cherry-pick", head)
    world.git("push", "-q", "origin", "main")
    if not on_a_branch:
        world.git("checkout", "-q", "--detach", at=lane)
        world.git("branch", "-q", "-D", "lane")

    assert world.reap()["lane"].reaped

    kept = (
        "refs/heads/lane"
        if on_a_branch
        else f"refs/reaped/{int(effects.now() // reap.DAY_SECONDS)}/{head}"
    )
    refs = world.git("for-each-ref", "--format=%(refname)", "--points-at", head)
    assert refs.split() == [kept]


def test_the_table_of_mounts_is_read_as_the_kernel_writes_it(tmp_path: Path) -> None:
    assert "/" in mounts.points()
    table = tmp_path / "mountinfo"
    line = rb"36 35 98:0 /mnt1 /mnt/with\040space\134 rw,noatime - ext3 /dev/root rw"
    table.write_bytes(line + b"\n")
    assert mounts.points(str(table)) == ["/mnt/with space\\"]


def test_what_landed_upstream_of_a_fork_goes(world: World) -> None:
    lane = world.lane(world.root / "lanes/lane")
    (lane / "file").write_text("work")
    world.git("add", "file", at=lane)
    world.git("commit", "-q", "-m", "Work", at=lane)
    upstream = world.root / "upstream.git"
    world.git("clone", "-q", "--bare", world.root / "origin.git", upstream)
    world.git("remote", "add", "upstream", upstream)
    assert world.plan()["lane"].reason == "not_landed"
    (world.checkout / "file").write_text("work")
    world.git("add", "file")
    world.git("commit", "-q", "-m", "Land")

    world.git("push", "-q", "upstream", "main")

    assert world.plan()["lane"].reason == "snapshot"


def test_another_remote_that_does_not_answer_is_told_and_stops_nothing(world: World) -> None:
    world.lane(world.root / "lanes/lane")
    world.git("remote", "add", "upstream", world.root / "nowhere.git")
    tools = reap.ReapTools(effects.run, effects.now)

    report = reap.plan(world.task, POLICY, tools)

    assert by_name(report)["lane"].reason == "ancestor"
    (warning,) = report.warnings
    assert "upstream" in warning


def test_a_commit_that_only_the_reflog_knows_is_kept_for_a_time(world: World) -> None:
    lane = world.lane(world.root / "lanes/lane")
    world.git("commit", "-q", "--allow-empty", "-m", "Given up", at=lane)
    given_up = world.git("rev-parse", "HEAD", at=lane)
    world.git("reset", "-q", "--hard", "main", at=lane)
    world.git("update-ref", "-d", "ORIG_HEAD", at=lane)

    verdicts = world.reap()
    kept = world.git("for-each-ref", "--format=%(objectname)", "refs/reaped")
    later = reap.ReapTools(effects.run, lambda: effects.now() + 91 * reap.DAY_SECONDS)
    reap.carry_out(ReapReport(str(world.checkout)), world.task, POLICY, later)

    assert verdicts["lane"].reaped
    assert kept == given_up
    assert world.git("for-each-ref", "refs/reaped") == ""
