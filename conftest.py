"""What the summary of every pytest run in this repository adds, and what it refuses."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest
import residue
import sampling

ROOT = Path(__file__).parent
UNIT_TESTS = "collections/ansible_collections/aina/factory/tests/unit/"
OUTCOMES = ("passed", "failed", "error", "skipped", "xfailed", "xpassed")


# What takes long comes first, and what builds images before those that take them over.
FIRST = (
    "tests/e2e/",
    "tests/molecule/test_scenarios.py::test_scenario[gh-actions-runner]",
    "tests/adopt/",
    "tests/molecule/test_scenarios.py::test_scenario[lanes]",
    "tests/gates/test_gates.py::test_gate[sanity",
    "tests/gates/test_gates_can_fail.py::test_a_gate_objects_to_its_fault[sanity",
    "tests/molecule/test_scenarios.py::test_scenario[host-baseline]",
    "tests/molecule/test_scenarios.py::test_scenario[images]",
    "tests/molecule/test_scenarios.py::test_scenario[factory-crons]",
    "tests/molecule/",
    "tests/gates/",
)
SCENARIO_TEST_SECONDS = 300
BEFORE = pytest.StashKey[residue.Engine]()
LEFT = pytest.StashKey[list[str]]()
# Items of these files need nothing of each other, and take long.
APART = ("tests/gates/test_gates.py", "tests/molecule/test_scenarios.py")


def pytest_configure(config: pytest.Config) -> None:
    """Mark the run, and give back the interrupt that a shell takes from what it starts in the background.

    Programs under test would inherit that they must ignore it, and never end when they are asked to.
    """
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    os.environ.setdefault("AINA_PACKED_DIR", str(ROOT / ".cache/packed"))
    # Those of the operator stay.
    os.environ.setdefault("AINA_DETAILS_DIR", str(ROOT / ".cache/runs"))
    os.environ["ANSIBLE_CALLBACK_PLUGINS"] = str(ROOT / "tests/callback_plugins")
    os.environ["ANSIBLE_CALLBACKS_ENABLED"] = "aina.factory.recap,keep_packed"
    if _is_first(config):
        # Who ends a run may do so politely: what it has started goes all the same.
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        os.environ[residue.RUN_VARIABLE] = f"{os.getpid()}-{time.time_ns()}"
        config.stash[BEFORE] = residue.Engine.now()


def _is_first(config: pytest.Config) -> bool:
    """Whether this is neither a worker of a run nor a run inside of one."""
    return not hasattr(config, "workerinput") and (
        BEFORE in config.stash or residue.RUN_VARIABLE not in os.environ
    )


def pytest_sessionfinish(session: pytest.Session) -> None:
    """End what is left of the run; a whole run that leaves something has failed."""
    config = session.config
    if not _is_first(config):
        return
    left = residue.clean(config.stash[BEFORE])
    config.stash[LEFT] = left
    if left and session.exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def _group(item: pytest.Item) -> str:
    """Return the name under which an item shares a process with others: they share fixtures."""
    # All runs of one core make and use the same environments.
    if "[sanity" in item.name:
        return "sanity"
    path = item.nodeid.split("::")[0]
    return item.name if path in APART else path


def _turn(item: pytest.Item) -> int:
    turns = (turn for turn, start in enumerate(FIRST) if item.nodeid.startswith(start))
    return next(turns, len(FIRST))


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(session: pytest.Session, items: list[pytest.Item]) -> None:
    """Say what runs side by side; fail a run over everything in which a file yields no test.

    Comes before any test is deselected.
    """
    for item in items:
        item.add_marker(pytest.mark.xdist_group(_group(item)))
    items.sort(key=_turn)
    config = session.config
    if config.args == config.getini("testpaths"):
        _refuse_files_without_tests({item.path for item in items})
    if not sampling.is_deep():
        config.hook.pytest_deselected(items=[item for item in items if _is_deep(item)])
        items[:] = [item for item in items if not _is_deep(item)]


def _is_deep(item: pytest.Item) -> bool:
    return item.get_closest_marker("deep") is not None


def _refuse_files_without_tests(collected: set[Path]) -> None:
    # Those of molecule run inside their scenario, one item each.
    listing = ["git", "ls-files", "-z", "--", "*test_*.py", ":!molecule"]
    listed = subprocess.run(listing, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    for name in filter(None, listed.split("\0")):
        path = ROOT / name
        if path.name.startswith("test_") and path.is_file() and path not in collected:
            raise pytest.UsageError(f"no test was collected from {name}")


@contextlib.contextmanager
def _in_time(item: pytest.Item) -> Iterator[None]:
    """Have a test of a scenario fail that waits for what never comes: nobody else would end it."""

    def give_up(*_: object) -> None:
        pytest.fail(f"it did not end within {SCENARIO_TEST_SECONDS} s")

    if item.nodeid.startswith("molecule/"):
        signal.signal(signal.SIGALRM, give_up)
        signal.alarm(SCENARIO_TEST_SECONDS)
    try:
        yield
    finally:
        signal.alarm(0)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_setup(item: pytest.Item) -> Iterator[None]:
    """Limit how long the fixtures of a scenario wait."""
    with _in_time(item):
        return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Iterator[None]:
    """Limit how long a test of a scenario waits."""
    with _in_time(item):
        return (yield)


def pytest_collection_finish(session: pytest.Session) -> None:
    """Refuse to run side by side what has lost its group: files share hosts and would take them from each other."""
    if getattr(session.config.option, "loadgroup", False):
        for item in session.items:
            if not item.nodeid.endswith(f"@{_group(item)}"):
                raise pytest.UsageError(
                    f"pytest-xdist has not put {item.nodeid} into its group: pin a pytest that it fits"
                )


def _stage(nodeid: str) -> str:
    if nodeid.startswith(UNIT_TESTS):
        return "unit"
    return nodeid.removeprefix("tests/").split("/")[0]


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, exitstatus: int, config: pytest.Config
) -> None:
    """Say per stage what became of it and how long it took."""
    seconds: defaultdict[str, float] = defaultdict(float)
    counts: defaultdict[str, defaultdict[str, int]] = defaultdict(lambda: defaultdict(int))
    for outcome in OUTCOMES:
        for entry in terminalreporter.stats.get(outcome, []):
            if isinstance(entry, pytest.TestReport | pytest.CollectReport):
                counts[_stage(entry.nodeid)][outcome] += 1
    for entries in terminalreporter.stats.values():
        for entry in entries:
            if isinstance(entry, pytest.TestReport):
                seconds[_stage(entry.nodeid)] += entry.duration
    if not counts:
        return
    terminalreporter.section("stages")
    for line in sampling.told():
        terminalreporter.line(line)
    left = config.stash.get(LEFT, None)
    if left is not None:
        terminalreporter.line(f"left behind: {'; '.join(left) or 'nothing'}")
    for stage, count in sorted(counts.items()):
        told = ", ".join(f"{count[outcome]} {outcome}" for outcome in OUTCOMES if count[outcome])
        terminalreporter.line(f"{stage:<12} {seconds[stage]:7.1f} s  {told}")
