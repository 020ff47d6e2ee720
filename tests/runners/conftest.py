from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
import residue
from simulator import Simulator

from runners.support import Site, make_site, scenario


@pytest.fixture(autouse=True)
def nothing_runs_on(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """End what a test has started: runners are killed as they work, and leave their children."""
    mark = f"AINA_TEST_CASE={uuid.uuid4()}"
    monkeypatch.setenv(*mark.split("=", 1))
    yield
    residue.end(mark)


@pytest.fixture
def simulator() -> Iterator[Simulator]:
    with Simulator(scenario()) as simulator:
        yield simulator


@pytest.fixture
def site(tmp_path: Path, simulator: Simulator, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    made = make_site(tmp_path, simulator, monkeypatch)
    yield made
    made.host.close()
