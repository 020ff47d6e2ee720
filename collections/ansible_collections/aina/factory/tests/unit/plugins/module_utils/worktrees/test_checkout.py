"""Files on disk against those of a commit, byte for byte."""

from __future__ import annotations

import hashlib
import os
import shutil
import socket
from collections.abc import Callable
from pathlib import Path

import committing
import pytest

from factory import effects
from factory.core.base.git import Git
from factory.core.worktrees import checkout, survey
from factory.core.worktrees.checkout import Ignored
from factory.core.worktrees.contents import walk
from factory.core.worktrees.model import Listed
from factory.core.worktrees.settings import Reap

ATTRIBUTES = "*.bat text eol=crlf\n*.id ident\n*.utf text working-tree-encoding=UTF-16\n"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "lane"
    committing.git(tmp_path, "init", "-q", root)
    (root / "src").mkdir()
    (root / ".gitattributes").write_text(ATTRIBUTES)
    (root / "src/one.ts").write_text("one\n")
    (root / "src/link").symlink_to("one.ts")
    (root / "tool").write_text("#!/bin/sh\n")
    (root / "tool").chmod(0o755)
    (root / "run.bat").write_bytes(b"a\r\nb\r\n")
    (root / "mark.id").write_text("$Id$\n")
    (root / "wide.utf").write_text("wide\n", encoding="utf-16")
    committing.git(root, "add", "--all")
    committing.git(root, "commit", "-q", "-m", "Work")
    for path in ("run.bat", "mark.id", "wide.utf"):
        (root / path).unlink()
    committing.git(root, "checkout", "-q", "--", ".")
    return root


def found(root: Path, count: int | None = None, ignored: Ignored | None = None) -> str:
    git = Git(effects.run, str(root)).in_tree(str(root))
    git.defuse()
    files = checkout.listed(git, "HEAD")
    told = checkout.difference(git, str(root), files, ignored or Ignored(), count)
    return "" if told is None else f"{told[0]} {told[1]}"


def test_what_a_checkout_has_written_is_equal(root: Path) -> None:
    assert b"\r\n" in (root / "run.bat").read_bytes()
    assert b"$Id: " in (root / "mark.id").read_bytes()

    assert found(root) == ""


def write(path: str, content: bytes) -> Callable[[Path], None]:
    def change(root: Path) -> None:
        (root / path).write_bytes(content)

    return change


def hide(path: str, content: bytes, flag: str) -> Callable[[Path], None]:
    def change(root: Path) -> None:
        committing.git(root, "update-index", flag, path)
        (root / path).write_bytes(content)

    return change


def keep_time(root: Path) -> None:
    path = root / "src/one.ts"
    before = path.stat()
    path.write_text("eno\n")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def link_instead(root: Path) -> None:
    (root / "src").rename(root.parent / "elsewhere")
    (root / "src").symlink_to(root.parent / "elsewhere")


def point_elsewhere(root: Path) -> None:
    (root / "src/link").unlink()
    (root / "src/link").symlink_to("two.ts")


def a_file_for_a_link(root: Path) -> None:
    (root / "src/link").unlink()
    (root / "src/link").write_text("one.ts")


