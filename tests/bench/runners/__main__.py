"""What a job's fresh runner costs beside a bare container, and what a converge asks of GitHub.

Runs against the converged hosts of the molecule scenario gh-actions-runner; see README.md.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[3]
SCENARIO = ROOT / "molecule/gh-actions-runner"
sys.path[:0] = [str(ROOT / "molecule/shared"), str(ROOT / "tests")]

from behaviour import Simulator, converge  # noqa: E402 - lives beside the scenarios, in no package
from waiting import until  # noqa: E402 - the same

HOST = "gh-actions-runner-host"
GITHUB = Simulator("github.gh-actions-runner")
REPOSITORY = "factory/demo"
IMAGE = "aina-factory/ci:current"
STATE = "/var/lib/aina-factory/runners"
GOAL_RATIO = 1.5
GOAL_READS = 2
# The same bounds as a job's, without a network of its own and without a runner in it.
BARE = f"docker run --rm --init --memory 256m --cpuset-cpus 0 --entrypoint /bin/true {IMAGE}"


def on_host(script: str) -> str:
    """Return what a script prints on the host."""
    argv = ["docker", "exec", HOST, "bash", "-euc", script]
    return subprocess.run(argv, check=True, capture_output=True, text=True).stdout


def idle(slots: int = 2) -> None:
    """Wait until every slot waits for a job."""

    def all_idle() -> bool:
        states = on_host(f"cat {STATE}/demo-*.json").count('"state": "idle"')
        return states == slots

    until(all_idle)


def queue(step: str) -> int:
    body = {"repository": REPOSITORY, "labels": ["demo"], "steps": [{"run": step}]}
    return int(GITHUB.ask("POST", "/job", body)["id"])


def done(number: int) -> dict[str, Any]:
    path = f"/job?repository={REPOSITORY}&id={number}"
    found: dict[str, Any] = until(
        lambda: (job := GITHUB.ask("GET", path))["status"] == "completed" and job
    )
    assert found["conclusion"] == "success", found
    return found


def bare_seconds() -> float:
    """Return how long a bare container takes, from the command to its end."""
    script = f"started=$(date +%s%N); {BARE}; echo $(( $(date +%s%N) - started ))"
    return int(on_host(script)) / 1e9


def waiting_seconds() -> float:
    """Return the time from a job's queueing to its first step, while a runner waits for it."""
    idle()
    job = done(queue("true"))
    return float(job["steps"][0]["started_at"] - job["created_at"])


def turnaround_seconds(jobs: int, step: str) -> list[float]:
    """Return the times from the end of one job to the first step of the next of the same slot."""
    idle()
    found = [done(number) for number in [queue(step) for _ in range(jobs)]]
    by_slot: dict[str, list[dict[str, Any]]] = {}
    for job in found:
        by_slot.setdefault(job["runner"].rpartition("-")[0], []).append(job)
    waits = []
    for of_slot in by_slot.values():
        ordered = sorted(of_slot, key=lambda job: float(job["started_at"]))
        for former, after in itertools.pairwise(ordered):
            waits.append(after["steps"][0]["started_at"] - former["completed_at"])
    return waits


def requests_of_a_converge() -> dict[str, list[str]]:
    """Return what one module call without change asks, by kind; nothing else may be asking."""
    on_host("systemctl stop factory-runner-heal.timer factory-runner-heal.path 'factory-runner@*'")
    until(
        lambda: (
            "activating" not in on_host("systemctl is-active factory-runner-heal.service || true")
        )
    )
    on_host("systemctl start factory-runner@demo-1 factory-runner@demo-2")
    idle()
    on_host("systemctl kill --signal=STOP factory-runner@demo-1 factory-runner@demo-2")
    on_host("systemctl start factory-runner-heal.timer factory-runner-heal.path; sleep 3")
    until(
        lambda: (
            "activating" not in on_host("systemctl is-active factory-runner-heal.service || true")
        )
    )
    GITHUB.ask("DELETE", "/log")
    run = converge(SCENARIO)
    log = GITHUB.ask("GET", "/log")["requests"]
    on_host("systemctl kill --signal=CONT factory-runner@demo-1 factory-runner@demo-2")
    assert run.changed == [], run.changed
    lines = [f"{entry['method']} {entry['path'].partition('?')[0]}" for entry in log]
    return {
        "reads": [line for line in lines if line.startswith("GET")],
        "writes": [line for line in lines if not line.startswith("GET")],
    }


def converge_seconds(rounds: int) -> list[float]:
    """Return the wall times of the role's two module calls in a converge without change."""
    times = []
    for _ in range(rounds):
        recap = SCENARIO / ".recap-bench.json"
        environment = {
            **os.environ,
            "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"),
            "ANSIBLE_COLLECTIONS_PATH": f"{ROOT}/collections:{sys.prefix}/collections",
            "AINA_RECAP_FILE": str(recap),
        }
        argv = ["ansible-playbook", "--inventory", str(SCENARIO / "inventory.yml")]
        argv += ["--tags", "gh_actions_runner", str(ROOT / "playbooks/runners.yml")]
        started = time.monotonic()
        subprocess.run(argv, env=environment, check=True, capture_output=True)
        times.append(time.monotonic() - started)
        recap.unlink(missing_ok=True)
    return times


def main() -> int:
    """Measure and print the tables of docs/benchmarks/runners.md."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--jobs", type=int, default=20)
    arguments = parser.parse_args()
    bare, waiting = [], []
    for _ in range(arguments.rounds):  # in turn: a busy machine disturbs both alike
        bare.append(bare_seconds())
        waiting.append(waiting_seconds())
    turns, beside = {}, {}
    for step in ("sleep 5", "true"):
        idle()
        before = [bare_seconds() for _ in range(arguments.rounds)]
        turns[step] = statistics.median(turnaround_seconds(arguments.jobs, step))
        idle()
        after = [bare_seconds() for _ in range(arguments.rounds)]
        beside[step] = turns[step] / statistics.median([*before, *after])
    seconds = converge_seconds(3)
    requests = requests_of_a_converge()
    base = statistics.median(bare)
    rows = [
        ("bare `docker run --rm` of the image", base, 1.0),
        (
            "queued to first step, a runner waits",
            statistics.median(waiting),
            statistics.median(waiting) / base,
        ),
        *(
            (
                f"end of a job (`{step}`) to first step of the next, queue full",
                turns[step],
                beside[step],
            )
            for step in turns
        ),
    ]
    print("| what | median | ratio |\n|---|---|---|")
    for what, median, ratio in rows:
        print(f"| {what} | {median:.2f} s | {ratio:.2f} |")
    instances = json.loads(on_host("cat /etc/aina-factory/conf.d/runners.json"))["runners"][
        "instances"
    ]
    per_instance = len(requests["reads"]) / len(instances)
    print("\n| a converge without change | |\n|---|---|")
    print(f"| the whole play, median of 3 | {statistics.median(seconds):.1f} s |")
    print(
        f"| reads, {len(instances)} instances | {len(requests['reads'])} ({per_instance:.1f} each) |"
    )
    print(f"| writes | {len(requests['writes'])} |")
    for line in requests["reads"] + requests["writes"]:
        print(f"  {line}")
    met = rows[1][2] <= GOAL_RATIO and per_instance <= GOAL_READS and not requests["writes"]
    print(
        f"\ngoals {'met' if met else 'not met'}: ratio {GOAL_RATIO}, {GOAL_READS} reads each, no writes"
    )
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
