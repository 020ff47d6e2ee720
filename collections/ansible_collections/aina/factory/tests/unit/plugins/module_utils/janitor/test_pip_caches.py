"""What pip and uv have cached goes by its last use, as its user, and never while they work."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from factory.core.base import settings
from factory.core.base.configuration import ConfigurationError, Section
from factory.core.base.ports import Completed
from factory.core.base.processes import Process
from factory.core.janitor import programs
from factory.core.janitor.kinds.pip_caches import PipCaches
from factory.core.janitor.model import KindError, KindLimits, SkipError
from factory.core.janitor.settings import Janitor

OLD = 1_700_000_000.0


class AsUser:
    """Runs what is to be run as a user, as whoever runs the tests; and writes down who it was."""

    def __init__(self) -> None:
        self.users: list[str | bytes] = []

    def __call__(self, argv: Sequence[str | bytes], **_options: Any) -> Completed:
        assert argv[:2] == ["runuser", "--user"], argv
        self.users.append(argv[2])
        done = subprocess.run(argv[4:], capture_output=True, check=False)
        return Completed(done.returncode, done.stdout, done.stderr)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(programs, "home", lambda _user: str(tmp_path))
    return tmp_path


def cached(home: Path, name: str, size: int = 8192, at: float = OLD) -> Path:
    path = home / ".cache" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"x" * size)
    os.utime(path, (at, at))
    return path


def kind(run: AsUser, *processes: Process, users: tuple[str, ...] = ("ali",)) -> PipCaches:
    device = Path("/").stat().st_dev
    return PipCaches(KindLimits(), users, run, lambda: processes, device)


def test_files_of_pip_are_listed_one_by_one_and_uv_as_a_whole(home: Path) -> None:
    body = cached(home, "pip/http-v2/a/b/abc.body")
    cached(home, "uv/wheels-v5/x.whl", at=OLD)
    newest = cached(home, "uv/archive-v0/y/z\nw.py", at=OLD + 100)
    run = AsUser()

    found = {item.target: item for item in kind(run).inventory()}

    assert found.keys() == {str(body), str(home / ".cache/uv")}
    assert found[str(body)].last_used == OLD
    assert found[str(body)].bytes >= 8192
    assert found[str(home / ".cache/uv")].last_used == newest.stat().st_mtime
    assert found[str(home / ".cache/uv")].bytes >= 2 * 8192
    assert set(run.users) == {"ali"}


def test_what_was_listed_goes_and_what_was_used_since_stays(home: Path) -> None:
    old, used = cached(home, "pip/wheels/a.whl"), cached(home, "pip/wheels/b.whl")
    cached(home, "uv/wheels-v5/x.whl")
    caches = kind(AsUser())
    listed = caches.inventory()
    os.utime(used, (OLD + 50, OLD))

    gone = {item.target: caches.remove(item) for item in listed}

    assert (old.exists(), used.exists(), (home / ".cache/uv").exists()) == (False, True, False)
    assert (gone[str(used)].removed, gone[str(used)].reason) == (False, "changed")
    assert gone[str(old)].bytes >= 8192


@pytest.mark.parametrize("word", ["/usr/bin/pip", "uv", "/home/ali/.venv/bin/pip3"])
def test_nothing_goes_while_something_is_installed(word: str, home: Path) -> None:
    path = cached(home, "pip/http-v2/a")
    at_work = Process(1, "python3", "/usr/bin/python3", ("/usr/bin/python3", word, "install"))

    (candidate,) = kind(AsUser(), at_work).inventory()

    assert candidate.held_by == "installation_running"
    assert kind(AsUser(), at_work).remove(candidate).reason == "installation_running"
    assert path.exists()


def test_a_link_that_a_user_puts_in_the_place_of_a_cache_is_not_followed(
    home: Path, tmp_path: Path
) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "kept").write_text("x")
    (home / ".cache").mkdir()
    (home / ".cache/pip").symlink_to(outside)
    (home / ".cache/uv").symlink_to(outside)

    assert kind(AsUser()).inventory() == []


def test_homes_without_caches_are_no_fault_and_unknown_users_are(home: Path) -> None:
    assert kind(AsUser()).inventory() == []
    with pytest.raises(SkipError, match="not_declared"):
        kind(AsUser(), users=()).inventory()


def test_a_user_who_does_not_exist_is_named() -> None:
    with pytest.raises(KindError, match="'no-such-user' does not exist"):
        kind(AsUser(), users=("no-such-user",)).inventory()


def test_age_and_total_have_defaults_and_a_wrong_key_is_refused() -> None:
    assert settings.read(Janitor, Section({}, "janitor")).pip_caches.limits == KindLimits(
        30 * 86400, 86400, 4096 << 20
    )
    with pytest.raises(ConfigurationError, match=r"pip_caches\.roots is not known"):
        settings.read(Janitor, Section({"pip_caches": {"roots": ["/home"]}}, "janitor"))
