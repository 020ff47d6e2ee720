from __future__ import annotations

import ipaddress
import os
import pwd
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from factory.core.base.ports import Completed, Run
from factory.core.host import managed_files, ssh_server, units
from factory.core.host.ssh_server import SshServerError
from factory.core.host.way_in import accounts, logins
from factory.core.host.way_in.accounts import Account
from factory.core.host.way_in.connection import Listener, Session

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
    (Account("ali", ("ali",), 0, password=False), "passwordauthentication yes", "no public key"),
    (Account("ali", ("ali",), 1, locked=True), "usepam yes", ""),
    (Account("ali", ("ali",), 1, locked=True), "usepam no", "password is locked"),
    (ALI, "authenticationmethods any", ""),
    (ALI, "authenticationmethods publickey", ""),
    (ALI, "authenticationmethods publickey,password publickey,hostbased", ""),
    (ALI, "authenticationmethods publickey,password", "cannot satisfy AuthenticationMethods"),
    (KEYLESS, "passwordauthentication yes\nauthenticationmethods publickey", "cannot satisfy"),
]


@pytest.mark.parametrize(("account", "changed", "words"), CASES)
def test_whoever_would_be_locked_out_is_named(account: Account, changed: str, words: str) -> None:
    effective = {**logins.parse(STRICT), **logins.parse(changed)}

    problems = "; ".join(logins.lock_out(account, effective))

    assert words in problems
    assert bool(words) == bool(problems)


def test_why_a_key_would_not_be_taken_is_said() -> None:
    loose = Account("ali", ("ali",), 0, "/home/ali belongs to another user")

    (problem,) = logins.lock_out(loose, logins.parse(STRICT))

    assert "/home/ali belongs to another user" in problem


@pytest.mark.parametrize(
    ("name", "value"), [("Banner", ""), ("Banner", "x\nPermitRootLogin yes"), ("Match User", "x")]
)
def test_a_setting_is_one_keyword_and_one_line(name: str, value: str) -> None:
    with pytest.raises(SshServerError, match="one keyword and one line"):
        ssh_server.content({name: value})


OFFICE = ipaddress.ip_address("203.0.113.9")
SERVER = ipaddress.ip_address("192.0.2.1")
SESSION = Session("ops", OFFICE, SERVER, 2222)


@pytest.mark.parametrize(
    ("changed", "shut_out"),
    [
        ("allowusers ali@203.0.113.0/24", False),
        ("allowusers ali@203.0.113.*", False),
        ("allowusers ali@198.51.100.0/24", True),
        ("allowusers ali@office.example.com", True),
        ("denyusers ali@198.51.100.0/24", False),
        ("denyusers ali@203.0.113.0/24", True),
        ("denyusers ali@office.example.com", True),
    ],
)
def test_an_account_may_be_meant_from_some_addresses_only(changed: str, shut_out: bool) -> None:
    effective = {**logins.parse(STRICT), **logins.parse(changed)}

    assert bool(list(logins.lock_out(ALI, effective, OFFICE))) is shut_out


@pytest.mark.parametrize(
    ("field", "words", "has_one"),
    [
        ("$y$j9T$x", "", True),
        ("!$y$j9T$x", "", False),
        ("*", "", False),
        ("", "permitemptypasswords no", False),
        ("", "permitemptypasswords yes", True),
        (None, "usepam yes", True),
        (None, "usepam no", False),
    ],
)
def test_a_password_is_looked_for_where_it_is(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    field: str | None,
    words: str,
    has_one: bool,
) -> None:
    shadow = tmp_path / "shadow"
    shadow.write_text("bob:x:1::\n" + ("" if field is None else f"ali:{field}:1:0:9:7:::\n"))
    monkeypatch.setattr(accounts, "SHADOW", shadow)

    fields = accounts._shadow("ali")
    kept = fields[1] if fields else None

    assert accounts._is_password(kept, logins.parse(words)) is has_one


