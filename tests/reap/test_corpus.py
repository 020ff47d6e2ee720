"""The reaper, and the owner's two scripts, on every labelled situation."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest
from corpus.build import build
from corpus.judge import Score, inventory, judge, table
from corpus.labels import Corpus
from reap.support import Pristine, Ran, reap, run_seed_script

# What depends on the style in which a forge lands; everything else does not.
BY_STYLE = (
    "landed", "landed and main moved", "landed kind of change", "landed and detached",
    "cherry-picked", "unlanded", "net nothing", "fresh branch", "pushed", "dirty",
)  # fmt: skip


def judged(corpus: Corpus, capsys: pytest.CaptureFixture[str]) -> tuple[list[Score], Ran]:
    pristine = Pristine(corpus)
    before = inventory(corpus)
    scores: list[Score] = []
    for script in ("mass_prune.sh", "janitor.sh"):
        act = partial(run_seed_script, script)
        scores.append(judge(f"owner's {script}", pristine.restore(), act, before))
    runs: list[Ran] = []
    ours = judge(
        "factory reap",
        pristine.restore(),
        lambda corpus: runs.append(reap(corpus.checkout)),
        before,
    )
    with capsys.disabled():
        print(f"\n{len(corpus.labels)} worktrees, landed by {corpus.style}")
        print(table([*scores, ours]))
    return [*scores, ours], runs[0]


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
def test_every_situation_is_judged_rightly(area: Path, capsys: pytest.CaptureFixture[str]) -> None:
    corpus = build(area / "corpus", seed=1, style="squash")

    scores, run = judged(corpus, capsys)

    assert_perfect(scores[-1], run, corpus)
    assert all(one.wrongly_gone and one.lost for one in scores[:-1]), "the corpus lost its edge"


@pytest.mark.slow
@pytest.mark.parametrize("style", ["rebase", "merge"])
def test_the_style_of_landing_does_not_matter(
    style: str, area: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    corpus = build(area / "corpus", seed=2, style=style, only=BY_STYLE)

    scores, run = judged(corpus, capsys)

    assert_perfect(scores[-1], run, corpus)


def test_a_corpus_of_108_has_every_situation_several_times() -> None:
    from corpus.build import choose

    counted: dict[str, int] = {}
    for one in choose(108):
        counted[one.name] = counted.get(one.name, 0) + 1

    assert len(counted) >= 40
    assert min(counted.values()) >= 2, {name for name, times in counted.items() if times < 2}


def test_a_few_situations_end_rightly(area: Path) -> None:
    corpus = build(area / "corpus", only=("fresh branch", "hidden edit", "pushed", "young"))
    runs: list[Ran] = []

    score = judge("factory reap", corpus, lambda corpus: runs.append(reap(corpus.checkout)))

    assert_perfect(score, runs[0], corpus)
