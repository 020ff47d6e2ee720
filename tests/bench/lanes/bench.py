"""What a lane costs beside doing it by hand: run as root on a host of the scenario lanes.

    docker exec -i lanes-host python3 - [--grow] < tests/bench/lanes/bench.py

Prints the tables of docs/benchmarks/lanes.md. It opens issues; with --grow it
makes the demo's repository a large one in between.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import ClassVar

CONFIGURATION = json.loads(Path("/etc/aina-factory/conf.d/lanes.json").read_text())["lanes"]
PROJECT = CONFIGURATION["projects"][0]
GITHUB = json.loads(Path("/etc/aina-factory/factory.json").read_text())["github"]
API = GITHUB["api_url"]
URL = f"{API.removesuffix('/api/v3')}/{PROJECT['repository']}.git"
TOKEN = Path(GITHUB["login"]["token_file"]).read_text().strip()
LOGIN = ["-c", f"http.extraHeader=Authorization: Bearer {TOKEN}"]
ASKED = Path("/srv/model/asked.jsonl")
IMAGE = PROJECT["image"]
ROUNDS = int(os.environ.get("ROUNDS", "9"))
COMMITS, FILES = 1500, 4000
# What a lane has, unless its project says otherwise.
CPUS = 2
# What years of work leave: 120 MB of packs.
HISTORY_COMMITS, HISTORY_CHANGES, HISTORY_BYTES = 20_000, 3, 1500


def run(*argv: str) -> str:
    return subprocess.run(argv, check=True, capture_output=True, text=True).stdout


def timed(what: Callable[[], object]) -> float:
    started = time.monotonic()
    what()
    return time.monotonic() - started


def issue(*lines: str) -> str:
    """Open an issue whose lines the played model carries out; return its number."""
    body = json.dumps({"title": "Bench", "body": "\n".join(lines)}).encode()
    headers = {"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/json"}
    url = f"{API}/repos/{PROJECT['repository']}/issues"
    asked = urllib.request.Request(url, body, headers)  # noqa: S310 - the simulator's address
    with urllib.request.urlopen(asked) as answer:  # noqa: S310 - the same
        return str(json.load(answer)["number"])


def lane(number: str) -> float:
    """Seconds from the call until the model was asked for the first time."""
    before, started = ASKED.stat().st_size, time.time()
    run("run-lane", PROJECT["name"], number, "--json")
    with ASKED.open() as file:
        file.seek(before)
        return float(json.loads(file.readline())["at"]) - started


def bare() -> float:
    """Seconds of a bare container that does nothing, and a full clone; no agent starts."""

    def work() -> None:
        run("docker", "run", "--rm", "--network=none", "--entrypoint=true", IMAGE)
        with tempfile.TemporaryDirectory() as target:
            run("git", *LOGIN, "clone", "--quiet", URL, f"{target}/clone")

    return timed(work)


class Model(BaseHTTPRequestHandler):
    """Notes when it is asked, and refuses in the way that ends the agent at once."""

    asked_at: ClassVar[list[float]] = []

    def log_message(self, *_: object) -> None:
        """Stay silent."""

    def do_POST(self) -> None:
        self.asked_at.append(time.time())
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(400)
        self.end_headers()


def by_hand() -> float:
    """Seconds until the same agent asks, with nothing of ours but the image and the limits."""
    server = HTTPServer(("127.0.0.1", 0), Model)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    limits = [f"--cpus={PROJECT['cpus']}", f"--memory={PROJECT['memory_mib']}m"]
    limits += [f"--tmpfs={path}:rw,exec,mode=1777" for path in ("/work", "/home/lane", "/tmp")]
    agent = "codex exec --json --dangerously-bypass-approvals-and-sandbox --model gpt-5.5 -c "
    agent += f"model_providers.lane.base_url=http://127.0.0.1:{server.server_port}/v1 -"
    script = (
        "cp -R /etc/aina-lane/homes/codex/. $HOME/ && "
        f"git {LOGIN[0]} '{LOGIN[1]}' clone --quiet {URL} /work/repository && "
        f"cd /work/repository && echo 'Say more.' | {agent}"
    )
    argv = ["docker", "run", "--rm", "--init", "--network=host", "--read-only", *limits]
    argv += ["--mount=type=bind,readonly,source=/etc/ssl/certs,target=/etc/ssl/certs"]
    argv += ["--env=HOME=/home/lane", "--env=CODEX_HOME=/home/lane/.codex", "--user=10001"]
    started = time.time()
    subprocess.run(
        [*argv, "--entrypoint=bash", IMAGE, "-c", script], capture_output=True, check=False
    )
    server.shutdown()
    return Model.asked_at.pop() - started


def starts(size: str, number: str) -> None:
    """Print the medians of all three, taken in turn: whatever else the machine does meets all."""
    rounds = [(bare(), by_hand(), lane(number)) for _ in range(ROUNDS)]
    nothing, hand, ours = (statistics.median(column) for column in zip(*rounds, strict=True))
    print(
        f"| {size} | {nothing:.2f} s | {hand:.2f} s | {ours:.2f} s | "
        f"{ours / nothing:.2f} | {ours / hand:.2f} |"
    )


def grow() -> None:
    """Make the repository at GitHub one of some size."""
    with tempfile.TemporaryDirectory(dir="/var/lib") as work:
        run("git", *LOGIN, "clone", "--quiet", "--bare", URL, work)
        add_history(work)
        run("git", *LOGIN, f"--git-dir={work}", "push", "--quiet", URL, "main")


def years() -> dict[str, float]:
    """Seconds of each way to clone a repository with a history of years."""
    with tempfile.TemporaryDirectory(dir="/var/lib") as work:
        run("git", "init", "--quiet", "--bare", "--initial-branch=main", work)
        with subprocess.Popen(
            ["git", f"--git-dir={work}", "fast-import", "--quiet"], stdin=subprocess.PIPE, text=True
        ) as importing:
            for piece in history():
                print(piece, file=importing.stdin)
        if importing.returncode:
            raise SystemExit("git fast-import failed")
        Path(work).chmod(0o755)
        size = run("du", "--summarize", "--block-size=1M", f"{work}/objects/pack").split()[0]
        print(f"{FILES} files, {HISTORY_COMMITS} commits, {size} MiB of packs:")
        return clones(work)


def history() -> Iterator[str]:
    """Return what fast-import reads: every file once, then commit by commit."""

    def file(index: int) -> str:
        text = f"{index} {os.urandom(HISTORY_BYTES).hex()}"
        return f"M 644 inline d{index % 200}/f{index}.txt\ndata {len(text)}\n{text}"

    def commit(number: int) -> str:
        at = 1_700_000_000 + number
        return f"commit refs/heads/main\ncommitter a <a@example.com> {at} +0000\ndata 1\n1"

    yield "\n".join([commit(0), *map(file, range(FILES))])
    for number in range(1, HISTORY_COMMITS):
        chosen = {(number * 7919 + step * 104729) % FILES for step in range(HISTORY_CHANGES)}
        yield "\n".join([commit(number), *map(file, sorted(chosen))])


def add_history(repository: str) -> None:
    """Give the branch main so many files and commits that the way of cloning matters."""
    blob, lines = "x" * 3000, []
    parent = f"from {run('git', f'--git-dir={repository}', 'rev-parse', 'main').strip()}\n"
    lines.append(
        "commit refs/heads/main\ncommitter a <a@example.com> 1700000000 +0000\ndata 1\n0\n" + parent
    )
    for index in range(FILES):
        text = f"{index} {blob}"
        lines.append(f"M 644 inline d{index % 40}/f{index}.txt\ndata {len(text)}\n{text}\n")
    for index in range(COMMITS):
        text = f"{index} {os.urandom(1500).hex()}"
        lines.append(
            f"commit refs/heads/main\ncommitter a <a@example.com> {1700000000 + index} +0000\n"
            f"data 1\n1\nM 644 inline d{index % 40}/f{index % FILES}.txt\ndata {len(text)}\n{text}\n"
        )
    subprocess.run(
        ["git", f"--git-dir={repository}", "fast-import", "--quiet"],
        input="".join(lines),
        text=True,
        check=True,
    )
    run("git", f"--git-dir={repository}", "repack", "-adq")


def clones(mirror: str) -> dict[str, float]:
    """Seconds until each way of cloning is ready to work, inside a container as a lane's is."""
    shared = "git clone --quiet --shared --no-checkout /mirror.git /work/clone"
    checkout = "checkout --quiet -b lane origin/main"
    ways = {
        "full clone": "git clone --quiet --branch main file:///mirror.git /work/clone",
        "clone --depth 1": "git clone --quiet --branch main --depth 1 file:///mirror.git /work/clone",
        "clone --shared alone": shared,
        "clone --shared and checkout, as lanes do": f"{shared} && git -C /work/clone {checkout}",
        "the same with checkout.workers=4": f"{shared} && git -C /work/clone -c checkout.workers=4 {checkout}",
    }
    found: dict[str, float] = {}
    for name, command in ways.items():
        script = (
            f"for i in 1 2 3 4 5; do s=$(date +%s%N); {command} || exit 1; e=$(date +%s%N); "
            "echo $((e - s)); rm -rf /work/clone; done"
        )
        argv = ["docker", "run", "--rm", "--network=none", "--read-only", "--user=10001:10001"]
        argv += [f"--cpus={CPUS}"]
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

    def one(number: str) -> str:
        return str(json.loads(run("run-lane", PROJECT["name"], number, "--json"))["outcome"])

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
    change = "run: echo more >> more.txt && git add --all && git commit --quiet --message More"
    issues = [issue(change) for _ in range(8)]
    lane(issues[0])
    before = left()
    starts("a few files", issues[0])
    for count in (1, 2, 4, 8):
        print(f"| {count} | {parallel(issues[:count]):.1f} s |")
    after = left()
    for name, value in before.items():
        print(f"| {name} before and after | {value} | {after[name]} |")
    if "--grow" in sys.argv:
        grow()
    # The first of them fetches it, as only the first does.
    lane(issues[0])
    starts(f"{FILES} files, {COMMITS} commits", issues[0])
    mirror = f"{CONFIGURATION['mirror_dir']}/{PROJECT['name']}.git"
    for found in (clones(mirror), *([years()] if "--grow" in sys.argv else [])):
        for name, seconds in found.items():
            print(f"| {name} | {seconds * 1000:.0f} ms | {seconds / found['full clone']:.2f} |")


if __name__ == "__main__":
    main()
