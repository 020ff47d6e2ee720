"""Every molecule scenario, one item each."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SCENARIOS = sorted(path.parent.name for path in ROOT.glob("molecule/*/molecule.yml"))
# A scenario takes one to three minutes; this one hangs.
TIMEOUT_SECONDS = 1800


def test_there_are_scenarios() -> None:
    assert SCENARIOS


@pytest.mark.slow
@pytest.mark.engine
@pytest.mark.parametrize("name", SCENARIOS)
def test_scenario(name: str) -> None:
    scripts = Path(sys.prefix) / "bin"
    environment = {**os.environ, "PATH": f"{scripts}{os.pathsep}{os.environ['PATH']}"}

    completed = subprocess.run(
        [scripts / "molecule", "test", "--scenario-name", name],
        cwd=ROOT,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        timeout=TIMEOUT_SECONDS,
    )

    # Molecule counts a step whose playbook is missing as neither failed nor skipped.
    if completed.returncode or "Executed: Missing" in completed.stdout:
        # Shown once, above: the reason of a failure is repeated in the summary.
        print(completed.stdout)
        pytest.fail(f"molecule test -s {name} ended with {completed.returncode}", pytrace=False)
