"""What git itself says of a lane's work: honest, hostile, and with a conflict resolved."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import agents
import pytest

from factory import effects
from factory.core.base import guarded
from factory.core.base.configuration import Section
from factory.core.base.settings import read
from factory.core.lanes import collect, forge
from factory.core.lanes.collect import Start
from factory.core.lanes.settings import LanesSettings
from factory.lanes import delivery, engine, reaping, results, supervisor

LANE = "demo-7-0a1b2c3d"
IDENTITY = {
    **os.environ,
    **dict.fromkeys(("GIT_AUTHOR_NAME", "GIT_COMMITTER_NAME"), "a"),
    **dict.fromkeys(("GIT_AUTHOR_EMAIL", "GIT_COMMITTER_EMAIL"), "a@example.com"),
}


@dataclass
class Place:
    """A repository at GitHub, this side's bare one, and a lane's clone."""

    root: Path

    def git(self, *words: str, at: str = "lane", check: bool = True) -> str:
        identity = ["-c", "user.name=a", "-c", "user.email=a@example.com", "-c", "core.pager=cat"]
        argv = ["git", *identity, "-C", str(self.root / at), *words]
        done = subprocess.run(argv, capture_output=True, text=True, check=False)
        assert not check or done.returncode == 0, done.stderr
        return done.stdout.strip()

    def commit(self, path: str, text: str, at: str = "lane") -> str:
        target = self.root / at / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text)
        self.git("add", "--all", at=at)
        self.git("commit", "--quiet", "--message", f"Change {path}", at=at)
        return self.git("rev-parse", "HEAD", at=at)

    @property
    def results(self) -> collect.LaneMirror:
        return collect.LaneMirror(effects.run, self.root / "results.git", str(self.root / "hub"))

    def bundle(self) -> Path:
        path = self.root / "lane.bundle"
        self.git("bundle", "create", "--quiet", str(path), "refs/heads/lane")
        return path

    def copy(self, root: Path) -> Place:
        """Return the same at another place; copying costs less than making."""
        shutil.copytree(self.root, root, symlinks=True)
        return Place(root)


@pytest.fixture(scope="module")
def fresh(tmp_path_factory: pytest.TempPathFactory) -> Place:
    found = Place(tmp_path_factory.mktemp("fresh"))
    for name in ("hub", "lane"):
        (found.root / name).mkdir()
    found.git("init", "--quiet", "--initial-branch=main", at="hub")
    found.commit("a.txt", "one\n", at="hub")
    found.git("clone", "--quiet", str(found.root / "hub"), ".")
    found.git("checkout", "--quiet", "-b", "lane")
    return found


@pytest.fixture
def place(tmp_path: Path, fresh: Place) -> Place:
    return fresh.copy(tmp_path / "place")


def test_an_honest_bundle_says_what_it_holds(place: Place) -> None:
    start = place.results.update("main")
    head = place.commit("b.txt", "two\n")

    work = place.results.take(place.bundle(), start, LANE)

    assert (work.head, work.commits_count, work.paths) == (head, 1, ("b.txt",))
    assert work.subject == "Change b.txt"
    assert work.is_merged


def test_a_bundle_that_does_not_build_on_the_base_is_refused(place: Place) -> None:
    start = place.results.update("main")
    place.git("checkout", "--quiet", "--orphan", "other")
    place.commit("b.txt", "two\n")
    place.git("branch", "--force", "lane", "other")

    with pytest.raises(collect.CollectError, match="does not build on"):
        place.results.take(place.bundle(), start, LANE)
    assert LANE not in place.results.text("for-each-ref")


def test_a_bundle_with_a_repository_inside_a_tree_is_refused(place: Place) -> None:
    """Hooks and settings that a later checkout would put in force."""
    start = place.results.update("main")
    blob = place.git("rev-parse", "HEAD:a.txt")
    argv = ["git", "-C", str(place.root / "lane"), "mktree"]

    def tree(line: str) -> str:
        done = subprocess.run(argv, input=line, capture_output=True, text=True, check=True)
        return done.stdout.strip()

    hooks = tree(f"100755 blob {blob}\tpost-checkout\n")
    top = tree(f"040000 tree {tree(f'040000 tree {hooks}{chr(9)}hooks{chr(10)}')}\t.git\n")
    head = place.git("commit-tree", "-p", "HEAD", "-m", "Hide", top)
    place.git("update-ref", "refs/heads/lane", head)

    with pytest.raises(collect.CollectError, match="hasDotgit"):
        place.results.take(place.bundle(), start, LANE)
    assert LANE not in place.results.text("for-each-ref")


def test_nothing_of_a_bundle_is_run_on_this_side(place: Place) -> None:
    start = place.results.update("main")
    place.results.ensure()
    proof = place.root / "ran"
    for name in ("post-commit", "reference-transaction", "post-update", "pre-push"):
        hook = place.root / "lane/.git/hooks" / name
        hook.write_text(f"#!/bin/sh\ntouch {proof}.$(basename $PWD)\n")
        hook.chmod(0o755)
    place.git("config", "core.fsmonitor", f"touch {proof}.fsmonitor", check=False)
    place.commit("b.txt", "two\n")
    bundle = place.bundle()
    # Nor what somebody has put into the repository on this side.
    for name in ("reference-transaction", "pre-push"):
        hook = place.results.directory / "hooks" / name
        hook.write_text(f"#!/bin/sh\ntouch {proof}.$(basename $PWD)\n")
        hook.chmod(0o755)
    for path in place.root.glob("ran*"):
        path.unlink()

    work = place.results.take(bundle, start, LANE)
    place.git("config", "receive.denyCurrentBranch", "ignore", at="hub")
    place.results.push(work.head, "lane/7-0a1b2c3d")

    assert list(place.root.glob("ran*")) == []


def test_a_branch_that_is_anothers_is_never_overwritten(place: Place) -> None:
    start = place.results.update("main")
    place.commit("b.txt", "two\n")
    work = place.results.take(place.bundle(), start, LANE)
    place.git("checkout", "--quiet", "-b", "lane/7-0a1b2c3d", at="hub")
    theirs = place.commit("c.txt", "three\n", at="hub")
    place.git("checkout", "--quiet", "main", at="hub")

    with pytest.raises(collect.CollectError, match="git push"):
        place.results.push(work.head, "lane/7-0a1b2c3d")
    assert place.git("rev-parse", "lane/7-0a1b2c3d", at="hub") == theirs


def test_what_is_no_bundle_is_refused(place: Place) -> None:
    start = place.results.update("main")
    path = place.root / "lane.bundle"
    place.commit("b.txt", "two\n")
    whole = place.bundle().read_bytes()
    for content in (b"", b"# v2 git bundle\nnonsense\n", whole.replace(b"v2", b"v9", 1)):
        path.write_bytes(content)
        with pytest.raises(collect.CollectError, match="no bundle of git"):
            place.results.take(path, start, LANE)
    # Another byte than there was, whatever it was.
    damaged = whole[:-9] + bytes([whole[-9] ^ 1]) + whole[-8:]
    for content in (whole[:-20], damaged, whole.partition(b"PACK")[0]):
        path.write_bytes(content)
        with pytest.raises(collect.CollectError, match="git index-pack"):
            place.results.take(path, start, LANE)
    assert LANE not in place.results.text("for-each-ref")


# What a lane does, and which of it a person looks at.
GUARDED: dict[str, tuple[str, list[str]]] = {
    "nothing of it": ("echo >c.txt", []),
    "moved away": ("mkdir b && git mv AGENTS.md b/notes.md", ["AGENTS.md"]),
    "moved in": ("git mv a.txt CLAUDE.local.md", ["CLAUDE.local.md"]),
    "link in place of a directory": ("ln -s a.txt .github", [".github"]),
    "mode alone": ("chmod +x AGENTS.md", ["AGENTS.md"]),
    "where a link leads": ("echo more >>docs/agents/first.md", ["docs/agents/first.md"]),
    "back and forth": (
        "echo >CODEOWNERS && git add . && git commit -qm one && git rm -q CODEOWNERS",
        [],
    ),
}


@pytest.fixture(scope="module")
def steered(tmp_path_factory: pytest.TempPathFactory, fresh: Place) -> tuple[Place, Start]:
    """Return a repository in which several files steer agents."""
    place = fresh.copy(tmp_path_factory.mktemp("steered") / "place")
    place.commit("AGENTS.md", "be good\n", at="hub")
    place.commit("docs/agents/first.md", "be better\n", at="hub")
    (place.root / "hub/tools").mkdir()
    (place.root / "hub/tools/.claude").symlink_to("../docs/agents")
    place.commit("d.txt", "\n", at="hub")
    start = place.results.update("main")
    place.git("fetch", "--quiet", str(place.root / "hub"), "main")
    place.git("reset", "--quiet", "--hard", "FETCH_HEAD")
    return place, start


@pytest.mark.parametrize("name", GUARDED)
def test_git_says_what_a_person_looks_at(
    name: str, tmp_path: Path, steered: tuple[Place, Start]
) -> None:
    place, start = steered[0].copy(tmp_path / "place"), steered[1]
    script, expected = GUARDED[name]
    subprocess.run(["bash", "-ec", script], cwd=place.root / "lane", env=IDENTITY, check=True)
    place.git("add", "--all", ".")
    place.git("commit", "--quiet", "--allow-empty", "--message", "Change")
    work = place.results.take(place.bundle(), start, LANE)

    found = place.results.guarded(LANE, start, guarded.STANDARD)

    assert found == (work.head, expected)
    with pytest.raises(collect.CollectError, match="began is not recorded"):
        place.results.guarded(LANE, Start(""), guarded.STANDARD)


class Proposals(forge.LaneForge):
    """GitHub as far as a lane's pull request needs it."""

    def __init__(self) -> None:
        self.opened: list[dict[str, Any]] = []

    def open_branches(self) -> list[str]:
        return []

    def open_pull_request(self, head: str, base: str, title: str, body: str, **more: Any) -> Any:
        self.opened.append({"head": head, "base": base, "title": title, "body": body, **more})
        return forge.OpenedPull(len(self.opened), "https://github.example/1")


