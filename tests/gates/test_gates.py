"""Everything that judges the repository as a whole, one item each.

A gate is a function from a checkout to a report, which is empty when all is
well. test_gates_can_fail.py shows each of them a tree in which it must object.
"""

from __future__ import annotations

import pytest
from gates.registry import ALL, FAST, SLOW
from gates.tree import ROOT, UnavailableError


@pytest.mark.parametrize(
    "name", [*FAST, *(pytest.param(name, marks=pytest.mark.slow) for name in SLOW)]
)
def test_gate(name: str) -> None:
    try:
        report = ALL[name](ROOT)
    except UnavailableError as error:
        pytest.skip(str(error))

    if report:
        pytest.fail(report, pytrace=False)