# what was changed, what is told
CHANGES: dict[str, tuple[Callable[[Path], None], str]] = {
    "content": (write("src/one.ts", b"two\n"), "src/one.ts"),
    "same size and time": (keep_time, "src/one.ts"),
    "assume-unchanged": (hide("src/one.ts", b"two\n", "--assume-unchanged"), "src/one.ts"),
    "skip-worktree": (hide("src/one.ts", b"two\n", "--skip-worktree"), "src/one.ts"),
    "ends of lines": (write("src/one.ts", b"one\r\n"), "src/one.ts"),
    "ends of lines of a declared text": (write("run.bat", b"a\r\nb\n"), "run.bat"),
    "words in $Id$": (write("mark.id", b"$Id: my password $\n"), "mark.id"),
    "another encoding": (write("wide.utf", "wide\n".encode("utf-16-be")), "wide.utf"),
    "made executable": (lambda root: (root / "src/one.ts").chmod(0o755), "src/one.ts"),
    "not executable": (lambda root: (root / "tool").chmod(0o644), "tool"),
    "where a link leads": (point_elsewhere, "src/link"),
    "a file for a link": (a_file_for_a_link, "src/link"),
    "a link for a directory": (link_instead, "src"),
    "another case": (write("src/ONE.ts", b"one\n"), "src/ONE.ts"),
    "one more file": (write("src/.hidden", b""), "src/.hidden"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_is_found_whatever_git_believes(root: Path, change: str) -> None:
    make, path = CHANGES[change]
    make(root)

    assert found(root).startswith(f"hidden_changes {path} ")


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_is_found_by_the_number_of_files_too(root: Path, change: str) -> None:
    make, path = CHANGES[change]
    shutil.rmtree(root / ".git/hooks")
    make(root)
    apart = root.parent / "git"
    (root / ".git").rename(apart)
    (root / ".git").write_text(f"gitdir: {apart}\n")

    assert found(root, walk(str(root)).count).startswith(f"hidden_changes {path} ")


def test_what_git_calls_changed_is_told_as_that(root: Path) -> None:
    (root / "src/one.ts").write_text("two\n")

    assert found(root, ignored=Ignored(doubted={"src/one.ts"})) == "uncommitted_changes src/one.ts"


def test_a_file_that_is_not_there_loses_nothing(root: Path) -> None:
    (root / "src/one.ts").unlink()

    assert found(root) == ""


def test_what_holds_no_bytes_keeps_nothing(root: Path) -> None:
    os.mkfifo(root / "pipe")
    with socket.socket(socket.AF_UNIX) as ended:
        ended.bind(str(root / "s"))

    assert found(root) == ""


def test_ignored_files_and_directories_are_left_out(root: Path) -> None:
    (root / "dist").mkdir()
    (root / "dist/a.js").write_text("a")
    (root / "src/a.pyc").write_text("a")
    (root / "src/.next").mkdir()
    (root / "src/.next/b").write_text("b")

    ignored = Ignored(directories={"dist"}, within={"src/.next"}, files={"src/a.pyc"})

    assert found(root, ignored=ignored) == ""
    assert "src/.next/b" in found(root, ignored=Ignored(directories={"dist"}, files={"src/a.pyc"}))


@pytest.mark.parametrize("size", [3, 5, 6])
def test_large_files_are_compared_by_size_and_then_by_bytes(
    root: Path, size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    (root / "film").write_bytes(b"12345")
    committing.git(root, "add", "--all")
    committing.git(root, "commit", "-q", "-m", "Film")
    monkeypatch.setattr(checkout, "_LARGE_BYTES", 4)
    (root / "film").write_bytes(b"123456"[:size])

    assert (found(root) == "") == (size == 5)


def test_a_large_hole_in_the_place_of_a_file_is_not_read(root: Path) -> None:
    os.truncate(root / "src/one.ts", 1 << 42)

    assert found(root).startswith("hidden_changes src/one.ts ")


@pytest.mark.parametrize("held", [True, False, None], ids=["held", "elsewhere", "another content"])
def test_a_file_of_lfs_is_its_commits_where_the_store_has_it(root: Path, held: bool | None) -> None:
    content = b"film" * 1000
    oid = hashlib.sha256(content).hexdigest()
    pointer = f"version https://git-lfs.github.com/spec/v1\noid sha256:{oid}\nsize {len(content)}\n"
    (root / "film.mov").write_text(pointer)
    committing.git(root, "add", "--all")
    committing.git(root, "commit", "-q", "-m", "Film")
    (root / "film.mov").write_bytes(content if held is not None else content[::-1])
    store = root / ".git/lfs/objects" / oid[:2] / oid[2:4]
    store.mkdir(parents=True)
    (store / (oid if held is not False else "x")).write_bytes(content)

    assert (found(root) == "") == (held is True)


def test_a_repository_of_longer_object_ids_is_read_too(tmp_path: Path) -> None:
    committing.git(tmp_path, "init", "-q", "--object-format=sha256", "lane")
    root = tmp_path / "lane"
    (root / "one").write_text("one\n")
    committing.git(root, "add", "--all")
    committing.git(root, "commit", "-q", "-m", "Work")

    assert found(root) == ""

    (root / "one").write_text("two\n")

    assert found(root).startswith("hidden_changes one ")


def look(root: Path, *directories: str) -> list[survey.Obstacle]:
    item = Listed(str(root), None, None, False, None, None)
    return survey.look_inside(effects.run, item, directories, 0.0, Reap())[0]


# path in a disposable directory, whether it keeps the lane
NAMES = [
    ("dist/.env", True),
    ("dist/deep/er/.env.local", True),
    ("dist/prod.sqlite", True),
    ("dist/app.db/CURRENT", True),
    ("build/tls.pem", True),
    ("build/id_ed25519", True),
    ("build/index.js", False),
    ("node_modules/.env", True),
    ("node_modules/mail/.env", True),
    ("node_modules/mail/test/own.pem", False),
    (".venv/lib/certifi/cacert.pem", False),
    (".venv/server.pem", True),
    (".mypy_cache/3.13/cache.db", False),
]


@pytest.mark.parametrize(("path", "keeps"), NAMES)
def test_names_of_what_nobody_makes_again_keep_a_lane(
    path: str, keeps: bool, tmp_path: Path
) -> None:
    (tmp_path / path).parent.mkdir(parents=True)
    (tmp_path / path).write_text("x")

    told = look(tmp_path, path.partition("/")[0])

    assert bool(told) == keeps
    assert not told or told[0][0] == "precious_files"


def test_what_a_package_brought_keeps_nothing(tmp_path: Path) -> None:
    for name in ("linked", "unpacked"):
        (tmp_path / "node_modules" / name).mkdir(parents=True)
        (tmp_path / "node_modules" / name / ".env").write_text("x")
    os.link(tmp_path / "node_modules/linked/.env", tmp_path / "store")
    os.utime(tmp_path / "node_modules/unpacked/.env", (499_162_500, 499_162_500))

    assert look(tmp_path, "node_modules") == []


def test_a_link_with_a_precious_name_is_not_the_file(tmp_path: Path) -> None:
    (tmp_path / "dist").mkdir()
    (tmp_path / "dist/.env").symlink_to("/elsewhere/.env")

    assert look(tmp_path, "dist") == []
