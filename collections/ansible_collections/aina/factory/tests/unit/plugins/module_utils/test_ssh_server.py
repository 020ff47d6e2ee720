from __future__ import annotations

import pytest

from ansible_collections.aina.factory.plugins.module_utils import ssh_server
from ansible_collections.aina.factory.plugins.module_utils.ssh_server import Account, SshServerError

ALI = Account("ali", ("ali", "sudo"), 1)
KEYLESS = Account("ali", ("ali", "sudo"), 0)
ROOT = Account("root", ("root",), 1)
STRICT = """\
permitrootlogin without-password
pubkeyauthentication yes
passwordauthentication no
kbdinteractiveauthentication no
authorizedkeyscommand none
trustedusercakeys none
authorizedkeysfile .ssh/authorized_keys
"""

CASES = [
    (ALI, "", ""),
    (ROOT, "", ""),
    (KEYLESS, "", "no public key that would be taken"),
    (KEYLESS, "passwordauthentication yes", ""),
    (KEYLESS, "kbdinteractiveauthentication yes", ""),
    (KEYLESS, "authorizedkeyscommand /usr/bin/keys", ""),
    (KEYLESS, "trustedusercakeys /etc/ssh/ca.pub", ""),
    (ALI, "pubkeyauthentication no", "no public key that would be taken"),
    (ALI, "allowusers bob", "shut ali out"),
    (ALI, "allowusers bob\nallowusers al*", ""),
    (ALI, "denyusers ali", "shut ali out"),
    (ALI, "allowgroups sudo", ""),
    (ALI, "allowgroups wheel", "AllowGroups or DenyGroups"),
    (ALI, "denygroups sudo", "AllowGroups or DenyGroups"),
    (ROOT, "permitrootlogin no", "PermitRootLogin is no"),
    (Account("root", ("root",), 0), "passwordauthentication yes", "no public key"),
]


@pytest.mark.parametrize(("account", "changed", "words"), CASES)
def test_whoever_would_be_locked_out_is_named(account: Account, changed: str, words: str) -> None:
    effective = {**ssh_server.parse(STRICT), **ssh_server.parse(changed)}

    problems = "; ".join(ssh_server.lock_out(account, effective))

    assert words in problems
    assert bool(words) == bool(problems)


def test_why_a_key_would_not_be_taken_is_said() -> None:
    loose = Account("ali", ("ali",), 0, "/home/ali belongs to another user")

    (problem,) = ssh_server.lock_out(loose, ssh_server.parse(STRICT))

    assert "/home/ali belongs to another user" in problem


@pytest.mark.parametrize(
    ("name", "value"), [("Banner", ""), ("Banner", "x\nPermitRootLogin yes"), ("Match User", "x")]
)
def test_a_setting_is_one_keyword_and_one_line(name: str, value: str) -> None:
    with pytest.raises(SshServerError, match="one keyword and one line"):
        ssh_server.content({name: value})
