"""Everything that judges the repository as a whole, one item each.

A gate is a function from a checkout to a report, which is empty when all is
well. test_gates_can_fail.py shows each of them a tree in which it must object.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor

import pytest
from gates.registry import FAST, SLOW
from gates.tree import ROOT, UnavailableError

Reports = Mapping[str, Future[str]]


@pytest.fixture(scope="session")
def reports(request: pytest.FixtureRequest) -> Iterator[Reports]:
    """What the chosen gates will say; as many run at a time as there are processors."""
    ids = {item.name for item in request.session.items}
    pool = ThreadPoolExecutor(os.cpu_count())
    yield {
        name: pool.submit(gate, ROOT)
        for name, gate in {**FAST, **SLOW}.items()
        if f"test_gate[{name}]" in ids
    }
    pool.shutdown(cancel_futures=True)


@pytest.mark.parametrize(
    "name", [*FAST, *(pytest.param(name, marks=pytest.mark.slow) for name in SLOW)]
)
def test_gate(name: str, reports: Reports) -> None:
    try:
        report = reports[name].result()
    except UnavailableError as error:
        pytest.skip(str(error))

    if report:
        pytest.fail(report, pytrace=False)