@pytest.mark.parametrize(
    ("word", "path"),
    [
        (".ssh/authorized_keys", "/data/ali/.ssh/authorized_keys"),
        ("%h/keys", "/data/ali/keys"),
        ("/etc/ssh/keys/%u", "/etc/ssh/keys/ali"),
        ("/etc/ssh/keys/%U-100%%", "/etc/ssh/keys/1000-100%"),
    ],
)
def test_keys_are_looked_for_where_the_account_has_them(word: str, path: str) -> None:
    assert str(accounts.keys_path(word, "ali", 1000, "/data/ali")) == path


def test_a_home_that_is_a_link_is_judged_where_it_leads(tmp_path: Path) -> None:
    home = tmp_path / "open" / "ali"
    home.mkdir(parents=True)
    (tmp_path / "link").symlink_to(home)
    (home / "keys").write_text("ssh-ed25519 AAAA\n")
    (tmp_path / "open").chmod(0o777)
    me = os.getuid()
    entry = pwd.struct_passwd(("ali", "x", me, me, "", str(tmp_path / "link"), "/bin/sh"))

    assert accounts._loose(tmp_path / "link" / "keys", entry) == ""
    home.chmod(0o777)
    assert f"{home} belongs to another" in accounts._loose(tmp_path / "link" / "keys", entry)


@pytest.mark.parametrize(
    ("configured", "unit", "refused"),
    [
        ("listenaddress 0.0.0.0:2222", "ssh.service", False),
        ("listenaddress [::]:22\nlistenaddress 192.0.2.1:2222", "ssh.service", False),
        ("listenaddress 0.0.0.0:22", "ssh.service", True),
        ("listenaddress 198.51.100.1:2222", "ssh.service", True),
        # A server of IPv6 alone.
        ("listenaddress [::]:2222", "ssh.service", True),
        ("listenaddress 0.0.0.0:2222", "ssh.socket", False),
        # The configuration does not say where systemd listens, or another server.
        ("listenaddress 0.0.0.0:22", "ssh.socket", False),
        ("listenaddress 0.0.0.0:22", "rescue.service", False),
    ],
)
def test_a_server_does_not_move_away_from_where_the_run_found_it(
    configured: str, unit: str, refused: bool
) -> None:
    there = [Listener(ipaddress.ip_address("::"), 2222, unit)]

    def problems(*, declared: bool) -> list[str]:
        effective = logins.parse(configured)
        return list(ssh_server.moved_away(SESSION, there, effective, declared=declared))

    assert bool(problems(declared=False)) is refused
    assert all("this run came to 192.0.2.1:2222" in problem for problem in problems(declared=True))
    # A port that is declared moves a socket that a generator makes of it.
    leaves = unit != "rescue.service" and "0.0.0.0:2222" not in configured
    assert bool(problems(declared=True)) is (leaves and "192.0.2.1" not in configured)


@pytest.fixture
def configuration(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "sshd_config.d").mkdir()
    (tmp_path / "sshd_config").write_text("Include /etc/ssh/sshd_config.d/*.conf\n")
    monkeypatch.setattr(ssh_server, "CONFIGURATION_DIR", tmp_path)


def sshd(now: str, then: str, asked: list[str]) -> Run:
    """Return a server that says what holds now and what would hold with the settings."""

    def run(argv: Sequence[str | bytes], **_options: Any) -> Completed:
        words = [str(word) for word in argv]
        if "-C" in words:
            asked.append(words[words.index("-C") + 1])
        return Completed(0, (then if "-f" in words else now).encode(), b"")

    return run


@pytest.mark.usefixtures("configuration")
@pytest.mark.parametrize(
    ("now", "then", "refused"),
    [
        (STRICT, f"{STRICT}allowusers ali\n", True),
        (STRICT, STRICT, False),
        (STRICT, f"{STRICT}forcecommand /bin/date\n", True),
        (STRICT, f"{STRICT}maxsessions 0\n", True),
        (f"{STRICT}forcecommand /bin/log\n", f"{STRICT}forcecommand /bin/log\n", False),
        # Whatever lets it in now, these settings do not change it.
        (f"{STRICT}allowusers ali\n", f"{STRICT}allowusers ali\n", False),
    ],
)
@pytest.mark.parametrize("settings", [{"MaxAuthTries": "3"}, {}])
def test_whoever_the_run_came_as_is_judged_from_where_it_came(
    now: str, then: str, refused: bool, settings: dict[str, str]
) -> None:
    asked: list[str] = []

    def judge() -> None:
        ssh_server.judge(
            settings,
            ["ali"],
            sshd(now, then, asked),
            lambda name, _effective: Account(name, (name,), 1),
            SESSION,
        )

    if refused:
        with pytest.raises(SshServerError, match="this run came as ops: "):
            judge()
    else:
        judge()
    assert asked[-1] == "user=ops,host=203.0.113.9,addr=203.0.113.9,laddr=192.0.2.1,lport=2222"


