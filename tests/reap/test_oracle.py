"""The oracle finds what was planted, and only that."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from corpus import oracle
from corpus.build import build
from corpus.judge import inventory, lost
from corpus.labels import Corpus

# It judges the reaper, and changes with neither the reaper nor its users' promises.
pytestmark = [pytest.mark.slow, pytest.mark.deep]

SITUATIONS = (
    "landed", "unlanded", "untracked", "dirty", "stash", "private reference", "submodule",
    "nested repository", "ignored and precious", "ignored and disposable", "operation",
)  # fmt: skip


@pytest.fixture(scope="module")
def corpus(shared_area: Path) -> Corpus:
    return build(shared_area / "corpus", only=SITUATIONS)


@pytest.fixture(scope="module")
def before(corpus: Corpus) -> oracle.Inventory:
    return inventory(corpus)


def removed(
    corpus: Corpus, before: oracle.Inventory, situation: str, variant: str
) -> oracle.Losses:
    """Say what the oracle reports when one worktree is forced away, and put it back."""
    label = next(
        one for one in corpus.labels if (one.situation, one.variant) == (situation, variant)
    )
    path = Path(label.path)
    records = corpus.checkout / ".git" / "worktrees"
    admin = records / path.name
    aside = Path(corpus.root).with_name("aside")
    shutil.copytree(path, aside / "tree", symlinks=True, ignore=lambda *_: [])
    shutil.copytree(admin, aside / "admin", symlinks=True)
    try:
        shutil.rmtree(path)
        shutil.rmtree(admin)
        return lost(corpus, before)
    finally:
        (aside / "tree").rename(path)
        (aside / "admin").rename(admin)
        shutil.rmtree(aside)


def names(lost: oracle.Losses) -> set[str]:
    return {Path(name).name for name in lost.files}


# situation, variant, what must be reported
PLANTED: list[tuple[str, str, Callable[[oracle.Losses], bool]]] = [
    ("unlanded", "plain", lambda lost: len(next(iter(lost.unproven.values()))) == 2),
    ("unlanded", "detached", lambda lost: len(lost.commits) == 1),
    ("unlanded", "commit after the landing", lambda lost: len(lost.unproven) == 1),
    ("private reference", "refs/worktree", lambda lost: len(lost.commits) == 1),
    ("untracked", "a file", lambda lost: names(lost) == {"notes.md"}),
    ("untracked", "a symbolic link", lambda lost: names(lost) == {"pointer"}),
    ("dirty", "staged only in the index", lambda lost: len(lost.blobs) == 1),
    ("ignored and precious", "beside disposable files", lambda lost: names(lost) == {".env"}),
    ("nested repository", "clone in dependencies", lambda lost: len(lost.commits) == 1),
    ("nested repository", "bare clone in build output", lambda lost: len(lost.commits) == 1),
    ("submodule", "commit of its own on a branch", lambda lost: len(lost.commits) == 1),
    ("submodule", "stash of its own", lambda lost: len(lost.commits) >= 1),
    ("operation", "rebase with an autostash", lambda lost: len(lost.commits) >= 1),
]


@pytest.mark.parametrize(("situation", "variant", "reported"), PLANTED)
def test_a_planted_loss_is_found(
    corpus: Corpus,
    before: oracle.Inventory,
    situation: str,
    variant: str,
    reported: Callable[[oracle.Losses], bool],
) -> None:
    lost = removed(corpus, before, situation, variant)

    assert reported(lost), str(lost)


@pytest.mark.parametrize(
    ("situation", "variant"),
    [("landed", "squash"), ("ignored and disposable", "dependencies and build output"),
     ("submodule", "clean and pushed")],
)  # fmt: skip
def test_what_is_landed_or_rebuildable_is_no_loss(
    corpus: Corpus, before: oracle.Inventory, situation: str, variant: str
) -> None:
    assert not removed(corpus, before, situation, variant)


def test_a_dropped_stash_and_an_overwritten_file_are_losses(
    corpus: Corpus, before: oracle.Inventory
) -> None:
    precious = next(name for name in before.files if name.endswith("notes.md"))

    Path(precious).write_text("something else")
    subprocess.run(["git", "stash", "clear"], cwd=corpus.checkout, check=True)
    found = lost(corpus, before)

    assert precious in found.files
    assert len(found.commits) >= 2
