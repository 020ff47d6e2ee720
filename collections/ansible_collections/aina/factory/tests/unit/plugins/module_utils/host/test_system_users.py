from __future__ import annotations

from collections.abc import Sequence
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
