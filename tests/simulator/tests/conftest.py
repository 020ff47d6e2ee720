from __future__ import annotations

from collections.abc import Iterator

import pytest
from simulator import Simulator
from simulator.client import Client
from simulator.scenario import load


@pytest.fixture(scope="session")
def running() -> Iterator[Simulator]:
    with Simulator("small") as simulator:
        yield simulator


@pytest.fixture
def simulator(running: Simulator) -> Simulator:
    running.load(load("small"))
    return running


@pytest.fixture
def client(simulator: Simulator) -> Client:
    return Client(simulator)
