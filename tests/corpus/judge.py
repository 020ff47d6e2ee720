"""Score one run of any reaper on a corpus, and print several side by side."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from corpus import oracle
from corpus.factory import admin_directories
from corpus.labels import Corpus, Label
from corpus.live import live


@dataclass
class Score:
    """What a run did to a corpus."""

    name: str
    correct: int
    wrongly_gone: list[Label]
    wrongly_kept: list[Label]
    lost: oracle.Losses
    canary: str
    """Which code of the repository's configuration was run, when any was."""

    def row(self) -> str:
        """One row of the table."""
        lost = f"{len(self.lost.commits)} / {len(self.lost.files) + len(self.lost.blobs)}"
        return (
            f"| {self.name:<34} | {self.correct:>7} | {len(self.wrongly_gone):>13} "
            f"| {len(self.wrongly_kept):>12} | {lost:>21} |"
        )

    def complaint(self) -> str:
        """Say what went wrong, for a failing test."""
        lines = [f"deleted: {one.name} ({one.why}) {one.path!a}" for one in self.wrongly_gone]
        lines += [f"kept: {one.name} ({one.why}) {one.path!a}" for one in self.wrongly_kept]
        if self.lost:
            lines.append(f"lost:\n{self.lost}")
        if self.canary:
            lines.append(f"code of the repository's configuration was run: {self.canary}")
        return "\n".join(lines)


def table(scores: Iterable[Score]) -> str:
    """Return a Markdown table of several runs on equal copies."""
    head = (
        f"| {'reaper':<34} | correct | wrong deletion | wrong keep | commits / files lost |\n"
        "|---|---:|---:|---:|---:|"
    )
    return "\n".join([head, *(score.row() for score in scores)])


def still_there(corpus: Corpus) -> set[str]:
    """Return the paths of the labels whose worktree, or whose record of it, is there."""
    records = {str(path) for path in admin_directories(corpus.checkout)}
    there = set()
    for label in corpus.labels:
        recorded = str(Path(label.path)) in records
        if os.path.lexists(label.path) or (label.situation in MISSING and recorded):
            there.add(label.path)
    return there


# Situations in which the directory is not there to begin with: the record counts.
MISSING = ("moved", "directory missing")


def origins(corpus: Corpus) -> list[Path]:
    """Return all remotes: the project's and the libraries'."""
    return sorted(Path(corpus.root).glob("*.git"))


def inventory(corpus: Corpus) -> oracle.Inventory:
    """Inventory everything but the remotes and the trash."""
    ignored = origins(corpus)
    # What lies in a trash is on its way out.
    ignored += [path for path in Path(corpus.root).rglob(".aina-factory-trash") if path.is_dir()]
    return oracle.take(Path(corpus.root), ignore=ignored)


def judge(
    name: str,
    corpus: Corpus,
    act: Callable[[Corpus], object],
    before: oracle.Inventory | None = None,
) -> Score:
    """Let ``act`` reap the corpus among its live processes, and score what it did.

    ``before`` spares the first inventory when the corpus is a copy of one that was taken.
    """
    before = before or inventory(corpus)
    assert not Path(corpus.canary).exists(), "taking the inventory ran the repository's code"
    with live(corpus):
        act(corpus)
    ran = Path(corpus.canary)
    canary = ran.read_text() if ran.exists() else ""
    after = inventory(corpus)
    there = still_there(corpus)
    gone = [one for one in corpus.labels if one.expected == "keep" and one.path not in there]
    kept = [one for one in corpus.labels if one.expected == "reap" and one.path in there]
    lost = oracle.losses(
        before,
        after,
        origins=origins(corpus),
        repository=corpus.checkout / ".git",
        landed=corpus.landed,
    )
    correct = len(corpus.labels) - len(gone) - len(kept)
    return Score(name, correct, gone, kept, lost, canary)


def lost(corpus: Corpus, before: oracle.Inventory) -> oracle.Losses:
    """Return what a corpus had before and has no more, on it or in its trash."""
    return oracle.losses(
        before,
        inventory(corpus),
        origins=origins(corpus),
        repository=corpus.checkout / ".git",
        landed=corpus.landed,
    )
