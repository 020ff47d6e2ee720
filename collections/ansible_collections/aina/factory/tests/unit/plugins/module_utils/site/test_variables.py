from __future__ import annotations

import pytest

from factory.core.site import variables

KNOWN = {"reaper_grace_seconds", "reaper_state", "factory_projects", "marshal_user"}
RENAMED = {"factory_reap": "reaper_grace_seconds", "marshal_login": "factory_github.login"}


def problems(*names: str) -> list[str]:
    return variables.problems(
        names, KNOWN, {"reaper_", "marshal_", "factory_"}, RENAMED, {"release_": "marshal_"}
    )


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("reaper_grace", "is not known; did you mean reaper_grace_seconds?"),
        ("reaper_zzz", "is not known"),
        ("factory_project", "is not known; did you mean factory_projects?"),
        ("factory_reap", "is now reaper_grace_seconds"),
        ("release_user", "is now marshal_user"),
        ("release_login", "is now factory_github.login"),
        ("release_usr", "is not known; did you mean marshal_user?"),
    ],
)
def test_a_name_that_no_role_reads_is_refused_with_what_may_be_meant(name: str, said: str) -> None:
    assert problems(name) == [f"{name} {said}"]


def test_what_roles_read_and_what_is_the_sites_own_is_left_alone() -> None:
    assert problems(*KNOWN, "ansible_user", "vault_token", "reaper", "__reaper_path") == []


def test_all_wrong_names_are_told_at_once() -> None:
    assert len(problems("reaper_a", "factory_b", "fine")) == 2
