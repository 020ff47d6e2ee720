"""Build a corpus: choose situations, make them, label them, set the times."""

from __future__ import annotations

import os
import pwd
import time
from pathlib import Path

from corpus.factory import SHAPES, Factory, Lane, Shape
from corpus.git import GitError
from corpus.labels import Corpus, Label
from corpus.situations import Made, Situation, every

LABELS = "labels.json"


def choose(count: int) -> list[Situation]:
    """Return ``count`` situations: each in turn, every time in its next variant."""
    by_name: dict[str, list[Situation]] = {}
    for one in every():
        by_name.setdefault(one.name, []).append(one)
    chosen: list[Situation] = []
    turn = 0
    while len(chosen) < count:
        for variants in by_name.values():
            # Each at least twice, then the variants not yet seen, then all over again.
            if turn < 2 or turn % len(every()) < len(variants):
                chosen.append(variants[turn % len(variants)])
        turn += 1
    return chosen[:count]


def build(
    target: Path,
    *,
    worktrees: int | None = None,
    seed: int = 0,
    style: str = "squash",
    shape: Shape = SHAPES["small"],
    only: tuple[str, ...] = (),
) -> Corpus:
    """Build a corpus in ``target``, which must not exist yet.

    ``worktrees`` defaults to every variant once; ``only`` restricts the situations to
    some names.
    """
    known = [one for one in every() if not only or one.name in only]
    chosen = known if only or worktrees is None else choose(worktrees)
    if only and worktrees is not None:
        chosen = [known[number % len(known)] for number in range(worktrees)]
    now = int(time.time())
    factory = Factory(target, style=style, seed=seed, shape=shape, now=now)
    factory.random.shuffle(chosen)
    made: list[tuple[Lane, Label]] = []
    labels: list[Label] = []
    for one in chosen:
        lane, label = make(factory, one)
        made.append((lane, label))
        labels.append(label)
    factory.finish(made)
    corpus = Corpus(
        str(target), style, seed, now, labels, factory.pull_requests, str(factory.canary)
    )
    corpus.save(target / LABELS)
    return corpus


def make(factory: Factory, one: Situation) -> tuple[Lane, Label]:
    """Make one worktree and its label.

    Raises:
        GitError: the situation could not be made; the message names it.

    """
    try:
        result = one.make(factory)
    except (GitError, OSError) as error:
        raise GitError(f"{one.name}: {one.variant}: {error}") from error
    done = result if isinstance(result, Made) else Made(result)
    lane = done.lane
    wanted = one.variant == "idle, with dependencies" or factory.shape.dependency_files > 100
    if wanted and lane.path.is_dir() and not lane.path.is_symlink():
        factory.dependencies(lane)
    label = Label(
        path=done.path or str(lane.path),
        situation=one.name,
        variant=one.variant,
        expected=one.expected,
        why=one.why,
        branch=lane.branch,
        head=_head(lane),
        holds=done.holds,
        landed=sorted(set(lane.landed)),
        live=done.live,
        with_github=one.with_github,
        listed=done.listed,
    )
    return lane, label


def _head(lane: Lane) -> str | None:
    try:
        return lane.head
    except (GitError, OSError):
        return None


def give_to(target: Path, user: str) -> None:
    """Make ``user`` the owner of everything."""
    account = pwd.getpwnam(user)
    for folder, folders, files in os.walk(target):
        for path in [Path(folder), *(Path(folder, name) for name in [*folders, *files])]:
            os.chown(path, account.pw_uid, account.pw_gid, follow_symlinks=False)
