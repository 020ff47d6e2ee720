"""Which images are built, and why."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from . import content as contents
from .catalogue import Spec
from .engine import EngineImage

CONTENT_LABEL = "aina-factory.content"
BASE_LABEL = "aina-factory.base"


@dataclass(frozen=True)
class BuildStep:
    """One image and what is to be done about it; an empty ``why`` means nothing."""

    spec: Spec
    content: str
    inputs: Mapping[str, str]
    current: EngineImage | None
    why: str


def plan(
    specs: Sequence[Spec],
    found: Mapping[str, EngineImage],
    records: Mapping[str, Mapping[str, Any]],
    base_id: str,
    generation: str,
    changed_paths: Collection[str] = (),
) -> list[BuildStep]:
    """Return one step per image, parents first.

    ``changed_paths`` are files that check mode only announces: an image whose context holds
    one of them, and all that is built on it, will be built.
    """
    steps: dict[str, BuildStep] = {}
    for spec in specs:
        parent = steps.get(spec.parent)
        below = parent.content if parent else base_id
        inputs = contents.inputs(spec, below, generation if parent is None else "")
        content = contents.content(inputs)
        current = found.get(spec.current)
        why = _why(current, content, inputs, records.get(spec.name) or {})
        announced = any(Path(path).is_relative_to(spec.context) for path in changed_paths)
        if not why and announced:
            why = "its tree changes"
        if not why and parent is not None and parent.why:
            why = f"{parent.spec.name} is built"
        steps[spec.name] = BuildStep(spec, content, inputs, current, why)
    return list(steps.values())


_WORDS = {
    "tree": "its tree",
    "arguments": "its versions",
    "artifacts": "what it unpacks",
    "parent": "what it is built on",
    "generation": "the week's security updates",
    "format": "the way of building",
}


def _why(
    current: EngineImage | None,
    content: str,
    inputs: Mapping[str, str],
    record: Mapping[str, Any],
) -> str:
    if current is None:
        return "it is missing"
    if current.labels.get(CONTENT_LABEL) == content:
        return ""
    # Somebody went back from just this content; only another one is built again.
    if record.get("rolled_back_from") == content:
        return ""
    before = record.get("inputs")
    kinds = contents.difference(before, inputs) if isinstance(before, Mapping) else []
    return f"changed: {', '.join(_WORDS[kind] for kind in kinds) or 'its content'}"
