"""Accounts that let nobody in, whatever the SSH server's settings."""

from __future__ import annotations

import pwd
from pathlib import Path
from types import SimpleNamespace

import pytest

from factory.core.host.way_in import accounts, logins

TODAY = 20_000
PAM = logins.parse("usepam yes\nauthorizedkeysfile .ssh/authorized_keys\n")


@pytest.mark.parametrize(
    ("line", "with_pam", "without"),
    [
        ("ali:!:19900:0:99999:7:::", "", ""),
        ("ali:*:19900::::::", "", ""),
        ("ali:x:19900:0:99999:7::20001:", "", ""),
        ("ali:x:19900:0:99999:7::20000:", "has ended on 2024-10-04", "has ended on 2024-10-04"),
        ("ali:x:19900:0:99999:7::1:", "has ended on 1970-01-02", "has ended on 1970-01-02"),
        ("ali:x:0:0:99999:7:::", "must be changed first", ""),
        ("ali:x:19900:0:90:7:::", "must be changed first", ""),
        ("ali:x:19900:0:90:7:30::", "must be changed first", ""),
        ("ali:x:19900:0:100:7:::", "", ""),
        ("ali:x:21000:0:90:7:::", "", ""),
        ("ali:x", "", ""),
    ],
)
def test_an_account_that_is_over_lets_nobody_in(line: str, with_pam: str, without: str) -> None:
    for uses_pam, words in ((True, with_pam), (False, without)):
        found = accounts.ended(line.split(":"), TODAY, uses_pam=uses_pam)

        assert words in found
        assert bool(words) == bool(found)


@pytest.mark.parametrize(
    ("shell", "words"),
    [
        ("/bin/sh", ""),
        ("", ""),
        ("/usr/sbin/nologin", "with which nobody can log in"),
        ("/bin/no-such-shell", "is no program here"),
    ],
)
def test_an_account_whose_shell_ends_every_session_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shell: str, words: str
) -> None:
    me = pwd.getpwall()[0]
    keys = tmp_path / ".ssh/authorized_keys"
    keys.parent.mkdir()
    keys.write_text("ssh-ed25519 AAAA me\n")
    entry = SimpleNamespace(
        pw_name=me.pw_name, pw_uid=me.pw_uid, pw_gid=me.pw_gid, pw_dir=str(tmp_path), pw_shell=shell
    )
    monkeypatch.setattr(pwd, "getpwnam", lambda _name: entry)
    monkeypatch.setattr(accounts, "SHADOW", tmp_path / "none")

    account = accounts.read_account(me.pw_name, PAM, TODAY)
    effective = {**PAM, **logins.parse("pubkeyauthentication yes")}
    problems = "; ".join(logins.lock_out(account, effective))

    assert account.keys == 1
    assert words in problems
    assert bool(words) == bool(problems)
