"""The policy as the configuration says it."""

from __future__ import annotations

import pytest

from factory.core.base import settings
from factory.core.base.configuration import ConfigurationError, Section
from factory.core.worktrees.settings import DISPOSABLE, Reap


def test_a_disposable_name_is_added_to_the_standard_ones() -> None:
    policy = settings.read(Reap, Section({"disposable": ["gen/"]}, "reap"))

    assert policy.disposable == (*DISPOSABLE, "gen/")


def test_a_commit_that_only_the_remote_holds_is_safe_and_a_lock_is_respected() -> None:
    assert (Reap().reap_pushed, Reap().reap_dead_locks, Reap().grace_seconds) == (
        True,
        False,
        86400,
    )


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("grace_seconds", -1),
        ("trash_retention_seconds", -0.5),
        ("trash_disk_used_percent", 101),
        ("paperclip_roots", ["srv"]),
    ],
)
def test_a_value_that_makes_no_sense_is_refused(key: str, value: object) -> None:
    with pytest.raises(ConfigurationError, match=rf"reap\.{key}"):
        settings.read(Reap, Section({key: value}, "reap"))
