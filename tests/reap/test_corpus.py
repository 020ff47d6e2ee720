"""The reaper, and the owner's two scripts, on every labelled situation."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
from corpus.build import build
from corpus.judge import Score, inventory, judge, table
from corpus.labels import Corpus
from corpus.oracle import Inventory
from reap.support import Pristine, Ran, reap, run_seed_script

# What depends on the style in which a forge lands; everything else does not.
BY_STYLE = (
    "landed", "landed and main moved", "landed kind of change", "landed and detached",
    "cherry-picked", "unlanded", "net nothing", "fresh branch", "pushed", "dirty",
)  # fmt: skip


def by_ours(corpus: Corpus, before: Inventory | None = None) -> tuple[Score, Ran]:
    runs: list[Ran] = []
    score = judge("factory reap", corpus, lambda corpus: runs.append(reap(corpus.checkout)), before)
    return score, runs[0]


def by_the_owners_scripts(pristine: Pristine, before: Inventory) -> Iterator[Score]:
    for script in ("mass_prune.sh", "janitor.sh"):
        act = partial(run_seed_script, script)
        yield judge(f"owner's {script}", pristine.restore(), act, before)


def assert_perfect(score: Score, run: Ran, corpus: Corpus) -> None:
    assert not score.complaint(), f"{score.complaint()}\n{reasons(score, run)}"
    verdicts = run.verdicts()
    for label in corpus.labels:
        if label.listed and label.expected != "either":
            told = verdicts[label.path]
            assert (told["verdict"], told["reaped"]) == (
                label.expected,
                label.expected == "reap",
            ), (label.name, told)
    assert run.code == 0, run.errors


def reasons(score: Score, run: Ran) -> str:
    verdicts = run.verdicts()
    wrong = [*score.wrongly_gone, *score.wrongly_kept]
    told = [(one.name, verdicts.get(one.path, {})) for one in wrong]
    return "\n".join(f"{name}: {one.get('reason')} {one.get('detail')}" for name, one in told)


@pytest.mark.slow
def test_every_situation_is_judged_rightly(area: Path) -> None:
    corpus = build(area / "corpus", seed=1, style="squash")

    score, run = by_ours(corpus)

    assert_perfect(score, run, corpus)


@pytest.mark.deep
@pytest.mark.slow
def test_the_owners_scripts_lose_what_the_reaper_keeps(
    area: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    corpus = build(area / "corpus", seed=1, style="squash")
    pristine = Pristine(corpus)
    before = inventory(corpus)

    scores = [*by_the_owners_scripts(pristine, before)]
    ours, run = by_ours(pristine.restore(), before)

    with capsys.disabled():
        print(f"\n{len(corpus.labels)} worktrees, landed by {corpus.style}")
        print(table([*scores, ours]))
    assert_perfect(ours, run, corpus)
    assert all(one.wrongly_gone and one.lost for one in scores), "the corpus lost its edge"


@pytest.mark.deep
@pytest.mark.slow
@pytest.mark.parametrize("style", ["rebase", "merge"])
def test_the_style_of_landing_does_not_matter(style: str, area: Path) -> None:
    corpus = build(area / "corpus", seed=2, style=style, only=BY_STYLE)

    score, run = by_ours(corpus)

    assert_perfect(score, run, corpus)


def test_a_corpus_of_108_has_every_situation_several_times() -> None:
    from corpus.build import choose

    counted: dict[str, int] = {}
    for one in choose(108):
        counted[one.name] = counted.get(one.name, 0) + 1

    assert len(counted) >= 40
    assert min(counted.values()) >= 2, {name for name, times in counted.items() if times < 2}


def test_a_few_situations_end_rightly(area: Path) -> None:
    corpus = build(area / "corpus", only=("fresh branch", "hidden edit", "pushed", "young"))

    score, run = by_ours(corpus)

    assert_perfect(score, run, corpus)
