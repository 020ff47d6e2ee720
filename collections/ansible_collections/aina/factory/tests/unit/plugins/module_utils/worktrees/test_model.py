"""The policy as the configuration says it."""

from __future__ import annotations

from typing import Any

import pytest

from factory.core.base.configuration import ConfigurationError, Section
from factory.core.worktrees.model import DISPOSABLE, Policy, policy_from_section


def read(**values: Any) -> Policy:
    return policy_from_section(Section(values, "reap"))


def test_what_is_left_out_keeps_its_default() -> None:
    assert read() == Policy()
    assert read(grace_seconds=5) == Policy(grace_seconds=5)
    assert Policy().reap_pushed is True
    assert Policy().grace_seconds == 86400
    assert Policy().reap_dead_locks is False


def test_every_key_is_read() -> None:
    policy = read(
        grace_seconds=1,
        reap_pushed=False,
        reap_dead_locks=True,
        disposable=["gen/"],
        paperclip_roots=["/srv/paperclip/"],
        trash_retention_seconds=0,
        trash_disk_used_percent=50,
    )

    assert policy == Policy(1, False, True, (*DISPOSABLE, "gen/"), ("/srv/paperclip",), 0, 50)


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"grace_seconds": -1}, "reap.grace_seconds is -1; it must be at least 0"),
    ({"grace_seconds": "1d"}, "reap.grace_seconds is '1d'; it must be a number"),
    ({"grace_seconds": float("nan")}, "reap.grace_seconds is nan; it must be a number"),
    ({"grace_seconds": float("inf")}, "reap.grace_seconds is inf; it must be a number"),
    ({"grace_seconds": True}, "reap.grace_seconds is True; it must be a number"),
    ({"reap_pushed": "no"}, "reap.reap_pushed is 'no'; it must be true or false"),
    ({"reap_dead_locks": 1}, "reap.reap_dead_locks is 1; it must be true or false"),
    ({"disposable": "dist/"}, "reap.disposable is 'dist/'; it must be a list of strings"),
    ({"disposable": [1]}, "reap.disposable is [1]; it must be a list of strings"),
    ({"paperclip_roots": ["srv"]}, "is ['srv']; it must be a list of absolute paths"),
    ({"trash_retention_seconds": -0.5}, "reap.trash_retention_seconds is -0.5; it must be"),
    ({"trash_disk_used_percent": 101}, "it must lie between 0 and 100"),
    ({"trash_disk_used_percent": float("nan")}, "it must be a number"),
    ({"grace_secnods": 5}, "reap.grace_secnods is not known; known are: disposable, grace_seconds"),
]


@pytest.mark.parametrize(("values", "message"), WRONG)
def test_a_wrong_value_is_named_with_its_rule(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError) as raised:
        read(**values)

    assert message in str(raised.value)
