from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from simulator import Simulator

from runners.support import Site, make_site, scenario


@pytest.fixture
def simulator() -> Iterator[Simulator]:
    with Simulator(scenario()) as simulator:
        yield simulator


@pytest.fixture
def site(tmp_path: Path, simulator: Simulator, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    made = make_site(tmp_path, simulator, monkeypatch)
    yield made
    made.host.close()
