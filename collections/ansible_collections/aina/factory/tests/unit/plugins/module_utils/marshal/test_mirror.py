from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from factory.core.base.ports import Completed
from factory.core.marshal.mirror import Mirror, MirrorError, PushRefusedError, stack

IDENTITY = {
    "GIT_AUTHOR_NAME": "A",
    "GIT_AUTHOR_EMAIL": "a@example.com",
    "GIT_COMMITTER_NAME": "A",
    "GIT_COMMITTER_EMAIL": "a@example.com",
    "GIT_CONFIG_GLOBAL": "/dev/null",
}


def run(argv, *, cwd=None, stdin=b"", environment=None, timeout_seconds=None):  # type: ignore[no-untyped-def]
    done = subprocess.run(
        argv,
        cwd=cwd,
        input=stdin,
        env={**os.environ, **(environment or {})},
        capture_output=True,
        check=False,
    )
    return Completed(done.returncode, done.stdout, done.stderr)


class Origin:
    """A remote with a main branch and heads under refs/pull."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.mkdir()
        self.git("init", "--quiet", "-b", "main")

    def git(self, *words: str) -> str:
        done = subprocess.run(
            ["git", *words],
            cwd=self.path,
            env={**os.environ, **IDENTITY},
            check=True,
            capture_output=True,
            text=True,
        )
        return done.stdout.strip()

    def commit(self, message: str, **files: str | None) -> str:
        for name, content in files.items():
            if content is None:
                (self.path / name).unlink()
            else:
                (self.path / name).write_text(content)
        self.git("add", "-A")
        self.git("commit", "--quiet", "--allow-empty", "-m", message)
        return self.git("rev-parse", "HEAD")

    def pull(self, number: int, start: str, **files: str | None) -> str:
        self.git("checkout", "--quiet", "--detach", start)
        oid = self.commit(f"Change {number}", **files)
        self.git("update-ref", f"refs/pull/{number}/head", oid)
        self.git("checkout", "--quiet", "main")
        return oid


@pytest.fixture
def origin(tmp_path: Path) -> Origin:
    return Origin(tmp_path / "origin")


@pytest.fixture
def mirror(tmp_path: Path, origin: Origin) -> Callable[..., Mirror]:
    def make(**heads: str) -> Mirror:
        found = Mirror(run, tmp_path / "mirror.git", str(origin.path))
        numbered = {int(name[1:]): oid for name, oid in heads.items()}
        found.refresh("main", origin.git("rev-parse", "main"), numbered)
        return found

    return make


def test_a_stale_tree_committed_on_new_main_names_what_it_would_undo(
    origin: Origin, mirror: Callable[..., Mirror]
) -> None:
    origin.commit("Begin", kept="1\n", touched="old\n")
    origin.commit("Fix a bug", touched="fixed\n")
    base = origin.commit("Add a file", added="new\n")
    head = origin.pull(1, base, touched="old\n", added=None, mine="x\n")

    evidence = mirror(p1=head).evidence(base, head, 14)

    assert evidence.reverted_paths == ("added", "touched")


def test_what_a_branch_knew_when_it_left_main_it_may_change(
    origin: Origin, mirror: Callable[..., Mirror]
) -> None:
    origin.commit("Begin", kept="1\n", touched="old\n")
    origin.commit("Fix a bug", touched="fixed\n")
    base = origin.commit("Add a file", added="new\n")
    removed = origin.pull(1, base, added=None, renamed="new\n")
    returned = origin.pull(2, base, touched="old\n")

    found = mirror(p1=removed, p2=returned)

    assert found.evidence(base, removed, 14).reverted_paths == ()
    assert found.evidence(base, returned, 14).reverted_paths == ()


def test_what_landed_since_is_undone_by_nobody_unnoticed(
    origin: Origin, mirror: Callable[..., Mirror]
) -> None:
    origin.commit("Begin", touched="old\n")
    left = origin.commit("Change it", touched="other\n")
    base = origin.commit("Add a file", added="new\n")
    head = origin.pull(1, left, mine="1\n")
    # It merges main and takes nothing of it over.
    origin.git("checkout", "--quiet", "--detach", head)
    origin.git("merge", "--quiet", "-s", "ours", "-m", "Merge main", base)
    merged = origin.git("rev-parse", "HEAD")
    origin.git("update-ref", "refs/pull/1/head", merged)
    origin.git("checkout", "--quiet", "main")

    assert mirror(p1=merged).evidence(base, merged, 14).reverted_paths == ("added",)


def test_an_honest_branch_from_old_main_reverts_nothing(
    origin: Origin, mirror: Callable[..., Mirror]
) -> None:
    old = origin.commit("Begin", kept="1\n", touched="old\n")
    base = origin.commit("Fix a bug", touched="fixed\n", added="new\n")
    head = origin.pull(1, old, kept="2\n")

    evidence = mirror(p1=head).evidence(base, head, 14)

    assert evidence.reverted_paths == ()
    assert (evidence.clean, evidence.behind_count) == (True, 1)


CODE = "def f(x):\n    if x:\n        y = 1\n    return y\n"
LINES = "".join(f"{n % 3}\n" for n in range(30))


@pytest.mark.parametrize(
    ("before", "one", "other"),
    [
        # Inside the condition, and after it.
        (CODE, CODE.replace("1\n", "1\n        z()\n"), CODE.replace("1\n", "1\n    z()\n")),
        # The same line with the same neighbours, in another place.
        (LINES, LINES[:24] + "new\n" + LINES[24:], LINES[:36] + "new\n" + LINES[36:]),
        (LINES, LINES + "end\n", LINES + "end"),
        (LINES, LINES + "end\n", LINES + "end \n"),
        (LINES, LINES + "end\n", LINES + "end\r\n"),
    ],
)
def test_only_what_leaves_the_same_bytes_has_the_same_result(
    before: str, one: str, other: str, origin: Origin, mirror: Callable[..., Mirror]
) -> None:
    old = origin.commit("Begin", a=before)
    base = origin.commit("Something else", b="1\n")
    heads = [origin.pull(1, old, a=one), origin.pull(2, base, a=one), origin.pull(3, base, a=other)]
    found = mirror(p1=heads[0], p2=heads[1], p3=heads[2])

    first, second, third = [found.evidence(base, head, 14).result_tree for head in heads]

    assert first == second != third


def test_a_change_that_landed_already_is_empty(
    origin: Origin, mirror: Callable[..., Mirror]
) -> None:
    old = origin.commit("Begin", a="1\n")
    base = origin.commit("Land it", a="2\n")
    head = origin.pull(1, old, a="2\n")

    assert mirror(p1=head).evidence(base, head, 14).empty


def test_a_conflict_names_its_paths_and_what_landed_there(
    origin: Origin, mirror: Callable[..., Mirror]
) -> None:
    old = origin.commit("Begin", a="1\n")
    base = origin.commit("Rewrite a (#5)", a="2\n")
    head = origin.pull(1, old, a="3\n")
    found = mirror(p1=head)

    evidence = found.evidence(base, head, 14)

    assert (evidence.clean, evidence.conflict_paths) == (False, ("a",))
    assert found.last_change(base, head, ["a"]) == "Rewrite a (#5)"


@pytest.mark.parametrize("merges", [True, False])
def test_a_stack_built_twice_is_the_same_commit_and_skips_conflicts(
    merges: bool, origin: Origin, mirror: Callable[..., Mirror]
) -> None:
    base = origin.commit("Begin", a="1\n")
    heads = [
        origin.pull(n, base, **files)
        for n, files in [(1, {"b": "1\n"}), (2, {"b": "2\n"}), (3, {"c": "1\n"}), (4, {"b": "1\n"})]
    ]
    found = mirror(**{f"p{n}": oid for n, oid in enumerate(heads, 1)})

    tip, conflicting = stack(found, base, heads, merges=merges)

    assert conflicting == [1, 3]
    assert tip == stack(found, base, heads, merges=merges)[0]
    alone = stack(found, base, [heads[0], heads[2]], merges=not merges)[0]
    assert found.tree(tip) == found.tree(alone)
    assert len(found.parents(tip)) == (2 if merges else 1)


def batch(origin: Origin, mirror: Callable[..., Mirror]) -> tuple[Mirror, str, list[str], str]:
    base = origin.commit("Begin", a="1\n")
    heads = [origin.pull(n, base, **{f"file{n}": "1\n"}) for n in (1, 2)]
    found = mirror(p1=heads[0], p2=heads[1])
    tip, _conflicting = stack(found, base, heads, ["Land 1", "Land 2"], 1_700_000_000.0)
    # What lands is what was checked out: a remote that has a working tree refuses it.
    origin.git("checkout", "--quiet", "--detach")
    return found, base, heads, tip


def test_a_batch_lands_as_the_very_commit_with_every_head_below_it(
    origin: Origin, mirror: Callable[..., Mirror]
) -> None:
    found, base, heads, tip = batch(origin, mirror)
    assert not found.holds("main", tip)

    found.land(tip, "main")

    assert origin.git("rev-parse", "main") == tip
    below = origin.git("rev-list", f"{base}..main").split()
    assert set(heads) < set(below)
    told = origin.git("log", "--first-parent", "--format=%s %ct", f"{base}..main").splitlines()
    assert told == ["Land 2 1700000000", "Land 1 1700000000"]
    assert found.holds("main", tip)


def test_nothing_lands_on_a_branch_that_somebody_else_has_moved(
    origin: Origin, mirror: Callable[..., Mirror]
) -> None:
    found, _base, _heads, tip = batch(origin, mirror)
    origin.git("checkout", "--quiet", "main")
    moved = origin.commit("Elsewhere", b="1\n")
    origin.git("checkout", "--quiet", "--detach")

    with pytest.raises(PushRefusedError) as caught:
        found.land(tip, "main")

    assert caught.value.moved
    assert origin.git("rev-parse", "main") == moved
    assert not found.holds("main", tip)


@pytest.mark.parametrize("landing", [True, False])
def test_a_push_that_the_remote_does_not_take_quotes_it(
    landing: bool, origin: Origin, mirror: Callable[..., Mirror]
) -> None:
    found, base, _heads, tip = batch(origin, mirror)
    hook = origin.path / ".git/hooks/update"
    hook.write_text("#!/bin/sh\necho 'error: GH006: not this one' >&2\nexit 1\n")
    hook.chmod(0o755)

    with pytest.raises(PushRefusedError, match=r"remote rejected.*GH006: not this one") as caught:
        found.land(tip, "main") if landing else found.push(tip, "train/x")

    assert not caught.value.moved
    assert origin.git("rev-parse", "main") == base


@pytest.mark.parametrize(
    ("words", "refused"),
    [
        (
            "fatal: unable to access 'https://h/o/r.git/': The requested URL returned error: 403",
            True,
        ),
        ("error: RPC failed; HTTP 403 curl 22", True),
        (
            "fatal: unable to access 'https://h/o/r.git/': The requested URL returned error: 502",
            False,
        ),
        ("fatal: unable to access 'https://h/o/r.git/': Could not resolve host: h", False),
    ],
)
def test_what_http_forbids_is_a_refusal_and_an_outage_is_none(
    words: str, refused: bool, tmp_path: Path
) -> None:
    def fail(*_: object, **__: object) -> Completed:
        return Completed(128, b"", words.encode())

    with pytest.raises(MirrorError) as caught:
        Mirror(fail, tmp_path, "https://h/o/r.git").push("abc", "train/x")

    assert isinstance(caught.value, PushRefusedError) == refused


def test_a_push_to_nobody_is_no_refusal(origin: Origin, mirror: Callable[..., Mirror]) -> None:
    found, _base, _heads, tip = batch(origin, mirror)
    found.url = str(origin.path / "nowhere")

    with pytest.raises(MirrorError) as caught:
        found.push(tip, "train/x")

    assert not isinstance(caught.value, PushRefusedError)


def test_one_vanished_head_does_not_hide_the_others(
    origin: Origin, mirror: Callable[..., Mirror]
) -> None:
    base = origin.commit("Begin", a="1\n")
    head = origin.pull(1, base, b="1\n")

    found = mirror(p1=head, p2="1" * 40)

    assert found.missing({head, "1" * 40}) == {"1" * 40}


def test_a_remote_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(MirrorError, match="fetch"):
        Mirror(run, tmp_path / "m.git", str(tmp_path / "nothing")).refresh("main", "1" * 40, {})


def test_a_head_is_an_update_only_if_nothing_but_the_base_was_merged_into_it(
    origin: Origin, mirror: Callable[..., Mirror]
) -> None:
    old = origin.commit("Begin", a="1\n")
    head = origin.pull(1, old, mine="x\n")
    base = origin.commit("Land another", b="1\n")

    def merge(first: str, second: str, **files: str) -> str:
        origin.git("checkout", "--quiet", "--detach", first)
        origin.git("merge", "--quiet", "--no-ff", "--no-commit", second)
        oid = origin.commit("Merge", **files)
        origin.git("checkout", "--quiet", "main")
        return oid

    honest = merge(head, base)
    twice = merge(honest, origin.commit("Land a third", c="1\n"))
    smuggling = merge(head, base, evil="x\n")
    foreign = merge(head, origin.pull(2, base, evil="x\n"))
    grown = origin.pull(3, honest, evil="x\n")
    base = origin.git("rev-parse", "main")
    heads = [honest, twice, smuggling, foreign, grown]
    for number, oid in enumerate(heads, 1):
        origin.git("update-ref", f"refs/pull/{number}/head", oid)
    found = mirror(**{f"p{number}": oid for number, oid in enumerate(heads, 1)})

    before = [found.evidence(base, oid, 14).updated_from for oid in heads]

    assert before == [(head,), (honest, head), (), (), ()]


@pytest.mark.parametrize("how", ["squash", "merge", "rebase", "train"])
def test_what_landed_is_picked_onto_another_branch_with_its_author(
    how: str, origin: Origin, tmp_path: Path
) -> None:
    origin.commit("Begin", base="0\n")
    origin.git("branch", "release/1")
    start = origin.commit("Only on main", newer="1\n")
    head = origin.pull(1, start, one="1\n")
    if how == "rebase":
        head = origin.pull(1, head, two="2\n")
    # Others land before and, in a train, after it.
    origin.commit("In between", between="1\n")
    if how in ("merge", "train"):
        origin.git("merge", "--quiet", "--no-ff", "-m", "Merge pull request #1", head)
    elif how == "squash":
        origin.git("cherry-pick", head)
    else:
        origin.git("cherry-pick", f"{start}..{head}")
    if how == "train":
        other = origin.pull(2, start, three="3\n")
        origin.git("merge", "--quiet", "--no-ff", "-m", "Merge pull request #2", other)
    landed = origin.git("rev-parse", "main")
    mirror = Mirror(run, tmp_path / "mirror.git", str(origin.path))
    mirror.refresh("main", landed, {1: head})
    method = how if how != "train" else "squash"

    picked = mirror.cherry_pick("release/1", landed, head, method)
    mirror.push(picked.tip, "backport/1")

    assert mirror.cherry_pick("release/1", landed, head, method) == picked
    assert picked.base == origin.git("rev-parse", "release/1")
    files = origin.git("ls-tree", "--name-only", "backport/1").split()
    assert files == ["base", "one", *(["two"] if how == "rebase" else [])]
    assert origin.git("show", "-s", "--format=%an %cn %P", "backport/1") == (
        f"A Release Marshal {picked.base}"
    )
    assert "(cherry picked from commit " in origin.git("show", "-s", "--format=%B", "backport/1")


def test_a_pick_that_conflicts_or_is_there_already_says_so(origin: Origin, tmp_path: Path) -> None:
    start = origin.commit("Begin", same="0\n")
    origin.git("branch", "release/1")
    head = origin.pull(1, start, same="1\n")
    origin.git("cherry-pick", head)
    landed = origin.git("rev-parse", "main")
    mirror = Mirror(run, tmp_path / "mirror.git", str(origin.path))
    mirror.refresh("main", landed, {1: head})
    origin.git("checkout", "--quiet", "release/1")
    origin.commit("Other", same="2\n")

    assert mirror.cherry_pick("release/1", landed, head, "squash").conflict_paths == ("same",)

    origin.commit("The same", same="1\n")
    picked = mirror.cherry_pick("release/1", landed, head, "squash")
    assert picked.tip == picked.base
