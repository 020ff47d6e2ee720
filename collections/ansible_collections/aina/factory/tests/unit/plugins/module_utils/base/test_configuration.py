from __future__ import annotations

from typing import Any

import pytest

from factory.core.base import projects
from factory.core.base.configuration import ConfigurationError, Section
from factory.core.site.settings import Project

GOOD = {"name": "aina", "repository": "owner/aina", "path": "/srv/repos/aina"}


def read(*entries: dict[str, Any]) -> tuple[projects.Project, ...]:
    return projects.from_sections(
        Section({"projects": list(entries)}, "configuration").sections("projects"), Project
    )


def test_a_project_has_the_documented_defaults() -> None:
    assert read(GOOD) == (
        projects.Project(
            name="aina",
            repository="owner/aina",
            path="/srv/repos/aina",
            default_branch="main",
            worktree_roots=(),
        ),
    )


def test_what_other_capabilities_read_of_a_project_is_theirs() -> None:
    entry = {
        **GOOD,
        "toolchain": {"node": "22", "pnpm": "10.11.0"},
        "runner": {"mode": "ephemeral", "slots": 2},
        "merge": {"mode": "fast", "required_checks": ["ci"]},
        "lanes": {"concurrency": 4},
    }
    assert read(entry) == read(GOOD)


WRONG = [
    ({"merge": ["fast"]}, r"projects\[0\]\.merge is \['fast'\]; it must be a mapping"),
    ({"name": "Aina"}, r"configuration\.projects\[0\]\.name is 'Aina'; it must be lower-case"),
    ({"name": "../x"}, r"projects\[0\]\.name"),
    ({"repository": "aina"}, r"projects\[0\]\.repository is 'aina'; it must be owner/name"),
    ({"repository": "a/b\n"}, r"projects\[0\]\.repository"),
    ({"path": "srv"}, r"projects\[0\]\.path is 'srv'; it must be an absolute path"),
    ({"worktree_roots": "/x"}, r"worktree_roots is '/x'; it must be a list of strings"),
    ({"worktree_roots": ["x"]}, r"worktree_roots\[0\] is 'x'; it must be an absolute path"),
    (
        {"default_brunch": "main"},
        r"projects\[0\]\.default_brunch is not known; did you mean default_branch",
    ),
]


@pytest.mark.parametrize(("change", "message"), WRONG)
def test_a_wrong_value_is_named_with_its_place(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        read({**GOOD, **change})


def test_two_projects_do_not_share_a_checkout() -> None:
    with pytest.raises(ConfigurationError, match="path '/srv/repos/aina' is declared twice"):
        read(GOOD, {**GOOD, "name": "other"})


def test_any_number_of_projects_may_have_no_checkout() -> None:
    without = {key: value for key, value in GOOD.items() if key != "path"}

    found = read(without, {**without, "name": "other"})

    assert [project.path for project in found] == ["", ""]


NUMBERS = [
    (True, {}, "be a number"),
    ("85", {}, "be a number"),
    (120, {"minimum": 1, "maximum": 100}, "lie between 1 and 100"),
    (0, {"minimum": 1}, "be at least 1"),
    (7, {"maximum": 5}, "be at most 5"),
    (1.5, {}, "be a whole number"),
]


@pytest.mark.parametrize(("value", "bounds", "rule"), NUMBERS)
def test_a_number_keeps_its_bounds(value: Any, bounds: dict[str, int], rule: str) -> None:
    with pytest.raises(ConfigurationError, match=rule):
        Section({"n": value}, "s").integer("n", **bounds)
