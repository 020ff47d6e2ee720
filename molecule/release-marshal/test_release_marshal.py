"""What the host answers once it has a merge policy."""

from __future__ import annotations

import json
from typing import Any


def test_the_policy_is_valid_and_holds_only_projects_that_merge(host: Any) -> None:
    answer = host.run("factory validate --json")
    assert answer.rc == 0
    assert "marshal" in json.loads(answer.stdout)["sections"]

    unknown = host.run("factory marshal --json --dry-run --project untouched")
    assert unknown.rc == 2
    assert "known: demo" in json.loads(unknown.stdout)["error"]


def test_a_missing_token_is_named_and_nothing_is_tried(host: Any) -> None:
    answer = host.run("factory marshal --json --dry-run")
    assert answer.rc == 2
    assert "/etc/aina-factory/marshal.token" in json.loads(answer.stdout)["error"]


def test_a_token_that_others_can_read_is_refused(host: Any) -> None:
    host.run("install -m 0644 /dev/null /etc/aina-factory/marshal.token")
    answer = host.run("factory marshal --json --dry-run")
    host.run("rm /etc/aina-factory/marshal.token")
    assert answer.rc == 2
    assert "chmod 0600" in json.loads(answer.stdout)["error"]


def test_the_state_is_private(host: Any) -> None:
    assert host.file("/var/lib/aina-factory/marshal").mode == 0o700
