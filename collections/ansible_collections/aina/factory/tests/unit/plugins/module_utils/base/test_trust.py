"""What root may rely on, and files into whose place anything may have been put."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from factory.core.base import trust

root_only = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
OTHER = 54321


@pytest.fixture
def place(tmp_path: Path) -> Path:
    path = tmp_path / "a/b"
    path.mkdir(parents=True)
    (path / "file").write_text("x")
    return path / "file"


def nothing(_file: Path) -> None:
    """Leave it as it is."""


def gone(file: Path) -> None:
    file.unlink()


def file_of_another(file: Path) -> None:
    os.chown(file, OTHER, OTHER)


def directory_of_another(file: Path) -> None:
    os.chown(file.parent.parent, OTHER, OTHER)


def writable_for_all(file: Path) -> None:
    file.chmod(0o666)


def writable_for_a_group(file: Path) -> None:
    os.chown(file.parent, 0, OTHER)
    file.parent.chmod(0o775)


def writable_for_roots_group(file: Path) -> None:
    file.parent.chmod(0o775)


def sticky_for_all(file: Path) -> None:
    file.parent.chmod(0o1777)


def gone_where_all_may_write(file: Path) -> None:
    file.unlink()
    file.parent.chmod(0o1777)


def links_into_the_own(file: Path) -> None:
    target = file.rename(file.with_name("target"))
    file.symlink_to("../b/./target")
    assert target.exists()


def link_of_another(file: Path) -> None:
    links_into_the_own(file)
    os.chown(file, OTHER, OTHER, follow_symlinks=False)


def link_to_a_place_of_another(file: Path) -> None:
    other = file.parent.parent / "other"
    other.mkdir()
    os.chown(other, OTHER, OTHER)
    file.unlink()
    file.symlink_to(other / "file")


def link_to_itself(file: Path) -> None:
    file.unlink()
    file.symlink_to(file)


# what was done to it, the part that others can change, below a
CASES = [
    (nothing, None),
    (gone, None),
    (file_of_another, "b/file"),
    (directory_of_another, ""),
    (writable_for_all, "b/file"),
    (writable_for_a_group, "b"),
    (writable_for_roots_group, "b"),
    (sticky_for_all, None),
    (gone_where_all_may_write, "b/file"),
    (links_into_the_own, None),
    (link_of_another, "b/file"),
    (link_to_a_place_of_another, "other"),
    (link_to_itself, "b/file"),
]


@root_only
@pytest.mark.parametrize(("change", "part"), CASES)
def test_the_part_that_others_can_change_is_named(
    change: Callable[[Path], None], part: str | None, place: Path
) -> None:
    change(place)
    expected = None if part is None else str(place.parent.parent / part)

    remembered: set[str] = set()
    for _time in range(2):
        assert trust.changeable_by_others(str(place), remembered) == expected


def test_a_plain_file_is_read(place: Path) -> None:
    assert trust.read_file(place) == b"x"


def pipe(file: Path) -> None:
    file.unlink()
    os.mkfifo(file)


def directory(file: Path) -> None:
    file.unlink()
    file.mkdir()


def large(file: Path) -> None:
    os.truncate(file, 3 << 30)


@pytest.mark.parametrize("change", [pipe, directory, large, links_into_the_own, gone])
def test_anything_else_is_refused_at_once(change: Callable[[Path], None], place: Path) -> None:
    change(place)
    with pytest.raises(OSError, match="file"):
        trust.read_file(place)
