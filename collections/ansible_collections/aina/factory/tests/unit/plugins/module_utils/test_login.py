from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ansible_collections.aina.factory.plugins.module_utils.configuration import ConfigurationError
from ansible_collections.aina.factory.plugins.module_utils.github.login import (
    Login,
    token_source,
)


def nothing(*_: Any, **__: Any) -> Any:
    pytest.fail("a token in a file needs no program and no network")


def source(path: Path) -> Any:
    login = Login("token_file", token_file=str(path))
    return token_source(
        login, "https://api.github.com", "o/r", {}, run=nothing, fetch=nothing, now=lambda: 0.0
    )


def test_a_program_that_runs_for_long_notices_another_token(tmp_path: Path) -> None:
    path = tmp_path / "token"
    path.touch(0o600)
    path.write_text("old")
    token = source(path)
    before = token()

    path.write_text("new")

    assert (before, token()) == ("old", "new")


def test_a_token_that_cannot_be_had_is_said_at_once(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="No such file"):
        source(tmp_path / "token")
