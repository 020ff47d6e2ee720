"""Who is as good as root: by a group, or by a rule of sudo."""

from __future__ import annotations

import pytest

from factory.core.host.way_in import root_equivalents

HEAD = "User ali may run the following commands on vds:\n"


@pytest.mark.parametrize(
    ("groups", "rules", "found"),
    [
        (["ali", "docker"], "", ["group docker"]),
        # What a provider's image of Ubuntu gives its first user.
        (
            ["ubuntu", "adm", "sudo", "lxd"],
            f"{HEAD}    (ALL : ALL) ALL\n    (ALL) NOPASSWD: ALL\n",
            ["group lxd", "sudo without a password"],
        ),
        (["ali"], f"{HEAD}    (root) NOPASSWD: SETENV: ALL\n", ["sudo without a password"]),
        # A password stands between, and one program is not all of them.
        (["ali", "sudo"], f"{HEAD}    (ALL : ALL) ALL\n", []),
        (["ali"], f"{HEAD}    (root) NOPASSWD: /usr/local/bin/run-lane\n", []),
        (["ali"], f"{HEAD}    (postgres) NOPASSWD: ALL\n", []),
        (["factory-marshal"], "", []),
    ],
)
def test_it_is_whoever_commands_the_engine_or_sudo(
    groups: list[str], rules: str, found: list[str]
) -> None:
    assert root_equivalents.reasons(groups, rules) == found
