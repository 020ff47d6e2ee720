"""Every situation, each in a few variants; a maker builds one worktree in it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from importlib import import_module

from corpus.factory import Factory, Lane
from corpus.labels import Expected

MODULES = ("landed", "unlanded", "files", "operations", "activity", "places", "broken", "modules")


@dataclass
class Made:
    """What a maker hands back beside the worktree itself."""

    lane: Lane
    holds: list[str] = field(default_factory=list)
    live: str | None = None
    path: str | None = None
    """When the worktree is not (or no longer) where the lane was made."""
    listed: bool = True


@dataclass(frozen=True)
class Situation:
    """One variant of one situation."""

    name: str
    variant: str
    expected: Expected
    why: str
    make: Callable[[Factory], Lane | Made]
    with_github: Expected | None = None


_SITUATIONS: list[Situation] = []


def situation(
    name: str,
    variant: str,
    expected: Expected,
    why: str,
    with_github: Expected | None = None,
) -> Callable[[Callable[[Factory], Lane | Made]], Callable[[Factory], Lane | Made]]:
    def register(make: Callable[[Factory], Lane | Made]) -> Callable[[Factory], Lane | Made]:
        _SITUATIONS.append(Situation(name, variant, expected, why, make, with_github))
        return make

    return register


def every() -> list[Situation]:
    """Return all situations, in the order of the files."""
    if not _SITUATIONS:
        for module in MODULES:
            import_module(f"corpus.situations.{module}")
    return list(_SITUATIONS)
