"""Lanes on a history of real size: the verdicts, and what it costs to find them."""

from __future__ import annotations

from pathlib import Path

import pytest
from reap import history
from reap.measuring import apart, proved

MIB = 1 << 20


def test_few_merges_are_tried_whatever_the_default_branch_did_to_the_same_files(
    tmp_path: Path,
) -> None:
    made = history.build(tmp_path, commits=250, files=12, lanes=32, seed=7)

    cost = proved(str(made.repository))

    assert cost.landed == made.labels
    assert cost.trial_merges <= 2 * len(made.labels)


def test_what_a_commit_did_to_other_files_takes_no_memory_per_lane(
    tmp_path: Path,
) -> None:
    few, many = (history.wide(tmp_path / str(lanes), files=4000, lanes=lanes) for lanes in (2, 60))

    cost = apart(few.repository)
    grown = apart(many.repository)

    assert grown.landed == many.labels
    assert grown.peak_bytes - cost.peak_bytes < 8 * MIB


@pytest.mark.deep
@pytest.mark.slow
def test_ninety_lanes_on_a_history_of_real_size(
    tmp_path: Path,
) -> None:
    made = history.build(tmp_path, commits=2790, files=486, lanes=90, seed=1)

    cost = apart(made.repository)

    assert cost.landed == made.labels
    assert cost.trial_merges <= 2 * len(made.labels)
    # About 0.7 s where nothing else runs, and never more than twice that on a busy core.
    assert cost.cpu_seconds < 2
    assert cost.peak_bytes < 150 * MIB


@pytest.mark.deep
@pytest.mark.slow
@pytest.mark.parametrize(("files", "lanes"), [(20_000, 100), (500, 2000)])
def test_memory_stays_within_what_a_unit_is_allowed(files: int, lanes: int, tmp_path: Path) -> None:
    made = history.wide(tmp_path, files=files, lanes=lanes)

    cost = apart(made.repository)

    assert cost.landed == made.labels
    assert cost.peak_bytes < 150 * MIB
