"""Units of a user's own manager: who is asked, and what has to be done first."""

from __future__ import annotations

import os
import pwd
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from factory.core.base.ports import Completed
from factory.core.host import user_managers
from factory.core.host.units import UnitsError

ME = pwd.getpwuid(os.getuid()).pw_name


class Calls(list[list[str]]):
    """A port that writes down what it is asked."""

    status = 0

    def __call__(self, argv: Sequence[str | bytes], **_: Any) -> Completed:
        self.append([str(word) for word in argv])
        return Completed(self.status, b"", b"no bus")


@pytest.fixture
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(user_managers, "_LINGER", tmp_path / "linger")
    monkeypatch.setattr(user_managers, "_RUNTIME", tmp_path / "run")
    return tmp_path


def test_the_users_manager_is_asked_in_place_of_the_systems() -> None:
    run = Calls()
    commanded = user_managers.commanded("ali", run)

    commanded(["systemctl", "show", "a.service"])
    commanded(["journalctl", "--lines=5", "--unit=a.service"])
    commanded(["sleep", "1"])

    assert run == [
        ["systemctl", "--user", "--machine=ali@.host", "show", "a.service"],
        ["journalctl", "--lines=5", "_SYSTEMD_USER_UNIT=a.service"],
        ["sleep", "1"],
    ]


def test_without_a_user_nothing_is_different() -> None:
    run = Calls()

    assert user_managers.commanded(None, run) is run
    assert user_managers.provide(None, run, check_mode=False) == []


def test_a_manager_is_made_to_run_from_boot_on_and_started(places: Path) -> None:
    run = Calls()

    done = user_managers.provide(ME, run, check_mode=False)

    assert done == [f"let the units of {ME} run without a login"]
    assert run == [
        ["loginctl", "enable-linger", ME],
        ["systemctl", "start", f"user@{os.getuid()}.service"],
    ]


def test_a_manager_that_runs_from_boot_on_is_left_alone(places: Path) -> None:
    (places / "linger").mkdir()
    (places / "linger" / ME).touch()
    (places / f"run/{os.getuid()}/systemd").mkdir(parents=True)
    (places / f"run/{os.getuid()}/systemd/private").touch()
    run = Calls()

    assert user_managers.provide(ME, run, check_mode=False) == []
    assert run == []


def test_check_mode_only_says_so_even_of_a_user_who_is_not_there_yet(places: Path) -> None:
    run = Calls()

    assert user_managers.provide(ME, run, check_mode=True) != []
    assert user_managers.provide("nobody-yet", run, check_mode=True) != []
    assert run == []


def test_a_user_who_is_not_there_and_a_refusal_are_named(places: Path) -> None:
    run = Calls()
    with pytest.raises(UnitsError, match="there is no user nobody-yet"):
        user_managers.provide("nobody-yet", run, check_mode=False)
    run.status = 1
    with pytest.raises(UnitsError, match=r"enable-linger .*: no bus"):
        user_managers.provide(ME, run, check_mode=False)
