"""Prove what has landed in a repository of branches, and say what it took.

PYTHONPATH=tests:... python3 -m reap.measuring REPOSITORY
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from reap.support import environment

from factory import effects
from factory.core.base.git import Git
from factory.core.base.ports import Completed
from factory.core.worktrees import landed


@dataclass(frozen=True)
class Cost:
    """What a proof found and took."""

    landed: dict[str, bool]
    trial_merges: int
    cpu_seconds: float
    peak_bytes: int


def proved(repository: str) -> Cost:
    """Ask for every branch but ``main`` whether its work is on ``main``."""
    merges = 0

    def run(argv: Any, **options: Any) -> Completed:
        nonlocal merges
        if "merge-tree" in argv:
            merges += options["stdin"].count(b"\n")
        return effects.run(argv, **options)

    said = subprocess.run(
        ["git", "-C", repository, "for-each-ref", "--format=%(refname:short) %(objectname)"],
        capture_output=True, check=True, text=True,
    ).stdout  # fmt: skip
    heads = dict(line.split(" ") for line in said.splitlines())
    tip = heads.pop("main")
    whom = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    before = sum(u.ru_utime + u.ru_stime for u in map(resource.getrusage, whom))
    proofs = landed.prove(
        Git(run, repository),
        repository,
        [landed.Remote("main", {"refs/heads/main": tip})],
        set(heads.values()),
        (),
        count_pushed=False,
        merged_pull_requests=None,
    )
    after = sum(u.ru_utime + u.ru_stime for u in map(resource.getrusage, whom))
    peak_bytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    found = {branch: head in proofs.evidence for branch, head in heads.items()}
    return Cost(found, merges, after - before, peak_bytes)


def apart(repository: Path) -> Cost:
    """Measure in a process whose memory is that of one proof."""
    tests = str(Path(__file__).parents[1])
    done = subprocess.run(
        [sys.executable, "-m", "reap.measuring", str(repository)],
        env=environment(PYTHONPATH=tests),
        check=True,
        capture_output=True,
    )
    return Cost(**json.loads(done.stdout))


if __name__ == "__main__":
    print(json.dumps(asdict(proved(sys.argv[1]))))
