"""Months of a busy repository: what is remembered and logged stays bounded, and nothing lands twice."""

from __future__ import annotations

import json
import os
import random
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from sampling import is_deep

from factory.core.marshal import audit, store
from factory.core.marshal.settings import Duplicates
from factory.core.marshal.snapshot import CheckState
from factory.core.marshal.store import StateStore
from merging.model import Pull, Repository, Runner
from merging.test_cycle import POLICY, TRAIN

PER_DAY = 200 if is_deep() else 96
CYCLES = 8
LOG_BYTES = 200_000


class Days:
    """A repository at which two hundred are opened a day; what is over is forgotten by the model."""

    def __init__(self, directory: Path, mode: str) -> None:
        policy = replace(TRAIN if mode == "train" else POLICY, mode=mode)
        policy = replace(policy, duplicates=Duplicates(action="close", grace_hours=1))
        self.repository = Repository({}, policy)
        self.directory = directory
        self.chance = random.Random(mode)  # noqa: S311 - no secret
        self.landed: Counter[int] = Counter()
        self.number = 0
        self.most_runs = 0

    def open(self) -> None:
        self.number += 1
        number, tree = self.number, self.repository.trees[self.repository.main[-1]]
        pull = Pull(number, {f"file{number % 41}": f"v{number}"}, fork_tree={})
        kind = self.chance.randrange(20)
        if kind == 0:
            pull.check = CheckState.FAILURE
        elif kind == 1:
            pull.changes = {"same": f"v{number}"}
        elif kind == 2:
            pull.changes = {f"file{number % 41}": "bad"}
        elif kind == 3:
            pull.draft = True
        pull.fork_tree = dict(tree)
        self.repository.pulls[number] = pull

    def cycle(self) -> None:
        kept = StateStore(self.directory)
        runner = Runner(self.repository, kept.load())
        kept.open_log()
        runner._save = kept.save  # type: ignore[method-assign]
        runner.records = type("Log", (), {"append": staticmethod(kept.audit)})()
        before = len(self.repository.ci_runs)
        runner.cycle()
        self.most_runs = max(self.most_runs, len(self.repository.ci_runs) - before)
        self.landed.update(self.repository.landed)
        self.repository.landed.clear()

    def day(self) -> None:
        repository = self.repository
        for turn in range(CYCLES):
            for _index in range(PER_DAY // CYCLES):
                self.open()
            self.cycle()
            repository.now_seconds += 86400 / CYCLES
            if turn == CYCLES - 1:
                # Whoever did not make it within the day gives up.
                for pull in repository.pulls.values():
                    pull.state = "CLOSED" if pull.state == "OPEN" else pull.state
                self.cycle()
        tip = repository.main[-1]
        repository.pulls.clear()
        repository.trees = {tip: repository.trees[tip], "c0": repository.trees["c0"]}
        repository.parents = {tip: [], "c0": []}
        repository.seen.clear()
        repository.writes.clear()
        repository.ci_runs.clear()

    def sizes(self) -> tuple[int, int]:
        logs = sum(path.stat().st_size for path in self.directory.glob("audit*"))
        return (self.directory / "memory.json").stat().st_size, logs


@pytest.mark.parametrize("mode", ["fast", "train"])
def test_what_is_kept_of_a_busy_repository_stays_bounded(
    mode: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "fsync", lambda _file: None)
    monkeypatch.setattr(store, "LOG_BYTES", LOG_BYTES)
    count = 60 if is_deep() else 2
    days = Days(tmp_path, mode)

    days.day()
    first, _logs = days.sizes()
    for _day in range(count - 1):
        days.day()

    memory, logs = days.sizes()
    assert memory < 2 * first + 2000
    assert logs < (store.LOGS_COUNT + 2) * LOG_BYTES
    assert max(days.landed.values()) == 1, "one landed twice"
    assert sum(days.landed.values()) > 0.6 * PER_DAY * count
    assert days.most_runs < 100, "the same was tested again and again"
    assert days.repository.red_mains == 0 or mode != "train"
    lines = (tmp_path / "audit.jsonl").read_text().splitlines()
    assert audit.verify(lines, json.loads(lines[0])["previous"])
