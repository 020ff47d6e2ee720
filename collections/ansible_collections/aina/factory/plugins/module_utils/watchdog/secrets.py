"""Which files with secrets a capability waits for."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any


def login_files(settings: Mapping[str, Any]) -> list[str]:
    """Return the file of a section's login at GitHub; none where it needs none."""
    login = settings.get("login") or {}
    key = {"github_app": "app_key_file", "gh": ""}.get(login.get("method", ""), "token_file")
    return [path] if (path := login.get(key)) else []


def waits_for(paths: Iterable[str]) -> str:
    """Say which of the files are missing; "" when all are there."""
    missing = [path for path in paths if not Path(path).exists()]
    return f": {' and '.join(missing)} must be put there, then converge" if missing else ""
