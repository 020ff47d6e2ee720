from __future__ import annotations

import grp
import os
import pwd
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from factory.core.base.ports import Completed
from factory.core.host import managed_files
from factory.core.host.managed_files import (
    Attributes,
    Change,
    ChangeKind,
    DirectorySpec,
    FileSpec,
    ManagedFilesError,
)
from factory.core.host.steps import Context, StepError
from factory.core.host.steps import managed_files as step

ME = pwd.getpwuid(os.getuid()).pw_name
MY_GROUP = grp.getgrgid(os.getgid()).gr_name
DIRECTORY = Attributes(ME, MY_GROUP, 0o755)
PLAIN = Attributes(ME, MY_GROUP, 0o644)


def run_nothing(argv: Sequence[str | bytes], **_: Any) -> Completed:
    pytest.fail(f"{argv} was not to be run")


def converge(
    directories: Sequence[DirectorySpec] = (),
    files: Sequence[FileSpec] = (),
    absent: Sequence[str] = (),
    run: Any = run_nothing,
) -> list[Change]:
    changes = managed_files.plan(directories, files, absent)
    managed_files.apply(changes, run)
    return changes


def test_a_second_run_changes_nothing(tmp_path: Path) -> None:
    directories = [DirectorySpec(f"{tmp_path}/d", DIRECTORY, exclusive=True)]
    files = [FileSpec(f"{tmp_path}/d/sub/f", b"x\n", PLAIN)]

    first = converge(directories, files)

    assert [change.kind for change in first] == [ChangeKind.CREATE_DIRECTORY, ChangeKind.WRITE]
    assert converge(directories, files) == []


def test_the_plan_touches_nothing(tmp_path: Path) -> None:
    managed_files.plan(
        [DirectorySpec(f"{tmp_path}/d", Attributes("nobody-yet", "nobody-yet", 0o700))],
        [FileSpec(f"{tmp_path}/d/f", b"x", PLAIN)],
        [],
    )

    assert list(tmp_path.iterdir()) == []


def test_an_exclusive_directory_loses_what_nobody_declared(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "precious").write_text("keep")
    owned = tmp_path / "owned"
    (owned / "stale" / "deep").mkdir(parents=True)
    (owned / "stale.json").write_text("{}")
    (owned / "link").symlink_to(outside)
    (owned / "cache.pyc").write_text("")

    changes = converge(
        [DirectorySpec(str(owned), DIRECTORY, exclusive=True, exclude=("*.pyc",))],
        [FileSpec(f"{owned}/a/b/wanted", b"", PLAIN)],
    )

    removed = {Path(change.path).name for change in changes if change.kind is ChangeKind.REMOVE}
    assert removed == {"stale", "stale.json", "link"}
    assert sorted(path.name for path in owned.iterdir()) == ["a", "cache.pyc"]
    assert (outside / "precious").read_text() == "keep"


def test_a_refused_file_never_replaces_a_good_one(tmp_path: Path) -> None:
    target = tmp_path / "conf"
    target.write_text("good")
    spec = FileSpec(str(target), b"bad", PLAIN, validate=("checker", "%s"))

    def refuse(argv: Sequence[str | bytes], **_: Any) -> Completed:
        assert Path(os.fsdecode(argv[1])).read_text() == "bad"
        return Completed(1, b"", f"{os.fsdecode(argv[1])}: line 1: nonsense".encode())

    with pytest.raises(ManagedFilesError) as caught:
        converge(files=[spec], run=refuse)

    assert str(caught.value) == (
        f"{target} was not replaced: checker refuses it: {target}: line 1: nonsense"
    )
    assert target.read_text() == "good"
    assert [path.name for path in tmp_path.iterdir()] == ["conf"]


def test_a_missing_validator_is_no_agreement(tmp_path: Path) -> None:
    def absent(argv: Sequence[str | bytes], **_: Any) -> Completed:
        raise FileNotFoundError(argv[0])

    with pytest.raises(ManagedFilesError, match="did not run"):
        converge(files=[FileSpec(f"{tmp_path}/f", b"", PLAIN, ("checker", "%s"))], run=absent)
    assert list(tmp_path.iterdir()) == []


