from __future__ import annotations

import grp
import json
import pwd
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from factory.core.base.ports import Completed
from factory.core.host.way_in import root_holders

ACCOUNTS = {
    "root": (0, 0),
    "toor": (0, 0),
    "ali": (1000, 1000),
    "eva": (1001, 990),
    "bob": (1002, 1002),
}
GROUPS = {"docker": (990, ["ali"]), "wheel": (991, ["bob"])}


def rule(
    user: dict[str, str], command: str, *, accounts: Any = None, free: bool = False
) -> dict[str, Any]:
    """Return a rule as cvtsudoers writes it."""
    part: dict[str, Any] = {"Commands": [{"command": command}]}
    part |= {"runasusers": accounts} if accounts else {}
    part |= {"Options": [{"authenticate": False}]} if free else {}
    return {"User_List": [user], "Host_List": [{"hostname": "ALL"}], "Cmnd_Specs": [part]}


@pytest.fixture(autouse=True)
def accounts(monkeypatch: pytest.MonkeyPatch) -> None:
    everybody = [
        SimpleNamespace(pw_name=name, pw_uid=uid, pw_gid=gid)
        for name, (uid, gid) in ACCOUNTS.items()
    ]

    def group(name: str) -> Any:
        gid, members = GROUPS[name]
        return SimpleNamespace(gr_gid=gid, gr_mem=members)

    monkeypatch.setattr(pwd, "getpwall", lambda: everybody)
    monkeypatch.setattr(grp, "getgrnam", group)


def holders(tmp_path: Path, *specs: dict[str, Any], keys: str = "") -> set[tuple[str, str]]:
    def run(argv: Sequence[str | bytes], **_options: Any) -> Completed:
        assert argv[0] == "cvtsudoers"
        return Completed(0, json.dumps({"User_Specs": specs}).encode(), b"")

    path = tmp_path / "authorized_keys"
    path.write_text(keys)
    return {(item["what"], item["why"]) for item in root_holders.read(run, path)}


def test_numbers_groups_keys_and_rules_are_all_told(tmp_path: Path) -> None:
    specs = [
        rule({"username": "root"}, "ALL", accounts=[{"username": "ALL"}]),
        rule({"usergroup": "wheel"}, "ALL", accounts=[{"username": "ALL"}]),
        rule({"username": "ali"}, "ALL", free=True),
        rule(
            {"username": "ci"},
            "/usr/local/bin/run-lane",
            accounts=[{"username": "root"}],
            free=True,
        ),
        rule({"username": "deploy"}, "ALL", accounts=[{"username": "www-data"}]),
    ]

    found = holders(tmp_path, *specs, keys="# of ali\nssh-ed25519 AAAA x\nssh-ed25519 AAAB y\n")

    assert found == {
        ("toor", "has the number 0"),
        ("ali", "group docker"),
        ("eva", "group docker"),
        ("root", "2 SSH keys"),
        ("bob", "sudo"),
        ("ali", "sudo, without a password"),
        ("ci", "sudo, only /usr/local/bin/run-lane, without a password"),
    }


@pytest.mark.parametrize("answer", [Completed(1, b"", b"syntax error"), Completed(0, b"[", b"")])
def test_rules_that_cannot_be_read_are_not_called_none(answer: Completed, tmp_path: Path) -> None:
    found = root_holders.read(lambda *_words, **_options: answer, tmp_path / "none")

    assert [item["what"] for item in found][-1] == "whoever sudo lets"
