"""Time one run of the watchdog on servers of growing size, and its page."""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from watchdog import browser, seed

from factory.core.status import document, page

ROOT = Path(__file__).resolve().parents[3]
# The distribution's own, as on the server.
_SYSTEM_PYTHON = Path("/usr/bin/python3")
PYTHON = str(_SYSTEM_PYTHON) if _SYSTEM_PYTHON.exists() else sys.executable
GOAL_CPU_SECONDS = 0.5
GOAL_SIZE = (108, 321)
# (worktrees, workspaces, jobs)
SIZES = ((0, 0, 0), (108, 321, 10), (432, 321, 10), (108, 1284, 10), (108, 321, 80))


@dataclass
class Figures:
    """One size; times in seconds of one run."""

    worktrees: int
    workspaces: int
    jobs: int
    cpu_seconds: float
    wall_seconds: float


def build(target: Path, worktrees: int, workspaces: int, jobs: int) -> Path:
    """Make a server's files; return its configuration. Git's own files are laid by hand: only their
    names and contents are looked at."""
    administration = target / "repository/.git/worktrees"
    administration.mkdir(parents=True)
    for number in range(worktrees):
        checkout = target / "worktrees" / f"lane-{number}"
        checkout.mkdir(parents=True)
        (checkout / ".git").write_text(f"gitdir: {administration}/lane-{number}\n")
        (administration / f"lane-{number}").mkdir()
        (administration / f"lane-{number}/gitdir").write_text(f"{checkout}/.git\n")
    for number in range(workspaces):
        heads = target / "workspaces" / str(number) / ".git/refs/heads"
        heads.mkdir(parents=True)
        (heads.parents[1] / "HEAD").write_text("ref: refs/heads/main\n")
        (heads / "main").write_text("0" * 40)
    section = {
        "data_dir": str(target / "data"),
        "disks": ["/"],
        "reserve_mib": 0,
        "metrics_path": str(target / "data/factory.prom"),
        "heal": {"workspace_roots": [str(target / "workspaces")], "mode": "report"},
        "engine_socket_path": "",
    }
    declared = [
        {"name": f"job-{number}", "schedule": "*:0/15", "command": ["/bin/true"]}
        for number in range(jobs)
    ]
    projects = [{"name": "p", "repository": "a/p", "path": str(target / "repository")}]
    whole = {
        "watchdog": section,
        "jobs": {"jobs": declared},
        "projects": projects,
        "locks": {"directory": str(target / "lock")},
    }
    configuration = target / "factory.json"
    configuration.write_text(json.dumps(whole))
    return configuration


def install(target: Path) -> Path:
    """Copy the command's files as a role installs them: readable, nothing compiled beside them."""
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(
        ROOT / "collections/ansible_collections/aina/factory/host/factory",
        target / "factory",
        ignore=ignored,
    )
    return target


def timed(command: Sequence[str | Path], library: Path) -> tuple[float, float]:
    """Run a command and return its processor seconds and its wall seconds."""
    environment = {**os.environ, "PYTHONPATH": str(library), "PYTHONDONTWRITEBYTECODE": "1"}
    before, started = os.times(), time.monotonic()
    subprocess.run(command, env=environment, capture_output=True, check=True)
    after, ended = os.times(), time.monotonic()
    cpu = (
        after.children_user + after.children_system - before.children_user - before.children_system
    )
    return cpu, ended - started


def median(command: Sequence[str | Path], library: Path, repeat: int) -> tuple[float, float]:
    """Return the medians of several runs, after one that is not counted."""
    timed(command, library)
    runs = [timed(command, library) for _ in range(repeat)]
    return statistics.median(cpu for cpu, _ in runs), statistics.median(wall for _, wall in runs)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--target", type=Path, required=True)
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    arguments.target.mkdir(parents=True)
    library = install(arguments.target / "library")
    bare, _ = median([PYTHON, "-c", "pass"], library, arguments.repeat)
    figures = []
    print("| worktrees | workspaces | jobs | CPU s | wall s |")
    print("|---:|---:|---:|---:|---:|")
    for number, size in enumerate(SIZES):
        configuration = build(arguments.target / str(number), *size)
        command: list[str | Path] = [PYTHON, "-m", "factory", "watchdog", "--config", configuration]
        cpu, wall = median(command, library, arguments.repeat)
        figures.append(Figures(*size, cpu, wall))
        print(f"| {size[0]} | {size[1]} | {size[2]} | {cpu:.2f} | {wall:.2f} |")
    print(f"\nA bare `python3 -c pass`: {bare:.2f} s of CPU.")
    told = document.build(seed.report())
    started = time.process_time()
    for _ in range(20):
        text = page.render(told)
    render_ms = (time.process_time() - started) / 20 * 1000
    print(f"The page of a server with 18 alerts and 30 pull requests: {len(text.encode())} bytes, "
          f"{render_ms:.1f} ms to render.")  # fmt: skip
    if any(map(shutil.which, browser.PROGRAMS)):
        started = time.monotonic()
        browser.visit(text, arguments.target / "browser")
        print(f"Chromium has drawn it {time.monotonic() - started:.1f} s after its own start.")
    if arguments.json:
        arguments.json.write_text(json.dumps([asdict(item) for item in figures]))
    shutil.rmtree(arguments.target)
    goal = next(item for item in figures if (item.worktrees, item.workspaces) == GOAL_SIZE)
    met = goal.cpu_seconds <= GOAL_CPU_SECONDS
    print(f"Goal of {GOAL_CPU_SECONDS} s of CPU at {GOAL_SIZE}: {'met' if met else 'missed'}.")
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
