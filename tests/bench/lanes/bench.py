"""What a lane costs beside a bare container: run as root on a host of the scenario agent-lanes.

    docker exec -i agent-lanes-host python3 - ISSUE < tests/bench/lanes/bench.py

ISSUE is one whose lane changes something. Prints the tables of README.md.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

LANES = Path("/var/lib/aina-factory/lanes")
IMAGE = "aina-factory/lane:current"
ROUNDS = 7
COMMITS, FILES = 1500, 4000


def run(*argv: str) -> str:
    return subprocess.run(argv, check=True, capture_output=True, text=True).stdout


def timed(what: Callable[[], object]) -> float:
    started = time.monotonic()
    what()
    return time.monotonic() - started


def median(what: Callable[[], float], rounds: int = ROUNDS) -> float:
    return statistics.median(what() for _ in range(rounds))


def until_first_request(issue: str) -> float:
    """Seconds from the call until the agent's first request reached the gateway."""
    known = set(LANES.glob("*/gateway.jsonl"))
    started = time.time()
    with subprocess.Popen(
        ["factory", "lane", "run", "demo", issue, "--json"], stdout=subprocess.DEVNULL
    ) as process:
        while process.poll() is None:
            for path in set(LANES.glob("*/gateway.jsonl")) - known:
                text = path.read_text()
                if text.endswith("\n"):
                    seen = time.time()
                    line = json.loads(text.splitlines()[0])
                    process.wait()
                    return seen - started - float(line["duration_seconds"])
            time.sleep(0.005)
    raise SystemExit(f"the lane on issue {issue} asked nothing; see factory lane list")


def bare(url: str, login: Sequence[str]) -> float:
    """Seconds of a bare container and a full clone of the same repository."""

    def work() -> None:
        run("docker", "run", "--rm", "--network=none", "--entrypoint=true", IMAGE)
        with tempfile.TemporaryDirectory() as target:
            run("git", *login, "clone", "--quiet", url, f"{target}/clone")

    return timed(work)


def history(target: str) -> None:
    """A repository of some size, so that the way of cloning matters."""
    blob, lines = "x" * 3000, []
    lines.append(
        "commit refs/heads/main\ncommitter a <a@example.com> 1700000000 +0000\ndata 1\n0\n"
    )
    for index in range(FILES):
        text = f"{index} {blob}"
        lines.append(f"M 644 inline d{index % 40}/f{index}.txt\ndata {len(text)}\n{text}\n")
    for index in range(COMMITS):
        text = f"{index} {blob}"
        lines.append(
            f"commit refs/heads/main\ncommitter a <a@example.com> {1700000000 + index} +0000\n"
            f"data 1\n1\nM 644 inline d{index % 40}/f{index % FILES}.txt\ndata {len(text)}\n{text}\n"
        )
    run("git", "init", "--quiet", "--bare", target)
    subprocess.run(
        ["git", f"--git-dir={target}", "fast-import", "--quiet"],
        input="".join(lines),
        text=True,
        check=True,
    )
    run("git", f"--git-dir={target}", "repack", "-adq")


def clones(mirror: str) -> dict[str, float]:
    """Seconds until each way of cloning is ready to work, inside a container as a lane's is."""
    ways = {
        "full clone": "git clone --quiet file:///mirror.git /work/clone",
        "clone --depth 1": "git clone --quiet --depth 1 file:///mirror.git /work/clone",
        "clone --shared": "git clone --quiet --shared /mirror.git /work/clone",
    }
    found: dict[str, float] = {}
    for name, command in ways.items():
        script = (
            f"for i in 1 2 3 4 5; do s=$(date +%s%N); {command} || exit 1; e=$(date +%s%N); "
            "echo $((e - s)); rm -rf /work/clone; done"
        )
        argv = ["docker", "run", "--rm", "--network=none", "--read-only", "--user=10001:10001"]
        argv += [
            "--tmpfs=/work:rw,exec,size=700m,mode=1777",
            "--env=HOME=/work",
            "--entrypoint=bash",
        ]
        argv += [
            f"--mount=type=bind,readonly,source={mirror},target=/mirror.git",
            IMAGE,
            "-c",
            script,
        ]
        found[name] = statistics.median(int(line) for line in run(*argv).split()) / 1e9
    return found


def parallel(issues: Sequence[str]) -> float:
    """Seconds until all of so many lanes at once are done."""

    def one(issue: str) -> str:
        done = subprocess.run(
            ["factory", "lane", "run", "demo", issue, "--json"],
            capture_output=True,
            text=True,
            check=False,
        )
        return str(json.loads(done.stdout).get("outcome"))

    started = time.monotonic()
    with ThreadPoolExecutor(len(issues)) as pool:
        outcomes = list(pool.map(one, issues))
    if set(outcomes) != {"changed"}:
        raise SystemExit(f"the lanes ended as {outcomes}")
    return time.monotonic() - started


def left() -> dict[str, int]:
    return {
        "overlays": len(list(Path("/var/lib/docker/overlay2").iterdir())),
        "containers": len(run("docker", "ps", "--all", "--quiet").split()),
        "volumes": len(run("docker", "volume", "ls", "--quiet").split()),
        "bytes of the engine": int(
            run("du", "--summarize", "--bytes", "/var/lib/docker/overlay2").split()[0]
        ),
    }


def main() -> None:
    issues = sys.argv[1:]
    configuration = json.loads(Path("/etc/aina-factory/conf.d/lanes.json").read_text())["lanes"]
    github = configuration["github"]
    url = f"{github['api_url'].removesuffix('/api/v3')}/factory/demo.git"
    token = Path(github["login"]["token_file"]).read_text().strip()
    login = ["-c", f"http.extraHeader=Authorization: Bearer {token}"]
    until_first_request(issues[0])
    before = left()
    # In turn, so that whatever else the machine does meets both.
    pairs = [(bare(url, login), until_first_request(issues[0])) for _ in range(ROUNDS)]
    plain, lane = (statistics.median(column) for column in zip(*pairs, strict=True))
    print(f"| bare `docker run --rm` and full clone | {plain:.2f} s | 1.00 |")
    print(
        f"| `factory lane run` until the agent's first request | {lane:.2f} s | {lane / plain:.2f} |"
    )
    with tempfile.TemporaryDirectory(dir="/var/lib") as work:
        Path(work).chmod(0o755)
        history(f"{work}/mirror.git")
        found = clones(f"{work}/mirror.git")
    for name, seconds in found.items():
        print(f"| {name} | {seconds * 1000:.0f} ms | {seconds / found['full clone']:.2f} |")
    for count in (1, 2, 4, 8):
        if count <= len(issues):
            print(f"| {count} lanes at once | {parallel(issues[:count]):.1f} s |")
    after = left()
    for name, value in before.items():
        print(f"| {name} before and after | {value} | {after[name]} |")


if __name__ == "__main__":
    main()
