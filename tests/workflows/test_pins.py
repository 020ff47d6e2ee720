"""Which actions are pinned, and where their version stands then."""

from __future__ import annotations

from typing import Any

import pytest

from factory.core.base.configuration import ConfigurationError, Section
from factory.core.workflows.judge import Report
from factory.core.workflows.policy import from_section
from workflows.judging import CHECK, COMMIT, judged


def pinned(uses: str, **values: Any) -> tuple[str, Report]:
    report = judged(f"{CHECK}      - uses: {uses}\n", **values)
    return report.after.rstrip("\n").rsplit("uses: ", 1)[1], report


@pytest.mark.parametrize(
    ("uses", "expected"),
    [
        ("a/b@v1", f"a/b@{COMMIT} # v1"),
        ("a/b/c@v1.2.3   # needs 2", f"a/b/c@{COMMIT} # v1.2.3   # needs 2"),
        ("a/b@v1 # v1", f"a/b@{COMMIT} # v1"),
        ("'a/b@v1' # v1.2", f"'a/b@{COMMIT}' # v1 # v1.2"),
    ],
)
def test_the_version_stands_where_bots_look_for_it(uses: str, expected: str) -> None:
    assert pinned(uses)[0] == expected


@pytest.mark.parametrize(
    ("uses", "exceptions"),
    [
        ("slsa-framework/slsa-github-generator/.github/workflows/x.yml@v2.1.0", []),
        ("slsa-framework/slsa-github-generator/actions/generator@v2.1.0", []),
        ("dtolnay/rust-toolchain@stable", []),
        ("example/shared/.github/workflows/x.yml@v1", ["example/shared"]),
        ("example/shared/.github/workflows/x.yml@v1", ["example/shared/.github/*"]),
        ("example/shared@v1", ["example/*"]),
    ],
)
def test_an_action_that_must_be_called_by_its_tag_stays(uses: str, exceptions: list[str]) -> None:
    text, report = pinned(uses, pin_exceptions=exceptions)

    assert text == uses
    assert any(f"{uses} is not pinned" in line for line in report.kept)


def test_an_exception_names_an_action() -> None:
    with pytest.raises(ConfigurationError, match="name an action"):
        from_section(Section({"pin_exceptions": ["v1"]}, "policy"), "main")
