"""Whatever these tests exchange with the simulator over REST is held against GitHub's description."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from simulator import Simulator, contract


@pytest.fixture(autouse=True)
def as_published(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Check what each simulator was asked and answered once the test is over."""
    used: list[Simulator] = []
    begin = Simulator.start

    def start(self: Simulator) -> Simulator:
        used.append(self)
        return begin(self)

    monkeypatch.setattr(Simulator, "start", start)
    yield
    exchanges = [found for one in used for found in one.dispatcher.recorder.everything]
    wrong = contract.violations(exchanges)
    assert not wrong, "\n".join(wrong)
