"""Time the site on a growing number of hosts: adding blank ones, planning, and changing nothing."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import yaml
from bench.converge.timing import ROOT, Sample, timed

PREFIX = "bench-host"
# Without images and lanes: what they build is the same on every host, and is not Ansible's work.
PLAYBOOKS = ("host", "docker", "upkeep", "marshal")


def inventory(directory: Path, count: int) -> Path:
    """Write an inventory of as many hosts, beside the sandbox's variables."""
    hosts = {
        f"{PREFIX}-{number}": {
            "ansible_connection": "community.docker.docker",
            "ansible_host": f"{PREFIX}-{number}",
        }
        for number in range(1, count + 1)
    }
    path = directory / "hosts.yml"
    path.write_text(yaml.safe_dump({"factory": {"hosts": hosts}}))
    return path


def play(hosts: Path, recap: Path, *options: str) -> Sample:
    """Run the playbooks on the hosts of the bench alone."""
    argv = [str(ROOT / ".venv/bin/ansible-playbook"), "--inventory", "inventory/sandbox"]
    argv += ["--inventory", str(hosts), "--limit", f"{PREFIX}-*,localhost", *options]
    argv += [f"playbooks/{name}.yml" for name in PLAYBOOKS]
    environment = {"ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"), "AINA_RECAP_FILE": str(recap)}
    return timed(argv, environment)[0]


def start(directory: Path, count: int) -> Path:
    """Start the hosts that are missing."""
    hosts = inventory(directory, count)
    playbook = str(ROOT / ".venv/bin/ansible-playbook")
    timed(
        [playbook, "--inventory", str(hosts), "molecule/shared/create.yml"],
        {"ANSIBLE_CONFIG": str(ROOT / "ansible.cfg")},
    )
    return hosts


def measure(counts: list[int], directory: Path) -> None:
    """Print a row per number of hosts."""
    recap = directory / "recap.json"
    print("| hosts | added | adding them | check | nothing to change | CPU of the control node |")
    print("|---:|---:|---:|---:|---:|---:|")
    before = 0
    for count in counts:
        hosts = start(directory, count)
        first = play(hosts, recap)
        check = play(hosts, recap, "--check", "--diff")
        again = play(hosts, recap)
        document = json.loads(recap.read_text())
        if document["changes"]:
            sys.exit(f"the second run on {count} hosts changed something: {document['changes']}")
        print(
            f"| {count} | {count - before} | {first.wall_seconds:.0f} s | {check.wall_seconds:.1f} s"
            f" | {again.wall_seconds:.1f} s | {again.cpu_seconds:.1f} s |",
            flush=True,
        )
        before = count


def main() -> int:
    """Measure, and take the hosts away again."""
    parser = argparse.ArgumentParser(prog="python -m bench.converge.growth", description=__doc__)
    parser.add_argument("--hosts", type=int, nargs="+", default=[1, 5, 10, 20])
    counts = sorted(parser.parse_args().hosts)
    try:
        with tempfile.TemporaryDirectory() as scratch:
            measure(counts, Path(scratch))
    finally:
        names = [f"{PREFIX}-{number}" for number in range(1, counts[-1] + 1)]
        subprocess.run(
            ["docker", "rm", "--force", "--volumes", *names], capture_output=True, check=False
        )
    return os.EX_OK


if __name__ == "__main__":
    sys.exit(main())
