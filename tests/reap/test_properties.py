"""Random histories and working trees: nothing is lost, and what is safe goes."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest
import sampling
from corpus.factory import Factory, Shape
from corpus.histories import CHANGES, LANDINGS, MAIN_AFTER, TREES, Histories, Plan
from corpus.judge import judge
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from reap.conftest import in_memory
from reap.support import Ran, clear, reap

# Each example is one repository with this many worktrees: 1,000 of them where all is tried.
WORKTREES = 40
EXAMPLES = int(os.environ.get("REAP_EXAMPLES", "25" if sampling.is_deep() else "2"))

PLANS = st.builds(
    Plan,
    commits=st.lists(
        st.lists(st.sampled_from(CHANGES), min_size=1, max_size=3).map(tuple),
        min_size=1,
        max_size=4,
    ).map(tuple),
    landing=st.sampled_from(LANDINGS),
    main_before=st.booleans(),
    main_after=st.sampled_from(MAIN_AFTER),
    later_commit=st.sampled_from([False, False, False, True]),
    tree=st.sampled_from(TREES),
)
UNHURRIED = settings(
    max_examples=EXAMPLES,
    deadline=None,
    database=None,
    suppress_health_check=list(HealthCheck),
    # An example costs seconds; the failing plan itself is short enough to read.
    phases=[Phase.explicit, Phase.generate],
)


def judged(area: Path, plans: list[Plan]) -> str:
    """Return what is wrong with a reap of worktrees made by these plans."""
    root = area / "corpus"
    clear(root)
    factory = Factory(
        root, style="squash", seed=len(plans), shape=Shape(3, 0), now=int(time.time())
    )
    corpus = Histories(factory, plans).build()
    runs: list[Ran] = []
    score = judge("factory reap", corpus, lambda corpus: runs.append(reap(corpus.checkout)))
    verdicts = runs[0].verdicts()
    wrong = [*score.wrongly_gone, *score.wrongly_kept]
    told = [f"{one.variant}\n  {verdicts.get(one.path)}" for one in wrong]
    return "\n".join([score.complaint(), *told]).strip()


@pytest.mark.slow
def test_random_lanes_lose_nothing_and_the_safe_ones_go() -> None:
    with in_memory() as area:

        @seed(sampling.seed())
        @UNHURRIED
        @given(st.lists(PLANS, min_size=WORKTREES, max_size=WORKTREES))
        def every_example(plans: list[Plan]) -> None:
            assert judged(area, plans) == ""

        every_example()


def test_a_few_random_lanes_lose_nothing(area: Path) -> None:
    plans = [
        Plan((("add", "edit"),), "squash", True, "rewrite", False, "clean"),
        Plan((("rename",), ("binary",)), "rebase", False, "delete", False, "disposable"),
        Plan((("add",), ("delete",)), "none", False, "nothing", False, "clean"),
        Plan((("edit",), ("add",)), "pick first", False, "nothing", False, "clean"),
        Plan((("mode", "link"),), "merge", False, "nothing", True, "clean"),
        Plan((("space",),), "pull", False, "nothing", False, "precious"),
    ]

    assert judged(area, plans) == ""
