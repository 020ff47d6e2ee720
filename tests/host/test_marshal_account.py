"""Root that calls ``factory marshal`` becomes whoever owns the state, whose job it is."""

from __future__ import annotations

import os
import pwd
from pathlib import Path
from types import SimpleNamespace

import pytest

from factory.commands import marshal
from factory.outcome import UsageError

OWNER = SimpleNamespace(pw_name="factory-marshal", pw_uid=4321, pw_gid=4322, pw_dir="/nonexistent")


@pytest.fixture
def became(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[str]:
    """Root, beside a state that is of somebody else; what it became, in order."""
    done: list[str] = []
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(Path, "stat", lambda _path, **_: SimpleNamespace(st_uid=4321, st_mode=0))
    monkeypatch.setattr(pwd, "getpwuid", lambda _number: OWNER)
    for name in ("initgroups", "setgid", "setuid"):
        monkeypatch.setattr(os, name, lambda *words, name=name: done.append(f"{name} {words}"))
    for name in ("HOME", "USER", "LOGNAME"):
        monkeypatch.setenv(name, "root")
    return done


def test_root_gives_up_groups_before_the_account(became: list[str], tmp_path: Path) -> None:
    marshal.become_owner(tmp_path)

    assert became == ["initgroups ('factory-marshal', 4322)", "setgid (4322,)", "setuid (4321,)"]
    assert os.environ["HOME"] == "/nonexistent"


def test_others_stay_who_they_are(
    became: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)

    marshal.become_owner(tmp_path)

    assert became == []


def test_a_state_of_nobody_is_not_touched_as_root(
    became: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unknown(_number: int) -> object:
        raise KeyError(4321)

    monkeypatch.setattr(pwd, "getpwuid", unknown)

    with pytest.raises(UsageError, match="converge the role marshal"):
        marshal.become_owner(tmp_path)
    assert became == []
