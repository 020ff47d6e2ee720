from __future__ import annotations

import os
import pwd
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from factory.core.base.ports import Completed
from factory.core.host import system_users
from factory.core.host.system_users import SystemUsersError


def test_who_is_missing_is_made_without_a_login_and_who_is_there_stays() -> None:
    calls: list[list[str]] = []

    def run(argv: Sequence[str | bytes], **_options: Any) -> Completed:
        calls.append([str(word) for word in argv])
        return Completed(0, b"", b"")

    plan = system_users.plan(["lanes", "runner"], ["old", "gone"], {"runner", "old"})
    system_users.apply(plan, run)

    made, removed = calls
    assert made[0] == "useradd"
    assert made[-4:] == ["--shell", "/usr/sbin/nologin", "--", "lanes"]
    # Its files stay.
    assert removed == ["userdel", "--", "old"]


def test_a_refusal_is_quoted() -> None:
    plan = system_users.plan(["lanes"], [], [])

    with pytest.raises(SystemUsersError, match="useradd lanes: cannot lock"):
        system_users.apply(plan, lambda *_, **__: Completed(1, b"", b"cannot lock /etc/passwd"))


def test_names_of_the_factorys_own_services_are_told_from_those_of_people() -> None:
    assert system_users.service_accounts({"ali", "root", "factory-x"}) == ["factory-x"]


@pytest.fixture
def owners(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int]]:
    """What was handed over, by name and number of the new owner; everything is somebody else's."""
    handed: list[tuple[str, int]] = []

    def chown(name: str, number: int, _group: int, **options: Any) -> None:
        assert options["follow_symlinks"] is False
        assert "/" not in name
        handed.append((name, number))

    monkeypatch.setattr(os, "chown", chown)
    monkeypatch.setattr(system_users, "_number", {"factory-x": 4321}.get)
    root = pwd.getpwnam("root")
    monkeypatch.setattr(pwd, "getpwuid", lambda _number: root)
    return handed


def test_a_directory_is_handed_over_with_what_is_in_it_and_no_link_is_followed(
    tmp_path: Path, owners: list[tuple[str, int]]
) -> None:
    state = tmp_path / "state"
    (state / "project").mkdir(parents=True)
    (tmp_path / "shadow").write_text("root's own")
    for name in ("audit.jsonl", "report.json"):
        (state / "project" / name).write_text("{}")
    (state / "project/link").symlink_to(tmp_path / "shadow")
    (state / "project/second").hardlink_to(tmp_path / "shadow")

    assert system_users.foreign({str(state): "factory-x"}) == [str(state)]
    system_users.hand_over(str(state), "factory-x")

    names = sorted(name for name, _number in owners)
    # The name that is a second one of a file elsewhere stays whose it is.
    assert names == [".", ".", "audit.jsonl", "link", "report.json"]
    assert {number for _name, number in owners} == {4321}


def test_a_link_in_place_of_the_directory_is_not_handed_over(
    tmp_path: Path, owners: list[tuple[str, int]]
) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "state").symlink_to(tmp_path / "elsewhere")

    system_users.hand_over(str(tmp_path / "state"), "factory-x")

    assert owners == []


def test_nothing_is_handed_to_an_account_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(SystemUsersError, match="no account of this host"):
        system_users.hand_over(str(tmp_path), "factory-nobody-here")