OWN_BRANCH = {"branch": "lane/7-00000000", "base_branch": "main", "url": "u"}
# That of a person, or of another program: it is theirs to take something in.
ANOTHERS_BRANCH = {**OWN_BRANCH, "branch": "feature"}


@pytest.mark.parametrize(
    ("outcome", "path", "expected"),
    [
        ("changed", "b.txt", (False, False, False)),
        ("changed", "AGENTS.md", (True, True, False)),
        # After a crash the result knows of no guarded path; git does.
        ("interrupted", "AGENTS.md", (True, True, True)),
        ("interrupted", "b.txt", (True, False, True)),
        ("forged", "b.txt", (True, False, True)),
    ],
)
@pytest.mark.parametrize("conflict", [None, OWN_BRANCH, ANOTHERS_BRANCH])
def test_whichever_way_work_is_published_a_person_sees_what_is_guarded_or_unfinished(
    outcome: str,
    path: str,
    expected: tuple[bool, bool, bool],
    conflict: dict[str, str] | None,
    place: Place,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    start = place.results.update("main")
    for name in ("lane/7-00000000", "feature"):
        place.git("branch", name, "main", at="hub")
    place.commit(path, "two\n")
    work = place.results.take(place.bundle(), start, LANE)
    project = {"name": "demo", "repository": "factory/demo"}
    section = {"agents": agents.shipped(), "projects": [project]}
    known = read(LanesSettings, Section(section, "lanes"))
    monkeypatch.setattr(delivery, "repository", lambda *_, **__: place.results)
    proposals = Proposals()
    result: dict[str, Any] = {"lane": LANE, "issue": 7, "base": start.base, "outcome": outcome}
    result |= {"agent": "codex", "model": "m", "summary": "", "requests_count": 1, "tokens": 1}
    result |= {"duration_seconds": 1, "title": "Say more", "conflict": conflict}

    delivery.deliver(known, known.lane_projects[0], proposals, "", result)

    draft, is_guarded, is_named = expected
    assert place.git("rev-parse", "feature", at="hub") == start.base
    if conflict == OWN_BRANCH and not draft:
        assert place.git("rev-parse", "lane/7-00000000", at="hub") == work.head
        assert proposals.opened == []
        return
    (opened,) = proposals.opened
    assert (opened["draft"], "`approved-by-human`" in opened["body"]) == (draft, is_guarded)
    assert (f"ended as `{outcome}`" in opened["body"]) == is_named
    assert opened["title"] == ("Resolve the conflict of #7" if conflict else "Say more")
    assert opened["base"] == (conflict["branch"] if conflict else "main")
    assert place.git("rev-parse", "lane/7-0a1b2c3d", at="hub") == work.head
    assert place.git("rev-parse", "lane/7-00000000", at="hub") == start.base


def test_a_follow_up_goes_into_the_pull_request_that_there_is(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    start = place.results.update("main")
    place.commit("b.txt", "two\n")
    work = place.results.take(place.bundle(), start, LANE)
    place.git("branch", "lane/7-00000000", "main", at="hub")
    section = {"agents": agents.shipped(), "projects": [{"name": "demo", "repository": "a/b"}]}
    known = read(LanesSettings, Section(section, "lanes"))
    monkeypatch.setattr(delivery, "repository", lambda *_, **__: place.results)
    proposals = Proposals()
    result: dict[str, Any] = {"lane": LANE, "issue": 7, "base": start.base, "outcome": "changed"}
    result |= {"agent": "codex", "model": "m", "summary": "", "requests_count": 1, "tokens": 1}
    result |= {"duration_seconds": 1, "continues": "lane/7-00000000"}

    delivery.deliver(known, known.lane_projects[0], proposals, "", result)

    assert [pull["head"] for pull in proposals.opened] == ["lane/7-00000000"]
    assert place.git("rev-parse", "lane/7-00000000", at="hub") == work.head
    assert place.git("branch", "--list", "lane/7-0a1b2c3d", at="hub") == ""


def test_what_was_committed_before_a_reboot_is_kept_for_a_lane_that_goes_on(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    start = place.results.update("main")
    head = place.commit("b.txt", "two\n")
    project = {"name": "demo", "repository": "factory/demo"}
    places = {f"{name}_dir": str(place.root / name) for name in ("state", "run", "mirror")}
    section = {"agents": agents.shipped(), "projects": [project], **places}
    known = read(LanesSettings, Section(section, "lanes"))
    directory = place.root / "state" / LANE
    directory.mkdir(parents=True)
    place.bundle().rename(directory / supervisor.BUNDLE)
    state = {"project": "demo", "issue": 7, "base": start.base, "supervisor": "1:1"}
    (directory / supervisor.STATE).write_text(json.dumps(state))
    (place.root / "run" / LANE).mkdir(parents=True)
    monkeypatch.setattr(delivery, "repository", lambda *_, **__: place.results)
    monkeypatch.setattr(engine, "lanes", list)

    reaping.reap(known, place.root, dry_run=False)

    result = json.loads((directory / results.RESULT).read_text())
    assert (result["outcome"], result["commits_count"]) == ("interrupted", 1)
    assert (result["head"], result["base"]) == (head, start.base)
    assert f"factory lane resume {LANE} goes on from here" in result["detail"]
    assert list((place.root / "run").iterdir()) == []


def test_a_small_mirror_still_has_what_lanes_stand_on(conflicting: Conflicting) -> None:
    results = conflicting.place.results
    results.repack(1)
    assert list((results.directory / "objects/pack").glob("*.pack"))
    assert results.has(conflicting.start.base)
    assert results.has(conflicting.start.onto)


def test_a_directory_that_came_as_a_name_alone_is_refused(place: Place) -> None:
    start = place.results.update("main")
    place.git("init", "--quiet", "app")
    inner = place.commit("x.txt", "x\n", at="lane/app")
    place.git("-c", "advice.addEmbeddedRepo=false", "add", "--all")
    place.git("commit", "--quiet", "--message", "Add app")

    with pytest.raises(collect.CollectError, match="app is a repository of its own"):
        place.results.take(place.bundle(), start, LANE)
    # A submodule that the project has may be moved.
    base = place.git("rev-parse", "HEAD")
    place.git("push", "--quiet", str(place.root / "results.git"), "HEAD:refs/heads/with-app")
    place.git("update-index", "--cacheinfo", f"160000,{'1' * 39}2,app")
    place.git("commit", "--quiet", "--message", "Move app")
    assert inner != "1" * 39 + "2"
    assert place.results.take(place.bundle(), Start(base), LANE).paths == ("app",)


def test_a_program_that_prints_without_end_or_hangs_is_ended_with_its_children() -> None:
    run = effects.run_bounded(1 << 16)
    done = run(["cat"], stdin=b"x" * (1 << 16))
    assert (done.returncode, len(done.stdout)) == (0, 1 << 16)
    for words in ("printed more than 65536 bytes", "was still running after"):
        program = "yes & wait" if "printed" in words else "sleep 60 & wait"
        with pytest.raises(OSError, match=words):
            run(["bash", "-c", program], timeout_seconds=20 if "printed" in words else 0.2)


def test_a_small_bundle_that_stands_for_much_is_refused(place: Place) -> None:
    start = place.results.update("main")
    found = place.results
    # Each directory holds the next one ten times.
    argv = ["git", "-C", str(place.root / "lane"), "mktree"]
    entry = f"100644 blob {place.git('rev-parse', 'HEAD:a.txt')}"
    for _level in range(4):
        lines = "".join(f"{entry}\t{number}{'x' * 20}\n" for number in range(10))
        done = subprocess.run(argv, input=lines, capture_output=True, text=True, check=True)
        entry = f"040000 tree {done.stdout.strip()}"
    head = place.git("commit-tree", "-p", "HEAD", "-m", "Many", entry.split()[2])
    place.git("update-ref", "refs/heads/lane", head)
    many = place.bundle()
    assert many.stat().st_size < 2000

    found.run = effects.run_bounded(1 << 18)
    with pytest.raises(collect.CollectError, match="printed more than 262144 bytes"):
        found.take(many, start, LANE)

    message = place.root / "message"
    message.write_bytes(b"x" * (20 << 20))
    head = place.git("commit-tree", "-p", "HEAD", "-F", str(message), "HEAD^{tree}")
    place.git("update-ref", "refs/heads/lane", head)
    found.bounds = ["prlimit", f"--data={16 << 20}", "--"]
    with pytest.raises(collect.CollectError, match="memory"):
        found.take(place.bundle(), start, LANE)


@dataclass
class Conflicting:
    """A pull request that changes what main changes too."""

    place: Place
    start: Start

    def merge(self, text: str) -> None:
        start = self.start
        self.place.git("checkout", "--quiet", "-B", "lane", start.base)
        self.place.git("merge", "--quiet", start.onto, check=False)
        self.place.commit("a.txt", text)


@pytest.fixture(scope="module")
def conflict(tmp_path_factory: pytest.TempPathFactory, fresh: Place) -> Conflicting:
    place = fresh.copy(tmp_path_factory.mktemp("conflict") / "place")
    place.git("checkout", "--quiet", "-b", "feature", at="hub")
    place.commit("a.txt", "theirs\n", at="hub")
    place.git("update-ref", "refs/pull/5/head", "HEAD", at="hub")
    place.git("checkout", "--quiet", "main", at="hub")
    place.commit("a.txt", "ours\n", at="hub")
    place.commit("guarded/x", "of main\n", at="hub")
    start = place.results.update_pull(5, "main")
    place.git("fetch", "--quiet", str(place.root / "results.git"), "refs/heads/*:refs/host/*")
    place.git("fetch", "--quiet", str(place.root / "results.git"), "refs/pull/5:refs/host/pull")
    return Conflicting(place, start)


@pytest.fixture
def conflicting(tmp_path: Path, conflict: Conflicting) -> Conflicting:
    return Conflicting(conflict.place.copy(tmp_path / "place"), conflict.start)


def test_a_pull_requests_conflict_is_found_by_path(conflicting: Conflicting) -> None:
    results = conflicting.place.results
    assert conflicting.start.base == conflicting.place.git("rev-parse", "refs/host/pull")
    assert conflicting.start.onto == conflicting.place.git("rev-parse", "refs/host/main")
    assert results.conflicts(conflicting.start) == ["a.txt"]
    assert results.conflicts(Start(conflicting.start.onto, conflicting.start.onto)) == []
    with pytest.raises(collect.CollectError, match="merge-tree"):
        results.conflicts(Start("0" * 40, conflicting.start.onto))


def test_a_pull_requests_head_is_kept_as_long_as_a_lane_stands_on_it(
    conflicting: Conflicting,
) -> None:
    results = conflicting.place.results
    results.forget_pulls({5})
    assert "refs/pull/5" in results.text("for-each-ref")
    results.forget_pulls({7})
    assert "refs/pull/" not in results.text("for-each-ref")
    assert "refs/heads/main" in results.text("for-each-ref")


def test_a_resolved_conflict_counts_only_what_the_lane_itself_changed(
    conflicting: Conflicting,
) -> None:
    conflicting.merge("both\n")

    work = conflicting.place.results.take(conflicting.place.bundle(), conflicting.start, LANE)

    # What main brings along is none of the lane's: it would be under guard.
    assert (work.is_merged, work.commits_count, work.paths) == (True, 1, ("a.txt",))


def test_a_merge_that_drops_what_main_had_is_the_lanes_own_change(
    conflicting: Conflicting,
) -> None:
    """It keeps an older version, which differs from one side only."""
    conflicting.place.git("checkout", "--quiet", "-B", "lane", conflicting.start.base)
    conflicting.place.git("merge", "--quiet", conflicting.start.onto, check=False)
    conflicting.place.git("rm", "--quiet", "-r", "--force", "guarded")
    conflicting.place.commit("a.txt", "both\n")

    work = conflicting.place.results.take(conflicting.place.bundle(), conflicting.start, LANE)

    assert work.paths == ("a.txt", "guarded/x")


def test_a_submodule_that_main_brings_along_is_none_of_the_lanes(place: Place) -> None:
    place.git("checkout", "--quiet", "-b", "feature", at="hub")
    place.commit("b.txt", "theirs\n", at="hub")
    place.git("update-ref", "refs/pull/5/head", "HEAD", at="hub")
    place.git("checkout", "--quiet", "main", at="hub")
    place.git("update-index", "--add", "--cacheinfo", f"160000,{'1' * 39}2,app", at="hub")
    place.git("commit", "--quiet", "--message", "Add app", at="hub")
    start = place.results.update_pull(5, "main")
    place.git("fetch", "--quiet", str(place.root / "results.git"), "refs/*:refs/host/*")
    place.git("checkout", "--quiet", "-B", "lane", start.base)
    place.git("merge", "--quiet", "--no-edit", start.onto)

    assert place.results.take(place.bundle(), start, LANE).is_merged


def test_work_without_the_merge_is_not_a_resolved_conflict(conflicting: Conflicting) -> None:
    conflicting.place.git("checkout", "--quiet", "-B", "lane", conflicting.start.base)
    conflicting.place.commit("b.txt", "besides\n")

    work = conflicting.place.results.take(conflicting.place.bundle(), conflicting.start, LANE)

    assert not work.is_merged