def test_what_a_killed_run_left_is_cleared(tmp_path: Path) -> None:
    spec = FileSpec(f"{tmp_path}/conf", b"x", PLAIN)
    converge(files=[spec])
    (tmp_path / ".conf.managed-tmp").write_text("half")

    assert [change.kind for change in converge(files=[spec])] == [ChangeKind.REMOVE]
    assert [path.name for path in tmp_path.iterdir()] == ["conf"]
    assert converge(files=[spec]) == []


def test_a_link_in_the_place_of_a_file_is_replaced_and_not_followed(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("untouched")
    (tmp_path / "conf").symlink_to(victim)

    converge(files=[FileSpec(f"{tmp_path}/conf", b"new", PLAIN)])

    assert victim.read_text() == "untouched"
    assert (tmp_path / "conf").read_text() == "new"
    assert not (tmp_path / "conf").is_symlink()


def test_a_wrong_mode_is_set_right_without_rewriting(tmp_path: Path) -> None:
    path = tmp_path / "f"
    path.write_text("x")
    path.chmod(0o666)
    inode = path.stat().st_ino

    changes = converge(files=[FileSpec(str(path), b"x", PLAIN)])

    assert [change.kind for change in changes] == [ChangeKind.ATTRIBUTES]
    assert (path.stat().st_ino, path.stat().st_mode & 0o777) == (inode, 0o644)


def test_a_sensitive_content_never_shows(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("old-secret")
    spec = FileSpec(f"{tmp_path}/token", b"new-secret", PLAIN, sensitive=True)

    changes = managed_files.plan([], [spec], [])

    assert "secret" not in changes[0].before + changes[0].after


REFUSALS = [
    (lambda root: ([], [FileSpec(f"{root}/dir", b"", PLAIN)], []), "is a directory; move it away"),
    (lambda root: ([DirectorySpec(f"{root}/file", DIRECTORY)], [], []), "must be a directory"),
    (lambda root: ([], [FileSpec("relative", b"", PLAIN)], []), "must be an absolute path"),
    (lambda root: ([], [FileSpec(f"{root}/a", b"", PLAIN)] * 2, []), "declared twice"),
    (lambda root: ([], [FileSpec(f"{root}/a/b", b"", PLAIN)], [f"{root}/a"]), "declared absent"),
    (lambda root: ([], [], ["/"]), "declared absent"),
    (
        lambda root: (
            [DirectorySpec(f"{root}/n", Attributes("no-such-user", None, 0o755))],
            [],
            [],
        ),
        "create the account first",
    ),
]


@pytest.mark.parametrize(("declare", "message"), REFUSALS)
def test_nonsense_is_refused_by_name(tmp_path: Path, declare: Any, message: str) -> None:
    (tmp_path / "dir").mkdir()
    (tmp_path / "file").write_text("")

    with pytest.raises(ManagedFilesError, match=message):
        converge(*declare(tmp_path))


def test_an_exclusive_directory_is_never_emptied_through_a_link(tmp_path: Path) -> None:
    precious = tmp_path / "elsewhere" / "precious"
    precious.parent.mkdir()
    precious.write_text("x", encoding="utf-8")
    (tmp_path / "d").symlink_to(precious.parent)

    with pytest.raises(ManagedFilesError, match="is a link"):
        converge([DirectorySpec(f"{tmp_path}/d", DIRECTORY, exclusive=True)])

    assert precious.exists()


def test_a_refusal_by_the_kernel_names_the_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_path: Path, _target: Path) -> None:
        raise PermissionError(1, "Operation not permitted")  # what an immutable file answers

    monkeypatch.setattr(Path, "replace", refuse)

    with pytest.raises(ManagedFilesError, match=r"/f: could not write: .*; is it immutable"):
        converge(files=[FileSpec(f"{tmp_path}/f", b"x", PLAIN)])

    assert list(tmp_path.iterdir()) == []


def test_a_link_takes_the_place_of_a_file_or_of_another_link(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    (tmp_path / "stale").symlink_to("/nowhere")
    links = [
        managed_files.LinkSpec(f"{tmp_path}/{name}", "target") for name in ("file", "stale", "new")
    ]

    changes = managed_files.plan((), (), (), links)
    managed_files.apply(changes, run_nothing)

    assert {change.kind for change in changes} == {ChangeKind.LINK}
    assert {path.readlink() for path in tmp_path.iterdir()} == {Path("target")}
    assert managed_files.plan((), (), (), links) == []


def test_a_directory_in_the_place_of_a_link_is_nobodys_to_remove(tmp_path: Path) -> None:
    with pytest.raises(ManagedFilesError, match="must be a link but is a directory"):
        managed_files.plan((), (), (), [managed_files.LinkSpec(str(tmp_path), "target")])


@pytest.fixture
def umask() -> Iterator[Callable[[int], int]]:
    before = os.umask(0o022)
    yield os.umask
    os.umask(before)


@pytest.mark.parametrize("mask", [0o000, 0o027, 0o077])
def test_directories_on_the_way_may_be_passed_under_any_umask(
    tmp_path: Path, umask: Callable[[int], int], mask: int
) -> None:
    umask(mask)

    converge(
        [DirectorySpec(f"{tmp_path}/lib", DIRECTORY), DirectorySpec(f"{tmp_path}/a/b", DIRECTORY)],
        [FileSpec(f"{tmp_path}/lib/package/core/f.py", b"", PLAIN)],
    )

    made = [path for path in tmp_path.rglob("*") if path.is_dir()]
    assert {str(path.relative_to(tmp_path)): path.stat().st_mode & 0o7777 for path in made} == (
        dict.fromkeys(["a", "a/b", "lib", "lib/package", "lib/package/core"], 0o755)
    )


@pytest.mark.parametrize("broken", [0o700, 0o750, 0o777])
def test_directories_that_an_earlier_run_has_closed_are_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, broken: int
) -> None:
    monkeypatch.setattr(managed_files, "_SYSTEM_DIRS", (str(tmp_path),))
    owned = [DirectorySpec(f"{tmp_path}/lib", DIRECTORY, exclusive=True, exclude=("cache",))]
    files = [
        FileSpec(f"{tmp_path}/lib/package/core/f.py", b"", PLAIN),
        FileSpec(f"{tmp_path}/unit.d/limits.conf", b"", PLAIN),
    ]
    converge(owned, files)
    closed = [tmp_path / name for name in ("lib/package", "lib/package/core", "unit.d")]
    (tmp_path / "lib/package/cache").touch()
    for path in reversed(closed):
        path.chmod(broken)

    changes = converge(owned, files)

    assert {(change.kind, change.path) for change in changes} == {
        (ChangeKind.ATTRIBUTES, str(path)) for path in closed
    }
    assert {path.stat().st_mode & 0o777 for path in closed} == {0o755}
    assert converge(owned, files) == []


def test_a_directory_of_somebody_else_stays_as_closed_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(managed_files, "_SYSTEM_DIRS", (str(tmp_path / "system"),))
    shared, private, spool = (
        tmp_path / name for name in ("system/shared", "system/private", "system/spool")
    )
    home = tmp_path / "home"
    for path in (shared, private, spool, home):
        path.mkdir(parents=True)
    (shared / "theirs").touch()
    files = [
        FileSpec(f"{shared}/ours", b"", PLAIN),
        FileSpec(f"{private}/key", b"", Attributes(ME, MY_GROUP, 0o600)),
        FileSpec(f"{spool}/ours", b"", PLAIN),
        FileSpec(f"{home}/ours", b"", PLAIN),
    ]
    converge(files=files)
    for path in (shared, private, home):
        path.chmod(0o700)
    spool.chmod(0o1777)

    assert converge(files=files) == []


def test_a_failure_tells_which_paths_were_changed_before_it(tmp_path: Path) -> None:
    common = {"owner": ME, "group": MY_GROUP, "mode": "0644", "sensitive": False, "content": "x"}
    files = [
        {"path": f"{tmp_path}/good", "validate": [], **common},
        {"path": f"{tmp_path}/bad", "validate": ["judge", "%s"], **common},
    ]
    parameters = {
        "directories": [],
        "files": files,
        "links": [],
        "absent": [],
        "former_dir": None,
        "given_back": [],
    }

    with pytest.raises(StepError) as caught:
        step.execute(
            parameters, Context(lambda *_, **__: Completed(1, b"", b"no"), False, pytest.fail)
        )

    assert caught.value.done == {"changed_paths": [f"{tmp_path}/good"]}


def test_check_mode_asks_no_validator_and_names_a_long_new_file(tmp_path: Path) -> None:
    common = {"owner": ME, "group": MY_GROUP, "mode": "0644", "sensitive": False}
    file = {
        "path": f"{tmp_path}/long",
        "validate": ["judge", "%s"],
        "content": "x\n" * 50,
        **common,
    }
    parameters = {
        "directories": [],
        "files": [file],
        "links": [],
        "absent": [],
        "former_dir": None,
        "given_back": [],
    }

    result = step.execute(parameters, Context(run_nothing, True, pytest.fail))

    assert result["changed_paths"] == [f"{tmp_path}/long"]
    assert result["diff"][0]["after"] == "(new file of 50 lines)\n"
    assert list(tmp_path.iterdir()) == []


def test_what_stood_there_before_comes_back_as_it_was(tmp_path: Path) -> None:
    link, file, new, unknown = (tmp_path / name for name in ("link", "file", "new", "unknown"))
    former = tmp_path / "former"
    link.symlink_to("Europe/Moscow")
    file.write_text("Europe/Moscow\n")
    file.chmod(0o640)
    unknown.write_text("somebody's\n")
    attributes = managed_files.Attributes(None, None, 0o644)

    for zone in ("Etc/UTC", "Asia/Tokyo"):
        files = [
            managed_files.FileSpec(str(path), zone.encode(), attributes) for path in (file, new)
        ]
        links = [managed_files.LinkSpec(str(link), zone)]
        changes = managed_files.plan((), files, (), links)
        managed_files.keep_former(changes, former)
        managed_files.apply(changes, run_nothing)
    assert (file.read_text(), new.read_text()) == ("Asia/Tokyo", "Asia/Tokyo")

    paths = [str(path) for path in (link, file, new, unknown)]
    managed_files.apply(managed_files.give_back(paths, former), run_nothing)
    managed_files.forget_former(paths, former)

    assert link.readlink() == Path("Europe/Moscow")
    assert (file.read_text(), file.stat().st_mode & 0o777) == ("Europe/Moscow\n", 0o640)
    assert not new.exists()
    assert unknown.read_text() == "somebody's\n"
    assert managed_files.give_back(paths, former) == []


@pytest.mark.parametrize(
    ("name", "owned", "goes"),
    [("x.d", False, True), ("x.d", True, False), ("conf", False, False)],
)
def test_an_empty_directory_of_drop_ins_goes_with_the_last_of_them(
    name: str, owned: bool, goes: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(managed_files, "_SYSTEM_DIRS", (str(tmp_path),))
    first, last = tmp_path / name / "1.conf", tmp_path / name / "2.conf"
    first.parent.mkdir()
    first.touch()
    last.touch()

    def run(argv: Sequence[str | bytes], **_options: Any) -> Completed:
        assert list(argv) == ["dpkg-query", "--search", "--", str(first.parent)]
        return Completed(0 if owned else 1, b"", b"")

    managed_files.apply(managed_files.plan((), (), [str(first)]), run)
    assert first.parent.is_dir()
    managed_files.apply(managed_files.plan((), (), [str(last)]), run)

    assert first.parent.exists() != goes


def test_a_declared_directory_stays_though_nothing_is_left_in_it(tmp_path: Path) -> None:
    owner, group = (str(tmp_path.owner()), str(tmp_path.group()))
    directory = managed_files.DirectorySpec(
        str(tmp_path / "x.d"), managed_files.Attributes(owner, group, 0o755)
    )
    (tmp_path / "x.d").mkdir(mode=0o755)
    (tmp_path / "x.d/1.conf").touch()

    (change,) = managed_files.plan([directory], (), [str(tmp_path / "x.d/1.conf")])

    assert not change.prunes
