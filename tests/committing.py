"""Git in a test's own checkout, as somebody who may commit."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

IDENTITY = {
    f"GIT_{role}_{part}": f"{part.lower()}@example.com"
    for role in ("AUTHOR", "COMMITTER")
    for part in ("NAME", "EMAIL")
}


def git(at: Path, *words: str | Path, check: bool = True) -> str:
    """Run git in a checkout and return what it prints."""
    done = subprocess.run(
        ["git", "-C", at, *words],
        env={**os.environ, **IDENTITY},
        check=check,
        capture_output=True,
        text=True,
    )
    return done.stdout.strip()
