"""For whom declared settings of the SSH server do not hold."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from factory.core.host.way_in import logins, root_holders, strangers
from factory.core.host.way_in.accounts import Effective

SETTINGS = {"PasswordAuthentication": "no", "PermitRootLogin": "no", "X11Forwarding": "no"}
EVERYWHERE = logins.parse("passwordauthentication no\npermitrootlogin no\nx11forwarding no\n")


def blocks(tmp_path: Path, text: str, drop_in: str = "") -> list[strangers.Block]:
    """Return the blocks of a configuration that is laid out elsewhere."""
    parts = tmp_path / "sshd_config.d"
    parts.mkdir(exist_ok=True)
    (parts / "90-theirs.conf").write_text(drop_in)
    main = tmp_path / "sshd_config"
    main.write_text(f"Include {parts}/*.conf\n{text}")
    return strangers.read(main, {"/etc/ssh": str(tmp_path)})


def server(user: str, then: str, address: str = "") -> dict[str, Effective]:
    """Return what the server answers: something else for this account, coming from there."""
    return {f"user={user},addr={address}": {**EVERYWHERE, **logins.parse(then)}}


def asked(answers: dict[str, Effective], words: str) -> Effective:
    return next((found for key, found in answers.items() if words.startswith(key)), EVERYWHERE)


@pytest.mark.parametrize(
    ("text", "answers", "what", "where"),
    [
        (
            "Match User deploy\n    PasswordAuthentication yes\n",
            server("deploy", "passwordauthentication yes"),
            "PasswordAuthentication yes for deploy",
            "Match User deploy in /etc/ssh/sshd_config, line 2",
        ),
        (
            "match address=10.0.0.0/8,2001:db8::/32 # the office\n  PermitRootLogin yes\n",
            server("root", "permitrootlogin yes", "10.0.0.0"),
            "PermitRootLogin yes for root",
            "Match Address 10.0.0.0/8,2001:db8::/32",
        ),
        (
            'Match Address "192.168.*" User "!root,*"\n',
            server("", "x11forwarding yes").copy()
            | {"user=": {**EVERYWHERE, **logins.parse("x11forwarding yes")}},
            "X11Forwarding yes for",
            "Match Address 192.168.* User !root,*",
        ),
        (
            "Match LocalPort 2222\n",
            {"user=somebody": {**EVERYWHERE, **logins.parse("passwordauthentication yes")}},
            "PasswordAuthentication yes for some accounts",
            "Match Localport 2222",
        ),
    ],
)
def test_for_whom_a_block_of_others_lifts_a_setting_is_said(
    tmp_path: Path, text: str, answers: dict[str, Effective], what: str, where: str
) -> None:
    found = strangers.exempt(
        SETTINGS, EVERYWHERE, blocks(tmp_path, text), lambda words: asked(answers, words)
    )

    assert found[0]["kind"] == "exempt"
    assert what in found[0]["what"]
    assert where in found[0]["why"]


def test_a_drop_in_and_the_members_of_a_group_are_seen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(root_holders, "members", lambda group: ["bob"] if group == "ftp" else [])
    answers = server("bob", "passwordauthentication yes", strangers._ELSEWHERE)

    found = strangers.exempt(
        SETTINGS,
        EVERYWHERE,
        blocks(tmp_path, "Match all\n  Banner none\n", "Match Group ftp\n"),
        lambda words: asked(answers, words),
    )

    (only,) = found
    assert only["what"] == "PasswordAuthentication yes for bob"
    assert only["why"].startswith(
        "Match Group ftp in /etc/ssh/sshd_config.d/90-theirs.conf, line 1"
    )


def test_blocks_that_lift_nothing_are_not_told_and_too_many_are(tmp_path: Path) -> None:
    count = strangers.MOST_BLOCKS + 2
    asked_for: list[str] = []

    def ask(words: str) -> Effective:
        asked_for.append(words)
        return EVERYWHERE

    text = "".join(f"Match User git{number}\n  X11Forwarding no\n" for number in range(count))
    (only,) = strangers.exempt(SETTINGS, EVERYWHERE, blocks(tmp_path, text), ask)

    assert only["what"] == "2 more Match blocks of sshd"
    assert len(asked_for) == strangers.MOST_BLOCKS
    assert all(
        re.fullmatch(r"user=git\d+,addr=[\d.]+,host=\S+,laddr=\S+,lport=22", w) for w in asked_for
    )
    # Nobody is asked for twice, and nobody where nothing is declared.
    again = "Match User git1\n  X11Forwarding no\n" * 2
    twice = blocks(tmp_path, again)
    strangers.exempt(SETTINGS, EVERYWHERE, twice, ask)
    strangers.exempt({}, EVERYWHERE, twice, ask)
    assert len(asked_for) == strangers.MOST_BLOCKS + 1
