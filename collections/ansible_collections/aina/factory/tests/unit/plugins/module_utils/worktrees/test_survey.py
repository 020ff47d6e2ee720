"""Which ignored files may go."""

from __future__ import annotations

from pathlib import Path

import pytest

from factory.core.worktrees import survey
from factory.core.worktrees.settings import Reap

# path as git reports it (a slash ends a directory), disposable
IGNORED = [
    ("node_modules/", True),
    ("apps/web/node_modules/", True),
    ("dist/.env", False),
    ("lib/index.pyc", True),
    ("out/", True),
    ("out", False),
    ("build", False),
    (".env", False),
    ("notes/dist.md", False),
    ("my-node_modules/", False),
    ("data.sqlite", False),
]


@pytest.mark.parametrize(("path", "expected"), IGNORED)
def test_only_names_that_a_build_makes_again_are_disposable(
    path: str, expected: bool, tmp_path: Path
) -> None:
    assert survey._disposable(str(tmp_path), path, Reap()) is expected


def test_a_link_to_dependencies_is_disposable(tmp_path: Path) -> None:
    (tmp_path / "node_modules").symlink_to("/opt/shared")

    assert survey._disposable(str(tmp_path), "node_modules", Reap())


def test_a_further_name_matches_files_and_directories(tmp_path: Path) -> None:
    policy = Reap(disposable=("generated*",))

    assert survey._disposable(str(tmp_path), "generated.ts", policy)
    assert survey._disposable(str(tmp_path), "generated/", policy)
