from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from ansible_collections.aina.factory.plugins.module_utils.ports import Completed
from ansible_collections.aina.factory.plugins.module_utils.pull_requests.mirror import (
    Mirror,
    MirrorError,
)

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


def test_a_stack_built_twice_is_the_same_commit_and_skips_conflicts(
    origin: Origin, mirror: Callable[..., Mirror]
) -> None:
    base = origin.commit("Begin", a="1\n")
    heads = [
        origin.pull(n, base, **files)
        for n, files in [(1, {"b": "1\n"}), (2, {"b": "2\n"}), (3, {"c": "1\n"}), (4, {"b": "1\n"})]
    ]
    found = mirror(**{f"p{n}": oid for n, oid in enumerate(heads, 1)})

    landed, conflicting = found.stack(base, heads, "squash")

    assert conflicting == [1, 3]
    assert landed == found.stack(base, heads, "squash")[0]
    assert found.tree(landed[-1][0]) == landed[-1][1]


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
