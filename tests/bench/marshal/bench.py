"""One cycle of the marshal and of the old shell loop on equal repositories, in one run."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from merging.test_simulator import NAME, Rig, policy, repository
from simulator import Simulator

CI_SECONDS = 60
# Of a thousand a cycle lands as many as of thirty; the reading is what grows.
MOST_MERGES = 100
# The old loop was started anew every ten minutes.
TURN_SECONDS = 600
# Draining is measured up to here: beyond, the loop takes days.
DRAINED_AT_MOST = 30


def measure(count: int, act: Callable[[Simulator, Path], None]) -> dict[str, Any]:
    """Run ``act`` on a fresh repository; say what it landed, sent and took."""
    ci = [{"name": "ci", "delay_seconds": CI_SECONDS}]
    document = repository(count, merge_delay_seconds=3, ci=ci)
    with Simulator(document) as simulator, tempfile.TemporaryDirectory() as directory:
        # A look some minutes ago has let GitHub compute everything once.
        Rig(simulator, Path(directory) / "warm", policy()).cycle(dry_run=True)
        simulator.world.clock.advance(600)
        simulator.dispatcher.log.clear()
        began, clock = time.monotonic(), simulator.world.now()
        act(simulator, Path(directory))
        counts = simulator.dispatcher.counts()
        return {
            "landed": landed(simulator),
            "requests": counts["requests"],
            "points": counts["points"],
            "wall_seconds": round(time.monotonic() - began, 1),
            "simulated_seconds": round(simulator.world.now() - clock),
        }


def landed(simulator: Simulator) -> int:
    """Return how many have landed."""
    found = simulator.world.repository(NAME)
    return sum(pull.state == "MERGED" for pull in found.pulls) if found else 0


def drained(turn: Callable[[Simulator, Path], None], count: int) -> Callable[..., None]:
    """Return turn after turn, ten minutes apart, until all have landed."""

    def act(simulator: Simulator, directory: Path) -> None:
        requests: list[Any] = []
        while landed(simulator) < count:
            began = simulator.world.now()
            turn(simulator, directory)
            # The marshal's rig forgets the log with every cycle.
            requests += simulator.dispatcher.log
            simulator.dispatcher.log.clear()
            if landed(simulator) < count:
                left = TURN_SECONDS - (simulator.world.now() - began)
                simulator.world.clock.advance(max(0.0, left))
        simulator.dispatcher.log.extend(requests)

    return act


def ours(mode: str, count: int) -> Callable[[Simulator, Path], None]:
    """Return one cycle of the marshal."""

    def act(simulator: Simulator, directory: Path) -> None:
        most = count if count <= MOST_MERGES else 30
        wanted = policy(mode=mode, max_merges_per_cycle=most, pending_main_blocks=False)
        Rig(simulator, directory, wanted).cycle()

    return act


def look(simulator: Simulator, directory: Path) -> None:
    """Look once and change nothing."""
    Rig(simulator, directory, policy()).cycle(dry_run=True)


def loop(simulator: Simulator, _directory: Path) -> None:
    """List, view each, merge what is CLEAN: one pass of the shell loop, by the real gh."""
    addresses = simulator.addresses()
    environment = {
        **os.environ,
        "GH_HOST": addresses["host"],
        "GH_ENTERPRISE_TOKEN": simulator.token.value,
        "SSL_CERT_FILE": addresses["ca_file"],
        "SSL_CERT_DIR": "/nonexistent",
    }

    def gh(*words: str) -> str:
        where = ["-R", f"{addresses['host']}/{NAME}"]
        done = subprocess.run(
            ["gh", "pr", *words, *where],
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        return done.stdout

    listed = json.loads(gh("list", "--limit", "50", "--json", "number,mergeable") or "[]")
    for number in sorted(row["number"] for row in listed if row["mergeable"] == "MERGEABLE"):
        state = gh("view", str(number), "--json", "mergeStateStatus", "-q", ".mergeStateStatus")
        if state.strip() == "CLEAN":
            gh("merge", str(number), "--squash", "--admin", "--delete-branch")


def main() -> int:
    """Print one JSON line per contestant."""
    for count in [int(word) for word in sys.argv[1:]] or [30]:
        contestants = {
            "marshal, look": look,
            "marshal, fast": ours("fast", count),
            "marshal, train": ours("train", count),
            "shell loop": loop,
        }
        if count <= DRAINED_AT_MOST:
            contestants["marshal, until all landed"] = drained(ours("fast", count), count)
            contestants["shell loop, until all landed"] = drained(loop, count)
        for name, act in contestants.items():
            row = {"pull_requests": count, "who": name, **measure(count, act)}
            print(json.dumps(row), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