@pytest.mark.usefixtures("configuration")
@pytest.mark.parametrize(
    ("then", "restarts", "refused"),
    [
        (f"{STRICT}denyusers ops\n", True, True),
        (f"{STRICT}denyusers ops\n", False, False),
        (STRICT.replace("pubkeyauthentication yes", "pubkeyauthentication no"), True, False),
    ],
)
def test_what_the_server_has_not_read_yet_counts_where_it_is_certain(
    then: str, restarts: bool, refused: bool
) -> None:
    """Somebody has edited a file and not restarted; the run's restart would bring it into force."""

    def judge() -> None:
        ssh_server.judge(
            {},
            [],
            sshd(then, then, []),
            lambda name, _effective: Account(name, (name,), 1),
            SESSION,
            restarts=restarts,
        )

    if refused:
        with pytest.raises(SshServerError, match="this run came as ops: AllowUsers or DenyUsers"):
            judge()
    else:
        judge()


@pytest.mark.usefixtures("configuration")
def test_whoever_else_is_logged_in_is_judged_from_where_he_came() -> None:
    peer, address = (ipaddress.ip_address(text) for text in ("198.51.100.7", "192.0.2.1"))
    eve = Session("eve", peer, address, 2222)
    asked: list[str] = []

    with pytest.raises(SshServerError, match="logged in is eve: AllowUsers or DenyUsers"):
        ssh_server.judge(
            {"AllowUsers": "ops"},
            [],
            sshd(STRICT, f"{STRICT}allowusers ops\n", asked),
            lambda name, _effective: Account(name, (name,), 1),
            SESSION,
            others=[eve],
        )

    assert asked[-1].startswith("user=eve,host=198.51.100.7")


@pytest.mark.parametrize(
    ("accepted", "count"),
    [
        ("", 3),
        ("ssh-ed25519,rsa-sha2-512", 3),
        ("rsa-sha2-256", 2),
        ("ecdsa-sha2-nistp256", 1),
    ],
)
def test_a_key_of_a_type_that_is_not_taken_is_none(
    tmp_path: Path, accepted: str, count: int
) -> None:
    keys = tmp_path / "keys"
    keys.write_text(
        "# ssh-rsa AAAA\nssh-ed25519 AAAA\nno-pty ssh-rsa AAAA\ncert-authority ssh-rsa AAAA\n"
    )

    assert accounts._count_keys(keys, set(accepted.split(",")) - {""}) == count


def test_the_ports_that_settings_name_are_known_before_the_server_listens_there() -> None:
    settings = ssh_server.spelt({"Port": 2222, "ListenAddress": "192.0.2.1:2200", "UseDNS": False})

    assert settings["UseDNS"] == "no"
    assert sorted(ssh_server.declared_ports(settings)) == [2200, 2222]
    assert ssh_server.declared_ports({"ListenAddress": "[::1]:2200"}) == []
    assert ssh_server.declared_ports({"ListenAddress": "192.0.2.1"}) == []


