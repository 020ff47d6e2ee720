"""Scenario files: reading, checking, and telling what is wrong where."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any

import jsonschema
import yaml

HERE = Path(__file__).resolve().parent
SCENARIOS = HERE / "scenarios"


class ScenarioError(Exception):
    """A scenario cannot be used; the text names the file and the key."""


@lru_cache(maxsize=1)
def schema() -> dict[str, Any]:
    """Return what a scenario may say."""
    found: dict[str, Any] = yaml.safe_load((HERE / "scenario.schema.yml").read_text("utf-8"))
    return found


def path_of(name: str) -> Path:
    """Return the file of a scenario: a name from ``scenarios/``, or any path."""
    known = SCENARIOS / f"{name}.yml"
    path = known if known.exists() else Path(name)
    if not path.exists():
        names = ", ".join(sorted(file.stem for file in SCENARIOS.glob("*.yml")))
        raise ScenarioError(f"there is no scenario {name!r} and no such file; known are: {names}")
    return path


def load(name: str) -> dict[str, Any]:
    """Read a scenario.

    Raises:
        ScenarioError: it is missing, not YAML, or says what it may not.

    """
    path = path_of(name)
    try:
        document = yaml.safe_load(path.read_text("utf-8"))
    except yaml.YAMLError as error:
        raise ScenarioError(f"{path}: {error}") from error
    return check(document or {}, str(path))


def check(document: Any, origin: str) -> dict[str, Any]:
    """Return the document when it keeps to the schema.

    Raises:
        ScenarioError: it does not; every wrong key is named.

    """
    validator = jsonschema.Draft202012Validator(schema())
    errors = sorted(validator.iter_errors(document), key=lambda error: list(map(str, error.path)))
    if errors:
        lines = [f"{origin}: {_key(error)}: {error.message}" for error in errors]
        raise ScenarioError("\n".join(lines))
    found: dict[str, Any] = document
    return found


def _key(error: jsonschema.ValidationError) -> str:
    text = ""
    for step in error.absolute_path:
        text += f"[{step}]" if isinstance(step, int) else f".{step}"
    return text.lstrip(".") or "the document"
