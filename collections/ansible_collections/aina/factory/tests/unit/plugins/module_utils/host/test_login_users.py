from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from factory.core.base.ports import Completed
from factory.core.host import login_users
from factory.core.host.login_users import Given, LoginUsersError, ObservedAccount, UserSpec

ALI = ObservedAccount("/data/ali", "/usr/bin/zsh", frozenset({"ali", "sudo"}), home_exists=True)


def actions(spec: UserSpec, found: ObservedAccount | None, groups: Sequence[str] = ()) -> list[str]:
    accounts = {} if found is None else {spec.name: found}
    return login_users.plan([spec], accounts, groups).actions


def check(spec: UserSpec, found: ObservedAccount | None) -> None:
    login_users.check(
        spec, found, lambda one, other: one.rstrip("/") == other, lambda path: "zsh" not in path
    )


def test_an_account_that_exists_keeps_home_and_shell_and_joins_groups() -> None:
    plan = login_users.plan([UserSpec("ali", groups=("sudo", "users"))], {"ali": ALI}, ())

    assert plan.actions == ["add ali to users"]
    assert plan.before == "ali: home /data/ali, shell /usr/bin/zsh, among its groups: sudo\n"
    assert plan.after == "ali: home /data/ali, shell /usr/bin/zsh, among its groups: sudo users\n"
    assert actions(UserSpec("ali", groups=("sudo",)), ALI) == []


def test_a_new_user_gets_the_usual_home_and_shell_or_the_declared_ones() -> None:
    plan = login_users.plan([UserSpec("ali"), UserSpec("bob", "/srv/bob", "/bin/sh")], {}, ["bob"])

    assert [" ".join(argv) for _phrase, argv in plan.commands] == [
        "useradd --user-group --create-home --home-dir /home/ali --shell /bin/bash -- ali",
        "useradd --gid bob --create-home --home-dir /srv/bob --shell /bin/sh -- bob",
    ]


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        (UserSpec("ali", "/home/ali"), "home is /data/ali, and /home/ali is declared"),
        (UserSpec("ali", "", "/opt/zsh"), "/opt/zsh, which is declared, is no program here"),
        (UserSpec("ali", "", "/usr/sbin/nologin"), "with which nobody can log in"),
    ],
)
def test_a_home_is_never_moved_and_a_login_never_taken_away(spec: UserSpec, words: str) -> None:
    with pytest.raises(LoginUsersError, match=words):
        check(spec, ALI)
    check(spec, None)


def test_a_declaration_that_says_what_is_there_is_right() -> None:
    check(UserSpec("ali", "/data/ali/", "/usr/bin/zsh"), ALI)


def test_a_shell_changes_where_one_is_declared() -> None:
    assert actions(UserSpec("ali", "", "/bin/bash"), ALI) == [
        "ali: shell /usr/bin/zsh -> /bin/bash"
    ]


def test_a_home_that_a_killed_run_has_not_made_is_made_and_that_of_others_is_not() -> None:
    cut_off = ObservedAccount("/home/ali", "/bin/bash", frozenset({"ali"}), home_exists=False)
    not_mounted = ObservedAccount("/data/ali", "/bin/bash", frozenset({"ali"}), home_exists=False)

    assert actions(UserSpec("ali"), cut_off) == ["make /home/ali"]
    assert actions(UserSpec("ali"), not_mounted) == []


def test_a_failing_program_is_quoted() -> None:
    def run(argv: Sequence[str | bytes], **_options: Any) -> Completed:
        assert isinstance(_options["environment"], Mapping)
        return Completed(1, b"", b"useradd: cannot lock /etc/passwd")

    with pytest.raises(LoginUsersError, match="make user ali: useradd: cannot lock"):
        login_users.apply(login_users.plan([UserSpec("ali")], {}, ()), run)


def test_what_is_declared_no_longer_is_taken_back_as_it_was() -> None:
    spec = UserSpec("ali", "", "/bin/bash", ("sudo", "users"))
    given = login_users.given_after([spec], {"ali": ALI}, {})
    assert given == {"ali": Given("/usr/bin/zsh", "/bin/bash", ("users",))}
    groups = frozenset({"ali", "sudo", "users"})
    there = {"ali": ObservedAccount("/data/ali", "/bin/bash", groups, home_exists=True)}

    # Another run finds everything in place, and forgets nothing.
    assert login_users.given_after([spec], there, given) == given
    assert login_users.give_back([spec], there, given) == []
    assert [phrase for phrase, *_commands in login_users.give_back([], there, given)] == [
        "ali: shell /bin/bash -> /usr/bin/zsh, as before",
        "take ali out of users",
    ]
    assert login_users.given_after([], there, given) == {}
    # What somebody has changed since is his, and an account that is gone is nobody's.
    assert login_users.give_back([], {"ali": ALI}, given) == []
    assert login_users.give_back([], {}, given) == []
    # Whoever is made by a run had nothing before.
    assert login_users.given_after([spec], {}, {}) == {}


def test_a_damaged_record_of_accounts_is_no_empty_one() -> None:
    with pytest.raises(LoginUsersError, match="damaged"):
        login_users.parse_given('{"given": []}')