@pytest.mark.parametrize(
    ("configured", "unit", "refused"),
    [
        ("listenaddress [::]:22\nlistenaddress 0.0.0.0:22", "ssh.socket", False),
        ("listenaddress 0.0.0.0:2222", "ssh.socket", True),
        ("listenaddress 192.0.2.1:22", "ssh.socket", True),
        ("listenaddress 192.0.2.1:22", "ssh.service", False),
    ],
)
def test_where_to_listen_is_not_declared_in_vain_beside_a_socket_of_systemd(
    configured: str, unit: str, refused: bool
) -> None:
    there = [Listener(ipaddress.ip_address("::"), 22, unit)]

    if refused:
        with pytest.raises(SshServerError, match=r"ssh\.socket listens for it on"):
            ssh_server.check_sockets(there, logins.parse(configured))
    else:
        ssh_server.check_sockets(there, logins.parse(configured))


@pytest.mark.usefixtures("configuration")
def test_settings_that_lock_an_administrator_out_are_refused() -> None:
    with pytest.raises(SshServerError, match="ali has no public key that would be taken"):
        ssh_server.judge(
            {"PasswordAuthentication": "no"},
            ["ali"],
            sshd(STRICT, STRICT, []),
            lambda name, _effective: Account(name, (name,), 0),
        )


@pytest.mark.usefixtures("configuration")
@pytest.mark.parametrize(("whole", "refused"), [("9", True), ("3", False)])
def test_a_setting_that_another_file_makes_ineffective_is_no_success(
    whole: str, refused: bool
) -> None:
    def run(argv: Sequence[str | bytes], **_options: Any) -> Completed:
        tries = "3" if str(argv[-1]).endswith("/alone") else whole
        return Completed(0, f"maxauthtries {tries}\n".encode(), b"")

    def judge() -> None:
        ssh_server.judge({"MaxAuthTries": "3"}, [], run, lambda name, _: Account(name, (), 1))

    if refused:
        with pytest.raises(SshServerError, match="MaxAuthTries: not in force"):
            judge()
    else:
        judge()


@pytest.fixture
def drop_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "10-aina-factory.conf"
    path.write_text("the former settings")
    monkeypatch.setattr(ssh_server, "DROP_IN", str(path))
    monkeypatch.setattr(ssh_server, "_ATTRIBUTES", managed_files.Attributes(None, None, 0o644))
    return path


@pytest.mark.parametrize(("status", "greets"), [(1, ""), (0, "another server")])
def test_a_server_that_does_not_come_back_gets_its_former_settings(
    drop_in: Path, status: int, greets: str
) -> None:
    read: list[str] = []

    def run(argv: Sequence[str | bytes], **_options: Any) -> Completed:
        if argv[1] == "restart":
            read.append(drop_in.read_text())
        return Completed(status if len(read) == 1 else 0, b"", b"no such address")

    changes = ssh_server.change({"ListenAddress": "192.0.2.1"})
    restart = units.Action("restart", ssh_server.SERVICE, "its file changed")
    with pytest.raises(SshServerError, match="the former ones are restored"):
        ssh_server.apply(changes, [restart], run, lambda: greets)

    assert "ListenAddress 192.0.2.1" in read[0]
    assert read[1:] == ["the former settings"]


@pytest.mark.parametrize(
    ("state", "started_at", "owed"),
    # One that a socket starts per need does not run, and owes nothing.
    [("active", 1.0, True), ("active", 4e9, False), ("inactive", 0.0, False)],
)
def test_a_restart_that_a_killed_run_owes_is_read_off_the_running_server(
    drop_in: Path, state: str, started_at: float, owed: bool
) -> None:
    text = (
        f"LoadState=loaded\nActiveState={state}\n"
        f"InactiveExitTimestampMonotonic={int(started_at * 1e6)}\n"
    )

    actions = ssh_server.restart(lambda *_, **__: Completed(0, text.encode(), b""), 0.0, False)

    assert [action.verb for action in actions] == ["restart"] * owed


@pytest.mark.usefixtures("configuration")
def test_what_the_server_cannot_read_is_refused_in_its_own_words() -> None:
    def run(argv: Sequence[str | bytes], **_options: Any) -> Completed:
        return Completed(1, b"", f"{argv[-1]!s}: line 2: Bad configuration option".encode())

    with pytest.raises(SshServerError, match=r"nothing was changed: .*Bad configuration option"):
        ssh_server.judge({"Nonsense": "x"}, [], run, lambda name, _: Account(name, (), 1))
