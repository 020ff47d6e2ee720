"""Every molecule scenario, one item each."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import containers
import pytest
import yaml
from sampling import is_deep

ROOT = Path(__file__).resolve().parents[2]
SCENARIOS = sorted(path.parent.name for path in ROOT.glob("molecule/*/molecule.yml"))
# A scenario takes one to three minutes; this one hangs.
TIMEOUT_SECONDS = 1800
# What tells why a scenario failed, among thousands of lines: a task, an assertion, molecule itself,
# which always misses a scenario named default.
REASON = re.compile(r"fatal: \[|^E {2,}\S|^FAILED |^(ERROR|CRITICAL)\b(?!.*default.*glob failed)")
REASON_LINES = 12


def reason(output: str) -> str:
    """Return the lines of molecule's output that say why it failed."""
    lines = [line.strip().removeprefix("│").strip() for line in output.splitlines()]
    return "\n".join([line for line in lines if REASON.search(line)][:REASON_LINES])


def test_the_reason_of_a_failure_is_found_in_the_output() -> None:
    output = (
        "CRITICAL 'molecule/default/molecule.yml' glob failed. Exiting.\n"
        "│ TASK [x]\n│ ok: [h]\n│ fatal: [h]: FAILED! =>\n│   E       assert 1 == 2\n│ PLAY RECAP\n"
    )

    assert reason(output) == "fatal: [h]: FAILED! =>\nE       assert 1 == 2"


def test_there_are_scenarios() -> None:
    assert SCENARIOS


# What a plan, a second converge and the way back show is shown once for all roles, end to end, in
# each run; per role deep alone tries it.
DEEP_STEPS = ("syntax", "check", "idempotence", "side_effect")


def sequence(name: str, steps: list[str]) -> list[str]:
    """Return the steps of a scenario that this run plays; what starts hosts ends them, too."""
    own = ROOT / "molecule" / name
    left = {"destroy", *(() if is_deep() else DEEP_STEPS)}
    left |= {step for step in ("prepare", "side_effect") if not (own / f"{step}.yml").exists()}
    return [step for step in steps if step not in left]


@pytest.mark.slow
@pytest.mark.engine
@pytest.mark.parametrize("name", SCENARIOS)
def test_scenario(name: str, tmp_path: Path) -> None:
    scripts = Path(sys.prefix) / "bin"
    environment = {
        **os.environ,
        "PATH": f"{scripts}{os.pathsep}{os.environ['PATH']}",
        # Otherwise it believes that what an earlier run has made is still there.
        "MOLECULE_EPHEMERAL_DIRECTORY": str(tmp_path / "molecule"),
        # Unbroken lines without colours: they are searched for the reason of a failure.
        "COLUMNS": "1000",
        "NO_COLOR": "1",
        "ANSIBLE_FORCE_COLOR": "0",
        "ANSIBLE_NOCOLOR": "1",
        "PY_COLORS": "0",
    }
    settings = yaml.safe_load((ROOT / ".config/molecule/config.yml").read_text())
    scenario = settings["scenario"]
    scenario["test_sequence"] = sequence(name, scenario["test_sequence"])
    (tmp_path / "config.yml").write_text(yaml.safe_dump(settings))
    argv = [str(scripts / "molecule"), "--base-config", str(tmp_path / "config.yml"), "test"]
    argv += ["--scenario-name", name, "--destroy", "never"]

    # Faster than the playbook that does the same; what a killed run has left goes, too.
    containers.remove(f"scenario={name}")
    try:
        completed = subprocess.run(
            argv,
            cwd=ROOT,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            timeout=TIMEOUT_SECONDS,
        )
    finally:
        containers.remove(f"scenario={name}")

    # Molecule counts a step whose playbook is missing as neither failed nor skipped.
    if completed.returncode or "Executed: Missing" in completed.stdout:
        # Shown once, above: the reason of a failure is repeated in the summary.
        print(completed.stdout)
        pytest.fail(
            f"molecule test -s {name} ended with {completed.returncode}\n{reason(completed.stdout)}",
            pytrace=False,
        )
