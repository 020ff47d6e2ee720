"""A run over everything notices what did not run, and says what each stage took."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from gates.tree import ROOT

TEST = "def test_x() -> None:\n    assert {}\n"


@pytest.fixture
def project(tmp_path: Path) -> Path:
    subprocess.run(["git", "init", "--quiet", str(tmp_path)], check=True)
    shutil.copy2(ROOT / "conftest.py", tmp_path)
    (tmp_path / "pytest.ini").write_text(
        "[pytest]\naddopts = --import-mode=importlib\ntestpaths = tests\npythonpath = tests\n"
        "markers =\n    deep: sample\n"
    )
    (tmp_path / "tests").mkdir()
    for name in ("sampling", "residue", "containers"):
        shutil.copy2(ROOT / f"tests/{name}.py", tmp_path / "tests")
    for stage in ("host", "reap"):
        (tmp_path / "tests" / stage).mkdir(parents=True)
        (tmp_path / "tests" / stage / "test_x.py").write_text(TEST.format(1))
    subprocess.run(["git", "add", "."], cwd=tmp_path, check=True)
    return tmp_path


def run_pytest(project: Path, *words: str, **variables: str) -> subprocess.CompletedProcess[str]:
    # A run of its own, not a part of this one.
    ours = ("AINA_TEST_", "PYTEST_")
    environment = {key: value for key, value in os.environ.items() if not key.startswith(ours)}
    # Most of what it would take is the import of plugins.
    environment["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *words],
        cwd=project,
        env={**environment, **variables},
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_summary_has_a_line_for_each_stage(project: Path) -> None:
    (project / "tests/reap/test_x.py").write_text(TEST.format(0))

    done = run_pytest(project)

    assert done.returncode == 1
    lines = [" ".join(line.split()) for line in done.stdout.splitlines()]
    assert "host 0.0 s 1 passed" in lines
    assert "reap 0.0 s 1 failed" in lines


def test_a_test_file_without_tests_fails_the_run(project: Path) -> None:
    (project / "tests/reap/test_x.py").write_text("")

    done = run_pytest(project)

    assert done.returncode == 4
    assert "no test was collected from tests/reap/test_x.py" in done.stderr


def test_a_test_file_outside_of_the_collected_directories_fails_the_run(project: Path) -> None:
    (project / "elsewhere").mkdir()
    (project / "elsewhere/test_y.py").write_text(TEST.format(1))
    subprocess.run(["git", "add", "."], cwd=project, check=True)

    done = run_pytest(project)

    assert done.returncode == 4
    assert "elsewhere/test_y.py" in done.stderr


def test_a_name_that_matches_nothing_fails_the_run(project: Path) -> None:
    assert run_pytest(project, "-k", "nonsense").returncode == 5


def test_what_a_test_leaves_running_is_ended_told_and_fails_the_run(project: Path) -> None:
    (project / "tests/reap/test_x.py").write_text(
        "import subprocess\n\n\ndef test_x() -> None:\n"
        "    subprocess.Popen(['sleep', '61.25'], start_new_session=True)\n"
    )

    done = run_pytest(project, "-p", "xdist.plugin", "--numprocesses=1", "--dist=loadgroup")

    assert done.returncode == 1
    assert "2 passed" in done.stdout.splitlines()[-1]
    assert re.search(r"^left behind: process \d+: sleep 61\.25$", done.stdout, re.MULTILINE)
    assert subprocess.run(["pgrep", "--full", r"^sleep 61\.25$"]).returncode == 1


def test_what_shows_a_promise_once_more_runs_in_deep_only(project: Path) -> None:
    deep = "import pytest\n\n\n@pytest.mark.deep\n" + TEST.format(0)
    (project / "tests/reap/test_x.py").write_text(deep)

    done = run_pytest(project)
    every = run_pytest(project, AINA_TEST_DEEP="1")

    assert (done.returncode, every.returncode) == (0, 1)
    assert "1 passed, 1 deselected" in done.stdout.splitlines()[-1]


def test_a_test_of_a_scenario_that_waits_for_ever_fails(project: Path) -> None:
    (project / "molecule/x").mkdir(parents=True)
    (project / "molecule/x/test_x.py").write_text(
        "import subprocess\n\n\ndef test_x() -> None:\n    subprocess.run(['sleep', '62.5'])\n"
    )
    limits = (project / "conftest.py").read_text()
    assert "SCENARIO_TEST_SECONDS = 300" in limits
    (project / "conftest.py").write_text(limits.replace("SECONDS = 300", "SECONDS = 1"))

    done = run_pytest(project, "molecule")

    assert "it did not end within 1 s" in done.stdout
    assert "1 failed" in done.stdout.splitlines()[-1]
