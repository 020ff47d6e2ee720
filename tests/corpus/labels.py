"""What is true about each worktree of a corpus, known from how it was made."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Literal

# "either": both are safe, and which one is right is a matter of policy.
Expected = Literal["reap", "keep", "either"]


@dataclass
class Label:
    """One worktree.

    ``landed`` are the object ids whose work is in the origin's default branch although
    the ids themselves may not be. ``live`` names an effect that cannot be stored in
    files and is set up by :mod:`corpus.live` for as long as a test runs. ``with_github``
    is the expected verdict when merged pull requests can be asked for.
    """

    path: str
    situation: str
    variant: str
    expected: Expected
    why: str
    branch: str | None = None
    head: str | None = None
    holds: list[str] = field(default_factory=list)
    landed: list[str] = field(default_factory=list)
    live: str | None = None
    with_github: Expected | None = None
    listed: bool = True
    """Whether ``git worktree list`` knows it."""

    @property
    def name(self) -> str:
        """Situation and variant, for tables and messages."""
        return f"{self.situation}: {self.variant}"


@dataclass
class Corpus:
    """The whole of it; ``seconds`` is when it was built."""

    root: str
    style: str
    seed: int
    seconds: int
    labels: list[Label]
    pull_requests: list[dict[str, object]]
    canary: str
    """This file must never appear: only code from the repository's configuration makes it."""

    @property
    def checkout(self) -> Path:
        return Path(self.root) / "repository"

    @property
    def origin(self) -> Path:
        return Path(self.root) / "origin.git"

    @property
    def landed(self) -> set[str]:
        """Every object id whose work is in the default branch."""
        return {oid for label in self.labels for oid in label.landed}

    def label_of(self, path: str | Path) -> Label:
        """Return the label of one path.

        Raises:
            KeyError: nothing of this corpus stands there.

        """
        for label in self.labels:
            if label.path == str(path):
                return label
        raise KeyError(str(path))

    def save(self, file: Path) -> None:
        """Write JSON; bytes of paths that are no UTF-8 become lone surrogates."""
        file.write_text(json.dumps(asdict(self), indent=1, ensure_ascii=True) + "\n")

    @classmethod
    def load(cls, file: Path) -> Corpus:
        document = json.loads(file.read_text())
        return cls(**{**document, "labels": [Label(**one) for one in document["labels"]]})


def exists(paths: Iterable[str]) -> set[str]:
    """Return which paths are there (a dangling symlink is)."""
    return {path for path in paths if os.path.lexists(path)}
