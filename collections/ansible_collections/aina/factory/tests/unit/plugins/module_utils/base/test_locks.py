"""A lock that only its owner can make, take and hold."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from factory.core.base.locks import LockedError, LockFileError, exclusive, waiting


def test_one_at_a_time_and_the_holder_is_named(tmp_path: Path) -> None:
    path = tmp_path / "new" / "lock"
    with (
        exclusive(path),
        pytest.raises(LockedError, match=rf"{path} \(process {os.getpid()}\)"),
        exclusive(path),
    ):
        pass
    with waiting(path):
        pass


def test_nobody_else_can_open_it(tmp_path: Path) -> None:
    path = tmp_path / "locks" / "lock"
    path.parent.mkdir()
    path.touch(0o666)
    path.chmod(0o666)
    with exclusive(path):
        assert path.stat().st_mode & 0o777 == 0o600


def link_to_a_file(path: Path) -> None:
    path.with_name("other").write_text("kept")
    path.symlink_to("other")


def link_to_nothing(path: Path) -> None:
    path.symlink_to("made")


def second_name(path: Path) -> None:
    path.with_name("other").write_text("kept")
    path.hardlink_to(path.with_name("other"))


def pipe(path: Path) -> None:
    os.mkfifo(path)


def file_of_another_user(path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("giving a file away needs root")
    path.touch(0o666)
    os.chown(path, 12345, 12345)


@pytest.mark.parametrize("lock", [exclusive, waiting])
@pytest.mark.parametrize(
    "plant", [link_to_a_file, link_to_nothing, second_name, pipe, file_of_another_user]
)
def test_what_somebody_put_in_its_place_is_refused_and_not_written(
    plant: Callable[[Path], None], lock: Callable[[Path], object], tmp_path: Path
) -> None:
    path = tmp_path / "lock"
    plant(path)

    with pytest.raises(LockFileError, match=str(path)), lock(path):  # type: ignore[attr-defined]
        pass

    other = path.with_name("other")
    assert not other.exists() or other.read_text() == "kept"
    assert not path.with_name("made").exists()


def test_a_refused_file_is_not_left_open(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    second_name(path)
    before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208
    with pytest.raises(LockFileError), exclusive(path):
        pass
    assert len(os.listdir("/proc/self/fd")) == before  # noqa: PTH208


def test_it_is_free_again_afterwards(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with exclusive(path):
        pass
    with path.open() as file:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
