"""What is on this host of lanes that have ended."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from factory.core.base import documents
from factory.core.lanes import identity
from factory.core.lanes.settings import LanesSettings

RESULT = "result.json"


def read_all(settings: LanesSettings) -> dict[str, dict[str, Any]]:
    """Return the results of all lanes, by name of the lane; one that cannot be read is empty."""
    paths = Path(settings.state_dir).glob(f"*/{RESULT}")
    return {path.parent.name: documents.read(path) or {} for path in sorted(paths)}


def of_project(results: dict[str, dict[str, Any]], project: str) -> list[dict[str, Any]]:
    """Return those of one project; another's name may begin with its name."""
    return [result for result in results.values() if result.get("project") == project]


def issue_of(lane: str) -> tuple[str, int]:
    """Return the project and the number that a lane's name holds."""
    project, number, _token = identity.checked(lane).rsplit("-", 2)
    return project, int(number)
