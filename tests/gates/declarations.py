"""Contracts of the declarations of settings."""

from __future__ import annotations

from pathlib import Path

from declarations import outdated
from gates.tree import report


def declarations(root: Path) -> str:
    """What is written from the declarations is what they say."""
    try:
        return report(
            f"{path} is not what the declarations say; run script/generate"
            for path in outdated(root)
        )
    except ValueError as error:
        return str(error)
