"""What ``factory marshal`` answers to wrong settings, before it asks anybody anything."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from factory.__main__ import main

WRONG: list[tuple[dict[str, Any], str]] = [
    ({"ca_file": "/nowhere/ca.pem"}, "marshal.ca_file /nowhere/ca.pem: "),
    ({"ca_file": "/dev/null"}, "marshal.ca_file /dev/null: "),
    (
        {"login": {"method": "token_file", "token_file": "/nowhere/token"}},
        "/nowhere/token: No such",
    ),
    ({"login": {"method": "github_app"}}, "marshal.login needs app_id and app_key_file"),
    ({"login": {"method": "password"}}, "marshal.login.method is 'password'"),
    ({"github_api_url": "http://github.example.com/api/v3"}, "must be an https URL"),
]


@pytest.mark.parametrize(("changes", "words"), WRONG)
def test_a_wrong_setting_is_named(
    changes: dict[str, Any], words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    section = {
        "github_api_url": "https://github.example.com/api/v3",
        "state_dir": str(tmp_path / "state"),
        "projects": [{"name": "demo", "repository": "o/demo"}],
        **changes,
    }
    path = tmp_path / "factory.json"
    path.write_text(json.dumps({"marshal": section}))

    assert main(["marshal", "--config", str(path), "--json", "--dry-run"]) == 2

    assert words in json.loads(capsys.readouterr().out)["error"]
